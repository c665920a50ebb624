// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestMonitorsTurnedOff starts a controller as an installation of an earlier release
// says it, and one without monitors: the first puts a ServiceMonitor in the place of the
// PodMonitor that the earlier release made and moves no pod, the second removes it.
func TestMonitorsTurnedOff(t *testing.T) {
	team := newTeam(t, "monitors")
	if err := cluster.InstallCRDs(t.Context(), team.Cluster.Config, filepath.Join("..", "rendered", "testdata", "crds")); err != nil {
		t.Fatal(err)
	}
	pushAndApply(t, team, onlyInference(t))
	ready(t, team, harness.InferenceName)
	before := served(t, team)
	former, foreign := formerMonitor(t, team, harness.InferenceName), formerMonitor(t, team, "")
	if err := team.StopController(); err != nil {
		t.Fatal(err)
	}
	with, err := team.StartReplica(patient(t), "--leader-elect=false", "--pod-monitors")
	if err != nil {
		t.Fatal(err)
	}
	now := monitorOf(team, "ServiceMonitor", harness.InferenceName)
	err = harness.Until(patient(t), team.Stand, now, "there", isThere)
	if err == nil {
		err = harness.Gone(patient(t), team.Stand, former)
	}
	if stop := with.Stop(); stop != nil {
		t.Error(stop)
	}
	if start := team.StartController(context.Background()); start != nil {
		t.Fatal(start)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), team.Stand, now); err != nil {
		t.Error(err)
	}
	if err := harness.Until(patient(t), team.Stand, foreign, "kept: it is no Workspace's", isThere); err != nil {
		t.Error(err)
	}
	if after := served(t, team); after.UID != before.UID || after.Generation != before.Generation {
		t.Errorf("who is asked for metrics moves pods: generation %d, and was %d", after.Generation, before.Generation)
	}
}

func isThere(o *unstructured.Unstructured) bool {
	return o.GetResourceVersion() != "" && o.GetDeletionTimestamp() == nil
}

func monitorOf(team *harness.Team, kind, name string) *unstructured.Unstructured {
	m := &unstructured.Unstructured{}
	m.SetAPIVersion("monitoring.coreos.com/v1")
	m.SetKind(kind)
	m.SetNamespace(team.Namespace)
	m.SetName(name)
	return m
}

// formerMonitor makes the PodMonitor that an earlier release made for a Workspace; for ""
// somebody else's, with the same labels.
func formerMonitor(t *testing.T, team *harness.Team, owner string) *unstructured.Unstructured {
	t.Helper()
	m := monitorOf(team, "PodMonitor", owner)
	if owner == "" {
		m.SetName("foreign")
	} else {
		w := workspace(team, owner)
		if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil {
			t.Fatal(err)
		}
		m.SetOwnerReferences([]metav1.OwnerReference{*metav1.NewControllerRef(w, v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind))})
	}
	m.SetLabels(map[string]string{repolayout.LabelWorkspace: harness.InferenceName, "app.kubernetes.io/managed-by": "espalier"})
	m.Object["spec"] = map[string]any{
		"selector":            map[string]any{"matchLabels": map[string]any{repolayout.LabelWorkspace: harness.InferenceName}},
		"podMetricsEndpoints": []any{map[string]any{"port": "http", "path": "/metrics"}},
	}
	if err := team.Client.Create(t.Context(), m); err != nil {
		t.Fatal(err)
	}
	return m
}

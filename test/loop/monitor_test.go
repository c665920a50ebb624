// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"path/filepath"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestMonitorsTurnedOff starts a controller with --pod-monitors and one without:
// what the first made, the second removes.
func TestMonitorsTurnedOff(t *testing.T) {
	team := newTeam(t, "monitors")
	if err := cluster.InstallCRDs(t.Context(), team.Cluster.Config, filepath.Join("..", "rendered", "testdata", "crds")); err != nil {
		t.Fatal(err)
	}
	if err := team.StopController(); err != nil {
		t.Fatal(err)
	}
	with, err := team.StartReplica(patient(t), "--leader-elect=false", "--pod-monitors")
	if err != nil {
		t.Fatal(err)
	}
	pushAndApply(t, team, onlyInference(t))
	ready(t, team, harness.InferenceName)
	monitor := &unstructured.Unstructured{}
	monitor.SetAPIVersion("monitoring.coreos.com/v1")
	monitor.SetKind("PodMonitor")
	monitor.SetNamespace(team.Namespace)
	monitor.SetName(harness.InferenceName)
	there := func(m *unstructured.Unstructured) bool { return m.GetResourceVersion() != "" }
	err = harness.Until(patient(t), team.Stand, monitor, "there", there)
	if stop := with.Stop(); stop != nil {
		t.Error(stop)
	}
	if start := team.StartController(context.Background()); start != nil {
		t.Fatal(start)
	}
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), team.Stand, monitor); err != nil {
		t.Error(err)
	}
}

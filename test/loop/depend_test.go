// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	poolsKustomization = "pools/kustomization.yaml"

	ownedPool = `apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata:
  name: rack
spec:
  provider: existing
  nodeLabels: {rack: "7"}
  candidates:
  - instanceType: Standard_NC4as_T4_v3
`

	usesPool = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: qwen
spec:
  resource:
    nodePool: rack
  inference:
    preset: qwen3-8b-awq
    contextLength: 8192
`
)

// TestDependsOn: one RepoSync applies after another, at the same commit, and goes on
// by itself when the other is mended; a circle is said to be one.
func TestDependsOn(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "depends")
	files := map[string]string{
		poolsKustomization: "resources: [missing.yaml]\n", "pools/rack.yaml": ownedPool,
		"models/kustomization.yaml": "resources: [qwen.yaml]\n", "models/qwen.yaml": usesPool,
	}
	push(t, team, files, "models: a pool that does not build")
	of := func(name string) *v1alpha1.RepoSync {
		s := team.RepoSync(nil)
		s.Name, s.Spec.Path, s.Spec.Report = name, name, nil
		return s
	}
	models := of("models")
	models.Spec.DependsOn = []v1alpha1.Dependency{{Name: "pools"}}
	apply(t, team, models)
	waits := func(what, says string) {
		t.Helper()
		err := harness.Until(patient(t), team.Stand, models, what, func(s *v1alpha1.RepoSync) bool {
			c := condition.Get(s, v1alpha1.ConditionApplied)
			return c != nil && c.Reason == v1alpha1.ReasonDependencyNotReady && strings.Contains(c.Message, says)
		})
		if err != nil {
			t.Fatal(err)
		}
	}
	waits("waiting for one that is not there", "does not exist")
	pools := of("pools")
	apply(t, team, pools)
	waits("waiting for one that is not Ready", "not Ready (BuildFailed)")
	if err := team.Client.Get(t.Context(), client.ObjectKey{Namespace: team.Namespace, Name: "qwen"}, &v1alpha1.Workspace{}); err == nil {
		t.Error("the Workspace is applied before what it depends on")
	}

	files[poolsKustomization] = "resources: [rack.yaml]\n"
	mended := push(t, team, files, "models: the pool builds")
	for _, s := range []*v1alpha1.RepoSync{pools, models} {
		if err := harness.Until(patient(t), team.Stand, s, "Ready", func(s *v1alpha1.RepoSync) bool {
			return isReady(s) && strings.HasSuffix(s.Status.LastAppliedRevision, mended)
		}); err != nil {
			t.Fatal(err)
		}
	}

	depend := func(on ...v1alpha1.Dependency) {
		t.Helper()
		before := pools.DeepCopy()
		pools.Spec.DependsOn = on
		if err := team.Client.Patch(t.Context(), pools, client.MergeFrom(before)); err != nil {
			t.Fatal(err)
		}
	}
	depend(v1alpha1.Dependency{Name: "models"})
	for _, s := range []*v1alpha1.RepoSync{pools, models} {
		if err := harness.Until(patient(t), team.Stand, s, "in a circle", func(s *v1alpha1.RepoSync) bool {
			c := condition.Get(s, v1alpha1.ConditionStalled)
			return c != nil && c.Reason == v1alpha1.ReasonDependencyCycle && strings.Contains(c.Message, "waits for")
		}); err != nil {
			t.Fatal(err)
		}
	}
	depend()
	for _, s := range []*v1alpha1.RepoSync{pools, models} {
		if err := harness.Until(patient(t), team.Stand, s, "Ready again", isReady[*v1alpha1.RepoSync]); err != nil {
			t.Fatal(err)
		}
	}
}

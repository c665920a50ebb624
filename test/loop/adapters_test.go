// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	dollyFile   = "models/kept.yaml"
	servesDolly = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: ` + keptName + `
spec:
  resource:
    candidates:
    - {instanceType: Standard_NC24ads_A100_v4, zones: ["1", "2"]}
  inference:
    preset: phi-4-mini-instruct
    adapters: [{name: dolly, claim: adapters, path: dolly/v1}]
`
)

// TestAdapterClaim: a service waits for the claim that its adapter is on, is refused
// where no candidate is in its zone, and gets its nodes where it can be mounted.
func TestAdapterClaim(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "adapters")
	files := map[string]string{"models/kustomization.yaml": "resources: [kept.yaml]\n", dollyFile: servesDolly}
	push(t, team, files, "models: serve an adapter of a claim")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	saysOf(t, team, v1alpha1.ReasonInputMissing, "PersistentVolumeClaim", "/adapters")

	volume := localVolume(team.Namespace, "adapters-"+team.Namespace, "eastus-3")
	volume.Spec.ClaimRef.Name = "adapters"
	if err := team.Client.Create(t.Context(), volume); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = team.Client.Delete(patient(t), volume) })
	class := "slow"
	claim := &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: "adapters"}}
	claim.Spec = corev1.PersistentVolumeClaimSpec{
		StorageClassName: &class, VolumeName: volume.Name, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
		Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Gi")}},
	}
	if err := team.Client.Create(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	saysOf(t, team, v1alpha1.ReasonRefused, "zones 3", "adapter dolly")
	if got := agentPools(team); len(got) != 0 {
		t.Errorf("nodes were bought that cannot mount the adapter: %v", got)
	}

	replace(t, files, dollyFile, `"2"]`, `"3"]`)
	push(t, team, files, "models: a zone that can mount the adapter")
	err := harness.Until(patient(t), team.Stand, pool(team, keptName), "nodes where the adapter is", func(p *v1alpha1.GPUNodePool) bool {
		c := p.Spec.Candidates
		return len(c) == 1 && len(c[0].Zones) == 1 && c[0].Zones[0] == "3"
	})
	if err != nil {
		t.Fatal(err)
	}
}

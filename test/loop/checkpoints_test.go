// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// diskZone is the label by which Azure's disks say where they can be mounted.
const diskZone = "topology.disk.csi.azure.com/zone"

const (
	keptName = "kept"
	keptFile = "models/kept.yaml"
	keptRun  = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: ` + keptName + `
spec:
  resource:
    candidates:
    - {instanceType: Standard_NC4as_T4_v3, zones: ["1", "2"]}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/kept:0.0.1", pushSecret: registry-push}
    checkpoints: {storageClass: CLASS, retain: UntilPublished}
`
)

// TestCheckpoints: a volume of another class, or in a zone of no candidate, is
// said before a node is bought; nodes are bought where the volume is; and it
// goes when the adapter is published.
func TestCheckpoints(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "kept")
	volume := localVolume(team.Namespace, "kept-"+team.Namespace, "eastus-3")
	claim := workClaim(team.Namespace, volume.Name)
	if err := team.Client.Create(t.Context(), volume); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = team.Client.Delete(patient(t), volume) })
	if err := team.Client.Create(t.Context(), claim); err != nil {
		t.Fatal(err)
	}
	files := map[string]string{"models/kustomization.yaml": "resources: [kept.yaml]\n", keptFile: strings.Replace(keptRun, "CLASS", "standard", 1)}
	push(t, team, files, "models: tune")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)

	saysOf(t, team, v1alpha1.ReasonRefused, "zones 3")
	replace(t, files, keptFile, `"2"]`, `"3"]`)
	push(t, team, files, "models: a zone that can mount the checkpoints")
	saysOf(t, team, v1alpha1.ReasonClaimClassDiffers, "has class slow", "kubectl delete pvc -n "+team.Namespace+" kept-work")
	if got := agentPools(team); len(got) != 0 {
		t.Errorf("nodes were bought for a run that cannot use its volume: %v", got)
	}

	replace(t, files, keptFile, "storageClass: standard", "storageClass: slow")
	push(t, team, files, "models: the class it has")
	p := pool(team, keptName)
	err := harness.Until(patient(t), team.Stand, p, "nodes where the volume is", func(p *v1alpha1.GPUNodePool) bool {
		c := p.Spec.Candidates
		return len(c) == 1 && len(c[0].Zones) == 1 && c[0].Zones[0] == "3"
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Until(patient(t), team.Stand, p, "nodes", isReady[*v1alpha1.GPUNodePool]); err != nil {
		t.Fatal(err)
	}
	nodes := &corev1.NodeList{}
	ours := client.MatchingLabels{repolayout.LabelPool: repolayout.PoolLabelValue(team.Namespace, keptName)}
	if err := team.Client.List(t.Context(), nodes, ours); err != nil || len(nodes.Items) != 1 {
		t.Fatal(len(nodes.Items), err)
	}
	edit(t, team, &nodes.Items[0], `{"metadata":{"labels":{"`+diskZone+`":"eastus-3"}}}`) // as the driver of the disks would
	ready(t, team, keptName)
	if err := harness.Gone(patient(t), team.Stand, claim); err != nil {
		t.Error(err)
	}
}

// saysOf waits until the Workspace is not ready for a reason, in these words.
func saysOf(t *testing.T, team *harness.Team, reason string, words ...string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, workspace(team, keptName), "not ready: "+reason, func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionWorkspaceReady)
		if c == nil || c.Reason != reason || w.Status.ObservedGeneration != w.Generation {
			return false
		}
		for _, word := range words {
			if !strings.Contains(c.Message, word) {
				return false
			}
		}
		return true
	})
	if err != nil {
		t.Fatal(err)
	}
}

// localVolume is a disk that only nodes of a zone can mount.
func localVolume(namespace, name, zone string) *corev1.PersistentVolume {
	return &corev1.PersistentVolume{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PersistentVolumeSpec{
			StorageClassName: "slow", AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Capacity:                      corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Gi")},
			PersistentVolumeReclaimPolicy: corev1.PersistentVolumeReclaimRetain,
			PersistentVolumeSource:        corev1.PersistentVolumeSource{CSI: &corev1.CSIPersistentVolumeSource{Driver: "disk.csi.azure.com", VolumeHandle: name}},
			ClaimRef:                      &corev1.ObjectReference{Namespace: namespace, Name: repolayout.WorkClaimName(keptName)},
			NodeAffinity: &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: []corev1.NodeSelectorTerm{{
				MatchExpressions: []corev1.NodeSelectorRequirement{{Key: diskZone, Operator: corev1.NodeSelectorOpIn, Values: []string{zone}}},
			}}}},
		},
	}
}

// workClaim is the volume that an earlier pod of the run has left.
func workClaim(namespace, volume string) *corev1.PersistentVolumeClaim {
	class := "slow"
	return &corev1.PersistentVolumeClaim{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: namespace, Name: repolayout.WorkClaimName(keptName),
			Labels: map[string]string{repolayout.LabelWorkspace: keptName},
		},
		Spec: corev1.PersistentVolumeClaimSpec{
			StorageClassName: &class, VolumeName: volume, AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce},
			Resources: corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse("64Gi")}},
		},
	}
}

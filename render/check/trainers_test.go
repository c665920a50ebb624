// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"slices"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// onNodes spreads a run, with checkpoints on a volume of a class.
func onNodes(n int32, class string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		w.Spec.Resource.Count = n
		w.Spec.Tuning.Checkpoints = &v1alpha1.Checkpoints{StorageClass: class}
	}
}

// TestTrainers: a run over several nodes is refused where one of its pods could
// not be placed: the nodes of the others would be paid.
func TestTrainers(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		facts     check.Facts
		refused   bool
		findings  []string
		says      []string
	}{
		"TuningOnShare": {
			reason: "every node can mount a share", workspace: tuning("Standard_NC4as_T4_v3", onNodes(2, "azurefile-csi-premium")),
		},
		"TuningOnDisk": {
			reason: "the second pod would never be placed, and its node paid", workspace: tuning("Standard_NC4as_T4_v3", onNodes(2, "managed-csi-premium")), refused: true,
			findings: []string{"error ClaimNotShared"}, says: []string{"disks, which one node mounts", "azurefile-csi-premium"},
		},
		"TuningOnUnknown": {
			reason: "nothing is pretended of a class that nobody here knows", workspace: tuning("Standard_NC4as_T4_v3", onNodes(2, "")), facts: check.Facts{StorageClass: "fast"},
			findings: []string{"warning ClaimNotShared"}, says: []string{"class fast", "not known here"},
		},
		"TuningOnOneNodeAsBefore": {reason: "one node mounts a disk", workspace: tuning("Standard_NC4as_T4_v3", onNodes(1, "managed-csi-premium"))},
		"TuningClaimsOfOneNode": {
			reason: "the user's own claims are mounted by every pod", workspace: tuning("Standard_NC4as_T4_v3", onNodes(2, "azurefile-csi"), func(w *v1alpha1.Workspace) {
				w.Spec.Tuning.Input, w.Spec.Tuning.Output = v1alpha1.DataSource{Claim: "data"}, v1alpha1.DataDestination{Claim: "out"}
			}), facts: check.Facts{ClaimModes: map[string][]string{"data": {"ReadWriteOnce"}, "out": {"ReadOnlyMany"}}}, refused: true,
			findings: []string{"error ClaimNotShared", "error ClaimNotShared"}, says: []string{`claim "data"`, "ReadWriteMany or ReadOnlyMany", `claim "out"`},
		},
		"TuningOnSmallPool": {
			reason: "the pods wait for each other on nodes that are paid", workspace: tuning("", onNodes(2, "azurefile-csi"), func(w *v1alpha1.Workspace) { w.Spec.Resource.NodePool = "p" }), refused: true,
			facts:    check.Facts{Pool: &v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC4as_T4_v3"}}}},
			findings: []string{"error NodesUnsupported"}, says: []string{"GPUNodePool p has 1"},
		},
		"TuningOnNodesCosts": {
			reason: "the budget is held to all nodes", workspace: tuning("Standard_NC4as_T4_v3", onNodes(2, "azurefile-csi"), budget("0.60")), refused: true,
			findings: []string{"error BudgetExceeded"}, says: []string{"2 nodes of Standard_NC4as_T4_v3"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, tc.facts, nil)
			var got []string
			var messages strings.Builder
			for _, f := range a.Findings {
				got = append(got, f.Severity+" "+f.Code)
				messages.WriteString(f.Message + "\n")
			}
			if !slices.Equal(got, tc.findings) || a.Refused() != tc.refused {
				t.Errorf("%s: %v, refused %v:\n%s", tc.reason, got, a.Refused(), messages.String())
			}
			for _, words := range tc.says {
				if !strings.Contains(messages.String(), words) {
					t.Errorf("%s: want %q in:\n%s", tc.reason, words, messages.String())
				}
			}
			for _, u := range a.Usable() {
				if want := max(1, int(tc.workspace.Spec.Resource.Count)); u.Nodes != want || u.CopyNodes != want || u.PodGPUs != 1 {
					t.Errorf("%d nodes, %d of the run, %d GPUs a pod; want %d, %d and 1", u.Nodes, u.CopyNodes, u.PodGPUs, want, want)
				}
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// runOnShared is a run on that pool.
func runOnShared(more string) *fstest.MapFile {
	return file(strings.Replace(unpromoted(tuning), "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared-a100", 1) + more)
}

// TestPoolTooSmall: what Workspaces want of a pool is compared with what it has at the
// most, where Git says both.
func TestPoolTooSmall(t *testing.T) {
	const filled = "  karpenter: {mode: NodePools, maxNodes: 2}\n"
	many := fstest.MapFS{}
	for i := range 8 {
		many[fmt.Sprintf("w%d.yaml", i)] = onShared(fmt.Sprintf("w%d", i), 1)
	}
	for name, c := range map[string]struct {
		reason string
		pool   *fstest.MapFile
		users  fstest.MapFS
		want   string // "": nothing is said
	}{
		"TooSmall": {
			"Each Workspace fits alone, and all together want more than is there.",
			shared(), fstest.MapFS{"a.yaml": onShared("phi-4-mini", 1), "b.yaml": onShared("qwen", 3)},
			"pool.yaml:7 spec.replicas: GPUNodePool shared-a100 has 1 GPU (1 node of 1), and the Workspaces that name it want 4 (qwen 3, phi-4-mini 1): pods beyond that wait; raise it to 4, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
		"Enough": {"Every pod has its GPU.", shared("replicas: 1", "replicas: 4"), fstest.MapFS{"a.yaml": onShared("phi-4-mini", 1), "b.yaml": onShared("qwen", 3)}, ""},
		"Autoscaled": {
			"The autoscaler of AKS goes no further than its bound.",
			shared("replicas: 1", "aks: {autoscale: {min: 0, max: 4}}"), fstest.MapFS{"a.yaml": onShared("qwen", 11)},
			"pool.yaml:7 spec.aks.autoscale.max: GPUNodePool shared-a100 has at most 4 GPUs (4 nodes of 1), and the Workspaces that name it want 11 (qwen 11): pods beyond that wait; raise it to 11, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
		"Filled": {
			"So does Karpenter, and which of the sizes it takes nobody knows: the largest counts.",
			shared("aks\n", "karpenter\n"+filled, "  replicas: 1\n", "", "[{", "[{instanceType: Standard_NC48ads_A100_v4}, {"), fstest.MapFS{"a.yaml": onShared("qwen", 5)},
			"pool.yaml:6 spec.karpenter.maxNodes: GPUNodePool shared-a100 has at most 4 GPUs (2 nodes of 2), and the Workspaces that name it want 5 (qwen 5): pods beyond that wait; raise it to 3, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
		"Existing": {
			"There may be more nodes than the least that must be usable.",
			shared("aks\n", "existing\n  nodeLabels: {rack: '7'}\n"), fstest.MapFS{"a.yaml": onShared("qwen", 3)}, "",
		},
		"Slices": {
			"A slice is a GPU to whoever asks.",
			shared("replicas: 1", "aks: {mig: MIG3g}"), fstest.MapFS{"a.yaml": onShared("qwen", 3)},
			"pool.yaml:4 spec.replicas: GPUNodePool shared-a100 has 2 GPU slices (1 node of 2), and the Workspaces that name it want 3 (qwen 3): pods beyond that wait; raise it to 2, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
		"GPUsOfACopy": {
			"A copy may take several.",
			shared("NC24ads", "NC48ads"), fstest.MapFS{"a.yaml": onShared("qwen", 2, "nodePool: shared-a100", "nodePool: shared-a100\n    gpus: 2")},
			"pool.yaml:7 spec.replicas: GPUNodePool shared-a100 has 2 GPUs (1 node of 2), and the Workspaces that name it want 4 (qwen 4): pods beyond that wait; raise it to 2, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
		"Preferred":   {"Of several sizes the first is bought where it can be had.", shared("[{", "[{instanceType: Standard_NC48ads_A100_v4}, {"), fstest.MapFS{"a.yaml": onShared("qwen", 2)}, ""},
		"UnknownSize": {"Nobody here knows how many GPUs it has.", shared("[{", "[{instanceType: Standard_NC1_Next}, {"), fstest.MapFS{"a.yaml": onShared("qwen", 3)}, ""},
		"LeastCopies": {
			"A service that scales by itself asks for its fewest copies, and for more when others have ended.",
			shared(), fstest.MapFS{"a.yaml": onShared("qwen", 3, "    replicas: 3", "    autoscale: {minReplicas: 1, maxReplicas: 3}")}, "",
		},
		"Suspended": {"It has no pods.", shared(), fstest.MapFS{"a.yaml": onShared("qwen", 3, "spec:\n", "spec:\n  suspend: true\n")}, ""},
		"Run": {
			"A run holds GPUs as a service does, until it ends.",
			shared(), fstest.MapFS{"a.yaml": onShared("qwen", 1), "t.yaml": runOnShared("")},
			"pool.yaml:7 spec.replicas: GPUNodePool shared-a100 has 1 GPU (1 node of 1), and the Workspaces that name it want 2 (qwen 1, tune 1): pods beyond that wait; raise it to 2, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
		"Queued":  {"A run in a queue waits by design.", shared(), fstest.MapFS{"a.yaml": onShared("qwen", 1), "t.yaml": runOnShared("  queue: team-a\n")}, ""},
		"Refused": {"What is refused has no pods.", shared(), fstest.MapFS{"a.yaml": onShared("qwen", 3, "phi-4-mini-instruct", "phi-4-mini-instrct")}, ""},
		"Many": {
			"The message stays a sentence.",
			shared(), many,
			"pool.yaml:7 spec.replicas: GPUNodePool shared-a100 has 1 GPU (1 node of 1), and the Workspaces that name it want 8 (w0 1, w1 1, w2 1, w3 1, w4 1 and 3 more): pods beyond that wait; raise it to 8, or suspend a Workspace, give it fewer copies or nodes of its own",
		},
	} {
		t.Run(name, func(t *testing.T) {
			c.users["pool.yaml"] = c.pool
			var got []string
			for _, f := range state(t, newJudge(), nil, c.users).All() {
				if f.Code == "PoolTooSmall" {
					got = append(got, location(f)+" "+f.Message)
				} else if f.File == "pool.yaml" {
					t.Errorf("%s: %s", location(f), f.Message)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestPoolBudget: nodes that are for several are nobody's to bound, and who says so of
// one Workspace is told.
func TestPoolBudget(t *testing.T) {
	const own = "spec:\n  budget: {maxUSDPerHour: '1'}\n"
	for name, c := range map[string]struct {
		reason string
		pool   *fstest.MapFile
		user   *fstest.MapFile
		want   string
	}{
		"Own": {
			"It was written to hold, and does not.", shared(), onShared("qwen", 1, "spec:\n", own),
			"a.yaml:6 spec.budget.maxUSDPerHour: no limit of one Workspace is for the nodes of GPUNodePool shared-a100, which all that name it share: what bounds their price is their number, spec.replicas of the pool; remove it, or give the Workspace nodes of its own",
		},
		"Autoscaled": {
			"The message names what bounds them.", shared("replicas: 1", "aks: {autoscale: {min: 0, max: 4}}"), onShared("qwen", 1, "spec:\n", own),
			"a.yaml:6 spec.budget.maxUSDPerHour: no limit of one Workspace is for the nodes of GPUNodePool shared-a100, which all that name it share: what bounds their price is their number, spec.aks.autoscale.max of the pool; remove it, or give the Workspace nodes of its own",
		},
		"Default":  {"A RepoSync says it for those with nodes of their own.", shared(), onShared("qwen", 1), ""},
		"Existing": {"Nothing is paid for them.", shared("aks\n", "existing\n  nodeLabels: {rack: '7'}\n"), onShared("qwen", 1, "spec:\n", own), ""},
		"WholeRun": {"The share of a run is counted.", shared(), runOnShared("  budget: {maxUSD: '100'}\n"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			sync := team(func(s *v1alpha1.RepoSync) {
				s.Spec.Defaults = &v1alpha1.SyncDefaults{Budget: &v1alpha1.Budget{MaxUSDPerHour: "4"}}
			})
			var got []string
			for _, f := range state(t, newJudge(), sync, fstest.MapFS{"a.yaml": c.user, "pool.yaml": c.pool}).All() {
				if f.Code == "BudgetIdle" {
					got = append(got, location(f)+" "+f.Message)
				}
			}
			if diff := cmp.Diff(c.want, strings.Join(got, "\n")); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func scaled(least, most int32) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		w.Spec.Inference.Autoscale = &v1alpha1.Autoscale{MinReplicas: ptr.To(least), MaxReplicas: most}
	}
}

func TestAutoscale(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		code      string // of the error; "" none
		says      string
		least     int // nodes
		most      int
		usd       string // of the least, and of the most
		maxUSD    string
	}{
		"OneGPU":  {reason: "a node a copy", workspace: serving("Standard_NC24ads_A100_v4", scaled(2, 5)), least: 2, most: 5, usd: "7.346", maxUSD: "18.365"},
		"TwoGPUs": {reason: "two copies share a node", workspace: serving("Standard_NC48ads_A100_v4", scaled(1, 5)), least: 1, most: 3, usd: "7.346", maxUSD: "22.038"},
		"Zero":    {reason: "no copy, no node, no money", workspace: serving("Standard_NC24ads_A100_v4", scaled(0, 2)), least: 0, most: 2, usd: "0", maxUSD: "7.346"},
		"Budget": {
			reason: "the most copies are held against the budget", workspace: serving("Standard_NC24ads_A100_v4", scaled(1, 3), budget("10")),
			code: check.BudgetExceeded, says: "3 nodes of Standard_NC24ads_A100_v4 for maxReplicas cost $11.019/h",
		},
		"Count": {
			reason: "two rules for one number of nodes",
			workspace: serving("Standard_NC24ads_A100_v4", scaled(1, 3), func(w *v1alpha1.Workspace) {
				w.Spec.Resource.Count = 2
			}),
			code: check.AutoscaleUnsupported, says: "leave count out",
		},
		"SeveralNodes": {
			reason: "copies that are StatefulSets have no number to scale", workspace: serving("Standard_ND96isr_H100_v5", preset("deepseek-ai/DeepSeek-R1-0528"), scaled(1, 2)),
			code: check.AutoscaleUnsupported, says: "each copy is a StatefulSet of its own",
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, check.Facts{Region: "eastus"}, nil)
			if tc.code != "" {
				for _, f := range a.Findings {
					if f.Severity == finding.Error && f.Code == tc.code && strings.Contains(f.Message, tc.says) {
						return
					}
				}
				t.Fatalf("%s: no %s that says %q among %+v", tc.reason, tc.code, tc.says, a.Findings)
			}
			if a.Refused() {
				t.Fatalf("%s: refused: %+v", tc.reason, a.Findings)
			}
			c, s := a.Usable()[0], a.Status(0)
			if c.LeastNodes != tc.least || c.Nodes != tc.most || int(s.Nodes) != tc.least || int(s.MaxNodes) != tc.most {
				t.Errorf("%s: %d to %d nodes, status %d to %d; want %d to %d", tc.reason, c.LeastNodes, c.Nodes, s.Nodes, s.MaxNodes, tc.least, tc.most)
			}
			if s.USDPerHour != tc.usd || s.MaxUSDPerHour != tc.maxUSD {
				t.Errorf("%s: $%s to $%s an hour, want %s to %s", tc.reason, s.USDPerHour, s.MaxUSDPerHour, tc.usd, tc.maxUSD)
			}
			if now := c.Size(s, 2); int(now.Nodes) != c.NodesFor(2) {
				t.Errorf("%s: two copies are sized to %d nodes", tc.reason, now.Nodes)
			}
		})
	}
}

// A candidate that takes the same nodes for the most copies may take others in
// between: a pool could not follow both.
func TestAutoscaleCandidatesDiffer(t *testing.T) {
	w := serving("", scaled(1, 2), candidates(
		v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4"}, v1alpha1.Candidate{InstanceType: "Standard_NC48ads_A100_v4"}))
	a := check.Workspace(w, check.Facts{Region: "eastus"}, nil)
	if n := len(a.Usable()); n != 1 {
		t.Errorf("%d candidates are used, want the first alone", n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPoolReady: a pool may be Ready without a node, and then has no GPU to use.
func TestPoolReady(t *testing.T) {
	t4 := &v1alpha1.CandidateStatus{InstanceType: "Standard_NC4as_T4_v3"}
	cases := map[string]struct {
		reason string
		phase  v1alpha1.PoolPhase
		has    *v1alpha1.CandidateStatus
		status metav1.ConditionStatus
		want   bool
	}{
		"Ready":    {"Its nodes can be used.", v1alpha1.PhaseReady, t4, metav1.ConditionTrue, true},
		"Unfilled": {"Its pods bring its nodes.", v1alpha1.PhaseReady, t4, metav1.ConditionTrue, true},
		"NotYet":   {"Its nodes are on their way.", v1alpha1.PhaseCreating, t4, metav1.ConditionFalse, false},
		"NeverHad": {"Nobody has wanted a node of it: there is none.", v1alpha1.PhaseReady, nil, metav1.ConditionTrue, false},
		"Idle":     {"It let them go, and brings them back for whoever names it.", v1alpha1.PhaseIdle, t4, metav1.ConditionTrue, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{}, pool: &v1alpha1.GPUNodePool{}}
			p.ws.Spec.Resource.NodePool = "shared"
			p.pool.Status.Phase, p.pool.Status.Candidate = tc.phase, tc.has
			p.pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: tc.status, Reason: "R"}}
			if got := p.poolReady(); got != tc.want {
				t.Errorf("%s: ready %v", tc.reason, got)
			}
			observePool(p)
			if said := p.ws.Status.Conditions[0]; (said.Status == metav1.ConditionTrue) != tc.want {
				t.Errorf("%s: ResourceReady %+v", tc.reason, said)
			}
		})
	}
}

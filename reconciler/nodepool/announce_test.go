// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"slices"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestHoldIsAnnounced: a deletion that begins to wait for a person is a warning, once
// for each reason, whether or not the phase changes with it.
func TestHoldIsAnnounced(t *testing.T) {
	at := func(phase v1alpha1.PoolPhase, reason string) *v1alpha1.GPUNodePool {
		p := gpuPool(subject, t4)
		p.Status.Phase = phase
		p.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionFalse, Reason: v1alpha1.ReasonDeleting, Message: "going"}}
		if reason != "" {
			p.Status.Conditions[0].Reason, p.Status.Conditions[0].Message = reason, "held"
			p.Status.Conditions = append(p.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDeletionBlocked, Status: metav1.ConditionTrue, Reason: reason, Message: "held"})
		}
		return p
	}
	tooMany := at(v1alpha1.PhaseReady, "")
	tooMany.Status.Conditions = append(tooMany.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDeletionBlocked, Status: metav1.ConditionTrue, Reason: pool.ReasonNodesInUse, Message: "busy"})
	cases := map[string]struct {
		reason        string
		before, after *v1alpha1.GPUNodePool
		want          []string // beginnings
	}{
		"Later": {
			"The phase is Deleting already: foreign pods came meanwhile.",
			at(v1alpha1.PhaseDeleting, ""), at(v1alpha1.PhaseDeleting, pool.ReasonForeignPods), []string{"Warning ForeignPods held"},
		},
		"AtOnce": {
			"It comes with the phase, and is said once.",
			at(v1alpha1.PhaseReady, ""), at(v1alpha1.PhaseDeleting, pool.ReasonMassDeletion), []string{"Warning MassDeletion held"},
		},
		"Another": {
			"What a person approved is held by something else now.",
			at(v1alpha1.PhaseDeleting, pool.ReasonMassDeletion), at(v1alpha1.PhaseDeleting, pool.ReasonInUse), []string{"Warning InUse held"},
		},
		"Still":   {"Nothing has happened.", at(v1alpha1.PhaseDeleting, pool.ReasonInUse), at(v1alpha1.PhaseDeleting, pool.ReasonInUse), nil},
		"Ended":   {"It goes on.", at(v1alpha1.PhaseDeleting, pool.ReasonInUse), at(v1alpha1.PhaseDeleting, ""), nil},
		"TooMany": {"Nodes more than wanted wait by themselves.", at(v1alpha1.PhaseReady, ""), tooMany, nil},
		"Goes":    {"A deletion that is not held is a phase as any.", at(v1alpha1.PhaseReady, ""), at(v1alpha1.PhaseDeleting, ""), []string{"Normal Deleting going"}},
	}
	lost := at(v1alpha1.PhaseNodesJoining, "")
	lost.Status.Conditions = append(lost.Status.Conditions, metav1.Condition{Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue, Reason: pool.ReasonNodeLost, Message: "silent"})
	cases["Lost"] = struct {
		reason        string
		before, after *v1alpha1.GPUNodePool
		want          []string
	}{"The phase is that of missing nodes already: a machine that is deleted leaves a word.", at(v1alpha1.PhaseNodesJoining, ""), lost, []string{"Warning NodeLost silent"}}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			recorder := events.NewFakeRecorder(10)
			(&Reconciler{Deps: Deps{Events: recorder}}).announce(tc.before, tc.after)
			close(recorder.Events)
			var said []string
			for e := range recorder.Events {
				said = append(said, e)
			}
			if !slices.EqualFunc(said, tc.want, strings.HasPrefix) {
				t.Errorf("%s\nsaid %q, want %q", tc.reason, said, tc.want)
			}
		})
	}
}

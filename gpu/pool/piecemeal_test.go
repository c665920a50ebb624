// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPiecemeal: a provider that makes nodes one by one, and holds what failed
// until it was seen.
func TestPiecemeal(t *testing.T) {
	good := Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}
	with := func(o Observation, change func(*Observation)) Observation { change(&o); return o }
	orphan := spec(func(p *v1alpha1.GPUNodePool) { p.Spec.DeletionPolicy = v1alpha1.Orphan })
	for name, c := range map[string]struct {
		reason string
		in     Facts
		want   verdict
		says   string
	}{
		"NextNode": {
			reason: "The second is ordered while the first is on its way.",
			in:     facts(v1alpha1.PhaseCreating, with(ours(StateRunning), func(o *Observation) { o.Short, o.Detail = true, "NodeClaim g-0 is not Launched yet" }), replicas(2)),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseCreating, Reason: ReasonCreating, Attempt: 1, Wait: poll},
			says:   "NodeClaim g-0 is not Launched yet",
		},
		"NotReady": {
			reason: "What the provider waits for is told, and nothing is ordered.",
			in:     facts(v1alpha1.PhaseCreating, with(ours(StateRunning), func(o *Observation) { o.Count, o.Detail = 0, "NodePool g is not Ready: NodeClassNotFound" })),
			want:   verdict{Phase: v1alpha1.PhaseCreating, Reason: ReasonCreating, Attempt: 1, Wait: poll},
			says:   "NodePool g is not Ready: NodeClassNotFound",
		},
		"TimedOut": {
			reason: "The cause goes into the reason for which the candidate is skipped.",
			in:     facts(v1alpha1.PhaseCreating, with(ours(StateRunning), func(o *Observation) { o.Detail = "NodePool g is not Ready: NodeClassNotFound" }), after(21*time.Minute)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassProvisionTimeout), Attempt: 1, Skipped: 1, Wait: Soon},
			says:   "NodeClassNotFound",
		},
		"ReplacementFailed": {
			reason: "Nodes that work stay, and the failure to replace one is told.",
			in: facts(v1alpha1.PhaseReady, with(ours(StateFailed), func(o *Observation) {
				o.Failure = &Failure{Class: ClassCapacity, Text: "InsufficientCapacityError: none"}
			}), replicas(2), nodes(good)),
			want: verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
			says: "InsufficientCapacityError: none",
		},
		"LetGo": {
			reason: "What is left behind in Ready is cleared away.",
			in:     facts(v1alpha1.PhaseReady, with(ours(StateRunning), func(o *Observation) { o.Short = true }), nodes(good)),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: poll},
		},
		"OrphanHeld": {
			reason: "A finalizer of ours must not outlive the object.",
			in:     facts(v1alpha1.PhaseReady, with(ours(StateSucceeded), func(o *Observation) { o.Held = true }), orphan, deleted, nodes(good)),
			want:   verdict{Do: ActionDelete, Phase: v1alpha1.PhaseDeleting, Reason: ReasonOrphaned, Attempt: 1, Wait: poll},
		},
		"OrphanFree": {
			reason: "Then it may go.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), orphan, deleted, nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseDeleting, Reason: ReasonOrphaned, Attempt: 1, Wait: poll, Gone: true},
		},
		"Unregistered": {
			reason: "A node that takes no pods yet is not Ready, whatever its kubelet says.",
			in:     facts(v1alpha1.PhaseCreating, ours(StateSucceeded), nodes(Node{Name: "n1", Problem: closed["karpenter.sh/unregistered"]})),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: v1alpha1.ReasonWaitingForNodes, Attempt: 1, Wait: poll},
			says:   "Karpenter has not registered it yet",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := Decide(c.in)
			if diff := cmp.Diff(c.want, verdictOf(d)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			if !strings.Contains(d.Message, c.says) {
				t.Errorf("%s\ngot %q, want %q in it", c.reason, d.Message, c.says)
			}
		})
	}
}

// TestPartial: after one of several mutations the next follows at once.
func TestPartial(t *testing.T) {
	f := facts(v1alpha1.PhaseCreating, ours(StateRunning), replicas(2))
	if d := Acted(f, Decision{Do: ActionEnsure, Phase: v1alpha1.PhaseCreating}, StepPartial); d.Wait != Soon || d.Phase != v1alpha1.PhaseCreating {
		t.Errorf("got %+v", d)
	}
}

// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestCleaningIsTakenBack: what is recorded as to be deleted is wanted after all, before
// it could be.
func TestCleaningIsTakenBack(t *testing.T) {
	good := Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}
	skipped := spec(func(p *v1alpha1.GPUNodePool) {
		p.Status.Skipped = []v1alpha1.SkippedCandidate{{InstanceType: a100, Priority: v1alpha1.OnDemand, Class: string(ClassProvisionTimeout), Until: metav1.NewTime(now.Add(time.Hour))}}
	})
	otherSkipped := spec(func(p *v1alpha1.GPUNodePool) {
		p.Status.Skipped = []v1alpha1.SkippedCandidate{{InstanceType: t4, Priority: v1alpha1.OnDemand, Class: string(ClassCapacity), Until: metav1.NewTime(now.Add(time.Hour))}}
	})
	dropped := spec(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = []v1alpha1.Candidate{onDemand(t4)} })
	preempted := ours(StateFailed)
	preempted.Failure = &Failure{Class: ClassBusy, Text: "preempted"}
	goesOn := verdict{Do: ActionDelete, Phase: v1alpha1.PhaseCleaning, Reason: ReasonCleaning, Attempt: 1, Wait: poll}
	ready := verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle}
	with := func(v verdict, skipped int) verdict { v.Skipped = skipped; return v }
	for name, tc := range map[string]struct {
		reason string
		in     Facts
		want   verdict
	}{
		"ListedAgain":       {"The commit that dropped the candidate was reverted.", facts(v1alpha1.PhaseCleaning, ours(StateSucceeded), nodes(good), readyOnce), ready},
		"NeverReady":        {"Likewise: it is as good as another.", facts(v1alpha1.PhaseCleaning, ours(StateSucceeded), nodes(good)), ready},
		"DuringAnOperation": {"AKS upgrades the nodes, and work runs on them.", facts(v1alpha1.PhaseCleaning, ours(StateRunning), nodes(good), readyOnce), ready},
		"OtherSkipped":      {"What is ruled out is another candidate.", facts(v1alpha1.PhaseCleaning, ours(StateSucceeded), nodes(good), otherSkipped), with(ready, 1)},
		"StillDropped":      {"Git does not list it.", facts(v1alpha1.PhaseCleaning, ours(StateSucceeded), nodes(good), readyOnce, dropped), goesOn},
		"GivenUp":           {"Its time was over before the nodes came.", facts(v1alpha1.PhaseCleaning, ours(StateSucceeded), nodes(good), skipped), with(goesOn, 1)},
		"Preempted":         {"It failed, though that rules no candidate out.", facts(v1alpha1.PhaseCleaning, preempted), goesOn},
		"HalfMade":          {"Nothing of it was usable yet.", facts(v1alpha1.PhaseCleaning, ours(StateRunning)), goesOn},
		"Going":             {"It is being deleted.", facts(v1alpha1.PhaseCleaning, ours(StateDeleting), nodes(good), readyOnce), verdict{Phase: v1alpha1.PhaseCleaning, Reason: ReasonCleaning, Attempt: 1, Wait: poll}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, verdictOf(Decide(tc.in))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

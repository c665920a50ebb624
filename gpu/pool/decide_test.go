// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const (
	t4   = "Standard_NC4as_T4_v3"
	a100 = "Standard_NC24ads_A100_v4"
	nc48 = "Standard_NC48ads_A100_v4" // two GPUs, of the same family
	h100 = "Standard_NC40ads_H100_v5"
)

var now = time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC)

func catalog(name string) (Size, bool) {
	s, ok := map[string]Size{
		t4: {GPUs: 1, Family: "T4"}, a100: {GPUs: 1, Family: "A100"}, nc48: {GPUs: 2, Family: "A100"}, h100: {GPUs: 1, Family: "H100"},
	}[name]
	return s, ok
}

func onDemand(name string, zones ...string) v1alpha1.Candidate {
	return v1alpha1.Candidate{InstanceType: name, Priority: v1alpha1.OnDemand, Zones: zones}
}

func spot(name string) v1alpha1.Candidate {
	return v1alpha1.Candidate{InstanceType: name, Priority: v1alpha1.Spot}
}

// facts are those of a pool of one node in a phase, changed by the case.
func facts(phase v1alpha1.PoolPhase, seen Observation, change ...func(*Facts)) Facts {
	p := &v1alpha1.GPUNodePool{}
	p.Name, p.Namespace, p.UID, p.Generation = "p", "team-a", "uid", 1
	p.Spec.Candidates = []v1alpha1.Candidate{onDemand(a100), onDemand(t4)}
	p.Spec.Timeouts = v1alpha1.PoolTimeouts{Provision: metav1.Duration{Duration: 20 * time.Minute}, GPUReady: metav1.Duration{Duration: 15 * time.Minute}}
	p.Status.ObservedGeneration, p.Status.Phase = 1, phase
	if phase != "" && phase != v1alpha1.PhasePending {
		p.Status.Candidate = &v1alpha1.CandidateStatus{InstanceType: a100, Priority: v1alpha1.OnDemand, Attempt: 1, Since: metav1.NewTime(now), Accepted: &metav1.Time{Time: now}}
		p.Status.PoolName = Name("i", "uid", 1)
	}
	p.Status.Since = &metav1.Time{Time: now}
	f := Facts{Now: now.Add(5 * time.Minute), Installation: "i", Pool: p, Seen: seen, Catalog: catalog, Poll: 15 * time.Second, Idle: 2 * time.Minute}
	for _, c := range change {
		c(&f)
	}
	return f
}

func ours(s State) Observation {
	return Observation{Exists: true, Owned: true, State: s, Count: 1, Fresh: true}
}

var absent = Observation{Fresh: true}

func nodes(n ...Node) func(*Facts) { return func(f *Facts) { f.Nodes = n } }

func spec(change func(*v1alpha1.GPUNodePool)) func(*Facts) {
	return func(f *Facts) { change(f.Pool) }
}

func after(d time.Duration) func(*Facts) { return func(f *Facts) { f.Now = now.Add(d) } }

func degradedBefore(f *Facts) {
	f.Pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionDegraded, Status: metav1.ConditionTrue}}
}

// readyOnce is a pool of which the status tells that it came as far as Ready.
func readyOnce(f *Facts) {
	f.Pool.Status.Phases = []v1alpha1.PhaseTime{{Phase: v1alpha1.PhaseClaiming}, {Phase: v1alpha1.PhaseCreating}, {Phase: v1alpha1.PhaseReady}}
}

func deleted(f *Facts) { f.Pool.DeletionTimestamp = &metav1.Time{Time: now} }

func replicas(n int32) func(*Facts) {
	return spec(func(p *v1alpha1.GPUNodePool) { p.Spec.Replicas = &n })
}

// verdict is what a case looks at.
type verdict struct {
	Do      Action
	Phase   v1alpha1.PoolPhase
	Reason  string
	Attempt int32
	Skipped int
	Wait    time.Duration
	Stalled bool
	Gone    bool
	Alarms  []string
}

func verdictOf(d Decision) verdict {
	v := verdict{Do: d.Do, Phase: d.Phase, Reason: d.Reason, Skipped: len(d.Skipped), Wait: d.Wait, Stalled: d.Stalled, Gone: d.Gone}
	if d.Candidate != nil {
		v.Attempt = d.Candidate.Attempt
	}
	for _, a := range d.Alarms {
		v.Alarms = append(v.Alarms, a.Type)
	}
	return v
}

const (
	poll = 15 * time.Second
	idle = 2 * time.Minute
)

func TestDecide(t *testing.T) {
	good := Node{Name: "n1", Ready: true, GPUs: 1, Offered: 1}
	blind := Node{Name: "n1", Ready: true}
	failed := ours(StateFailed)
	failed.Failure = &Failure{Class: ClassCapacity, Code: "AllocationFailed", Text: "no machines"}
	preempted := ours(StateFailed)
	preempted.Failure = &Failure{Class: ClassBusy, Text: "preempted"}
	notOurs := Observation{Exists: true, NotOwned: "its tag names another object", State: StateSucceeded}
	leftover := Leftover{Name: Name("i", "uid", 3), Attempt: 3, Candidate: onDemand(t4), State: StateSucceeded}
	withLeftover := func(o Observation, l Leftover) Observation { o.Leftovers = []Leftover{l}; return o }
	leaving := leftover
	leaving.State = StateDeleting
	count := func(o Observation, n int32) Observation { o.Count = n; return o }

	cases := map[string]struct {
		reason string
		in     Facts
		want   verdict
	}{
		"NewPoolIsRecordedFirst": {
			reason: "The attempt is in the status before the cloud is asked, so that a crash in between orders nothing twice.",
			in:     facts("", absent),
			want:   verdict{Phase: v1alpha1.PhaseClaiming, Reason: ReasonClaiming, Attempt: 1, Wait: Soon},
		},
		"RecordedAttemptIsOrdered": {
			reason: "A record that was read back may be acted on.",
			in:     facts(v1alpha1.PhaseClaiming, absent),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseClaiming, Reason: ReasonClaiming, Attempt: 1, Wait: poll},
		},
		"OrderWhoseAnswerWasLost": {
			reason: "The pool is there and ours: the order went out before the crash.",
			in:     facts(v1alpha1.PhaseClaiming, ours(StateRunning)),
			want:   verdict{Phase: v1alpha1.PhaseCreating, Reason: ReasonCreating, Attempt: 1, Wait: poll},
		},
		"NoNodeWanted": {
			reason: "A pool of no nodes is not worth an agent pool, and has all that is wanted.",
			in:     facts("", absent, replicas(0)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: ReasonNothingWanted},
		},
		"CreatedButNotSeenYet": {
			reason: "Just after an order was taken, a list that does not show it is merely old.",
			in:     facts(v1alpha1.PhaseCreating, absent, after(30*time.Second)),
			want:   verdict{Phase: v1alpha1.PhaseCreating, Reason: ReasonCreating, Attempt: 1, Wait: poll},
		},
		"VanishedIsOrderedAgain": {
			reason: "Somebody deleted our pool: the declared state is to have it, under a new name.",
			in:     facts(v1alpha1.PhaseReady, absent),
			want:   verdict{Phase: v1alpha1.PhaseClaiming, Reason: ReasonClaiming, Attempt: 2, Wait: Soon},
		},
		"CreatingTimesOut": {
			reason: "A candidate that does not come in time is given up.",
			in:     facts(v1alpha1.PhaseCreating, ours(StateRunning), after(21*time.Minute)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassProvisionTimeout), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"FailedIsSkippedBeforeItIsDeleted": {
			reason: "Why it failed is recorded first: deleting takes the reason away.",
			in:     facts(v1alpha1.PhaseCreating, failed),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassCapacity), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"PreemptedSaysNothingOfTheCandidate": {
			reason: "Another operation won: the same candidate is tried again after cleaning.",
			in:     facts(v1alpha1.PhaseCreating, preempted),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassBusy), Attempt: 1, Wait: Soon},
		},
		"CleaningDeletes": {
			reason: "The Failed pool counts against the limit of pools, and its name is used up.",
			in:     facts(v1alpha1.PhaseCleaning, failed),
			want:   verdict{Do: ActionDelete, Phase: v1alpha1.PhaseCleaning, Reason: ReasonCleaning, Attempt: 1, Wait: poll},
		},
		"CleaningWaits": {
			reason: "One delete is enough.",
			in:     facts(v1alpha1.PhaseCleaning, ours(StateDeleting)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: ReasonCleaning, Attempt: 1, Wait: poll},
		},
		"CleanedGoesOn": {
			reason: "Nothing is left, so the next attempt may be recorded.",
			in:     facts(v1alpha1.PhaseCleaning, absent),
			want:   verdict{Phase: v1alpha1.PhaseClaiming, Reason: ReasonClaiming, Attempt: 2, Wait: Soon},
		},
		"SucceededWithoutNodes": {
			reason: "A pool may say Succeeded with no machine at all: only nodes with GPUs count.",
			in:     facts(v1alpha1.PhaseCreating, ours(StateSucceeded)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: v1alpha1.ReasonWaitingForNodes, Attempt: 1, Wait: poll},
		},
		"NodesNeverJoin": {
			reason: "The provision timeout counts from the order, through creating and joining.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), after(21*time.Minute)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassProvisionTimeout), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"NodeWithoutGPUs": {
			reason: "A Ready node without nvidia.com/gpu runs nothing of ours.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), nodes(blind)),
			want:   verdict{Phase: v1alpha1.PhaseGPUWaiting, Reason: ReasonGPUsNotReady, Attempt: 1, Wait: poll},
		},
		"GPUsNeverCome": {
			reason: "Idle GPUs cost as much as busy ones.",
			in:     facts(v1alpha1.PhaseGPUWaiting, ours(StateSucceeded), nodes(blind), after(16*time.Minute)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassGPUTimeout), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"Ready": {
			reason: "Every node has every GPU that its size promises.",
			in:     facts(v1alpha1.PhaseGPUWaiting, ours(StateSucceeded), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
		},
		"NodesBeforeTheCloudIsDone": {
			reason: "Creating may still fail after the nodes have joined.",
			in:     facts(v1alpha1.PhaseCreating, ours(StateRunning), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseCreating, Reason: ReasonCreating, Attempt: 1, Wait: poll},
		},
		"UpgradeKeepsReady": {
			reason: "An operation of somebody else on a pool whose nodes work is no outage.",
			in:     facts(v1alpha1.PhaseReady, ours(StateRunning), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
		},
		"FailedUpgradeIsNotDeleted": {
			reason: "A pool that was Ready may run work: a failed operation on it is only told.",
			in:     facts(v1alpha1.PhaseReady, failed, nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"LostGPUDegrades": {
			reason: "No timeout takes nodes away on which work may run.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(blind), after(10*time.Hour)),
			want:   verdict{Phase: v1alpha1.PhaseGPUWaiting, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"StaysDegraded": {
			reason: "The phase left Ready, the promise not to time out stays.",
			in:     facts(v1alpha1.PhaseGPUWaiting, ours(StateSucceeded), nodes(blind), degradedBefore, after(10*time.Hour)),
			want:   verdict{Phase: v1alpha1.PhaseGPUWaiting, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"ReadyOnceAndNotJoined": {
			reason: "Its condition was lost, and the promise not to time out stays.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), nodes(Node{Name: "n1"}), readyOnce, after(10*time.Hour)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"ReadyOnceAndScaleRefused": {
			reason: "More nodes than before cannot be had; those that are there run work.",
			in:     facts(v1alpha1.PhaseNodesJoining, failed, nodes(good), readyOnce, replicas(2)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"IdleFails": {
			reason: "It has no node that was usable, and is not kept for any.",
			in:     facts(v1alpha1.PhaseIdle, count(failed, 0), readyOnce),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassCapacity), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"AllEvicted": {
			reason: "Where no node is left no work is, and evicted spot nodes do not come back.",
			in:     facts(v1alpha1.PhaseNodesJoining, ours(StateSucceeded), degradedBefore, after(21*time.Minute)),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassProvisionTimeout), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"Scale": {
			reason: "The count is the one thing that changes in place.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(good), replicas(2)),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"ScaleToZero": {
			reason: "Zero nodes are what was asked for.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(good), replicas(0)),
			want:   verdict{Do: ActionEnsure, Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: poll},
		},
		"ScaleWaitsForTheOperation": {
			reason: "A pool under an operation takes no other.",
			in:     facts(v1alpha1.PhaseReady, count(ours(StateRunning), 1), nodes(good), replicas(2)),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"DroppedCandidateIsReplaced": {
			reason: "Git no longer lists what runs.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), nodes(good), spec(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = []v1alpha1.Candidate{onDemand(h100)} })),
			want:   verdict{Phase: v1alpha1.PhaseCleaning, Reason: ReasonCleaning, Attempt: 1, Wait: Soon},
		},
		"NotOurs": {
			reason: "A pool that fails one mark is somebody else's, and no event tells when it is ours again.",
			in:     facts(v1alpha1.PhaseClaiming, notOurs),
			want:   verdict{Phase: v1alpha1.PhaseLost, Reason: string(ClassOwnership), Attempt: 1, Stalled: true, Wait: idle, Alarms: []string{v1alpha1.ConditionOwnershipLost}},
		},
		"OursAgainDuringAnOperation": {
			reason: "Putting the tag back is an operation to AKS: the order of long ago times out no nodes that were usable.",
			in:     facts(v1alpha1.PhaseLost, ours(StateRunning), nodes(good), readyOnce, after(10*time.Hour)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
		},
		"OursAgainWithoutItsGPU": {
			reason: "What is wrong with its node is as after Ready.",
			in:     facts(v1alpha1.PhaseLost, ours(StateRunning), nodes(blind), readyOnce, after(10*time.Hour)),
			want:   verdict{Phase: v1alpha1.PhaseGPUWaiting, Reason: ReasonNodesMissing, Attempt: 1, Wait: poll, Alarms: []string{v1alpha1.ConditionDegraded}},
		},
		"OursAgain": {
			reason: "A person put the tag back.",
			in:     facts(v1alpha1.PhaseLost, ours(StateSucceeded), nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: idle},
		},
		"StatusLost": {
			reason: "A restored object finds its pool by the marks instead of buying another.",
			in:     facts("", withLeftover(absent, leftover)),
			want:   verdict{Phase: v1alpha1.PhaseCreating, Reason: ReasonCreating, Attempt: 3, Wait: Soon},
		},
		"LeftoverGoesFirst": {
			reason: "Two attempts at once would cost twice.",
			in:     facts(v1alpha1.PhaseClaiming, withLeftover(absent, leftover)),
			want:   verdict{Do: ActionDelete, Phase: v1alpha1.PhaseClaiming, Reason: ReasonCleaning, Attempt: 1, Wait: poll},
		},
		"LeftoverBesideTheCurrent": {
			reason: "The pool in use stays in use while an old attempt is deleted.",
			in:     facts(v1alpha1.PhaseReady, withLeftover(ours(StateSucceeded), leftover), nodes(good)),
			want:   verdict{Do: ActionDelete, Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1, Wait: poll},
		},
		"LeftoverThatGoes": {
			reason: "One delete is enough.",
			in:     facts(v1alpha1.PhaseClaiming, withLeftover(absent, leaving)),
			want:   verdict{Phase: v1alpha1.PhaseClaiming, Reason: ReasonCleaning, Attempt: 1, Wait: poll},
		},
		"DeleteOurs": {
			reason: "Deleting begins with a pool that a live look showed as ours.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), deleted),
			want:   verdict{Do: ActionDelete, Phase: v1alpha1.PhaseDeleting, Reason: v1alpha1.ReasonDeleting, Attempt: 1, Wait: poll},
		},
		"DeletedWaits": {
			reason: "The object stays while its nodes cost money.",
			in:     facts(v1alpha1.PhaseDeleting, ours(StateDeleting), deleted),
			want:   verdict{Phase: v1alpha1.PhaseDeleting, Reason: v1alpha1.ReasonDeleting, Attempt: 1, Wait: poll},
		},
		"DeletedIsGone": {
			reason: "Only a live look may say that nothing is left.",
			in:     facts(v1alpha1.PhaseDeleting, absent, deleted),
			want:   verdict{Phase: v1alpha1.PhaseDeleting, Reason: v1alpha1.ReasonDeleting, Attempt: 1, Wait: poll, Gone: true},
		},
		"DeletedOnHearsay": {
			reason: "An old list that does not show the pool proves nothing.",
			in:     facts(v1alpha1.PhaseDeleting, Observation{}, deleted),
			want:   verdict{Phase: v1alpha1.PhaseDeleting, Reason: v1alpha1.ReasonDeleting, Attempt: 1, Wait: poll},
		},
		"DeleteLeftover": {
			reason: "Every attempt goes before the object does.",
			in:     facts(v1alpha1.PhaseDeleting, withLeftover(absent, leftover), deleted),
			want:   verdict{Do: ActionDelete, Phase: v1alpha1.PhaseDeleting, Reason: v1alpha1.ReasonDeleting, Attempt: 1, Wait: poll},
		},
		"DeleteNotOurs": {
			reason: "Deleting the object is no leave to delete somebody's pool.",
			in:     facts(v1alpha1.PhaseLost, notOurs, deleted),
			want:   verdict{Phase: v1alpha1.PhaseLost, Reason: string(ClassOwnership), Attempt: 1, Stalled: true, Wait: poll, Alarms: []string{v1alpha1.ConditionOwnershipLost}},
		},
		"Orphan": {
			reason: "The owner said that the nodes stay.",
			in:     facts(v1alpha1.PhaseReady, ours(StateSucceeded), deleted, spec(func(p *v1alpha1.GPUNodePool) { p.Spec.DeletionPolicy = v1alpha1.Orphan })),
			want:   verdict{Phase: v1alpha1.PhaseDeleting, Reason: ReasonOrphaned, Attempt: 1, Wait: poll, Gone: true},
		},
		"ExistingReady": {
			reason: "Nodes that exist are judged by the same rule and never polled.",
			in:     facts("", Observation{External: true, Fresh: true}, nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseReady, Reason: v1alpha1.ReasonSucceeded, Attempt: 1},
		},
		"ExistingMissing": {
			reason: "Nobody is asked to make them.",
			in:     facts("", Observation{External: true, Fresh: true}),
			want:   verdict{Phase: v1alpha1.PhaseNodesJoining, Reason: v1alpha1.ReasonWaitingForNodes, Attempt: 1},
		},
		"ExistingDeleted": {
			reason: "They were there before us.",
			in:     facts(v1alpha1.PhaseReady, Observation{External: true, Fresh: true}, deleted, nodes(good)),
			want:   verdict{Phase: v1alpha1.PhaseDeleting, Reason: v1alpha1.ReasonReleased, Attempt: 1, Wait: poll, Gone: true},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, verdictOf(Decide(tc.in))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// TestOrderWhoseAnswerWasLost: the provision timeout counts from when the order was found,
// once: what the pool waited for a busy cluster before is not part of it.
func TestOrderWhoseAnswerWasLost(t *testing.T) {
	for name, seen := range map[string]Observation{"Creating": ours(StateRunning), "NodesJoining": ours(StateSucceeded)} {
		t.Run(name, func(t *testing.T) {
			f := facts(v1alpha1.PhaseClaiming, seen, after(25*time.Minute))
			f.Pool.Status.Candidate.Accepted = nil
			found := f.Now
			for _, c := range []struct {
				at   time.Duration
				want v1alpha1.PoolPhase
			}{
				{0, v1alpha1.PoolPhase(name)},
				{poll, v1alpha1.PoolPhase(name)}, // by a controller that has just started, or any other
				{19 * time.Minute, v1alpha1.PoolPhase(name)},
				{21 * time.Minute, v1alpha1.PhaseCleaning},
			} {
				f.Now = found.Add(c.at)
				d := Decide(f)
				if d.Phase != c.want || d.Candidate.Accepted == nil || !d.Candidate.Accepted.Time.Equal(found) {
					t.Errorf("%s after it was found: phase %s, accepted %s; want %s, %s", c.at, d.Phase, d.Candidate.Accepted, c.want, found)
				}
				f.Pool.Status.Phase, f.Pool.Status.Candidate = d.Phase, d.Candidate
			}
		})
	}
}

func TestDecideIsPure(t *testing.T) {
	f := facts(v1alpha1.PhaseCreating, ours(StateRunning), after(21*time.Minute))
	before := f.Pool.DeepCopy()
	first := Decide(f)
	if diff := cmp.Diff(first, Decide(f)); diff != "" {
		t.Errorf("the same facts gave two decisions:\n%s", diff)
	}
	if diff := cmp.Diff(before, f.Pool); diff != "" {
		t.Errorf("deciding changed the facts:\n%s", diff)
	}
}

func TestName(t *testing.T) {
	seen := map[string]bool{}
	for _, in := range [][2]string{{"i", "uid"}, {"iu", "id"}, {"j", "uid"}, {"i", "uid2"}} {
		for attempt := range int32(3) {
			n := Name(in[0], in[1], attempt)
			if len(n) != 11 || n[0] != 'g' || seen[n] {
				t.Errorf("Name(%q, %q, %d) = %q: want 11 characters, its own", in[0], in[1], attempt, n)
			}
			seen[n] = true
		}
	}
	if got := Name("i", "uid", 1); got != Name("i", "uid", 1) {
		t.Errorf("Name is not a function of its arguments: %s", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestSkip(t *testing.T) {
	candidates := []v1alpha1.Candidate{onDemand(a100), spot(a100), onDemand(a100, "1"), onDemand(nc48), onDemand(h100), spot(t4)}
	type entry struct {
		Index int
		For   time.Duration
	}
	all := func(d time.Duration) []entry {
		return []entry{{0, d}, {1, d}, {2, d}, {3, d}, {4, d}, {5, d}}
	}
	const hour = time.Hour
	cases := map[string]struct {
		reason string
		why    Failure
		tried  v1alpha1.Candidate
		want   []entry
	}{
		"FamilyQuota":        {"Every size of the family at that priority draws on the same quota.", Failure{Class: ClassFamilyQuota, Quota: &Quota{Limit: 24}}, onDemand(a100), []entry{{0, 10 * time.Minute}, {2, 10 * time.Minute}, {3, 10 * time.Minute}}},
		"FamilyQuotaOfZero":  {"Without any quota, waiting ten minutes is no use.", Failure{Class: ClassFamilyQuota, Quota: &Quota{}}, onDemand(a100), []entry{{0, hour}, {2, hour}, {3, hour}}},
		"RegionQuota":        {"The region's quota is of on-demand cores.", Failure{Class: ClassRegionQuota}, onDemand(a100), []entry{{0, 10 * time.Minute}, {2, 10 * time.Minute}, {3, 10 * time.Minute}, {4, 10 * time.Minute}}},
		"SpotQuota":          {"All spot sizes share one quota.", Failure{Class: ClassSpotQuota}, spot(a100), []entry{{1, hour}, {5, hour}}},
		"SKUOnDemand":        {"A size that is not offered on demand stays so for long.", Failure{Class: ClassSKU}, onDemand(a100), []entry{{0, 23 * hour}, {2, 23 * hour}}},
		"SKUSpot":            {"Spot offers come and go.", Failure{Class: ClassSKU}, spot(a100), []entry{{1, hour}}},
		"SKUSubscription":    {"The priority does not matter to a size that the subscription may not have.", Failure{Class: ClassSKUSubscription}, spot(a100), []entry{{0, 23 * hour}, {1, 23 * hour}, {2, 23 * hour}}},
		"ZonalCapacity":      {"Other zones may have machines.", Failure{Class: ClassZonalCapacity}, onDemand(a100, "1"), []entry{{2, hour}}},
		"CapacityOnDemand":   {"Without machines for full price there are none for less.", Failure{Class: ClassCapacity}, onDemand(a100), []entry{{0, hour}, {1, hour}, {2, hour}}},
		"CapacitySpot":       {"On demand is what comes after spot in a list.", Failure{Class: ClassCapacity}, spot(a100), []entry{{1, hour}}},
		"Subnet":             {"Every size needs addresses.", Failure{Class: ClassSubnet}, onDemand(a100), all(10 * time.Minute)},
		"Auth":               {"Every size needs the permission.", Failure{Class: ClassAuth}, onDemand(a100), all(10 * time.Minute)},
		"Spec":               {"What is refused stays refused.", Failure{Class: ClassSpec}, onDemand(a100), all(24 * hour)},
		"Busy":               {"A busy cluster says nothing of the candidate.", Failure{Class: ClassBusy}, onDemand(a100), nil},
		"Throttled":          {"Nor does a throttled call.", Failure{Class: ClassThrottled}, onDemand(a100), nil},
		"Transient":          {"Nor does a broken connection.", Failure{Class: ClassTransient}, onDemand(a100), nil},
		"GPUTimeout":         {"Another size has another driver.", Failure{Class: ClassGPUTimeout}, onDemand(h100), []entry{{4, hour}}},
		"ProvisioningFailed": {"A failure that nobody knows rests for a while.", Failure{Class: ClassFailed}, onDemand(h100), []entry{{4, 10 * time.Minute}}},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var got []entry
			for _, s := range skip(nil, &tc.why, tc.tried, candidates, now, catalog) {
				for i, c := range candidates {
					if matches(s, c) {
						got = append(got, entry{i, s.Until.Sub(now)})
					}
				}
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

func TestEveryClassHasARule(t *testing.T) {
	for _, c := range []Class{ClassBusy, ClassPrecondition, ClassThrottled, ClassFamilyQuota, ClassRegionQuota, ClassSpotQuota, ClassSKU,
		ClassSKUSubscription, ClassZonalCapacity, ClassCapacity, ClassSubnet, ClassAuth, ClassPoolLimit, ClassSpec, ClassTransient, ClassUnknown,
		ClassOwnership, ClassProvisionTimeout, ClassGPUTimeout, ClassFailed, ClassCandidate, ClassPrerequisite, ClassConflict, ClassSignIn, ClassUnsupported} {
		if r, ok := rules[c]; !ok || r.next == "" {
			t.Errorf("%s has no rule with a next action", c)
		}
	}
}

func TestSkipsEnd(t *testing.T) {
	candidates := []v1alpha1.Candidate{onDemand(a100), onDemand(t4)}
	skipped := skip(nil, &Failure{Class: ClassCapacity}, candidates[0], candidates, now, catalog)
	if i := choose(candidates, skipped, now.Add(59*time.Minute)); i != 1 {
		t.Errorf("within the hour candidate %d is chosen, want 1", i)
	}
	if i := choose(candidates, skipped, now.Add(time.Hour)); i != 0 {
		t.Errorf("after the hour candidate %d is chosen, want 0", i)
	}
	refused := skip(nil, &Failure{Class: ClassSpec}, candidates[0], candidates, now, catalog)
	if left := current(refused, candidates, now, true); len(left) != 0 {
		t.Errorf("a new generation keeps refusals of the old: %v", left)
	}
	unfit := skip(nil, &Failure{Class: ClassCandidate}, candidates[0], candidates, now, catalog)
	if left := current(unfit, candidates, now, true); len(left) != 0 {
		t.Errorf("a new generation may have mended what the candidate was not suited for: %v", left)
	}
	busy := skip(nil, &Failure{Class: ClassCapacity}, candidates[0], candidates, now, catalog)
	if left := current(busy, candidates, now, true); len(left) != 1 {
		t.Errorf("a new generation makes no machines: %v", left)
	}
	zoned := func(zones ...string) []v1alpha1.Candidate {
		c := onDemand(a100)
		c.Zones = zones
		return []v1alpha1.Candidate{c}
	}
	none := skip(nil, &Failure{Class: ClassCapacity}, zoned("1", "2")[0], zoned("1", "2"), now, catalog)
	if left := current(none, zoned("1"), now, true); len(left) != 1 || choose(zoned("1"), left, now) != -1 {
		t.Errorf("there are machines in one of two zones that had none: %v", left)
	}
	if left := current(none, zoned("1", "3"), now, true); len(left) != 0 {
		t.Errorf("a zone that nobody asked is ruled out: %v", left)
	}
	if left := current(refused, candidates[:1], now, false); len(left) != 1 {
		t.Errorf("want the refusal of the candidate that is left, got %v", left)
	}
}

func TestExhausted(t *testing.T) {
	f := facts(v1alpha1.PhaseCleaning, absent)
	for _, c := range f.Pool.Spec.Candidates {
		f.Pool.Status.Skipped = skip(f.Pool.Status.Skipped, &Failure{Class: ClassFamilyQuota, Text: "no quota"}, c, f.Pool.Spec.Candidates, now, catalog)
	}
	d := Decide(f)
	if d.Phase != v1alpha1.PhaseExhausted || d.Wait != 5*time.Minute || !d.Stalled {
		t.Errorf("got %s, wait %s, stalled %t; want Exhausted until the first skip ends, and a person to act", d.Phase, d.Wait, d.Stalled)
	}
	if !strings.Contains(d.Message, a100) || !strings.Contains(d.Message, t4) {
		t.Errorf("the message does not name every candidate: %s", d.Message)
	}
}

func TestFailed(t *testing.T) {
	creating := func() (Facts, Decision) {
		f := facts(v1alpha1.PhaseClaiming, absent)
		return f, Decide(f)
	}
	deleting := func() (Facts, Decision) {
		f := facts(v1alpha1.PhaseReady, ours(StateSucceeded), deleted)
		return f, Decide(f)
	}
	unseen := func(change ...func(*Facts)) func() (Facts, Decision) {
		return func() (Facts, Decision) {
			f := facts(v1alpha1.PhaseReady, Observation{}, change...)
			return f, Unseen(f)
		}
	}
	cases := map[string]struct {
		reason string
		make   func() (Facts, Decision)
		why    Failure
		want   verdict
		retry  bool
	}{
		"CreateBusy": {
			reason: "The candidate is kept, and the cluster's operation named.",
			make:   creating, why: Failure{Class: ClassBusy, Text: "busy"},
			want: verdict{Phase: v1alpha1.PhaseClaiming, Reason: string(ClassBusy), Attempt: 1, Wait: spread("uid", poll), Alarms: []string{v1alpha1.ConditionClusterBusy}},
		},
		"CreateThrottled": {
			reason: "The cloud's own time is honoured.",
			make:   creating, why: Failure{Class: ClassThrottled, RetryAfter: 42 * time.Second},
			want: verdict{Phase: v1alpha1.PhaseClaiming, Reason: string(ClassThrottled), Attempt: 1, Wait: Later("uid", 42*time.Second)},
		},
		"CreateRefused": {
			reason: "Even a refusal may leave a pool behind: look before the next candidate.",
			make:   creating, why: Failure{Class: ClassSKU},
			want: verdict{Phase: v1alpha1.PhaseCleaning, Reason: string(ClassSKU), Attempt: 1, Skipped: 1, Wait: Soon},
		},
		"CreateLost": {
			reason: "The order may have gone out: the attempt stays until it is seen or not.",
			make:   creating, why: Failure{Class: ClassTransient},
			want: verdict{Phase: v1alpha1.PhaseClaiming, Reason: string(ClassTransient), Attempt: 1}, retry: true,
		},
		"CreateRaced": {
			reason: "412 means: it exists, or changed. Look again at once.",
			make:   creating, why: Failure{Class: ClassPrecondition},
			want: verdict{Phase: v1alpha1.PhaseClaiming, Reason: string(ClassPrecondition), Attempt: 1, Wait: time.Second},
		},
		"DeleteForbidden": {
			reason: "A missing permission needs a person, and skips no candidate.",
			make:   deleting, why: Failure{Class: ClassAuth},
			want: verdict{Phase: v1alpha1.PhaseDeleting, Reason: string(ClassAuth), Attempt: 1, Wait: 10 * time.Minute, Stalled: true},
		},
		"ReadyUnseen": {
			reason: "Not being able to look is no news of the nodes.",
			make:   unseen(), why: Failure{Class: ClassTransient},
			want: verdict{Phase: v1alpha1.PhaseReady, Reason: string(ClassTransient), Attempt: 1}, retry: true,
		},
		"DeletingUnseen": {
			reason: "A condition always has a reason.",
			make:   unseen(deleted), why: Failure{Class: ClassThrottled, RetryAfter: time.Minute},
			want: verdict{Phase: v1alpha1.PhaseReady, Reason: string(ClassThrottled), Attempt: 1, Wait: Later("uid", time.Minute)},
		},
		"DeleteNotOurs": {
			reason: "The mark changed between the look and the delete.",
			make:   deleting, why: Failure{Class: ClassOwnership, Text: "its tag"},
			want: verdict{Phase: v1alpha1.PhaseLost, Reason: string(ClassOwnership), Attempt: 1, Wait: poll, Stalled: true, Alarms: []string{v1alpha1.ConditionOwnershipLost}},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			f, d := tc.make()
			got, retry := Failed(f, d, &tc.why)
			if diff := cmp.Diff(tc.want, verdictOf(got)); diff != "" || retry != tc.retry {
				t.Errorf("%s\nretry %t, -want +got:\n%s", tc.reason, retry, diff)
			}
		})
	}
}

func TestSentence(t *testing.T) {
	f := Failure{Class: ClassFamilyQuota, Quota: &Quota{Family: "standardNCADSA100v4Family", Region: "westus3", Limit: 24, Used: 24, Needed: 24, Link: "https://aka.ms/ProdportalCRP"}}
	want := "Quota of standardNCADSA100v4Family in westus3 is 24 vCPUs, 24 are used and 24 more are needed; ask for more at https://aka.ms/ProdportalCRP, or add a candidate of another family"
	if got := f.Sentence(); got != want {
		t.Errorf("got  %s\nwant %s", got, want)
	}
}

func TestForeign(t *testing.T) {
	pod := func(change func(*corev1.Pod)) *corev1.Pod {
		p := &corev1.Pod{}
		p.Namespace, p.Name, p.Status.Phase = "team-a", "p", corev1.PodRunning
		change(p)
		return p
	}
	const label = "espalier.dev/workspace"
	yes := true
	cases := map[string]struct {
		reason    string
		pod       *corev1.Pod
		workspace string
		want      bool
	}{
		"Stranger":       {"Somebody's work would be lost.", pod(func(*corev1.Pod) {}), "ws", true},
		"Own":            {"The Workspace's own pods go with it.", pod(func(p *corev1.Pod) { p.Labels = map[string]string{label: "ws"} }), "ws", false},
		"OtherWorkspace": {"Another Workspace found its way here.", pod(func(p *corev1.Pod) { p.Labels = map[string]string{label: "other"} }), "ws", true},
		"OtherNamespace": {"The same name in another namespace is another Workspace.", pod(func(p *corev1.Pod) { p.Namespace, p.Labels = "team-b", map[string]string{label: "ws"} }), "ws", true},
		"Shared":         {"A shared pool is nobody's: whoever runs there blocks.", pod(func(p *corev1.Pod) { p.Labels = map[string]string{label: "ws"} }), "", true},
		"DaemonSet": {"It is on every node.", pod(func(p *corev1.Pod) {
			p.OwnerReferences = []metav1.OwnerReference{{Kind: "DaemonSet", Controller: &yes}}
		}), "ws", false},
		"Mirror":   {"The kubelet's own.", pod(func(p *corev1.Pod) { p.Annotations = map[string]string{corev1.MirrorPodAnnotationKey: "x"} }), "ws", false},
		"Finished": {"It runs no more.", pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }), "ws", false},
		"Failed":   {"Nor does this.", pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodFailed }), "ws", false},
		"Pending":  {"It is bound to the node and about to run.", pod(func(p *corev1.Pod) { p.Status.Phase = corev1.PodPending }), "ws", true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := Foreign(tc.pod, "team-a", tc.workspace, label); got != tc.want {
				t.Errorf("%s: got %t", tc.reason, got)
			}
		})
	}
}

func TestBlockedNamesTen(t *testing.T) {
	var pods []string
	for i := range 12 {
		pods = append(pods, "team-b/pod-"+string(rune('a'+i)))
	}
	f := facts(v1alpha1.PhaseReady, ours(StateSucceeded), deleted)
	d := Blocked(f, Decide(f), pods)
	if d.Do != ActionNone || strings.Count(d.Message, "team-b/") != MaxBlockers || !strings.Contains(d.Message, "and 2 more") {
		t.Errorf("got %s: %s", d.Do, d.Message)
	}
}

func TestJudge(t *testing.T) {
	cases := map[string]struct {
		node Node
		want string
	}{
		"Usable":     {Node{Name: "n", Ready: true, GPUs: 2, Offered: 2}, ""},
		"NotReady":   {Node{Name: "n", Problem: "KubeletNotReady"}, "node n is not Ready (KubeletNotReady)"},
		"NoPlugin":   {Node{Name: "n", Ready: true}, "node n offers no nvidia.com/gpu yet: no device plugin has registered, or it does not tolerate the node's taints"},
		"Unhealthy":  {Node{Name: "n", Ready: true, GPUs: 1, Offered: 2}, "node n has 2 GPUs of which the device plugin calls 1 healthy"},
		"TooMany":    {Node{Name: "n", Ready: true, GPUs: 8, Offered: 8}, "node n offers 8 nvidia.com/gpu where its size has 2"},
		"GPUMissing": {Node{Name: "n", Ready: true, GPUs: 1, Offered: 1, Problem: "GPUMissing"}, "node n offers 1 of 2 GPUs, with the problem GPUMissing"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if got := judge(tc.node, 2); got != tc.want {
				t.Errorf("got  %s\nwant %s", got, tc.want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"slices"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var noon = time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)

// spender is a pass over a run that may spend $40 and holds a pool of its own at
// $6 an hour since eleven.
func spender(change func(*pass)) *pass {
	own := []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "tune", UID: "w", Controller: ptr.To(true)}}
	accepted := metav1.NewTime(noon.Add(-time.Hour))
	p := &pass{
		seen: true,
		ws:   &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "tune", UID: "w"}},
		pool: &v1alpha1.GPUNodePool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "tune", OwnerReferences: own},
			Status: v1alpha1.GPUNodePoolStatus{
				USDPerHour: "6", GPUs: &v1alpha1.GPUCount{Expected: 4},
				Candidate: &v1alpha1.CandidateStatus{Since: metav1.NewTime(noon.Add(-2 * time.Hour)), Accepted: &accepted},
			},
		},
	}
	p.ws.Spec.Tuning = &v1alpha1.TuningSpec{}
	p.ws.Spec.Budget = &v1alpha1.Budget{MaxUSD: "40"}
	p.ws.Status.Tuning = &v1alpha1.TuningStatus{Run: "tune-1"}
	change(p)
	return p
}

// shares is a pod with one of the four GPUs of a shared pool, since half past eleven.
func shares(p *pass) {
	p.pool.OwnerReferences, p.pool.Name, p.ws.Spec.Resource.NodePool = nil, "shared", "shared"
	started := metav1.NewTime(noon.Add(-50 * time.Minute)) // of the Job: its pod was bound later
	job := batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "tune-1"}, Status: batchv1.JobStatus{StartTime: &started, Active: 1}}
	job.Spec.Template.Spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("1")}}}}
	p.jobs = []batchv1.Job{job}
	p.bound = boundAmong([]corev1.Pod{podOf("tune-1", "node-1", 30*time.Minute)})
}

// podOf is a pod of a Job that was bound to a node that long before noon, or waits
// for one.
func podOf(job, node string, ago time.Duration) corev1.Pod {
	pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{batchv1.JobNameLabel: job}}}
	pod.Spec.NodeName = node
	status := corev1.ConditionFalse
	if node != "" {
		status = corev1.ConditionTrue
	}
	pod.Status.Conditions = []corev1.PodCondition{{Type: corev1.PodScheduled, Status: status, LastTransitionTime: metav1.NewTime(noon.Add(-ago))}}
	return pod
}

// holding is a run on a shared pool with these pods.
func holding(change func(*batchv1.Job), pods ...corev1.Pod) func(*pass) {
	return func(p *pass) {
		shares(p)
		change(&p.jobs[0])
		p.bound = boundAmong(pods)
	}
}

func TestAccount(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*pass)
		spends string        // an hour
		from   time.Duration // before noon
		after  time.Duration // the pass in which the money is spent
	}{
		"Own": {"Its nodes cost from when the cloud took the order, and are looked at when the money is spent.",
			func(*pass) {}, "6", time.Hour, 5*time.Hour + 40*time.Minute},
		"Formers": {"Nodes that a Workspace of this name has left cost this one, from when it is there.",
			func(p *pass) {
				p.pool.OwnerReferences[0].UID = "former"
				p.ws.CreationTimestamp = metav1.NewTime(noon.Add(-10 * time.Minute))
			}, "6", 10 * time.Minute, 6*time.Hour + 30*time.Minute},
		"NoBudget": {"What it costs is known without a limit too, and nobody need look.", func(p *pass) { p.ws.Spec.Budget = nil }, "6", time.Hour, 0},
		"Shared":   {"Of a shared pool it pays for the GPUs that it holds, while it holds them.", shares, "1.5", 30 * time.Minute, 26*time.Hour + 10*time.Minute},
		"Waiting":  {"A pool that others pay for costs nothing while no pod runs.", func(p *pass) { shares(p); p.bound = nil }, "", 0, 0},
		"Unplaced": {"A pod that waits for a full pool is active to its Job, and holds no GPU.",
			holding(func(*batchv1.Job) {}, podOf("tune-1", "", time.Hour)), "", 0, 0},
		"HalfPlaced": {"Of two pods that train together one is there.",
			holding(func(j *batchv1.Job) { j.Spec.Parallelism, j.Status.Active = ptr.To[int32](2), 2 },
				podOf("tune-1", "", time.Hour), podOf("tune-1", "node-1", 20*time.Minute)), "1.5", 20 * time.Minute, 26*time.Hour + 20*time.Minute},
		"BothPlaced": {"And both, from when the first was.",
			holding(func(j *batchv1.Job) { j.Spec.Parallelism, j.Status.Active = ptr.To[int32](2), 2 },
				podOf("tune-1", "node-2", 18*time.Minute), podOf("tune-1", "node-1", 20*time.Minute)), "3", 20 * time.Minute, 13 * time.Hour},
		"Saves": {"A pod of a suspended Job holds its GPU while it saves.",
			holding(func(j *batchv1.Job) { j.Spec.Suspend, j.Status.Active = ptr.To(true), 0 }, podOf("tune-1", "node-1", 30*time.Minute)),
			"1.5", 30 * time.Minute, 26*time.Hour + 10*time.Minute},
		"Others": {"What a pod of an earlier run holds is not this run's.",
			holding(func(*batchv1.Job) {}, podOf("tune-0", "node-1", time.Hour)), "", 0, 0},
		"Exists":  {"Nodes that exist cost nothing here.", func(p *pass) { p.pool.Status.USDPerHour = "" }, "", 0, 0},
		"Unnamed": {"Money that no run is known for yet is counted when one is.", func(p *pass) { p.ws.Status.Tuning = nil }, "", 0, 0},
		"Unread":  {"What could not be read is not taken for gone.", func(p *pass) { p.seen = false }, "", 0, 0},
		"Gone":    {"Without nodes nothing is spent.", func(p *pass) { p.pool = nil }, "", 0, 0},
		"Paused":  {"What is on its way out is not looked at for its money.", func(p *pass) { p.ws.Spec.Suspend = true }, "6", time.Hour, 0},
		"Before": {"A run that waits for its own nodes, which are being bought, pays for the GPU that it holds of the pool that it is on.",
			func(p *pass) {
				shares(p)
				p.staysOn, p.pool, p.ws.Spec.Resource.NodePool = p.pool, nil, ""
			}, "1.5", 30 * time.Minute, 26*time.Hour + 10*time.Minute},
		"LeftBoth":  {"Nodes that it has left cost until they are gone.", func(p *pass) { p.left = p.pool.DeepCopy(); shares(p) }, "7.5", 30 * time.Minute, 0},
		"Inference": {"A service has no end, and no sum.", func(p *pass) { p.ws.Spec.Tuning, p.ws.Spec.Inference = nil, &v1alpha1.InferenceSpec{} }, "", 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			p := spender(c.change)
			p.account(noon)
			s := p.ws.Status.Spending
			switch {
			case c.spends == "":
				if s != nil {
					t.Fatalf("%s: got %+v", c.reason, s)
				}
			case s == nil || s.USDPerHour != c.spends || !s.At.Time.Equal(noon.Add(-c.from)) || s.Run != "tune-1":
				t.Fatalf("%s: got %+v", c.reason, s)
			}
			if name != "LeftBoth" && p.after != c.after {
				t.Errorf("%s: looks again after %v, want %v", c.reason, p.after, c.after)
			}
		})
	}
}

func TestOverspent(t *testing.T) {
	spent := func(run, usd string, ago time.Duration, rate string) func(*pass) {
		return func(p *pass) {
			p.ws.Status.Spending = &v1alpha1.SpendingStatus{Run: run, SpentUSD: usd, At: metav1.NewTime(noon.Add(-ago)), USDPerHour: rate}
		}
	}
	for name, c := range map[string]struct {
		reason string
		change func(*pass)
		want   bool
	}{
		"NothingYet": {"Nothing was spent.", func(*pass) {}, false},
		"Within":     {"There is money left.", spent("tune-1", "30", time.Hour, "6"), false},
		"Spent":      {"What is open counts.", spent("tune-1", "36", time.Hour, "6"), true},
		"Stays":      {"It stays spent when its nodes are gone.", spent("tune-1", "40", time.Hour, ""), true},
		"OtherRun":   {"Other inputs have money of their own.", spent("tune-0", "90", time.Hour, ""), false},
		"Unnamed": {"A run whose Job is gone and that cannot be rendered has still spent it.", func(p *pass) {
			spent("tune-1", "40", time.Hour, "")(p)
			p.ws.Status.Tuning = nil
		}, true},
		"Finished": {"A run that is done is done, whatever it cost.", func(p *pass) {
			spent("tune-1", "90", time.Hour, "")(p)
			now := metav1.NewTime(noon)
			p.ws.Status.Tuning.FinishedAt = &now
		}, false},
		"Nothing": {"With no money at all no node is bought.", func(p *pass) { p.ws.Spec.Budget.MaxUSD = "0" }, true},
		"NoLimit": {"Nobody set one.", func(p *pass) { spent("tune-1", "90", time.Hour, "")(p); p.ws.Spec.Budget = nil }, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := spender(c.change).overspent(noon); got != c.want {
				t.Errorf("%s: got %v", c.reason, got)
			}
		})
	}
}

// TestSpentMessages: nobody is told of a checkpoint or of nodes that there never were.
func TestSpentMessages(t *testing.T) {
	noJob := func(p *pass) { p.jobs = nil }
	for name, c := range map[string]struct {
		reason          string
		change          func(*pass)
		broke, released string
	}{
		"Own": {"It ran on nodes of its own.", func(p *pass) { p.jobs = []batchv1.Job{{ObjectMeta: metav1.ObjectMeta{Name: "tune-1"}}} },
			"it is stopped after a checkpoint and its nodes are given back. ", "The budget of the run is spent: its nodes are given back"},
		"Formers": {"They are given back before they were taken over.", func(p *pass) { noJob(p); p.pool.OwnerReferences[0].UID = "former" },
			"no pod of it runs and its nodes are given back. ", "The budget of the run is spent: its nodes are given back"},
		"Shared": {"The nodes of a shared pool are nobody's to give back.", shares,
			"it is stopped after a checkpoint and node pool shared is left to others. ", "The budget of the run is spent: node pool shared is left to others"},
		"NeverRan": {"What never ran has saved nothing.", noJob,
			"no pod of it runs and its nodes are given back. ", "The budget of the run is spent: its nodes are given back"},
		"NoNodes": {"And where no node is, none is given back.", func(p *pass) { noJob(p); p.pool = nil },
			"no pod of it runs and no node is held for it. ", "The budget of the run is spent: no node is held for it"},
		"Suspended": {"Suspending says so too.", func(p *pass) { shares(p); p.ws.Spec.Suspend = true },
			"", "Suspended: node pool shared is left to others"},
	} {
		t.Run(name, func(t *testing.T) {
			p := spender(c.change)
			p.broke = true
			if got := p.brokeMessage(); !strings.Contains(got, c.broke) {
				t.Errorf("%s: got %q", c.reason, got)
			}
			p.sayPaused()
			if got := condition.Get(p.ws, v1alpha1.ConditionResourceReady); got == nil || got.Message != c.released {
				t.Errorf("%s: got %+v", c.reason, got)
			}
		})
	}
}

// TestHoldings: what a pod holds it holds from its node on, and until it is gone.
func TestHoldings(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	pod := func(name, node string, change func(*corev1.Pod)) *corev1.Pod {
		pod := podOf("tune-1", node, time.Minute)
		pod.Namespace, pod.Name, pod.Labels[repolayout.LabelWorkspace] = "n", name, "tune"
		change(&pod)
		return &pod
	}
	same, now := func(*corev1.Pod) {}, metav1.NewTime(noon)
	c := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(
		pod("waits", "", same), pod("runs", "node-1", same),
		pod("done", "node-1", func(p *corev1.Pod) { p.Status.Phase = corev1.PodSucceeded }),
		pod("saves", "node-1", func(p *corev1.Pod) { p.DeletionTimestamp, p.Finalizers = &now, []string{"example.com/tracked"} }),
		pod("other", "node-1", func(p *corev1.Pod) { p.Labels[repolayout.LabelWorkspace] = "other" }),
	).Build()
	r := New(Deps{Client: c, Reader: c})
	p := spender(shares)
	if err := r.holdings(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	var names []string
	for _, pod := range p.bound {
		names = append(names, pod.Name)
	}
	if want := []string{"runs", "saves"}; !slices.Equal(slices.Sorted(slices.Values(names)), want) {
		t.Errorf("got %v, want %v", names, want)
	}
}

// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	gpupool "github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
	"github.com/espalier-dev/espalier/test/harness"
)

// nodeLostAfter is long for a simulated node, which is Ready at once, and short for a
// test.
const nodeLostAfter = 10 * time.Second

// dead tells the simulation that nothing answers any more: neither the kubelet of a node,
// nor that of a pod which is told to go.
const dead = `{"metadata":{"annotations":{"simulation.example.com/dead":"true"}}}`

// lostRun does not end by itself. Its pods are taken off a node that does not answer at
// once, where Kubernetes waits for five minutes.
const lostRun = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: lost
spec:
  resource:
    candidates: [{instanceType: Standard_NC4as_T4_v3, priority: PRIORITY}]
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/data.jsonl"]}
    output: {image: "registry.example.com/models/lost:0.0.1", pushSecret: registry-push}
` + endless + `      - op: add
        path: /spec/template/spec/tolerations/-
        value: {key: node.kubernetes.io/unreachable, operator: Exists, effect: NoExecute, tolerationSeconds: 0}
`

// TestLostNodes has a control plane and a controller of its own: until Kubernetes is sure
// that the pod of a node that is gone has ended it takes a minute, for which nodes stand
// idle.
func TestLostNodes(t *testing.T) {
	t.Parallel()
	alone, err := harness.Start(t.Context(), harness.Options{
		CreateDelay: 500 * time.Millisecond, GPUDelay: 300 * time.Millisecond, DeleteDelay: 300 * time.Millisecond,
		JobDuration: time.Second, PollInterval: 200 * time.Millisecond, Out: os.Stderr, NodeLostAfter: nodeLostAfter,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := alone.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err := alone.StartController(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Run("Silent", func(t *testing.T) { t.Parallel(); nodeLost(t, alone) })
	t.Run("SpotTaken", func(t *testing.T) { t.Parallel(); spotTaken(t, alone) })
}

// nodeLost: a node answers no more, and comes back no more. Kubernetes tells its pod
// to go and waits for a kubelet that says it has gone: no other pod is started. The
// machine is deleted after a while and another one bought, the pod's end is certain
// then, and the run goes on there, in the same Job, on the same volume.
func nodeLost(t *testing.T, stand *harness.Stand) {
	r := startLost(t, stand, "nodelost", "OnDemand")
	first := r.pod()
	bystanders(t, r.team)
	began := time.Now()
	edit(t, r.team, first, dead)
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: first.Spec.NodeName}}
	edit(t, r.team, node, dead)
	r.silence(node)

	if err := harness.Until(patient(t), r.team.Stand, first, "told to go", func(p *corev1.Pod) bool { return p.DeletionTimestamp != nil }); err != nil {
		t.Fatal(err)
	}
	r.says(pool(r.team, "lost"), v1alpha1.ConditionDegraded, "node "+node.Name+" has not been Ready for longer than "+nodeLostAfter.String()+": its machine is deleted")
	if took := time.Since(began); took < nodeLostAfter-time.Second { // conditions have whole seconds
		t.Errorf("given up after %s, want %s at least", took, nodeLostAfter)
	}
	if err := harness.Gone(patient(t), r.team.Stand, node); err != nil {
		t.Fatal(err)
	}
	r.goesOn(first, gpupool.ReasonNodeLost)
	if n := r.removed(); n != 1 {
		t.Errorf("%d machines were deleted by name, want the one", n)
	}
}

// spotTaken: the cloud takes a spot node away, and its Node with it. Another is bought in
// the same pool, and the run goes on there.
func spotTaken(t *testing.T, stand *harness.Stand) {
	r := startLost(t, stand, "spottaken", "Spot")
	first := r.pod()
	edit(t, r.team, first, dead)
	gp := pool(r.team, "lost")
	if err := r.team.Client.Get(t.Context(), client.ObjectKeyFromObject(gp), gp); err != nil {
		t.Fatal(err)
	}
	r.team.ARM.Evict(gp.Status.PoolName)
	r.says(gp, v1alpha1.ConditionDegraded, "0 of 1 Standard_NC4as_T4_v3 (spot) node can be used")
	r.goesOn(first, gpupool.ReasonNodesMissing)
	if n := r.removed(); n != 0 {
		t.Errorf("%d machines were deleted, and the cloud had taken the only one", n)
	}
}

// lost is a run whose node is lost.
type lost struct {
	*testing.T
	team *harness.Team
	run  string // its Job
	uid  string

	began time.Time
}

// startLost starts a run and returns when its first pod runs.
func startLost(t *testing.T, stand *harness.Stand, name, priority string) *lost {
	t.Helper()
	team, err := stand.NewTeam(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	push(t, team, map[string]string{
		"models/kustomization.yaml": "resources: [lost.yaml]\n", "models/lost.yaml": strings.Replace(lostRun, "PRIORITY", priority, 1),
	}, "models: a run whose node is lost")
	sync := team.RepoSync(nil)
	sync.Spec.Path = "models"
	apply(t, team, sync)
	w := workspace(team, "lost")
	if err := harness.Until(patient(t), team.Stand, w, "running", func(w *v1alpha1.Workspace) bool {
		return w.Status.Tuning != nil && w.Status.Tuning.Attempts == 1 && w.Status.Tuning.Pod != "" && w.Status.Spending != nil
	}); err != nil {
		t.Fatal(err)
	}
	return &lost{T: t, team: team, run: w.Status.Tuning.Run, uid: w.Status.Tuning.UID, began: time.Now()}
}

// pod waits until the one pod of the run runs.
func (r *lost) pod() *corev1.Pod {
	r.Helper()
	pod := podOf(r.T, r.team, r.run)
	if err := harness.Until(patient(r.T), r.team.Stand, pod, "running", func(p *corev1.Pod) bool { return p.Status.Phase == corev1.PodRunning }); err != nil {
		r.Fatal(err)
	}
	return pod
}

// silence has a node say nothing more, as the controller manager writes it when the
// heartbeats stop: waiting for that takes it a minute.
func (r *lost) silence(node *corev1.Node) {
	r.Helper()
	patch := fmt.Sprintf(`{"status":{"conditions":[{"type":"Ready","status":"Unknown","reason":"NodeStatusUnknown","message":"Kubelet stopped posting node status.","lastTransitionTime":%q}]}}`,
		time.Now().UTC().Format(time.RFC3339))
	if err := r.team.Client.Status().Patch(r.Context(), node, client.RawPatch(types.StrategicMergePatchType, []byte(patch))); err != nil {
		r.Fatal(err)
	}
}

// says waits until a pool has a condition with words.
func (r *lost) says(p *v1alpha1.GPUNodePool, kind, words string) {
	r.Helper()
	if err := harness.Until(patient(r.T), r.team.Stand, p, "telling: "+words, func(p *v1alpha1.GPUNodePool) bool {
		c := condition.Get(p, kind)
		return c != nil && strings.Contains(c.Message, words)
	}); err != nil {
		r.Fatal(err)
	}
}

// goesOn waits until the run has another pod on another node, and looks at what that took:
// one more attempt that counts for no try, in the same Job and pool and on the same
// volume, of which the money goes on.
func (r *lost) goesOn(first *corev1.Pod, reason string) {
	r.Helper()
	w := workspace(r.team, "lost")
	if err := harness.Until(patient(r.T), r.team.Stand, w, "going on", func(w *v1alpha1.Workspace) bool {
		return w.Status.Tuning.Attempts == 2 && condition.Is(w, v1alpha1.ConditionResourceReady)
	}); err != nil {
		r.Fatal(err)
	}
	second := r.pod()
	if second.UID == first.UID || second.Spec.NodeName == first.Spec.NodeName || w.Status.Tuning.Pod != string(second.UID) {
		r.Errorf("the second pod is %s on %s, after %s on %s", second.Name, second.Spec.NodeName, first.Name, first.Spec.NodeName)
	}
	job := &batchv1.Job{}
	if err := r.team.Client.Get(r.Context(), client.ObjectKey{Namespace: r.team.Namespace, Name: r.run}, job); err != nil {
		r.Fatal(err)
	}
	if string(job.UID) != r.uid || job.Status.Failed != 0 || w.Status.Tuning.UID != r.uid {
		r.Errorf("Job %s has %d failures; want that of the first pod, and none: %+v", job.UID, job.Status.Failed, w.Status.Tuning)
	}
	if got, want := volumeOf(second), volumeOf(first); got != want || want != repolayout.WorkClaimName("lost") {
		r.Errorf("the checkpoints are on %q, and the next pod has %q", want, got)
	}
	if got := agentPools(r.team); len(got) != 1 {
		r.Errorf("node pools %v were bought, want the one", got)
	}
	r.paysOn(w)
	r.told(reason)
}

// told waits for the event of a pool by which somebody who looks later knows what was.
func (r *lost) told(reason string) {
	r.Helper()
	err := wait.PollUntilContextCancel(patient(r.T), 100*time.Millisecond, true, func(ctx context.Context) (bool, error) {
		said := &eventsv1.EventList{}
		err := r.team.Client.List(ctx, said, client.InNamespace(r.team.Namespace))
		return slices.ContainsFunc(said.Items, func(e eventsv1.Event) bool {
			return e.Reason == reason && e.Type == corev1.EventTypeWarning && e.Regarding.Kind == v1alpha1.GPUNodePoolKind
		}), err
	})
	if err != nil {
		r.Errorf("no event %s of the node pool: %v", reason, err)
	}
}

// paysOn: the money of both attempts is counted, and none twice.
func (r *lost) paysOn(w *v1alpha1.Workspace) {
	r.Helper()
	s := w.Status.Spending
	spent, err := strconv.ParseFloat(s.SpentUSD, 64)
	perHour, bad := strconv.ParseFloat(s.USDPerHour, 64)
	if err != nil || bad != nil || s.Run != r.run {
		r.Fatalf("nobody counts the money of the second attempt: %+v", s)
	}
	got, all := spent+perHour*time.Since(s.At.Time).Hours(), perHour*time.Since(r.began).Hours()
	if got < 0.7*all || got > all+perHour*(10*time.Second).Hours() {
		r.Errorf("the run has cost $%.5f, want that of its node from the beginning, $%.5f: %+v", got, all, s)
	}
}

// volumeOf is the claim that a pod works on.
func volumeOf(pod *corev1.Pod) string {
	for _, v := range pod.Spec.Volumes {
		if v.PersistentVolumeClaim != nil {
			return v.PersistentVolumeClaim.ClaimName
		}
	}
	return ""
}

// removed is how many machines of the team's pools were deleted by name.
func (r *lost) removed() (n int) {
	for _, q := range r.team.ARM.Requests() {
		for _, p := range r.team.ARM.Pools() {
			if q.Kind == "REMOVE" && q.Pool == p.Name && p.Labels[repolayout.LabelPool] == repolayout.PoolLabelValue(r.team.Namespace, "lost") {
				n++
			}
		}
	}
	return n
}

// bystanders are nodes of the same region that answer: were all of it silent, Kubernetes
// would take no pod off a node, and nobody delete a machine.
func bystanders(t *testing.T, team *harness.Team) {
	t.Helper()
	for i := range 4 {
		n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
			Name: fmt.Sprintf("bystander-%d", i), Annotations: map[string]string{"kwok.x-k8s.io/node": "fake"},
			Labels: map[string]string{corev1.LabelTopologyRegion: fakearm.Location},
		}}
		n.Spec.Taints = []corev1.Taint{{Key: "simulation.example.com/bystander", Effect: corev1.TaintEffectNoSchedule}}
		if err := team.Client.Create(t.Context(), n); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { _ = team.Client.Delete(patient(t), n) })
		if err := harness.Until(patient(t), team.Stand, n, "Ready", func(n *corev1.Node) bool {
			return gpupool.CensusOf([]corev1.Node{*n}, repolayout.LabelPool, time.Now()).NotReady == 0 && len(n.Status.Conditions) > 0
		}); err != nil {
			t.Fatal(err)
		}
	}
}

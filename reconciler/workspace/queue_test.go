// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// inQueue is a pass over a run of a queue, with its Job.
func inQueue(queue string, job *batchv1.Job) *pass {
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w"}}
	ws.Spec.Queue, ws.Spec.Tuning = queue, &v1alpha1.TuningSpec{}
	ws.Status.Tuning = &v1alpha1.TuningStatus{Run: "w-1"}
	p := &pass{ws: ws}
	if job != nil {
		job.Name = "w-1"
		p.jobs = []batchv1.Job{*job}
	}
	return p
}

func queuedJob(queue string, suspended bool) *batchv1.Job {
	return &batchv1.Job{
		ObjectMeta: metav1.ObjectMeta{Labels: map[string]string{repolayout.LabelQueue: queue}},
		Spec:       batchv1.JobSpec{Suspend: ptr.To(suspended)},
	}
}

func TestHeld(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		queue  string
		job    *batchv1.Job
		held   bool
	}{
		"NoQueue":   {"Nobody holds it.", "", nil, false},
		"NoJob":     {"Kueue has nothing to admit yet, and no node is bought.", "a", nil, true},
		"Waits":     {"Kueue has not let it go.", "a", queuedJob("a", true), true},
		"Admitted":  {"The nodes are bought.", "a", queuedJob("a", false), false},
		"Elsewhere": {"A Job of another queue is not the one to be admitted.", "a", queuedJob("b", false), true},
	} {
		t.Run(name, func(t *testing.T) {
			if got := inQueue(tc.queue, tc.job).held(); got != tc.held {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
}

// TestTakenOut: a pass that an error has stopped gives nodes back only for a Job
// that Kueue holds; one that runs and is to move to a queue still needs them.
func TestTakenOut(t *testing.T) {
	if !inQueue("a", queuedJob("a", true)).takenOut() {
		t.Error("a Job that Kueue has suspended is taken out")
	}
	if inQueue("a", queuedJob("", false)).takenOut() || inQueue("a", nil).takenOut() {
		t.Error("a Job that runs outside of the queue is not")
	}
}

func TestSaving(t *testing.T) {
	now := time.Unix(1e9, 0)
	suspended := func(ago time.Duration, active, terminating int32) *batchv1.Job {
		job := queuedJob("a", true)
		job.Status = batchv1.JobStatus{Active: active, Terminating: ptr.To(terminating), Conditions: []batchv1.JobCondition{{
			Type: batchv1.JobSuspended, Status: corev1.ConditionTrue, LastTransitionTime: metav1.NewTime(now.Add(-ago)),
		}}}
		return job
	}
	deleted := queuedJob("a", false)
	deleted.DeletionTimestamp, deleted.Status.Active = &metav1.Time{Time: now.Add(-time.Minute)}, 1
	running := queuedJob("a", false)
	running.Status.Active = 1
	just := queuedJob("a", true)
	just.Status.Active = 1
	for name, tc := range map[string]struct {
		reason string
		job    *batchv1.Job
		want   bool
	}{
		"JustTold":   {"The Job's controller has not seen it yet.", just, true},
		"Leaves":     {"The pod writes a checkpoint.", suspended(time.Minute, 0, 1), true},
		"Gone":       {"Nobody is left to write.", suspended(time.Minute, 0, 0), false},
		"Hangs":      {"A pod on a dead node never goes, and its node is paid.", suspended(time.Hour, 0, 1), false},
		"Deleted":    {"So is that of a Job that is being deleted.", deleted, true},
		"NotTold":    {"Nobody has told this one to go.", running, false},
		"NeverBegan": {"There was no pod.", nil, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := inQueue("a", tc.job).saving(now); got != tc.want {
				t.Errorf("%s: got %v", tc.reason, got)
			}
		})
	}
}

// TestNoKueue: a cluster without Kueue is no error of the controller's.
func TestNoKueue(t *testing.T) {
	r, _ := beforeNodes(t, newRegistry(t), "hunter2")
	_, err := r.kueueKind(kindQueue)
	var waiting *fault.Waiting
	if !errors.As(err, &waiting) || !strings.Contains(waiting.Message, "has no Kueue") {
		t.Errorf("got %v", err)
	}
}

func TestRefusedQuota(t *testing.T) {
	workload := func(status string) unstructured.Unstructured {
		return unstructured.Unstructured{Object: map[string]any{"status": map[string]any{"conditions": []any{
			map[string]any{"type": "QuotaReserved", "status": status, "message": "no quota left"},
		}}}}
	}
	if got := refusedQuota(workload("False")); got != "no quota left" {
		t.Errorf("got %q", got)
	}
	if got := refusedQuota(workload("True")); got != "" {
		t.Errorf("a Workload that has quota waits for something else: got %q", got)
	}
	if got := refusedQuota(unstructured.Unstructured{Object: map[string]any{"status": "odd"}}); got != "" {
		t.Errorf("another version of Kueue: got %q", got)
	}
}

// TestObserveQueue: a run that waits holds no node, and looks again by itself.
func TestObserveQueue(t *testing.T) {
	r, p := beforeNodes(t, newRegistry(t), "hunter2")
	p.ws.Spec.Queue, p.ws.Status.Instance = "a", "Standard_NC4as_T4_v3"
	if err := r.observeQueue(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	c := condition.Get(p.ws, v1alpha1.ConditionResourceReady)
	if c == nil || c.Reason != v1alpha1.ReasonWaitingForQueue || p.ws.Status.Instance != "" || p.after != lookAtQueue {
		t.Errorf("got %v, instance %q, again after %s", c, p.ws.Status.Instance, p.after)
	}
}

// TestEnqueueRefused: a run that cannot be spread over more nodes goes on over
// those that it has, and its nodes are kept no longer than it runs.
func TestEnqueueRefused(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		queue    string // of the Job
		takenOut bool   // Kueue has suspended it
		fails    bool   // its pool cannot be deleted
	}{
		"Runs":     {"What runs is not deleted for a Job that is refused then.", "a", false, false},
		"Moves":    {"One that ran without the queue runs on too.", "", false, false},
		"TakenOut": {"Nobody pays for nodes on which nothing runs.", "a", true, false},
		"Fails":    {"What is refused is not tried again, and giving back is.", "a", true, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := inQueue("a", queuedJob(tc.queue, tc.takenOut))
			p.ws.UID = "u"
			p.jobs[0].Namespace = "n"
			p.claim = &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{corev1.ReadWriteOnce}}}
			p.out.Workload = &unstructured.Unstructured{Object: map[string]any{
				"metadata": map[string]any{"name": "w-1", "labels": map[string]any{repolayout.LabelQueue: "a"}},
				"spec":     map[string]any{"parallelism": int64(2)},
			}}
			p.pool = &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w", OwnerReferences: []metav1.OwnerReference{{UID: "u", Controller: ptr.To(true)}}}}
			scheme := runtime.NewScheme()
			if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
				t.Fatal(err)
			}
			failing := interceptor.Funcs{}
			if tc.fails {
				failing.Delete = func(context.Context, client.WithWatch, client.Object, ...client.DeleteOption) error {
					return errors.New("the API server does not answer")
				}
			}
			c := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(p.jobs[0].DeepCopy(), p.pool.DeepCopy()).WithInterceptorFuncs(failing).Build()
			r := New(Deps{Client: c, Reader: c, Clock: func() time.Time { return time.Unix(1e9, 0) }})
			if err := r.enqueue(t.Context(), p); fault.Reason(err, "") != v1alpha1.ReasonClaimNotShared {
				t.Errorf("%s: got %v", tc.reason, err)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(&p.jobs[0]), &batchv1.Job{}); err != nil {
				t.Errorf("%s: the Job: %v", tc.reason, err)
			}
			err := c.Get(t.Context(), client.ObjectKeyFromObject(p.pool), &v1alpha1.GPUNodePool{})
			if apierrors.IsNotFound(err) != (tc.takenOut && !tc.fails) {
				t.Errorf("%s: the pool: %v", tc.reason, err)
			}
			if got := again(p.also); (got != nil) != tc.fails {
				t.Errorf("%s: tried again is %v", tc.reason, got)
			}
		})
	}
}

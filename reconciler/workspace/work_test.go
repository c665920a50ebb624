// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestOfCommit(t *testing.T) {
	for name, c := range map[string]struct {
		reason, revision string
		want             map[string]string
	}{
		"Known":   {"The pods of a Job that is created know the commit.", "main@sha1:0123", map[string]string{"espalier.dev/input-digest": "sha256:1", "espalier.dev/revision": "main@sha1:0123"}},
		"Unknown": {"Flux has applied the Workspace, which says no commit then.", "", map[string]string{"espalier.dev/input-digest": "sha256:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			job := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{"espalier.dev/input-digest": "sha256:1"}},
			}}}}
			if err := ofCommit(job, c.revision); err != nil {
				t.Fatal(err)
			}
			got, _, err := unstructured.NestedStringMap(job.Object, "spec", "template", "metadata", "annotations")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
		})
	}
}

// TestOnce: a Job that is there is not written again, whatever the cache has seen of it.
// Its pods are immutable, and would be of another commit.
func TestOnce(t *testing.T) {
	live := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	if _, err := once(t.Context(), nil, &unstructured.Unstructured{}, live); err != nil { // a nil client writes nothing
		t.Error(err)
	}
}

// TestPause: a run that is let go on counts its time from when it can run.
func TestPause(t *testing.T) {
	ready := func() *v1alpha1.GPUNodePool {
		pool := &v1alpha1.GPUNodePool{}
		pool.Status.Candidate = &v1alpha1.CandidateStatus{InstanceType: "Standard_NC4as_T4_v3"}
		pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
		return pool
	}
	for name, tc := range map[string]struct {
		reason       string
		had          bool // the Job is suspended
		suspend      bool // by Git
		queue        string
		pool         *v1alpha1.GPUNodePool
		want         bool
		conditionSay string // the reason of TuningSucceeded
	}{
		"Suspended":   {reason: "Git says so.", suspend: true, pool: ready(), want: true},
		"GoesOn":      {reason: "Its nodes are there.", had: true, pool: ready(), conditionSay: v1alpha1.ReasonJobRunning},
		"NoPool":      {reason: "spec.tuning.timeout would run while nothing can.", had: true, want: true, conditionSay: v1alpha1.ReasonWaitingForNodes},
		"NoNodes":     {reason: "The same while they are on their way.", had: true, pool: &v1alpha1.GPUNodePool{}, want: true, conditionSay: v1alpha1.ReasonWaitingForNodes},
		"LostNodes":   {reason: "A run under way is not stopped for nodes that are away.", pool: &v1alpha1.GPUNodePool{}, conditionSay: v1alpha1.ReasonJobRunning},
		"KueuesToSay": {reason: "Kueue lets it go on, and then the nodes are bought.", had: true, queue: "a", pool: ready(), want: true},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w-1", UID: "j"}, Spec: batchv1.JobSpec{Suspend: ptr.To(tc.had)}}
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w"}}
			ws.Spec.Tuning, ws.Spec.Suspend, ws.Spec.Queue = &v1alpha1.TuningSpec{}, tc.suspend, tc.queue
			ws.Status.Tuning = &v1alpha1.TuningStatus{Run: "w-1"}
			r, fake := withChildren(t)
			if err := fake.Create(t.Context(), job); err != nil {
				t.Fatal(err)
			}
			p := &pass{ws: ws, pool: tc.pool, jobs: []batchv1.Job{*job}}
			if err := r.pause(t.Context(), p, p.job()); err != nil {
				t.Fatal(err)
			}
			got := &batchv1.Job{}
			if err := fake.Get(t.Context(), client.ObjectKeyFromObject(job), got); err != nil {
				t.Fatal(err)
			}
			if is := ptr.Deref(got.Spec.Suspend, false); is != tc.want {
				t.Errorf("%s\nit is suspended: %t", tc.reason, is)
			}
			if tc.conditionSay == "" {
				return
			}
			if err := r.observeTuning(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			if c := condition.Get(ws, v1alpha1.ConditionTuningSucceeded); c == nil || c.Reason != tc.conditionSay {
				t.Errorf("%s\nTuningSucceeded is %+v", tc.reason, c)
			}
		})
	}
}

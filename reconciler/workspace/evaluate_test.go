// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// endedRun is a pass over a run whose Job is complete, and whose pod has left a
// message.
func endedRun(t *testing.T, message string, e *v1alpha1.Evaluation) (*Reconciler, *pass) {
	t.Helper()
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w"}}
	ws.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: "registry.example.com/a/b:1"}, Evaluation: e}
	now := metav1.Now()
	job := batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w-12345678", UID: "u"}}
	job.Status = batchv1.JobStatus{Succeeded: 1, CompletionTime: &now, Conditions: []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "p", Labels: map[string]string{batchv1.JobNameLabel: job.Name}}}
	pod.Status.ContainerStatuses = []corev1.ContainerStatus{{Name: "publish", State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}
	workload := &unstructured.Unstructured{}
	workload.SetName(job.Name)
	r := &Reconciler{Deps: Deps{Reader: kubefake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(pod).Build()}}
	return r, &pass{ws: ws, jobs: []batchv1.Job{job}, out: render.Output{Workload: workload, Digest: "sha256:12345678aa"}}
}

// TestEvaluated: the condition says what was measured, and an adapter that is not
// good enough is no success.
func TestEvaluated(t *testing.T) {
	const pushed = "registry.example.com/a/b@sha256:0123"
	for name, tc := range map[string]struct {
		reason, message, maxLoss string
		want, says               string
	}{
		"Good":     {"The numbers are where people look.", `{"adapter": "` + pushed + `", "evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100"}}`, "1.25", v1alpha1.ReasonSucceeded, "Job w-12345678 is complete: loss 1.8300 → 1.2100 (33.8 % less)"},
		"Missed":   {"What was measured, what is demanded, where the adapter is, and what helps.", `{"evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100", "withheld": true}}`, "1.2", v1alpha1.ReasonEvaluationFailed, "is 1.2100, and evaluation.maxLoss allows 1.2. The adapter is not published, and kept in folder 12345678/out of claim w-work. Other data or settings are another run"},
		"Unknown":  {"The pod went with its node before it was read: nobody knows whether it is good enough.", ``, "1.2", v1alpha1.ReasonEvaluationFailed, "is not measured"},
		"Measured": {"Nothing is demanded.", `{"adapter": "` + pushed + `", "evaluation": {"lossBefore": "1.0000", "lossAfter": "2.0000"}}`, "", v1alpha1.ReasonSucceeded, "100.0 % more"},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := endedRun(t, tc.message, &v1alpha1.Evaluation{Split: "5%", MaxLoss: tc.maxLoss})
			if err := r.observeTuning(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			c := condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded)
			if c.Reason != tc.want || !strings.Contains(c.Message, tc.says) {
				t.Errorf("%s\ngot %s: %s", tc.reason, c.Reason, c.Message)
			}
			if !p.finished() || !p.recorded() {
				t.Errorf("%s\nthe run is over: its nodes are given back", tc.reason)
			}
			p.ws.Annotations = map[string]string{repolayout.AnnotationRetry: "u"}
			if !p.finished() {
				t.Errorf("%s\nit would run once more for the same numbers", tc.reason)
			}
		})
	}
}

// TestThresholdsChange: what Git demands now is what counts, and only a withheld
// adapter that is good enough now needs a pod.
func TestThresholdsChange(t *testing.T) {
	r, p := endedRun(t, `{"evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100", "withheld": true}}`, &v1alpha1.Evaluation{Split: "5%", MaxLoss: "1.2"})
	if err := r.observeTuning(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	p.ws.Spec.Tuning.Evaluation.MaxLoss = "1.25"
	if p.finished() || p.recorded() || p.startsOver(p.job()) == "" {
		t.Error("the adapter is good enough now, and nobody publishes it")
	}
	p.claimGone = true
	if err := r.observeTuning(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if c := condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded); !p.finished() || c.Reason != v1alpha1.ReasonEvaluationFailed || !strings.Contains(c.Message, "gone with claim w-work") {
		t.Errorf("it would train once more to publish: finished %v, %s: %s", p.finished(), c.Reason, c.Message)
	}
	p.claimGone = false
	p.ws.Spec.Tuning.Evaluation.MaxLoss = "1.1"
	if err := r.observeTuning(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if c := condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded); !p.finished() || !strings.Contains(c.Message, "allows 1.1") {
		t.Errorf("the message is of the threshold before: %s", c.Message)
	}

	r, p = endedRun(t, `{"adapter": "registry.example.com/a/b@sha256:0123", "evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100"}}`, &v1alpha1.Evaluation{Split: "5%"})
	for _, step := range []struct{ maxLoss, want, says string }{
		{"", v1alpha1.ReasonSucceeded, "complete"},
		{"1.1", v1alpha1.ReasonEvaluationFailed, "published before this was demanded"},
		{"1.3", v1alpha1.ReasonSucceeded, "loss 1.8300 → 1.2100"},
	} {
		p.ws.Spec.Tuning.Evaluation.MaxLoss = step.maxLoss
		if err := r.observeTuning(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		c := condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded)
		if c.Reason != step.want || !strings.Contains(c.Message, step.says) || !p.finished() {
			t.Errorf("with %q it is %s: %s, finished %v", step.maxLoss, c.Reason, c.Message, p.finished())
		}
	}
}

// TestLeftBy: the newest pod counts, and of each only what a helper says: the trainer
// runs code of others, and could name any image to be proposed for serving.
func TestLeftBy(t *testing.T) {
	r, p := endedRun(t, "no JSON", nil)
	pod := func(name string, second int64, adapter string) *corev1.Pod {
		pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: name, Labels: map[string]string{batchv1.JobNameLabel: p.job().Name}, CreationTimestamp: metav1.Unix(second, 0)}}
		pod.Status.InitContainerStatuses = says("train", `{"adapter": "registry.example.com/of/somebody@sha256:0", "evaluation": {"lossAfter": "0.0001"}}`)
		pod.Status.ContainerStatuses = says("publish", `{"adapter": "`+adapter+`"}`)
		return pod
	}
	r.Reader = kubefake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(pod("old", 1, "old"), pod("newer", 2, "newer")).Build()
	if got, err := r.leftBy(t.Context(), p.job()); err != nil || got.Adapter != "newer" || got.Evaluation != nil {
		t.Errorf("got %+v, %v", got, err)
	}
}

// says is a container that has ended and left a message.
func says(container, message string) []corev1.ContainerStatus {
	return []corev1.ContainerStatus{{Name: container, State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{Message: message}}}}
}

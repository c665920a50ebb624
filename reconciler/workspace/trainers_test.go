// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// over is a Job over so many nodes.
func over(nodes int32) *batchv1.Job {
	return &batchv1.Job{Spec: batchv1.JobSpec{Parallelism: ptr.To(nodes)}}
}

func TestAttempts(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		nodes  int32
		status batchv1.JobStatus
		want   int32
	}{
		"One":         {"a pod is a try", 1, batchv1.JobStatus{Active: 1, Failed: 2}, 3},
		"Starting":    {"two pods that train together are one try", 2, batchv1.JobStatus{Active: 2}, 1},
		"Again":       {"who ended for the sake of the one that failed is not counted by the Job", 2, batchv1.JobStatus{Active: 2, Failed: 1}, 2},
		"NearlyDone":  {"the last of them still publishes", 2, batchv1.JobStatus{Active: 1, Succeeded: 1}, 1},
		"BetweenPods": {"nothing runs just now", 2, batchv1.JobStatus{Failed: 1}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			job := over(tc.nodes)
			job.Status = tc.status
			if got := attempts(job); got != tc.want {
				t.Errorf("%s: %d, want %d", tc.reason, got, tc.want)
			}
		})
	}
}

// TestLostPodsCount: a pod whose end the Job forgives, because its node was lost or it
// was evicted, was an attempt all the same.
func TestLostPodsCount(t *testing.T) {
	pod := func(uid, job, index string) corev1.Pod {
		p := corev1.Pod{}
		p.UID, p.Labels = types.UID(uid), map[string]string{batchv1.ControllerUidLabel: job}
		if index != "" {
			p.Labels[batchv1.JobCompletionIndexAnnotation] = index
		}
		return p
	}
	was := func(attempts int32, pod string) *v1alpha1.TuningStatus {
		return &v1alpha1.TuningStatus{UID: "run", Attempts: attempts, Pod: pod}
	}
	for name, tc := range map[string]struct {
		reason   string
		was      *v1alpha1.TuningStatus
		job      batchv1.JobStatus
		pods     []corev1.Pod
		attempts int32
		pod      string
	}{
		"First":      {"there was none before", nil, batchv1.JobStatus{Active: 1}, []corev1.Pod{pod("a", "run", "")}, 1, "a"},
		"Same":       {"it goes on", was(1, "a"), batchv1.JobStatus{Active: 1}, []corev1.Pod{pod("a", "run", "")}, 1, "a"},
		"Between":    {"its node is gone, and the next waits", was(1, "a"), batchv1.JobStatus{}, nil, 1, "a"},
		"Lost":       {"the Job counts no failure", was(1, "a"), batchv1.JobStatus{Active: 1}, []corev1.Pod{pod("b", "run", "")}, 2, "b"},
		"Failed":     {"one that the Job counts too is counted once", was(1, "a"), batchv1.JobStatus{Active: 1, Failed: 1}, []corev1.Pod{pod("b", "run", "")}, 2, "b"},
		"FailedSoon": {"the Job has not counted it yet", was(2, "b"), batchv1.JobStatus{Active: 1, Failed: 1}, []corev1.Pod{pod("c", "run", "")}, 3, "c"},
		"Both":       {"one was lost, and the next failed", was(2, "b"), batchv1.JobStatus{Active: 1, Failed: 1}, []corev1.Pod{pod("c", "run", "")}, 3, "c"},
		"Upgraded":   {"an earlier version has noted no pod", was(3, ""), batchv1.JobStatus{Active: 1, Failed: 2}, []corev1.Pod{pod("c", "run", "")}, 3, "c"},
		"OtherJob":   {"what is left of another run is not its pod", was(1, "a"), batchv1.JobStatus{Active: 1}, []corev1.Pod{pod("x", "older", ""), pod("a", "run", "")}, 1, "a"},
		"Together":   {"of several the first is looked at", was(1, "a"), batchv1.JobStatus{Active: 2}, []corev1.Pod{pod("z", "run", "1"), pod("b", "run", "0")}, 2, "b"},
		"OtherRun":   {"another Job begins anew", &v1alpha1.TuningStatus{UID: "older", Attempts: 7, Pod: "x"}, batchv1.JobStatus{Active: 1}, []corev1.Pod{pod("a", "run", "")}, 1, "a"},
	} {
		t.Run(name, func(t *testing.T) {
			job := over(1)
			job.UID, job.Status = "run", tc.job
			if tc.was != nil && tc.job.Active > 1 {
				job.Spec.Parallelism = ptr.To(tc.job.Active)
			}
			p := &pass{ws: &v1alpha1.Workspace{}, out: render.Output{}}
			p.ws.Status.Tuning = tc.was
			got := tuningStatus(p, job, tc.pods)
			if got.Attempts != tc.attempts || got.Pod != tc.pod {
				t.Errorf("%s: %d attempts, the last of pod %q; want %d, %q", tc.reason, got.Attempts, got.Pod, tc.attempts, tc.pod)
			}
		})
	}
}

// TestLookTogether: one pod that waits for another has not started the run.
func TestLookTogether(t *testing.T) {
	running := corev1.Pod{Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "train", State: corev1.ContainerState{Running: &corev1.ContainerStateRunning{}}}}}}
	stuck := corev1.Pod{Status: corev1.PodStatus{InitContainerStatuses: []corev1.ContainerStatus{{Name: "train", State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: "ImagePullBackOff"}}}}}}
	for name, tc := range map[string]struct {
		reason        string
		pods          []corev1.Pod
		runs, started bool
	}{
		"Both":    {"they train", []corev1.Pod{running, running}, true, true},
		"Stuck":   {"the other's node is paid, and after the limit nobody waits for it any more", []corev1.Pod{running, stuck}, false, false},
		"Missing": {"the same where the other pod is not there", []corev1.Pod{running}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			seen := seenStart{together: 2}
			seen.look(tc.pods)
			if seen.runs != tc.runs || seen.started != tc.started {
				t.Errorf("%s: runs %v, started %v", tc.reason, seen.runs, seen.started)
			}
		})
	}
}

// TestAllMayMount: no second node is bought for a pod that cannot mount the
// checkpoints of an earlier run.
func TestAllMayMount(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		nodes   int64
		mode    corev1.PersistentVolumeAccessMode
		job     *batchv1.Job
		refused bool
	}{
		"OneNode":   {"a disk is enough", 1, corev1.ReadWriteOnce, nil, false},
		"Share":     {"so is a share for all", 2, corev1.ReadWriteMany, nil, false},
		"Disk":      {"one of two pods would mount it", 2, corev1.ReadWriteOnce, nil, true},
		"UnderWay":  {"a run on one node goes on", 2, corev1.ReadWriteOnce, over(1), true},
		"RunsSoNow": {"what works is left alone", 2, corev1.ReadWriteOnce, over(2), false},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{Spec: v1alpha1.WorkspaceSpec{Tuning: &v1alpha1.TuningSpec{}}}}
			p.claim = &corev1.PersistentVolumeClaim{Spec: corev1.PersistentVolumeClaimSpec{AccessModes: []corev1.PersistentVolumeAccessMode{tc.mode}}}
			p.out.Workload = &unstructured.Unstructured{Object: map[string]any{
				"metadata": map[string]any{"name": "run"}, "spec": map[string]any{"parallelism": tc.nodes},
			}}
			if tc.job != nil {
				tc.job.Name = "run"
				p.jobs = []batchv1.Job{*tc.job}
			}
			err := p.mayUse()
			if (err != nil) != tc.refused || err != nil && fault.Reason(err, "") != v1alpha1.ReasonClaimNotShared {
				t.Errorf("%s: %v", tc.reason, err)
			}
		})
	}
}

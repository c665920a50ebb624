// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestResumed: who pays for a run that begins anew reads so, and why, while it runs; what the
// trainer's image may print beside that is not repeated.
func TestResumed(t *testing.T) {
	for name, c := range map[string]struct {
		reason, message, want string
	}{
		"Whole": {"Nothing was wrong.", "", ""},
		"Anew": {"There is nothing to go on from.", "checkpoint-20: optimizer.pt has no end\nanew\n",
			"checkpoint-20 was cut short (optimizer.pt has no end), and there is no other: training begins anew"},
		"Before": {"What is lost is between two checkpoints.", "checkpoint-20: trainer_state.json is not there, or empty\nleft: checkpoint-10\n",
			"checkpoint-20 was cut short (trainer_state.json is not there, or empty): training goes on from checkpoint-10"},
		"Rotated": {"The trainer was deleting an old one: nothing is lost.", "checkpoint-10: trainer_state.json is not there, or empty\nleft: checkpoint-20\n", ""},
		"Between": {"The newest is lost, whatever was on its way out.", "checkpoint-10: a.pt is empty\ncheckpoint-30: optimizer.pt has no end\nleft: checkpoint-20\n",
			"checkpoint-30 was cut short (optimizer.pt has no end), and 1 more were: training goes on from checkpoint-20"},
		"Unsaid": {"What the trainer goes on from is not guessed.", "checkpoint-20: optimizer.pt has no end\nleft: something\n", "checkpoint-20 was cut short (optimizer.pt has no end)"},
		"Several": {"The newest is named, whatever the order of names.", "checkpoint-100: rng_state_0.pth is empty\ncheckpoint-20: optimizer.pt has no end\nanew\n",
			"checkpoint-100 was cut short (rng_state_0.pth is empty), and 1 more were, and there is no other: training begins anew"},
		"OtherWords": {"Files are the tenant's, and so is the image.", "checkpoint-20: my secret row\ncheckpoint-20: a b.pt has no end\nanew\n", ""},
		"LongName":   {"It is bounded.", "checkpoint-20: " + strings.Repeat("a", 65) + ".pt has no end\n", ""},
		"AnewAlone":  {"A run that begins has nothing to say.", "anew\n", ""},
	} {
		t.Run(name, func(t *testing.T) {
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{UID: "job"}}
			pod := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: types.UID("pod"), Labels: map[string]string{batchv1.ControllerUidLabel: "job"}}}
			pod.Status.InitContainerStatuses = says(looker, c.message)
			other := corev1.Pod{ObjectMeta: metav1.ObjectMeta{UID: "other"}}
			other.Status.InitContainerStatuses = says(looker, "checkpoint-1: a.pt has no end\n")
			if got := resumed([]corev1.Pod{other, pod}, job); got != c.want {
				t.Errorf("%s\ngot  %q\nwant %q", c.reason, got, c.want)
			}
		})
	}
}

// TestFoundNow: an event is made of it once.
func TestFoundNow(t *testing.T) {
	running := func(message string) *v1alpha1.Workspace {
		ws := &v1alpha1.Workspace{}
		condition.False(ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonJobRunning, message)
		return ws
	}
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "run-1"}}
	const note = "checkpoint-20 was cut short (optimizer.pt has no end): training goes on from checkpoint-10"
	quiet, told, after := running(runningMessage(job, "", "")), running(runningMessage(job, "", note)), running(runningMessage(job, "it was killed", note))
	troubled := &v1alpha1.Workspace{}
	condition.False(troubled, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonWaitingForPods, beside("its node does not answer", note))
	second := told.DeepCopy()
	second.Status.Tuning = &v1alpha1.TuningStatus{Pod: "second"}
	for name, c := range map[string]struct {
		reason        string
		before, after *v1alpha1.Workspace
		want          string
	}{
		"New":     {"Nobody knew.", quiet, told, note},
		"First":   {"The pass may be the first of a controller.", &v1alpha1.Workspace{}, told, note},
		"Again":   {"It was said.", told, told, ""},
		"Besides": {"Another part of the message has changed.", told, after, ""},
		"Quiet":   {"Nothing is wrong.", told, quiet, ""},
		"Trouble": {"It stands beside what goes wrong now.", told, troubled, ""},
		"Cleared": {"It was said before and while there was trouble.", troubled, told, ""},
		"Within":  {"Trouble keeps nothing back.", quiet, troubled, note},
		"Pod":     {"Another pod has found the same of its own.", told, second, note},
	} {
		if got := foundNow(c.before, c.after); got != c.want {
			t.Errorf("%s: %s\ngot %q, want %q", name, c.reason, got, c.want)
		}
	}
}

// TestFoundInMessage: what is said of the run is whole beside it.
func TestFoundInMessage(t *testing.T) {
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "run-1"}}
	for want, args := range map[string][2]string{
		"Job run-1 is running":                                                      {"", ""},
		"Job run-1 is running. Of an earlier pod: n":                                {"", "n"},
		"Job run-1 tries once more after a failure: it broke":                       {"it broke", ""},
		"Job run-1 tries once more after a failure: it broke. Of an earlier pod: n": {"it broke", "n"},
	} {
		if got := runningMessage(job, args[0], args[1]); got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

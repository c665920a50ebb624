// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// looker is the container that looks at the checkpoints of earlier pods, before the trainer
// does. It runs the trainer's image: of what it leaves only these words are repeated.
const looker = "resume"

// cutShort is what it leaves of a checkpoint that it has removed, newestLeft of the one that
// the trainer goes on from, and begunAnew what it leaves where there is none.
var cutShort = regexp.MustCompile(`^checkpoint-([0-9]{1,12}): ([A-Za-z0-9._-]{1,64} (?:is not there, or empty|is empty|has no end))$`)

var newestLeft = regexp.MustCompile(`^left: checkpoint-([0-9]{1,12})$`)

const begunAnew = "anew"

// ofEarlier is before what a running Job's message says of the pods before.
const ofEarlier = ". Of an earlier pod: "

// resumed says what the pod that trains has found of earlier ones, "" where nothing was
// wrong.
func resumed(pods []corev1.Pod, job *batchv1.Job) string {
	leader := leaderOf(pods, job)
	for i := range pods {
		if string(pods[i].UID) != leader {
			continue
		}
		for _, c := range pods[i].Status.InitContainerStatuses {
			if c.Name == looker && c.State.Terminated != nil {
				return found(c.State.Terminated.Message)
			}
		}
	}
	return ""
}

// found is one sentence on a message of looker: of several checkpoints the newest is named.
// One that is older than what the trainer goes on from is no loss: it was on its way out.
func found(message string) string {
	removed, newest, left, why, anew := 0, -1, -1, "", false
	for line := range strings.Lines(message) {
		line = strings.TrimSpace(line)
		anew = anew || line == begunAnew
		if said := newestLeft.FindStringSubmatch(line); said != nil {
			left, _ = strconv.Atoi(said[1]) // digits alone
		}
		said := cutShort.FindStringSubmatch(line)
		if said == nil {
			continue
		}
		removed++
		if step, err := strconv.Atoi(said[1]); err == nil && step > newest {
			newest, why = step, said[2]
		}
	}
	if removed == 0 || left > newest {
		return ""
	}
	text := fmt.Sprintf("checkpoint-%d was cut short (%s)", newest, why)
	if removed > 1 {
		text += fmt.Sprintf(", and %d more were", removed-1)
	}
	switch {
	case left >= 0:
		return fmt.Sprintf("%s: training goes on from checkpoint-%d", text, left)
	case anew:
		return text + ", and there is no other: training begins anew"
	}
	return text
}

// foundNow is what found says of a Workspace that did not say so of the same pod before.
func foundNow(before, after *v1alpha1.Workspace) string {
	is, was := condition.Get(after, v1alpha1.ConditionTuningSucceeded), condition.Get(before, v1alpha1.ConditionTuningSucceeded)
	if is == nil {
		return ""
	}
	_, said, _ := strings.Cut(is.Message, ofEarlier)
	same := was != nil && strings.HasSuffix(was.Message, ofEarlier+said) && trainerOf(before) == trainerOf(after)
	if said == "" || same {
		return ""
	}
	return said
}

// trainerOf is the pod that trains, or did.
func trainerOf(ws *v1alpha1.Workspace) string {
	if ws.Status.Tuning == nil {
		return ""
	}
	return ws.Status.Tuning.Pod
}

// beside adds to a message on a Job what its pod has found: also while there is trouble with
// it, so that it is told once and not again after that.
func beside(message, note string) string {
	if note == "" {
		return message
	}
	return message + ofEarlier + note
}

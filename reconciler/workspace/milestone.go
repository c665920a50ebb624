// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"fmt"

	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// eventTraining is the reason of the events of a run that goes on.
const eventTraining = "Training"

// quarter is how many percent of a run an event is worth.
const quarter = 25

// milestone says how far a run is when it has passed another quarter, or when its
// loss is no number any more, "" otherwise.
func milestone(before, after *v1alpha1.TuningStatus) string {
	if after == nil || after.Progress == nil || after.FinishedAt != nil {
		return ""
	}
	var was v1alpha1.TuningProgress
	if before != nil && before.UID == after.UID && before.Progress != nil {
		was = *before.Progress
	}
	is := after.Progress
	broken := is.Loss == "NaN" && was.Loss != "NaN"
	if is.Percent/quarter <= was.Percent/quarter && !broken {
		return ""
	}
	text := howFar(is)
	if broken {
		text += ": the training has broken down, and its adapter will not be published; suspend the Workspace, then lower the learning rate"
	}
	return text
}

// howFar is what the trainer said, in words.
func howFar(is *v1alpha1.TuningProgress) string {
	text := fmt.Sprintf("%d %% trained", is.Percent)
	if is.Steps > 0 {
		text += fmt.Sprintf(", step %d of %d", is.Step, is.Steps)
	}
	if is.Loss != "" {
		text += ", loss " + is.Loss
	}
	if left := report.Remaining(is); left != "" {
		text += ", " + left + " left"
	}
	return text
}

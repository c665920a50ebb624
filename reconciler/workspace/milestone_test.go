// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestMilestone(t *testing.T) {
	at := func(uid string, percent int32, loss string) *v1alpha1.TuningStatus {
		return &v1alpha1.TuningStatus{UID: uid, Progress: &v1alpha1.TuningProgress{Percent: percent, Step: int64(percent) * 10, Steps: 1000, Loss: loss}}
	}
	left := at("a", 50, "0.8")
	left.Progress.Remaining = &metav1.Duration{Duration: 3*time.Hour + 20*time.Minute}
	ended := at("a", 100, "0.8")
	ended.FinishedAt = &metav1.Time{}
	for name, c := range map[string]struct {
		reason        string
		before, after *v1alpha1.TuningStatus
		want          string
	}{
		"NoRun":    {reason: "A service trains nothing."},
		"Unsaid":   {reason: "The trainer says nothing.", before: &v1alpha1.TuningStatus{UID: "a"}, after: &v1alpha1.TuningStatus{UID: "a"}},
		"Begins":   {reason: "That it runs is a condition.", before: &v1alpha1.TuningStatus{UID: "a"}, after: at("a", 3, "2.1")},
		"Within":   {reason: "Four events a run, not a hundred.", before: at("a", 26, "1"), after: at("a", 49, "0.9")},
		"Passes":   {reason: "A quarter more.", before: at("a", 49, "1"), after: left, want: "50 % trained, step 500 of 1000, loss 0.8, about 3 h left"},
		"Another":  {reason: "Another run begins anew.", before: at("a", 90, "1"), after: at("b", 30, "1"), want: "30 % trained, step 300 of 1000, loss 1"},
		"Back":     {reason: "The steps since a checkpoint are done again.", before: at("a", 51, "1"), after: at("a", 49, "1")},
		"Finished": {reason: "The end is a condition.", before: at("a", 99, "1"), after: ended},
		"Broken": {
			reason: "Nothing that is paid for from here on is of use.", before: at("a", 3, "2"), after: at("a", 4, "NaN"),
			want: "4 % trained, step 40 of 1000, loss NaN: the training has broken down, and its adapter will not be published; suspend the Workspace, then lower the learning rate",
		},
		"StillBroken": {reason: "It is said once.", before: at("a", 4, "NaN"), after: at("a", 5, "NaN")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := milestone(c.before, c.after); got != c.want {
				t.Errorf("%s\n%q, want %q", c.reason, got, c.want)
			}
		})
	}
}

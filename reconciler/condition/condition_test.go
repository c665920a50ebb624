// SPDX-License-Identifier: Apache-2.0

package condition_test

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLongMessage: a message that is cut is one that the API server gives back as it is;
// else it would differ in every pass, and be written again.
func TestLongMessage(t *testing.T) {
	for name, c := range map[string]struct{ reason, message, want string }{
		"Short": {"It is told whole.", "The model answers", "The model answers"},
		"Long":  {"Its beginning is told.", strings.Repeat("a", 5000), strings.Repeat("a", 4093) + "..."},
		"Wide":  {"No letter is cut in two.", strings.Repeat("ü", 5000), strings.Repeat("ü", 2046) + "..."},
	} {
		t.Run(name, func(t *testing.T) {
			w := &v1alpha1.Workspace{}
			condition.Ready(w, v1alpha1.ReasonSucceeded, c.message)
			if got := condition.Get(w, v1alpha1.ConditionReady).Message; got != c.want || !utf8.ValidString(got) {
				t.Errorf("%s\ngot %d bytes: %.40q", c.reason, len(got), got)
			}
		})
	}
}

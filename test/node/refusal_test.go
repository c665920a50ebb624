// SPDX-License-Identifier: Apache-2.0

package node

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestRefusedOnce: what no try can mend is tried once, on a node that is paid for: a helper
// says so by its exit code, and the Job's own six more tries are not taken.
func TestRefusedOnce(t *testing.T) {
	w, team := theWorld(t), newTeam(t, "refusedonce")
	address := w.data.put("refused.jsonl", content(rows(4))) + "#sha256=" + strings.Repeat("0", 64)
	follow(t, team, repository(map[string]string{"refused": w.run("refused", address, "")}))
	run := until(t, team, "refused", func(ws *v1alpha1.Workspace) bool { return isReady(ws) || hasFailed(ws) })
	message := condition.Get(run, v1alpha1.ConditionTuningSucceeded).Message
	if !hasFailed(run) || !strings.Contains(message, "the URL demands "+strings.Repeat("0", 64)) {
		t.Errorf("TuningSucceeded says %q", message)
	}
	if got := run.Status.Tuning.Attempts; got != 1 {
		t.Errorf("it was tried %d times", got)
	}
	if tagged(t, w.output("refused")) {
		t.Error("an adapter was published")
	}
}

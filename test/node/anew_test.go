// SPDX-License-Identifier: Apache-2.0

package node

import (
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/chats"
)

// TestBegunAnew: the trainer is killed, and no checkpoint has outlived the disk whole. The
// Workspace says which was cut short and that training begins anew, while it does; and the
// adapter is the same.
func TestBegunAnew(t *testing.T) {
	w, team := theWorld(t), newTeam(t, "anew")
	data := chats.Rows(10)
	follow(t, team, repository(map[string]string{"run": w.run("run", w.data.put("anew.jsonl", content(chats.Lines(data))), "")}))

	saved(t, w, "checkpoint-5")
	signal(t, w, "axolotl", syscall.SIGKILL)
	states, err := filepath.Glob(filepath.Join(w.Cluster.Dir, "volumes", "*", "*", "out", "checkpoint-*", "trainer_state.json"))
	if err != nil || len(states) == 0 {
		t.Fatalf("%d checkpoints: %v", len(states), err)
	}
	for _, state := range states {
		if err := os.Truncate(state, 5); err != nil {
			t.Fatal(err)
		}
	}
	const want = "was cut short (trainer_state.json has no end)"
	until(t, team, "run", func(ws *v1alpha1.Workspace) bool {
		c := condition.Get(ws, v1alpha1.ConditionTuningSucceeded)
		return c != nil && strings.Contains(c.Message, want) && strings.HasSuffix(c.Message, "and there is no other: training begins anew")
	})
	run := until(t, team, "run", isReady)
	if said := logs(t, team, "run"); !firstStep.MatchString(said) || goingOn.MatchString(said) {
		t.Errorf("the second attempt did not begin anew:\n%s", said)
	}
	if got, want := published(t, run.Status.Tuning.Adapter, w.output("run")), learnt(data, epochs); got != want {
		t.Errorf("the weights are %s, want %s: as if nothing had happened", got, want)
	}
}

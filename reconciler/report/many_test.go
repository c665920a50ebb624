// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLongReasons: what many Workspaces say at length, in letters that take most room,
// leaves the README one that forges show; who is not heard is counted.
func TestLongReasons(t *testing.T) {
	s := Snapshot{Cluster: "prod", Namespace: "models", Name: "fleet", Revision: "main@sha1:" + commit}
	for i := range maxRows {
		w := serving(fmt.Sprintf("model-%05d-%s", i, strings.Repeat("a", 40)), is(v1alpha1.ConditionReady, "False", v1alpha1.ReasonWaitingForNodes, strings.Repeat("@ü#ö😀", 800)))
		w.Status.ObservedGeneration = w.Generation
		s.Workspaces = append(s.Workspaces, &w)
	}
	text := string(Files(s)["README.md"])
	if len(text) > 512<<10 {
		t.Errorf("%d KiB", len(text)>>10)
	}
	told := strings.Count(text, "\n- ") - 1
	if more := fmt.Sprintf("\n- and %d more\n", maxRows-told); told < 20 || !strings.Contains(text, more) {
		t.Errorf("%d reasons, and no %q", told, more)
	}
}

// TestManyWorkspaces: the README stays what a forge shows, and tells first what needs a
// person.
func TestManyWorkspaces(t *testing.T) {
	for name, c := range map[string]struct {
		reason        string
		all, unready  int // the unready are the last by name
		rows, reasons int
		says          string
	}{
		"All":      {"Up to a thousand are all listed.", 1_000, 3, 1_000, 3, ""},
		"OneMore":  {"One that is ready is left out.", 1_001, 1, 1_000, 1, "**1001 Workspaces:** ✅ 1000 Ready · ⏳ 1 Progressing. The table leaves out 1 that are ready;"},
		"Fleet":    {"What is not ready is not.", 10_000, 150, 1_000, 150, "✅ 9850 Ready · ⏳ 150 Progressing. The table leaves out 9000 that are ready;"},
		"AllWrong": {"A cluster without nodes.", 30_000, 30_000, 1_000, 201, "**30000 Workspaces:** ⏳ 30000 Progressing. The table leaves out 29000;"},
	} {
		t.Run(name, func(t *testing.T) {
			s := Snapshot{Cluster: "prod", Namespace: "models", Name: "fleet", Revision: "main@sha1:" + commit}
			for i := range c.all {
				w := serving(fmt.Sprintf("model-%05d", i), is(v1alpha1.ConditionReady, "True", v1alpha1.ReasonSucceeded, "1 of 1 replicas answer"))
				w.Status.ObservedGeneration = w.Generation
				if i >= c.all-c.unready {
					w.Status.Conditions[0] = is(v1alpha1.ConditionReady, "False", v1alpha1.ReasonWaitingForNodes, strings.Repeat("1 of 2 nodes has joined ", 8))
				}
				s.Workspaces = append(s.Workspaces, &w)
			}
			text := string(Files(s)["README.md"])
			rows, reasons := strings.Count(text, "\n| [`model-"), strings.Count(text, "\n- ")
			if rows != c.rows || reasons != c.reasons || !strings.Contains(text, c.says) || c.says == "" && strings.Contains(text, "Workspaces:**") {
				t.Errorf("%s\n%d rows and %d reasons:\n%.1000s", c.reason, rows, reasons, text)
			}
			if listed := strings.Count(text, "[⏳ Progressing]"); listed != min(c.unready, maxRows) {
				t.Errorf("%s\n%d that are not ready are listed", c.reason, listed)
			}
			if len(text) > 512<<10 {
				t.Errorf("%d KiB", len(text)>>10)
			}
		})
	}
}

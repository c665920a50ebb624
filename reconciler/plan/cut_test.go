// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// large is a plan of many changes and findings.
func large(changes, findings int) plan.Plan {
	p := plan.Plan{
		Base: plan.Revision{Name: "main"}, Head: plan.Revision{Name: "HEAD"}, RepoSync: "models/team",
		Summary:    plan.Summary{Line: "refused: many errors"},
		NotChecked: []plan.Note{{Code: plan.QuotaNotChecked, Message: "no credentials"}},
	}
	for i := range changes {
		p.Changes = append(p.Changes, plan.Change{
			Kind: v1alpha1.WorkspaceKind, Namespace: "models", Name: fmt.Sprintf("w%05d", i), Task: "inference", File: "w.yaml", Line: i,
			Words: []string{"replicas 1 → 2"}, Effect: plan.Effect{Kind: plan.Scales, Message: "1 → 2 copies"},
			Diff: strings.Repeat("+ line\n", 100),
		})
	}
	for i := range findings {
		for _, severity := range []string{"error", "warning"} {
			p.Findings = append(p.Findings, plan.Finding{Fix: &v1alpha1.Fix{Old: "a: b", New: "a: c"}, Finding: v1alpha1.Finding{
				Severity: severity, Code: "Code", File: "w.yaml", Line: i, Message: fmt.Sprintf("%s number %d of many", severity, i),
			}})
		}
	}
	return p
}

func TestCut(t *testing.T) {
	for name, c := range map[string]struct {
		reason            string
		changes, findings int
		limit             int
		has, lacks        []string
	}{
		"Whole": {
			reason: "What fits is whole.", changes: 3, findings: 2, limit: plan.LimitGitHub,
			has: []string{"w00002", "warning number 1 ", "<details>", "no credentials"}, lacks: []string{"left out"},
		},
		"DiffsFirst": {
			reason: "Rendered objects are missed least.", changes: 40, findings: 10, limit: 20_000,
			has:   []string{"w00039", "warning number 9 ", "error number 9 ", "rendered differences left out", "no credentials"},
			lacks: []string{"warnings left out"},
		},
		"FixesNext": {
			reason: "Then the lines that mend what is said anyway.", changes: 40, findings: 80, limit: 14_500,
			has:   []string{"w00039", "error number 79 ", "40 rendered differences left out", "mended lines left out", "warning number 79 "},
			lacks: []string{"warnings left out"},
		},
		"WarningsNext": {
			reason: "Then warnings, while every change and error is there.", changes: 40, findings: 200, limit: 25_000,
			has:   []string{"w00039", "error number 199 ", "40 rendered differences left out", "warnings left out"},
			lacks: []string{"<details>", "changed objects left out"},
		},
		"RowsNext": {
			reason: "Then rows, with a line that counts them; errors are all there.", changes: 10_000, findings: 100, limit: plan.LimitGitHub,
			has:   []string{"error number 99 ", "changed objects left out", "no credentials"},
			lacks: []string{"errors left out", "warning number"},
		},
		"ErrorsNeverSilently": {
			reason: "What is left out of the errors is said.", changes: 10, findings: 10_000, limit: 8_000,
			has:   []string{"error number 0 ", "errors left out", "10 changed objects left out"},
			lacks: []string{"| Workspace |"},
		},
		"NoLimit": {
			reason: "0 is no limit.", changes: 500, findings: 500, limit: 0,
			has: []string{"w00499", "warning number 499 "}, lacks: []string{"left out"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got := large(c.changes, c.findings).Markdown(c.limit)
			if c.limit > 0 && len(got) > c.limit {
				t.Errorf("%s\n%d bytes, more than %d", c.reason, len(got), c.limit)
			}
			for _, s := range append(c.has, "<!-- espalier-plan models/team -->\n**refused: many errors**\n") {
				if !strings.Contains(got, s) {
					t.Errorf("%s\n%q is not there", c.reason, s)
				}
			}
			for _, s := range c.lacks {
				if strings.Contains(got, s) {
					t.Errorf("%s\n%q is there", c.reason, s)
				}
			}
		})
	}
}

// TestCutAtEverySize: whatever the limit, the comment keeps to it and is whole
// Markdown: no block of code is left open.
func TestCutAtEverySize(t *testing.T) {
	p := large(30, 30)
	for limit := 2_000; limit < 40_000; limit += 171 {
		got := p.Markdown(limit)
		if len(got) > limit || !strings.HasPrefix(got, "<!-- espalier-plan") {
			t.Fatalf("limit %d: %d bytes", limit, len(got))
		}
		if strings.Count(got, "```")%2 != 0 || strings.Count(got, "<details>") != strings.Count(got, "</details>") {
			t.Fatalf("limit %d: something is left open", limit)
		}
	}
}

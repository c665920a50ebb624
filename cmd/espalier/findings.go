// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// shownFinding is a finding with the path of its file for a reader at their
// prompt; the finding's own is relative to the repository.
type shownFinding struct {
	v1alpha1.Finding
	shown string
}

func (l loaded) shownFindings() []shownFinding {
	findings := make([]shownFinding, 0, len(l.findings))
	for _, f := range l.findings {
		findings = append(findings, shownFinding{Finding: f, shown: l.shown(f.File)})
	}
	return findings
}

// sortShown orders findings of several targets as finding.Sort does.
func sortShown(findings []shownFinding) {
	slices.SortStableFunc(findings, func(a, b shownFinding) int {
		if c := strings.Compare(a.shown, b.shown); c != 0 {
			return c
		}
		return finding.Compare(a.Finding, b.Finding)
	})
}

// findingWriters are the forms of findings.
var findingWriters = map[string]func(io.Writer, []shownFinding) error{
	"text":  writeText,
	"json":  writeJSON,
	"sarif": writeSARIF,
}

// writeText is one line a finding, as compilers have it.
func writeText(w io.Writer, findings []shownFinding) error {
	for _, f := range findings {
		if _, err := fmt.Fprintf(w, "%s: %s: %s (%s)\n", finding.Location(f.shown, f.Line), f.Severity, f.Message, f.Code); err != nil {
			return err
		}
	}
	return nil
}

func writeJSON(w io.Writer, findings []shownFinding) error {
	type plain struct {
		v1alpha1.Finding
		Fix *v1alpha1.Fix `json:"fix,omitempty"`
	}
	list := make([]plain, 0, len(findings))
	for _, f := range findings {
		p := plain{Finding: f.Finding}
		if !f.Fix.None() {
			p.Fix = &f.Fix
		}
		list = append(list, p)
	}
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(list)
}

// sayErrors prints the findings that refuse something, and says whether there are any.
func sayErrors(w io.Writer, findings []shownFinding) (bool, error) {
	refusals := slices.DeleteFunc(slices.Clone(findings), func(f shownFinding) bool { return f.Severity != finding.Error })
	return len(refusals) > 0, writeText(w, refusals)
}

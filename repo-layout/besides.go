// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// absences are codes on what is not there: in a document that was read in part it may
// be.
var absences = []string{finding.TaskMissing, finding.ResourceMissing, finding.PresetMissing, finding.MissingField, finding.InputMissing, finding.OutputMissing, finding.WeightsInvalid}

// besides are the native findings on a Workspace that was read in part, beside the
// errors that kept the rest from being read: all that is wrong is said at once. Not
// those on a field that an error is about, or on what may be missing because of one.
func besides(w *v1alpha1.Workspace, problems []finding.Problem) []finding.Problem {
	var more []finding.Problem
	for _, p := range workspaceProblems(w) {
		related := func(e finding.Problem) bool { return e.Severity == finding.Error && related(e.Field, p.Field) }
		if !slices.Contains(absences, p.Code) && !slices.ContainsFunc(problems, related) {
			more = append(more, p)
		}
	}
	return more
}

// related says whether one field is the other, or a part of it. Elements of a list
// count as the whole of it: those that were not read have moved the others.
func related(a, b string) bool {
	whole := func(field string) string {
		if strings.HasPrefix(field, "metadata.") { // keys of a mapping
			return field
		}
		field, _, _ = strings.Cut(field, "[")
		return field
	}
	a, b = whole(a), whole(b)
	if len(a) > len(b) {
		a, b = b, a
	}
	return a == "" || a == b || strings.HasPrefix(b, a+".") || strings.HasPrefix(b, a+"[")
}

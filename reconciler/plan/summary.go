// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// count adds one Workspace to the summary.
func (s *Summary) count(ch Change, from, to *desired.Workspace, listed bool) {
	switch {
	case !listed:
		s.Unchanged++
		return
	case from == nil:
		s.New++
	case to == nil && ch.Effect.Kind != Refused:
		s.Deleted++
	case ch.Effect.Kind == None && onlyMoved(ch.Words):
		s.Moved++
		s.Unchanged++
		return
	default:
		s.Changed++
	}
	s.effect(ch.Effect)
	s.runs(ch)
	if ch.Fit != nil && worse(ch.Fit.Verdict, s.Verdict) {
		s.Verdict = ch.Fit.Verdict
	}
}

func (s *Summary) effect(e Effect) {
	switch e.Kind {
	case Replaced, Restarted:
		if e.Downtime {
			s.Restarts++
		}
	case Rolls:
		s.Rolls++
	case Reruns:
		s.Reruns++
	}
}

// runs adds the tuning runs that begin, which end and so cost nothing by the month.
func (s *Summary) runs(ch Change) {
	if ch.Task != "tuning" || ch.Price.After == nil || ch.Effect.Kind != Created && ch.Effect.Kind != Reruns {
		return
	}
	s.Runs++
	s.RunsUSDPerHour = round(s.RunsUSDPerHour + ch.Price.After.USDPerHour)
	if d := ch.Price.After.Date; d != "" && !slices.Contains(s.Monthly.Dates, d) {
		s.Monthly.Dates = append(s.Monthly.Dates, d)
		slices.Sort(s.Monthly.Dates)
	}
}

func onlyMoved(words []string) bool {
	return len(words) == 1 && strings.HasPrefix(words[0], "moved from ")
}

// worse orders verdicts.
func worse(a, b v1alpha1.Verdict) bool {
	order := []v1alpha1.Verdict{"", v1alpha1.Fits, v1alpha1.Tight, v1alpha1.Unknown, v1alpha1.No}
	return slices.Index(order, a) > slices.Index(order, b)
}

// verdicts in the words of the summary.
var verdicts = map[v1alpha1.Verdict]string{
	v1alpha1.Fits: "fits", v1alpha1.Tight: "fits only just", v1alpha1.No: "does not fit", v1alpha1.Unknown: "fit not known",
}

// line is the whole plan in one sentence; others say what changes beside Workspaces and pools.
func (p Plan) line(others []string) string {
	s := p.Summary
	var parts []string
	add := func(yes bool, format string, args ...any) {
		if yes {
			parts = append(parts, fmt.Sprintf(format, args...))
		}
	}
	add(s.Errors > 0, "refused: %s", counted(s.Errors, "error", "errors")+alreadyThere(s))
	parts = append(parts, others...)
	add(s.Changed > 0, "%s", counted(s.Changed, "workspace changes", "workspaces change"))
	add(s.New > 0, "%d new", s.New)
	add(s.Deleted > 0, "%s", deletions(p))
	pools := p.poolChanges()
	add(pools > 0, "%s", counted(pools, "node pool changes", "node pools change"))
	add(s.Moved > 0, "%d moved, nothing of it changes", s.Moved)
	if s.Changed+s.New+s.Deleted+pools+s.Moved == 0 {
		parts = append(parts, unchanged(s, len(others) > 0))
		return strings.Join(parts, " · ")
	}
	add(s.Changed+s.New+s.Deleted+pools > 0, "%s%s%s", s.Monthly, dates(s.Monthly), atMostCopies(s.Monthly))
	add(s.Runs > 0, "%s at %s/h", counted(s.Runs, "tuning run", "tuning runs"), price.USD(s.RunsUSDPerHour))
	add(s.Verdict != "", "%s", verdicts[s.Verdict])
	add(s.Restarts > 0, "%s", counted(s.Restarts, "restart with downtime", "restarts with downtime"))
	add(s.Rolls > 0, "%s", counted(s.Rolls, "rolling update", "rolling updates"))
	add(s.Reruns > 0, "%s", counted(s.Reruns, "rerun", "reruns"))
	add(s.Fixed > 0 && s.Errors == 0, "mends %s", counted(s.Fixed, "finding", "findings"))
	return strings.Join(parts, " · ")
}

// unchanged says that no Workspace changes; beside others, that it is no more than that.
func unchanged(s Summary, others bool) string {
	if others {
		return "no workspace changes: " + counted(s.Unchanged, "stays as it is", "stay as they are")
	}
	return "nothing changes: " + counted(s.Unchanged, "workspace stays as it is", "workspaces stay as they are")
}

func alreadyThere(s Summary) string {
	switch s.KnownErrors {
	case 0:
		return ""
	case s.Errors:
		return ", there before"
	}
	return fmt.Sprintf(", %d of them there before", s.KnownErrors)
}

// ofDropped are the effects on what head no longer has, and their words.
var ofDropped = []struct {
	kind  EffectKind
	words string
}{{Deleted, "deleted"}, {Held, "dropped, deleting held"}, {Kept, "dropped and kept"}}

// deletions counts what goes, and what is held or kept instead.
func deletions(p Plan) string {
	kinds := map[EffectKind]int{}
	for _, ch := range p.Changes {
		if ch.Kind == v1alpha1.WorkspaceKind {
			kinds[ch.Effect.Kind]++
		}
	}
	var parts []string
	for _, k := range ofDropped {
		if n := kinds[k.kind]; n > 0 {
			parts = append(parts, fmt.Sprintf("%d %s", n, k.words))
		}
	}
	return strings.Join(parts, " · ")
}

func (p Plan) poolChanges() int {
	n := 0
	for _, ch := range p.Changes {
		if ch.Kind == v1alpha1.GPUNodePoolKind {
			n++
		}
	}
	return n
}

// atMostCopies says what the change per month is for, where copies come and go.
func atMostCopies(m Monthly) string {
	if m.MostCopies {
		return " at the most copies"
	}
	return ""
}

// dates says when the prices were read.
func dates(m Monthly) string {
	switch len(m.Dates) {
	case 0:
		return ""
	case 1:
		return " of " + m.Dates[0]
	}
	return " of " + m.Dates[0] + " to " + m.Dates[len(m.Dates)-1]
}

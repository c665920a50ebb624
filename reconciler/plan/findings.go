// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// findings joins what is wrong in head with what the change does, and marks what
// base has too.
func (c *comparer) findings() {
	known := map[string]int{}
	for _, f := range c.base.State.All() {
		known[identity(f)]++
	}
	for _, f := range c.head.State.All() {
		id := identity(f)
		in := known[id] > 0
		if in {
			known[id]--
		}
		c.plan.Findings = append(c.plan.Findings, found(f, in))
	}
	for _, f := range c.dangers {
		c.plan.Findings = append(c.plan.Findings, found(f, false))
	}
	s := &c.plan.Summary
	for _, left := range known {
		s.Fixed += left
	}
	slices.SortStableFunc(c.plan.Findings, compareFindings)
	for _, f := range c.plan.Findings {
		switch {
		case f.Severity != finding.Error:
			s.Warnings++
		case f.InBase:
			s.KnownErrors++
			s.Errors++
		default:
			s.Errors++
		}
	}
	c.plan.Refused = s.Errors > 0
}

// found is a finding with what mends it.
func found(f v1alpha1.Finding, inBase bool) Finding {
	if f.Fix.None() {
		return Finding{Finding: f, InBase: inBase}
	}
	return Finding{f, inBase, &f.Fix}
}

// compareFindings puts errors first, new ones before old ones, then by place.
func compareFindings(a, b Finding) int {
	rank := func(f Finding) int {
		r := 0
		if f.Severity != finding.Error {
			r = 2
		}
		if f.InBase {
			r++
		}
		return r
	}
	return cmp.Or(rank(a)-rank(b), cmp.Compare(a.File, b.File), a.Line-b.Line, cmp.Compare(a.Code, b.Code), cmp.Compare(a.Message, b.Message))
}

// identity of a finding, whatever line it has moved to; where it is about an
// object, also whatever file.
func identity(f v1alpha1.Finding) string {
	place := f.File
	if f.Object != "" {
		place = ""
	}
	return strings.Join([]string{f.Code, f.Severity, f.Object, place, f.Message}, "\x00")
}

// limits says what the plan does not know.
func (c *comparer) limits() {
	note := func(code, format string, args ...any) {
		c.notes = append(c.notes, Note{code, fmt.Sprintf(format, args...)})
	}
	if n := countErrors(c.base.State.Findings); n > 0 {
		note(BaseBroken, "%s in base: what they hide counts as new where head has it.", counted(n, "error stands", "errors stand"))
	}
	if n := countErrors(c.head.State.Findings); n > 0 {
		note(HeadBroken, "%s in head: what they hide is not judged, and nothing is pruned while they stand.", counted(n, "error stands", "errors stand"))
	}
	c.noteSync(note)
	if missing := c.missing(); len(missing) > 0 {
		note(InputNotInGit, "Not in Git, so whether the cluster has them is not known, and the plan is partial: %s. While one of them is missing, what names it waits (%s), and what runs, runs on.", joined(missing), v1alpha1.ReasonInputMissing)
		c.plan.Partial = true
	}
	c.noteInputs(note)
	if sealed := c.sealed(); len(sealed) > 0 {
		note(NotDecrypted, "What SOPS encrypted: no plan has the key, and a file that is encrypted anew looks changed whatever it holds (%s).", joined(sealed))
	}
	if c.skipped > 0 {
		note(TooManyChanges, "More than %d Workspaces change: %d of them are judged and priced, and not rendered. Split the change to see what happens to each.", c.most, c.skipped)
	}
	if len(c.unsure) > 0 {
		note(CandidateNotKnown, "Which of several instance types was obtained is not known; the first is assumed: %s.", joined(c.unsure))
	}
	if lengths := c.unknownRuns(); len(lengths) > 0 {
		note(RunLengthUnknown, "How long tuning takes: Git does not say how many tokens the data has (%s).", joined(lengths))
	}
	if pools, limit := c.unbudgeted(); len(pools) > 0 {
		note(PoolNotBudgeted, "Whether node pools that Git declares stay within the $%s/h of spec.defaults.budget: it is for the nodes of each Workspace; what bounds those of a pool is their number (%s).", limit, joined(pools))
	}
	if c.acts() {
		c.noteQuota(note)
		note(PricesAreList, "Prices are list prices for %d hours a month%s; disks, traffic, reservations and discounts are not in them.", HoursPerMonth, c.where())
		note(ClusterNotAsked, "What runs in the cluster: two revisions of Git are compared.")
	}
	c.plan.NotChecked = append(c.plan.NotChecked, c.notes...)
}

func (c *comparer) noteQuota(note func(code, format string, args ...any)) {
	if c.head.Quota == nil {
		note(QuotaNotChecked, "Quota and capacity of the cloud: no credentials.")
		return
	}
	note(CapacityNotChecked, "Capacity of the cloud: a quota says what is allowed, not what is there; and what others use of it may have changed since it was read.")
}

// acts says whether anything that runs, or is paid for, changes.
func (c *comparer) acts() bool {
	return slices.ContainsFunc(c.plan.Changes, func(ch Change) bool { return ch.Effect.Kind != None })
}

// where is the region that prices were quoted for.
func (c *comparer) where() string {
	if r := c.head.State.Region; r != "" {
		return " in " + r
	}
	return ", each size in its cheapest region (--region quotes one)"
}

// missing names the inputs of what changes that Git does not hold. Of what base
// holds it is known that the cluster has it, and said what becomes of it.
func (c *comparer) missing() []string {
	changed := map[string]bool{}
	for _, ch := range c.plan.Changes {
		changed[ch.Namespace+"/"+ch.Name] = ch.Kind == v1alpha1.WorkspaceKind && ch.Effect.Kind != Deleted
	}
	var list []string
	for _, w := range c.head.State.Workspaces {
		if !changed[w.Workspace.Namespace+"/"+w.Workspace.Name] {
			continue
		}
		for _, name := range w.Missing {
			kind, name, _ := strings.Cut(name, "/")
			if _, was := c.inputsBefore[kind+"/"+w.Workspace.Namespace+"/"+name]; !was {
				list = append(list, kind+" "+name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// sealed names the Secrets of what changes that Git holds encrypted.
func (c *comparer) sealed() []string {
	encrypted := map[string]bool{}
	for _, f := range c.head.State.Findings {
		if f.Code == finding.NotDecrypted {
			encrypted[f.Object] = true
		}
	}
	var list []string
	after := byName(c.head.State)
	for _, ch := range c.plan.Changes {
		w, there := after[ch.Namespace+"/"+ch.Name]
		if !there || ch.Kind != v1alpha1.WorkspaceKind {
			continue
		}
		for _, name := range w.Workspace.Spec.Secrets() {
			if encrypted["Secret/"+name] {
				list = append(list, "Secret "+name)
			}
		}
	}
	slices.Sort(list)
	return slices.Compact(list)
}

// unknownRuns names the tuning runs that begin and whose length nobody knows.
func (c *comparer) unknownRuns() []string {
	after := byName(c.head.State)
	var list []string
	for _, ch := range c.plan.Changes {
		if ch.Task != "tuning" || ch.Effect.Kind != Created && ch.Effect.Kind != Reruns {
			continue
		}
		if _, known := runPrice(after[ch.Namespace+"/"+ch.Name]); !known {
			list = append(list, ch.Name)
		}
	}
	return list
}

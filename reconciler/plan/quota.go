// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Quota of the cloud for the nodes of a change.
type Quota struct {
	Checked bool   `json:"checked"`
	Message string `json:"message"`
	// Short says that no candidate can be had within what the cloud allows.
	Short bool `json:"short,omitempty"`
	// Draws are the quotas, in vCPUs, that the change draws on more than before.
	Draws []quota.Draw `json:"draws,omitempty"`
	// AsOf is when the usage was read.
	AsOf time.Time `json:"asOf,omitzero"`
}

// noQuota is what a plan without credentials knows of the cloud's limits.
var noQuota = Quota{Message: "not checked: no credentials"}

// needs is what one side of a change asks of the cloud, by candidate in order of
// preference; empty: nothing.
type needs []quota.Ask

// quotas says of every change whether the cloud allows it, and of all together.
func (c *comparer) quotas() {
	listed := c.head.Quota
	if listed == nil {
		return
	}
	before, after := byName(c.base.State), byName(c.head.State)
	poolsBefore, poolsAfter := poolsOf(c.base.State), poolsOf(c.head.State)
	total, docs := map[string]quota.Draw{}, map[string]desired.Document{}
	for i := range c.plan.Changes {
		ch := &c.plan.Changes[i]
		name := ch.Namespace + "/" + ch.Name
		was, is := workspaceNeeds(before[name], c.base.State), workspaceNeeds(after[name], c.head.State)
		doc := desired.Document{}
		if w := after[name]; w != nil {
			doc = w.Document
		}
		if ch.Kind == v1alpha1.GPUNodePoolKind {
			was, is, doc = poolNeeds(poolsBefore, name), poolNeeds(poolsAfter, name), poolsAfter[name]
		}
		ch.Quota = allowed(listed, ch, was, is)
		said := ch.Quota.Message
		if at := ch.Quota.AsOf; !at.IsZero() {
			ch.Quota.Message += " (as of " + at.UTC().Format("2006-01-02 15:04 UTC") + ")"
		}
		if ch.Quota.Short {
			c.warn(QuotaShort, doc, "", "%s: %s; %s", ch.Name, said, advice(said))
			continue
		}
		for _, d := range ch.Quota.Draws {
			d.Needed += total[d.Name].Needed
			total[d.Name], docs[d.Name] = d, doc
		}
	}
	for _, name := range union(total, total) {
		if d := total[name]; d.Short() {
			c.warn(QuotaShort, docs[name], "", "all changes together need more of a quota than is left: %s; ask for more at %s, or merge less at once", inWords(d, listed), quota.AskAt)
		}
	}
}

// workspaceNeeds is what the nodes that are bought for a Workspace take.
func workspaceNeeds(w *desired.Workspace, in desired.State) needs {
	if _, ok := chosen(w); !ok || in.ProviderOf(w.Workspace) == v1alpha1.ProviderExisting {
		return nil
	}
	if s := w.Workspace.Spec; s.Suspend || s.Resource.NodePool != "" {
		return nil
	}
	var all needs
	for _, c := range w.Assessment.Usable() {
		all = all.with(c.Candidate, c.Instance, c.Nodes)
	}
	return all
}

func poolNeeds(pools map[string]desired.Document, name string) needs {
	d, ok := pools[name]
	if !ok || d.Pool.Spec.Provider == v1alpha1.ProviderExisting {
		return nil
	}
	var all needs
	_, most := d.Pool.Spec.Nodes()
	for _, c := range d.Pool.Spec.Candidates {
		i, _ := sku.Lookup(c.InstanceType)
		all = all.with(c, i, int(most))
	}
	for i := range all {
		all[i].Reserved = d.Pool.Spec.Reserved()
	}
	return all
}

// with adds a candidate.
func (n needs) with(c v1alpha1.Candidate, i sku.Instance, nodes int) needs {
	if nodes == 0 {
		return n
	}
	return append(n, quota.Ask{
		InstanceType: c.InstanceType, Family: i.QuotaFamily, VCPUs: i.VCPUs, Spot: c.Priority == v1alpha1.Spot, Zones: c.Zones, Nodes: nodes,
	})
}

// allowed compares what a change needs more with what the cloud allows. Of several
// candidates the first that it allows is taken, as the node pool does.
func allowed(listed *quota.Snapshot, ch *Change, was, is needs) Quota {
	q := Quota{Checked: true, AsOf: listed.UsageAt}
	switch {
	case ch.Effect.Kind == Refused || len(is) == 0:
		q.Message = "nothing is needed"
		return q
	case ch.Task == "tuning" && ch.Effect.Kind != Configured && ch.Effect.Kind != None:
		was = nil // an earlier run may be done, and its nodes gone
	}
	var held []quota.Draw
	if len(was) > 0 {
		held = listed.Draws(was[0])
	}
	var passed []string
	for _, a := range is {
		why, draws := tried(listed, a, held)
		if why != "" {
			passed = append(passed, why)
			continue
		}
		q.Draws = draws
		q.Message = q.fits(listed, a, draws)
		break
	}
	if len(passed) == len(is) {
		q.Short = true
	} else if len(passed) > 0 {
		passed = append(passed, "then "+q.Message)
	}
	if len(passed) > 0 {
		q.Message = strings.Join(passed, "; ")
	}
	return q
}

// advice is what helps where no candidate can be had.
func advice(said string) string {
	if strings.Contains(said, tooFew) {
		return "ask for more at " + quota.AskAt + ", or add a candidate of another family"
	}
	return "add a candidate of another size"
}

// tooFew ends what is said of a quota that is short.
const tooFew = "too few"

// tried says why a candidate cannot be had, or what it draws beyond what is held.
func tried(listed *quota.Snapshot, a quota.Ask, held []quota.Draw) (why string, more []quota.Draw) {
	if r := listed.Unfit(a); r != nil {
		return r.Text, nil
	}
	for _, d := range listed.Draws(a) {
		at := slices.IndexFunc(held, func(h quota.Draw) bool { return h.Name == d.Name })
		if at >= 0 {
			d.Needed -= held[at].Needed
		}
		if d.Short() {
			return sized(a) + ": " + inWords(d, listed), nil
		}
		if d.Needed > 0 {
			more = append(more, d)
		}
	}
	return "", more
}

// fits says what a candidate draws: its family's quota, or that of spot machines.
func (q *Quota) fits(listed *quota.Snapshot, a quota.Ask, draws []quota.Draw) string {
	known := listed.Draws(a)
	own := slices.IndexFunc(known, func(d quota.Draw) bool { return d.Name != quota.Region })
	switch {
	case a.Reserved:
		q.Checked = false
		return "not checked: the machines come from a capacity reservation, which has drawn its quota already"
	case own < 0 && listed.UsageAt.IsZero():
		q.Checked = false
		return fmt.Sprintf("not checked: only the sizes of %s were read", listed.Location)
	case own < 0:
		q.Checked = false
		return fmt.Sprintf("not checked: %s lists no quota of %s", listed.Location, cmp.Or(a.Family, a.InstanceType))
	}
	if at := slices.IndexFunc(draws, func(d quota.Draw) bool { return d.Name == known[own].Name }); at >= 0 {
		return inWords(draws[at], listed)
	}
	return fmt.Sprintf("no more of %s than before", known[own].Label())
}

func inWords(d quota.Draw, listed *quota.Snapshot) string {
	text := fmt.Sprintf("%s in %s: %d used + %d needed of %d vCPUs", d.Label(), listed.Location, d.Used, d.Needed, d.Limit)
	if d.Short() {
		text += fmt.Sprintf(", %d "+tooFew, d.Used+d.Needed-d.Limit)
	}
	return text
}

func sized(a quota.Ask) string {
	if a.Spot {
		return a.InstanceType + " (spot)"
	}
	return a.InstanceType
}

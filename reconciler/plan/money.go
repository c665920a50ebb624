// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"math"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// chosen is the candidate that a Workspace is rendered for; false where none works.
func chosen(w *desired.Workspace) (check.Candidate, bool) {
	if w == nil || w.Assessment.Refused() {
		return check.Candidate{}, false
	}
	return w.Assessment.Usable()[0], true
}

// amount is what a Workspace of a state costs while it runs; nil where it has no
// nodes of its own: refused, suspended, on a shared pool, or on nodes that exist.
func amount(w *desired.Workspace, s desired.State) *Amount {
	if w == nil {
		return nil
	}
	return amountOn(w, s.ProviderOf(w.Workspace))
}

// amountOn is amount on the nodes of a provider.
func amountOn(w *desired.Workspace, provider v1alpha1.Provider) *Amount {
	c, ok := chosen(w)
	spec := &w.Workspace.Spec
	if !ok || spec.Suspend || spec.Resource.NodePool != "" || provider == v1alpha1.ProviderExisting || c.Nodes == 0 {
		return nil
	}
	a := amountOf(c.Price, c.Priority, spec.Inference != nil)
	if spec.Inference != nil && spec.Inference.Autoscale != nil {
		a.scales(c, spec.Inference)
	}
	return a
}

// poolAmount is what the nodes of a declared pool cost; nil for nodes that exist.
func poolAmount(p *v1alpha1.GPUNodePool, region string) *Amount {
	_, most := p.Spec.Nodes()
	nodes := int(most)
	if p.Spec.Provider == v1alpha1.ProviderExisting || nodes == 0 || len(p.Spec.Candidates) == 0 {
		return nil
	}
	first := p.Spec.Candidates[0]
	if p.Spec.ByKarpenter() {
		first = dearest(p.Spec.Candidates, region)
	}
	instance, ok := sku.Lookup(first.InstanceType)
	if !ok {
		return &Amount{Text: "no price known of " + first.InstanceType}
	}
	a := amountOf(price.AtMost(instance, region, nodes, first.Priority), first.Priority, true)
	if p.Spec.Autoscale() != nil && a.Known {
		a.AtMost = true
		a.Text = readSpec(&p.Spec).nodes() + "; " + a.Text
		if p.Spec.ByKarpenter() && len(p.Spec.Candidates) > 1 {
			a.Text += ", all of " + first.InstanceType + ", the dearest"
		}
	}
	if p.Spec.Idle != nil && a.Known {
		a.AtMost = true
		a.Text += "; nothing while no Workspace uses it"
	}
	return a
}

// amountOf makes an Amount of a price; what stands is paid for by the month.
func amountOf(p price.Price, priority v1alpha1.Priority, stands bool) *Amount {
	a := &Amount{Known: p.Known, Text: p.String(), Date: p.Date}
	if !p.Known {
		a.Date = ""
		return a
	}
	a.USDPerHour = round(p.USD)
	a.AtMost = priority == v1alpha1.Spot && !p.Spot
	if stands {
		a.USDPerMonth = round(p.USD * HoursPerMonth)
	}
	if a.AtMost {
		a.Text += "; no spot price is published"
	}
	return a
}

// round keeps the decimals that list prices have, so that sums compare.
func round(usd float64) float64 { return math.Round(usd*1e4) / 1e4 }

// runPrice says in words what a tuning run takes, and at what it is stopped.
func runPrice(w *desired.Workspace) (text string, known bool) {
	text, known = estimate(w)
	_, ok := chosen(w)
	if limit := w.Workspace.Spec.MaxUSD(); ok && limit != "" {
		if text != "" {
			text += "; "
		}
		text += "at most $" + limit + ", at which it is stopped (budget.maxUSD)"
	}
	return text, known
}

// estimate is what a run takes by itself. How many tokens the data has is known
// only where the number of steps bounds them.
func estimate(w *desired.Workspace) (text string, known bool) {
	c, ok := chosen(w)
	if !ok || w.Workspace.Spec.Tuning == nil || !c.Price.Known {
		return "", false
	}
	speed, ok := price.Estimate(c.Instance, w.Assessment.Preset.Model.Params())
	if !ok {
		return "how long it takes is not known", false
	}
	tokens, bounded := tokensOf(*w.Assessment, c)
	run := price.Training(c.Price, gpusOf(c), tokens, speed)
	text = fmt.Sprintf("%s to %s for %s to %s h", price.USD(run.USDLow), price.USD(run.USDHigh), hours(run.HoursLow), hours(run.HoursHigh))
	measured := ""
	if w.Workspace.Spec.Tuning.Evaluation != nil {
		measured = "; the evaluation comes on top"
	}
	if bounded {
		return "at most " + text + " (max_steps)" + measured, measured == ""
	}
	return text + " per million training tokens; how many there are is not known from Git" + measured, false
}

// tokensOf is the most tokens that max_steps lets through; else a million, and false.
func tokensOf(a check.Assessment, c check.Candidate) (int64, bool) {
	steps, ok := a.Training.Axolotl["max_steps"].(int)
	if !ok {
		return 1_000_000, false
	}
	gather, ok := a.Training.Axolotl["gradient_accumulation_steps"].(int)
	if !ok {
		gather = 1
	}
	return int64(steps) * int64(gather) * int64(max(1, a.Training.MicroBatch)) * int64(a.Training.SequenceLength) * int64(gpusOf(c)), true
}

// gpusOf is how many GPUs train, on all nodes: each takes its share of a step.
func gpusOf(c check.Candidate) int { return max(1, c.PodGPUs) * max(1, c.Nodes) }

func hours(h float64) string {
	switch {
	case h >= 100:
		return fmt.Sprintf("%.0f", h)
	case h >= 1:
		return fmt.Sprintf("%.1f", h)
	}
	return fmt.Sprintf("%.2g", max(h, 0.01))
}

// signed writes an amount with its sign.
func signed(usd float64) string {
	switch {
	case usd > 0:
		return "+" + wholeUSD(usd)
	case usd < 0:
		return "−" + wholeUSD(-usd)
	}
	return "±$0"
}

// wholeUSD is an amount per month: cents say nothing there.
func wholeUSD(usd float64) string {
	if usd > 0 && usd < 10 {
		return price.USD(math.Round(usd*100) / 100)
	}
	return dollars(usd)
}

// dollars writes whole dollars with thousands apart.
func dollars(usd float64) string {
	digits := fmt.Sprintf("%.0f", usd)
	for at := len(digits) - 3; at > 0; at -= 3 {
		digits = digits[:at] + "," + digits[at:]
	}
	return "$" + digits
}

// add adds up what stands; unknown counts what has no price.
func (m *Monthly) add(before, after *Amount, changes bool) {
	for _, a := range []*Amount{before, after} {
		if a != nil {
			m.note(*a, changes)
		}
	}
	if before != nil {
		m.Before = round(m.Before + before.USDPerMonth)
	}
	if after != nil {
		m.After = round(m.After + after.USDPerMonth)
	}
	m.Delta = round(m.After - m.Before)
	slices.Sort(m.Dates)
}

// note keeps what a reader must know of an amount beside its number.
func (m *Monthly) note(a Amount, changes bool) {
	if a.USDPerMonth > 0 && a.Date != "" && !slices.Contains(m.Dates, a.Date) {
		m.Dates = append(m.Dates, a.Date)
	}
	if !a.Known && changes {
		m.Unknown++
	}
	m.MostCopies = m.MostCopies || a.Scales && changes
}

// String is the change per month: "+$2,644/month list price".
func (m Monthly) String() string {
	text := signed(m.Delta) + "/month list price"
	if m.Unknown > 0 {
		text += fmt.Sprintf(" and %s", counted(m.Unknown, "unknown price", "unknown prices"))
	}
	return text
}

func counted(n int, one, many string) string {
	if n == 1 {
		return "1 " + one
	}
	return fmt.Sprintf("%d %s", n, many)
}

func joined(list []string) string { return strings.Join(list, ", ") }

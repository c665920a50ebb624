// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"strconv"
	"time"

	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// budget holds the price of a candidate against what an hour may cost.
func (c *checker) budget(out Candidate, field string, add func(finding.Problem)) {
	b := c.workspace.Spec.Budget
	if b == nil || b.MaxUSDPerHour == "" {
		return
	}
	most, err := strconv.ParseFloat(b.MaxUSDPerHour, 64)
	if err != nil {
		return // ValidateWorkspace says so
	}
	switch {
	case !out.Price.Known:
		add(finding.Errorf(PriceUnknown, field, "%s for %s, so nobody can say whether it stays within the %s", out.Price, out.InstanceType, c.limit()))
	case out.Price.USD > most:
		raise := "raise it there"
		if !repolayout.Defaulted(c.workspace, repolayout.DefaultedBudget) {
			field = "spec.budget.maxUSDPerHour"
			raise = "raise " + field
		}
		add(finding.Errorf(BudgetExceeded, field, "%s%s %s %s, more than the %s: %s, or %s", nodes(out.Nodes, out.InstanceType), c.forMost(), costs(out.Nodes), out.Price, c.limit(), raise, c.cheaper(out, most)))
	}
}

// limit is the budget in words, with where it comes from.
func (c *checker) limit() string {
	text := "budget of $" + c.workspace.Spec.Budget.MaxUSDPerHour + "/h"
	if repolayout.Defaulted(c.workspace, repolayout.DefaultedBudget) {
		text += " that spec.defaults of the RepoSync sets where a Workspace has none"
	}
	return text
}

// cheaper says what to choose that costs less.
func (c *checker) cheaper(out Candidate, most float64) string {
	const other = "choose another size"
	if c.ownsPod() {
		return other
	}
	best, ok := c.cheapest(out.Instance.Cloud)
	switch {
	case !ok || best.HourlyUSD > most:
		return "choose a smaller model or context"
	case best.Instance.Name == out.InstanceType:
		return "ask for fewer copies"
	}
	return other + "; " + c.name(best)
}

// runBudget sees that what a run may cost in all can be counted, and says where its
// timeout would let it cost more.
func (c *checker) runBudget(out Candidate, add func(finding.Problem)) {
	const field = "spec.budget.maxUSD"
	limit := c.workspace.Spec.MaxUSD()
	most, err := strconv.ParseFloat(limit, 64)
	if err != nil {
		return // there is none, or ValidateWorkspace says so
	}
	if c.nodesExist() {
		add(finding.Errorf(PriceUnknown, field, "nodes that exist have no price here, so nobody can say when the %s are spent: %s, and limit the run by spec.tuning.timeout", c.runLimit(), c.withoutLimit()))
		return
	}
	hour := c.runPrice(out)
	if !hour.Known {
		add(finding.Errorf(PriceUnknown, field, "%s for %s, so nobody can say when the %s are spent", hour, out.InstanceType, c.runLimit()))
		return
	}
	timeout := c.workspace.Spec.Tuning.Timeout
	if timeout == nil || timeout.Hours()*hour.USD <= most {
		return
	}
	enough := time.Duration(most / hour.USD * float64(time.Hour)).Round(time.Minute)
	add(finding.Warningf(BudgetTooSmall, field, "spec.tuning.timeout lets the run go on for %s on %s, which is %s at %s, more than the %s: it is stopped when those are spent, after %s",
		timeout.Duration, out.InstanceType, price.USD(timeout.Hours()*hour.USD), hour, c.runLimit(), enough))
}

// poolBudget says that no limit of an hour is for nodes that several Workspaces share. One that
// a RepoSync fills in is meant for those with nodes of their own.
func (c *checker) poolBudget() {
	shared, b := c.facts.Pool, c.workspace.Spec.Budget
	if shared == nil || c.nodesExist() || b == nil || b.MaxUSDPerHour == "" || repolayout.Defaulted(c.workspace, repolayout.DefaultedBudget) {
		return
	}
	c.warn(BudgetIdle, "spec.budget.maxUSDPerHour", "no limit of one Workspace is for the nodes of GPUNodePool %s, which all that name it share: what bounds their price is their number, %s of the pool; remove it, or give the Workspace nodes of its own",
		c.workspace.Spec.Resource.NodePool, shared.MostField())
}

// runPrice is an hour of what the run pays for: its own nodes, or its share of the
// GPUs of a pool.
func (c *checker) runPrice(out Candidate) price.Price {
	if c.workspace.Spec.Resource.NodePool == "" {
		return out.Price
	}
	p := price.AtMost(out.Instance, c.facts.Region, 1, out.Priority)
	p.USD *= float64(out.PodGPUs*out.CopyNodes) / float64(max(1, out.Instance.GPUs))
	return p
}

// nodesExist says that the nodes are there whoever uses them.
func (c *checker) nodesExist() bool {
	if pool := c.out.Pool; pool != nil {
		return pool.Provider == v1alpha1.ProviderExisting
	}
	return c.providerOf() == v1alpha1.ProviderExisting
}

// withoutLimit says how a run on nodes that exist gets rid of a limit that nobody can
// count. What a RepoSync fills in its author cannot leave out.
func (c *checker) withoutLimit() string {
	const ofSync = "remove spec.defaults.budget.maxUSD of the RepoSync"
	switch {
	case !repolayout.Defaulted(c.workspace, repolayout.DefaultedMaxUSD):
		return "remove it"
	case c.out.Pool != nil || c.workspace.Spec.Resource.NodePool != "":
		return ofSync
	}
	return "say spec.resource.provider: existing here, or " + ofSync
}

// runLimit is what the run may cost in words, with where it comes from.
func (c *checker) runLimit() string {
	text := fmt.Sprintf("$%s that budget.maxUSD allows it", c.workspace.Spec.MaxUSD())
	if repolayout.Defaulted(c.workspace, repolayout.DefaultedMaxUSD) {
		text += " by spec.defaults of the RepoSync"
	}
	return text
}

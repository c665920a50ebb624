// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"io"
	"sort"
	"strings"
	"text/tabwriter"

	"github.com/espalier-dev/espalier/gpu/fit"
	"github.com/espalier-dev/espalier/gpu/price"
	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// alternatives is how many other instance types an answer names at most.
const alternatives = 5

// fitAnswer is the answer as JSON. What is not known is null or absent.
type fitAnswer struct {
	Model            string           `json:"model"`
	InstanceType     string           `json:"instanceType"`
	Task             string           `json:"task"`
	Verdict          v1alpha1.Verdict `json:"verdict"`
	Reasons          []fit.Reason     `json:"reasons"`
	Runtime          string           `json:"runtime,omitempty"`
	DType            string           `json:"dtype,omitempty"`
	Nodes            int              `json:"nodes"`
	GPUs             int              `json:"gpus"`
	TensorParallel   int              `json:"tensorParallel"`
	PipelineParallel int              `json:"pipelineParallel"`
	DataParallel     int              `json:"dataParallel"`
	PerGPU           fit.Memory       `json:"perGPU"`
	Sum              string           `json:"sum,omitempty"`
	Context          int64            `json:"context,omitempty"`
	KVTokens         int64            `json:"kvTokens"`
	MaxContext       int64            `json:"maxContext"`
	MaxBatch         int64            `json:"maxBatch,omitempty"`
	HourlyUSD        *float64         `json:"hourlyUSD"`
	AtMost           bool             `json:"atMost,omitempty"` // spot, and no spot price is known: it is the list price
	MonthlyUSD       *float64         `json:"monthlyUSD,omitempty"`
	PriceDate        string           `json:"priceDate"`
	Region           string           `json:"region,omitempty"`
	OverBudget       string           `json:"overBudget,omitempty"`
	Run              *runAnswer       `json:"run,omitempty"`
	Alternatives     []otherType      `json:"alternatives"`
}

// runAnswer is the price of a tuning run: low and high are one number where the
// speed was measured.
type runAnswer struct {
	Tokens    int64   `json:"tokens"`
	HoursLow  float64 `json:"hoursLow"`
	HoursHigh float64 `json:"hoursHigh"`
	USDLow    float64 `json:"usdLow"`
	USDHigh   float64 `json:"usdHigh"`
	Measured  bool    `json:"measured"`
	From      string  `json:"from"`
}

type otherType struct {
	InstanceType string           `json:"instanceType"`
	Verdict      v1alpha1.Verdict `json:"verdict"`
	Nodes        int              `json:"nodes"`
	HourlyUSD    float64          `json:"hourlyUSD"`
	AtMost       bool             `json:"atMost,omitempty"`
}

func (j *judge) answer(a judged) fitAnswer {
	r := a.report
	out := fitAnswer{
		Model: j.preset.Name(), InstanceType: a.instance.Name, Task: j.task, Verdict: r.Verdict, Reasons: r.Reasons,
		Runtime: a.runtime.Requires.Name, DType: r.DType, Nodes: r.Nodes, GPUs: r.GPUs,
		TensorParallel: r.TensorParallel, PipelineParallel: r.PipelineParallel, DataParallel: r.DataParallel,
		PerGPU: r.PerGPU, Sum: r.Sum(), Context: r.Context, KVTokens: r.KVTokens, MaxContext: r.MaxContext, MaxBatch: r.MaxBatch,
		PriceDate: a.price.Date, Alternatives: []otherType{},
	}
	if a.price.Known {
		hourly, monthly := a.price.USD, a.price.Monthly()
		out.HourlyUSD, out.AtMost, out.Region = &hourly, j.atMost(a), a.price.Region
		if j.options.Tune == "" {
			out.MonthlyUSD = &monthly
		}
	}
	if a.budget != nil {
		out.OverBudget = a.budget.Error()
	}
	if r := a.run; r != nil && r.Known {
		out.Run = &runAnswer{
			Tokens: j.options.Tokens, HoursLow: r.HoursLow, HoursHigh: r.HoursHigh, USDLow: r.USDLow, USDHigh: r.USDHigh,
			Measured: r.Speed.Measured, From: r.Speed.From,
		}
	}
	for _, other := range j.others(a) {
		out.Alternatives = append(out.Alternatives, otherType{
			InstanceType: other.instance.Name, Verdict: other.report.Verdict, Nodes: other.report.Nodes, HourlyUSD: other.price.USD, AtMost: j.atMost(other),
		})
	}
	return out
}

// others are the cheapest types that work, on one node before on several; where
// this one fits, only cheaper ones that fit on as many nodes at most.
func (j *judge) others(a judged) []judged {
	var all []judged
	for _, i := range j.among {
		if i.Name == a.instance.Name || i.Status != sku.Available {
			continue
		}
		other := j.judge(i)
		if !other.usable() || !other.price.Known {
			continue
		}
		if a.usable() && a.report.Verdict == v1alpha1.Fits && !other.improves(a) {
			continue
		}
		all = append(all, other)
	}
	sort.SliceStable(all, func(x, y int) bool {
		if alone := all[x].report.Nodes == 1; alone != (all[y].report.Nodes == 1) {
			return alone
		}
		return all[x].price.USD < all[y].price.USD
	})
	return all[:min(alternatives, len(all))]
}

// improves says whether an answer is as good as one that fits, for less money.
func (a judged) improves(on judged) bool {
	return a.report.Verdict == v1alpha1.Fits && a.price.USD < on.price.USD && a.report.Nodes <= on.report.Nodes
}

// one prints the answer for --instance-type.
func (j *judge) one(w io.Writer) error {
	a := j.judge(j.solo)
	if j.options.Output == "json" {
		if err := printJSON(w, j.answer(a)); err != nil {
			return err
		}
	} else {
		j.text(w, a)
	}
	if a.report.Verdict == v1alpha1.No || a.budget != nil {
		return errRefused
	}
	return nil
}

func (j *judge) text(w io.Writer, a judged) {
	r := a.report
	fmt.Fprintf(w, "%s, %s on %s: %s\n", j.preset.Name(), j.verb(), describe(a.instance), headline(r))
	if r.PerGPU.Total > 0 {
		fmt.Fprintf(w, "\n%s\n", bar(r.PerGPU))
	}
	for n, reason := range r.Reasons {
		mark := "  "
		if n == 0 {
			mark = "→ "
		}
		fmt.Fprintf(w, "%s%s (%s)\n", mark, reason.Message, reason.Code)
	}
	fmt.Fprintln(w)
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	j.rows(table, a)
	label := "instead"
	if a.usable() && r.Verdict == v1alpha1.Fits {
		label = "cheaper"
	}
	for _, other := range j.others(a) {
		fmt.Fprintf(table, "%s\t%s: %s on %s, %s/h\n", label, other.instance.Name, other.report.Verdict, nodesOf(other), j.bound(other)+price.USD(other.price.USD))
		label = ""
	}
	table.Flush()
}

// headline is the verdict, with what a Workspace has to ask for beside the size.
func headline(r fit.Report) string {
	verdict := strings.ToUpper(string(r.Verdict))
	if !r.Works() || r.Nodes <= 1 {
		return verdict
	}
	return fmt.Sprintf("%s on %d nodes (spec.resource.count: %d)", verdict, r.Nodes, r.Nodes)
}

// rows are what an answer says of itself, a label and a value each.
func (j *judge) rows(table io.Writer, a judged) {
	r := a.report
	if r.Works() {
		fmt.Fprintf(table, "spread\t%s\n", spread(r))
		if r.MaxContext > 0 {
			fmt.Fprintf(table, "longest\t%s\n", longest(r))
		}
		fmt.Fprintf(table, "runtime\t%s, %s\n", a.runtime.Requires.Name, r.DType)
	}
	line := j.bound(a) + a.price.String()
	if j.options.Tune == "" && a.price.Known {
		line += fmt.Sprintf("; %s a month", price.USD(a.price.Monthly()))
	}
	fmt.Fprintf(table, "price\t%s\n", line)
	if a.run != nil {
		fmt.Fprintf(table, "run\t%s\n", j.bound(a)+a.run.String())
	}
	if a.budget != nil {
		fmt.Fprintf(table, "budget\t%s\n", a.budget)
	}
}

// bound goes before an amount that is the most it can be.
func (j *judge) bound(a judged) string {
	if j.atMost(a) {
		return "at most "
	}
	return ""
}

func (j *judge) verb() string {
	if j.options.Tune != "" {
		return j.options.Tune + " tuning"
	}
	return "served"
}

func describe(i sku.Instance) string { return fmt.Sprintf("%s (%s)", i.Name, gpusOf(i)) }

// gpusOf says what GPUs a node has.
func gpusOf(i sku.Instance) string {
	switch {
	case i.GPUs == 0:
		return "? × " + i.GPU
	case i.MIG != "":
		return fmt.Sprintf("%d × MIG %s of %s", i.GPUs, i.MIG, i.GPU)
	case i.Fraction != "":
		return i.Fraction + " × " + i.GPU
	}
	return fmt.Sprintf("%d × %s", i.GPUs, i.GPU)
}

func nodesOf(a judged) string {
	return many(a.report.Nodes, "node") + " of " + gpusOf(a.instance)
}

func many(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

func spread(r fit.Report) string {
	how := ""
	if r.GPUs > 1 {
		how = fmt.Sprintf(": tensor %d × pipeline %d × data %d", r.TensorParallel, r.PipelineParallel, r.DataParallel)
	}
	return many(r.GPUs, "GPU") + " on " + many(r.Nodes, "node") + how
}

func longest(r fit.Report) string {
	if r.MaxBatch > 0 {
		return fmt.Sprintf("%s tokens a sequence, or micro batch %d at %s", fit.Thousands(r.MaxContext), r.MaxBatch, fit.Thousands(r.Context))
	}
	return fmt.Sprintf("%s tokens a request; the cache holds %s", fit.Thousands(r.MaxContext), fit.Thousands(r.KVTokens))
}

// compare prints every instance type, those that work first, cheapest first.
func (j *judge) compare(w io.Writer) error {
	var all []judged
	works := false
	for _, i := range j.among {
		a := j.judge(i)
		works = works || a.usable()
		all = append(all, a)
	}
	sort.SliceStable(all, func(x, y int) bool {
		if all[x].usable() != all[y].usable() {
			return all[x].usable()
		}
		if all[x].price.Known != all[y].price.Known {
			return all[x].price.Known
		}
		return all[x].price.USD < all[y].price.USD
	})
	if err := j.printComparison(w, all); err != nil {
		return err
	}
	if !works {
		return errRefused
	}
	return nil
}

func (j *judge) printComparison(w io.Writer, all []judged) error {
	if j.options.Output == "json" {
		answers := []fitAnswer{}
		for _, a := range all {
			alone := judge{options: j.options, preset: j.preset, task: j.task}
			answers = append(answers, alone.answer(a))
		}
		return printJSON(w, answers)
	}
	table := tabwriter.NewWriter(w, 0, 4, 2, ' ', 0)
	fmt.Fprintln(table, "INSTANCE TYPE\tVERDICT\tUSD/H\tNODES\tGPUS\tTP×PP×DP\tCONTEXT\tGiB A GPU\tWHY")
	for _, a := range all {
		r := a.report
		cost, layout, context, gib := "-", "-", "-", "-"
		if a.price.Known {
			cost = strings.TrimPrefix(price.USD(a.price.USD), "$")
		}
		if j.atMost(a) {
			cost = "≤ " + cost
		}
		if r.Works() {
			layout = fmt.Sprintf("%d×%d×%d", r.TensorParallel, r.PipelineParallel, r.DataParallel)
			context = fit.Thousands(r.MaxContext)
		}
		if r.PerGPU.Total > 0 {
			gib = fit.GiB(r.PerGPU.Total) + " of " + fit.GiB(r.PerGPU.Budget)
		}
		fmt.Fprintf(table, "%s\t%s\t%s\t%d\t%s\t%s\t%s\t%s\t%s\n", a.instance.Name, r.Verdict, cost, max(1, r.Nodes),
			gpusOf(a.instance), layout, context, gib, why(a))
	}
	return table.Flush()
}

// why is the code of what decided, or that it is over budget.
func why(a judged) string {
	if a.report.Works() && a.budget != nil {
		return "OverBudget"
	}
	return a.report.Reasons[0].Code
}

func printJSON(w io.Writer, value any) error {
	encoder := json.NewEncoder(w)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	return encoder.Encode(value)
}

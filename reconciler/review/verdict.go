// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/reconciler/plan"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// budgetExceeded is the code of what costs more than its budget.
const budgetExceeded = "BudgetExceeded"

// Verdict is what is said of one head: a comment and commit statuses.
type Verdict struct {
	// Markdown is the comment, without its marker.
	Markdown string `json:"markdown"`
	// Plan, Fit and Cost are the commit statuses.
	Plan Said `json:"plan"`
	Fit  Said `json:"fit"`
	Cost Said `json:"cost"`
	// Touched are the Workspaces that change, of which there are More besides.
	Touched []Touched `json:"touched,omitempty"`
	More    int       `json:"more,omitempty"`
	// Lines are the findings that are said on their lines; nil where none is to be, or
	// nothing is known.
	Lines *Lines `json:"lines,omitempty"`
}

// body is the comment of a verdict.
func (v Verdict) body(m mark) body {
	return body{mark: m, touched: v.Touched, more: v.More, plan: v.Markdown}
}

// Said is a commit status without a name.
type Said struct {
	State forge.State `json:"state"`
	Text  string      `json:"text"`
}

// said are the statuses of a verdict by the end of their name, in order.
func (v Verdict) said() []namedStatus {
	return []namedStatus{{repolayout.StatusPlan, v.Plan}, {repolayout.StatusFit, v.Fit}, {repolayout.StatusCost, v.Cost}}
}

type namedStatus struct {
	end string
	Said
}

// Conclude says what a plan means for the pull request, in a comment of at most
// limit bytes.
func Conclude(p plan.Plan, limit int) Verdict {
	v := Verdict{Markdown: p.Markdown(limit), Plan: concludePlan(p), Fit: concludeFit(p), Cost: concludeCost(p)}
	v.Touched, v.More = touched(p)
	return v
}

func concludePlan(p plan.Plan) Said {
	if p.Refused {
		return Said{forge.Failure, plainly(p.Summary.Line)}
	}
	return Said{forge.Success, plainly(p.Summary.Line)}
}

// fitWords are the sentences of verdicts.
var fitWords = map[v1alpha1.Verdict]Said{
	"":               {forge.Success, "Nothing is new that needs a GPU"},
	v1alpha1.Fits:    {forge.Success, "Everything that is new or changed fits its GPUs"},
	v1alpha1.Tight:   {forge.Success, "Everything fits, some of it only just: see the comment"},
	v1alpha1.Unknown: {forge.Success, "Whether all of it fits is not known: see the comment"},
}

func concludeFit(p plan.Plan) Said {
	for _, ch := range p.Changes {
		if ch.Fit != nil && ch.Fit.Verdict == v1alpha1.No {
			return Said{forge.Failure, plainly(fmt.Sprintf("%s/%s does not fit %s", ch.Namespace, ch.Name, ch.Fit.InstanceType))}
		}
	}
	for _, ch := range p.Changes {
		if ch.Effect.Kind == plan.Refused && ch.Fit == nil {
			return Said{forge.Failure, plainly(fmt.Sprintf("%s/%s has an error, so whether it fits is not known", ch.Namespace, ch.Name))}
		}
	}
	if p.Refused && len(p.Changes) == 0 {
		return Said{forge.Failure, "The errors hide what is new, so whether it fits is not known"}
	}
	return fitWords[p.Summary.Verdict]
}

func concludeCost(p plan.Plan) Said {
	for _, f := range p.Findings {
		if f.Code == budgetExceeded && f.Severity == finding.Error {
			return Said{forge.Failure, plainly(f.Message)}
		}
	}
	text := p.Summary.Monthly.String()
	if p.Summary.Runs > 0 {
		text += fmt.Sprintf(", and tuning at $%.2f an hour", p.Summary.RunsUSDPerHour)
	}
	return Said{forge.Success, plainly(text)}
}

// Fail is the verdict on a head of which no plan can be made. why is a sentence.
func Fail(why string) Verdict {
	said := Said{forge.Errored, plainly(why)}
	return Verdict{Markdown: "**No plan: " + markdown.Text(why) + ".**\n", Plan: said, Fit: said, Cost: said}
}

// plainly makes one line of a text that mentions nobody: forges show the text of
// a status as it is, and it may hold what somebody wrote into a pull request.
func plainly(text string) string {
	return markdown.Quiet(markdown.Clean(text, markdown.MaxText))
}

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"fmt"
	"math/big"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/reconciler/report"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// progress is what is known of a pull request after its merge.
type progress struct {
	cluster string
	sync    *v1alpha1.RepoSync
	merged  string // the commit
	came    string // the revision at which the RepoSync has come to it; "" before
	applied bool   // a revision that holds it was applied whole
	touched []Touched
	more    int
	// workspaces of the RepoSync by namespace/name.
	workspaces map[string]*v1alpha1.Workspace
	unsure     bool // one that is missing there may be there all the same
}

// row is one Workspace as the comment shows it.
type row struct {
	name, state, on, result, cost string
	why                           string // what is in the way, "" for nothing that a person could change
	good, ended                   bool
}

// phases are words for the reasons of what is on its way: one word for each step,
// so that a comment is edited a few times and not with every pod.
var phases = map[string]string{
	v1alpha1.ReasonWaitingForNodes:   "waiting for its nodes",
	v1alpha1.ReasonWaitingForQueue:   "waiting in its queue",
	v1alpha1.ReasonWaitingForAdapter: "waiting for its adapter",
	v1alpha1.ReasonWaitingForPods:    "starting",
	v1alpha1.ReasonJobRunning:        "training",
	v1alpha1.ReasonInputMissing:      "waiting for an input",
}

// words say how far it is. ended says that they are the last: every Workspace is
// where only another change, or a person, can move it from.
func (p progress) words() (text string, ended bool) {
	commit := markdown.Code(short(p.merged))
	if p.came == "" {
		text = fmt.Sprintf("### ⏳ Merged as %s\n\nCluster %s has not come to it yet.\n", commit, markdown.Code(p.cluster))
		if c := condition.Get(p.sync, v1alpha1.ConditionSourceReady); c != nil && c.Status != "True" {
			text += "\n" + markdown.Text(c.Message) + "\n"
		}
		return text, false
	}
	rows, good, ended := p.rows()
	stalled := p.stalled()
	var b strings.Builder
	fmt.Fprintf(&b, "### %s in cluster %s: %d of %d workspaces\n\n", headline(good == len(rows), ended), markdown.Code(p.cluster), good, len(rows))
	fmt.Fprintf(&b, "Merged as %s, synced by RepoSync %s%s.\n\n", commit, markdown.Code(p.sync.Namespace+"/"+p.sync.Name), p.to())
	if stalled != "" {
		b.WriteString("**The RepoSync is stalled:** " + markdown.Text(stalled) + "\n\n")
	} else if away := p.away(); away != "" {
		b.WriteString("**How they are now is not known:** " + markdown.Text(away) + "\n\n")
	}
	b.WriteString("| Workspace | State | On | Result | Cost |\n|---|---|---|---|---|\n")
	for _, r := range rows {
		b.WriteString("| " + strings.Join([]string{r.name, r.state, r.on, r.result, r.cost}, " | ") + " |\n")
	}
	if p.more > 0 {
		fmt.Fprintf(&b, "\nAnd %d more, which are not followed here: see the status branch, or `espalier status`.\n", p.more)
	}
	begun := false
	for _, r := range rows {
		if r.why == "" {
			continue
		}
		if !begun {
			b.WriteString("\n")
			begun = true
		}
		b.WriteString("- " + r.name + ": " + r.why + "\n")
	}
	return b.String(), ended
}

func headline(good, ended bool) string {
	switch {
	case good:
		return "✅ Done"
	case ended:
		return "❌ Not done"
	}
	return "⏳ On its way"
}

// rows are the Workspaces, how many are good, and whether none will move any more.
func (p progress) rows() (rows []row, good int, ended bool) {
	ended = true
	for _, t := range p.touched {
		w := p.workspaces[t.Namespace+"/"+t.Name]
		var r row
		switch {
		case t.Gone:
			r = p.goneRow(w)
		case w == nil || !p.has(w):
			r = p.unappliedRow(w)
		default:
			r = workspaceRow(w)
		}
		r.name = markdown.Cell(t.Name)
		if t.Namespace != p.sync.Namespace {
			r.name = markdown.Cell(t.Namespace + "/" + t.Name)
		}
		for _, cell := range []*string{&r.on, &r.result, &r.cost} {
			if *cell == "" {
				*cell = markdown.None
			}
		}
		if r.good {
			good++
		}
		ended = ended && r.ended && !p.unsure
		rows = append(rows, r)
	}
	return rows, good, ended
}

// has says whether a Workspace is as the merge wants it, rather than as it was
// before: the RepoSync has come to a commit before that is verified and applied, and
// may never get so far. Where one is not applied whole, for the sake of whatever else
// it holds, what a Workspace was changed by last says it.
func (p progress) has(w *v1alpha1.Workspace) bool {
	changed := commitOf(w.Annotations[repolayout.AnnotationRevision])
	return p.applied || changed != "" && slices.Contains([]string{p.merged, p.came, commitOf(p.sync.Status.LastAttemptedRevision)}, changed)
}

// unappliedRow is one that is not there yet, or not yet as the merge wants it; w is
// nil when it is not there.
func (p progress) unappliedRow(w *v1alpha1.Workspace) row {
	r := row{state: "⏳ on its way"}
	if p.stalled() != "" {
		r = row{state: "⛔ not applied", ended: true}
	}
	if w != nil {
		r.on, r.cost = cell(w.Status.Instance), hourlyCost(w)
	}
	return r
}

// goneRow is one that the pull request drops; w is nil when it is gone.
func (p progress) goneRow(w *v1alpha1.Workspace) row {
	switch {
	case w == nil && p.unsure:
		return row{state: "⏳ to be removed"}
	case w == nil:
		return row{state: "🗑️ removed", good: true, ended: true}
	case !w.DeletionTimestamp.IsZero():
		return row{state: "⏳ being removed", cost: hourlyCost(w)}
	case p.stalled() != "":
		return row{state: "⛔ not removed", cost: hourlyCost(w), ended: true}
	}
	return row{state: "⏳ to be removed", cost: hourlyCost(w)}
}

func workspaceRow(w *v1alpha1.Workspace) row {
	state := report.StateOf(w)
	r := row{on: cell(w.Status.Instance), cost: hourlyCost(w), result: resultOf(w), state: report.Glyph(state) + " "}
	ready := condition.Get(w, v1alpha1.ConditionReady)
	if ready == nil {
		r.state += "on its way"
		return r
	}
	why := markdown.Text(ready.Message) + " (" + markdown.Text(ready.Reason) + ")"
	switch state {
	case report.Ready:
		r.state += "ready"
		if w.Spec.Tuning != nil {
			r.state, r.cost = report.Glyph(state)+" tuned", runCost(w)
		}
		r.good, r.ended = true, true
	case report.Refused, report.Failed, report.Suspended:
		r.state += strings.ToLower(string(state))
		r.why, r.ended = why, true
	case report.Deleting:
		r.state += "being removed"
	default:
		phase := phases[ready.Reason]
		if phase == "" || ready.ObservedGeneration != 0 && ready.ObservedGeneration < w.Generation {
			phase = "on its way"
		}
		r.state += phase
		if ready.Reason == v1alpha1.ReasonInputMissing || ready.Reason == v1alpha1.ReasonWaitingForAdapter {
			r.why = why
		}
	}
	return r
}

// resultOf is the endpoint, or the adapter, as far as it is there.
func resultOf(w *v1alpha1.Workspace) string {
	switch t := w.Status.Tuning; {
	case w.Spec.Inference != nil && w.Status.Inference != nil:
		return cell(w.Status.Inference.Endpoint)
	case w.Spec.Tuning == nil || t == nil:
		return ""
	case t.Adapter != "" || t.Evaluation != nil:
		return strings.TrimSpace(cell(t.Adapter) + " " + cell(strings.Join(repolayout.Measured(t.Evaluation), "; ")))
	case t.Progress != nil && t.FinishedAt == nil:
		return trained(t)
	case t.StartedAt != nil && t.Attempts > 1:
		return fmt.Sprintf("since %s, pod %d", t.StartedAt.UTC().Format("2006-01-02 15:04 UTC"), t.Attempts)
	case t.StartedAt != nil:
		return "since " + t.StartedAt.UTC().Format("2006-01-02 15:04 UTC")
	}
	return ""
}

// trained is how far a run is, in steps so coarse that the comment is edited some
// ten times in a run, with the loss of then; see sameButLoss.
func trained(t *v1alpha1.TuningStatus) string {
	const step = 10
	p := t.Progress
	text := fmt.Sprintf("%d %% trained", p.Percent/step*step)
	if isNumber(p.Loss) {
		text += ", loss " + p.Loss
	}
	if left := report.Remaining(p); left != "" && p.Percent >= step {
		text += ", " + left + " left"
	}
	if t.Attempts > 1 {
		text += fmt.Sprintf(", pod %d", t.Attempts)
	}
	return text
}

// isNumber says that a text is one, and no more: another cluster may have written it.
func isNumber(s string) bool {
	_, err := strconv.ParseFloat(s, 64)
	return err == nil && len(s) <= 20
}

func hourlyCost(w *v1alpha1.Workspace) string {
	if usd := report.Hourly(w); usd != "" {
		return "$" + usd + "/h"
	}
	return ""
}

// runCost is what a run has cost, once its nodes are gone and that is known; else
// the list price of the nodes for as long as the run itself took.
func runCost(w *v1alpha1.Workspace) string {
	t := w.Status.Tuning
	c := condition.Get(w, v1alpha1.ConditionResourceReady)
	if t != nil && isNumber(t.SpentUSD) && c != nil && c.Reason == v1alpha1.ReasonReleased {
		return "$" + t.SpentUSD + " by list prices"
	}
	if t == nil || t.StartedAt == nil || t.FinishedAt == nil || w.Status.Sizing == nil {
		return ""
	}
	usd, ok := report.Price(w.Status.Sizing.USDPerHour)
	took := t.FinishedAt.Sub(t.StartedAt.Time).Round(time.Second)
	if !ok || took <= 0 || usd.Sign() == 0 {
		return ""
	}
	usd.Mul(usd, big.NewRat(int64(took), int64(time.Hour)))
	return fmt.Sprintf("$%s at list price for a run of %s", usd.FloatString(2), strings.Replace(took.String(), "m0s", "m", 1))
}

// stalled is what only a change, or a person, can move the RepoSync from.
func (p progress) stalled() string {
	if ready := condition.Get(p.sync, v1alpha1.ConditionReady); ready != nil && condition.Is(p.sync, v1alpha1.ConditionStalled) {
		return ready.Message
	}
	return ""
}

// to says that what was merged runs in another cluster.
func (p progress) to() string {
	if p.sync.Spec.KubeConfig != nil {
		return " to the cluster of its `spec.kubeConfig`"
	}
	return ""
}

// away is why the other cluster is not to be had, if it is not.
func (p progress) away() string {
	c := condition.Get(p.sync, v1alpha1.ConditionApplied)
	if p.sync.Spec.KubeConfig == nil || c == nil || c.Reason != v1alpha1.ReasonClusterUnreachable && c.Reason != v1alpha1.ReasonAuthFailed {
		return ""
	}
	return c.Message
}

func cell(s string) string {
	if s == "" {
		return ""
	}
	return markdown.Cell(s)
}

// commitOf is the hash in a revision, "" where there is none.
func commitOf(revision string) string {
	_, commit, _ := strings.Cut(revision, "sha1:")
	return commit
}

func short(commit string) string { return commit[:min(7, len(commit))] }

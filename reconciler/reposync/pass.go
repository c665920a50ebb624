// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"fmt"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxFindings bounds what a status carries; the report's README names the rest.
const maxFindings = 50

// pass is what one reconcile of a RepoSync has learnt so far.
type pass struct {
	sync   *v1alpha1.RepoSync
	before *v1alpha1.RepoSync // as it was read
	kept   *kept
	at     place           // where to
	as     account.Account // who writes what is applied and pruned

	unplaced error // why that place cannot be reached, or must not be written to

	unread    error     // why the source could not be read
	looked    bool      // the source was asked in this pass
	whole     bool      // for a look that an interval or somebody asked for, not by a hook
	partly    bool      // what is known to be there is not compared, but for
	stirs     stirs     // what events spoke of
	began     time.Time // when all was compared last
	settled   bool      // all is as Git says: nothing is applied
	writes    int64     // that were made before this pass
	failed    string    // the condition of the step that erred
	conflicts []string
	refusals  []string // objects the API server would not take, with its words
	pruned    []v1alpha1.InventoryEntry
	held      string // why deleting waits for a person
	stopped   string // why nothing is applied until something is changed
	reportDue time.Duration

	workspaces []*v1alpha1.Workspace // that are reported on; nil: not read
	dropped    []*v1alpha1.Workspace // in another cluster, with our labels and not in the inventory
	lag        string                // what Flux has not applied yet, with mode ReportOnly
}

func (p *pass) suspend() {
	p.sync.Status.ObservedGeneration = p.sync.Generation
	condition.False(p.sync, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "Suspended: new commits are not looked at; what runs, runs on")
	condition.Remove(p.sync, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
}

// conclude turns what the pass has learnt into conditions. Each is set once, so
// that its transition time moves only when its status does.
func (p *pass) conclude(stepErr, reportErr error) {
	p.sync.Status.ObservedGeneration = p.sync.Generation
	p.concludeReport(reportErr)
	if p.sync.ReportsOnly() {
		p.concludeSelected(stepErr)
		return
	}
	broken := errorsOf(p.kept.built.findings)
	p.concludeBuilt(broken)
	p.concludeApplied(broken)
	if stepErr != nil {
		p.concludeError(stepErr)
		return
	}
	s, refused := p.sync, p.refused()
	switch {
	case len(broken) > 0:
		condition.Stalled(s, v1alpha1.ReasonBuildFailed, summary(broken))
	case refused != "":
		condition.Stalled(s, condition.Get(s, v1alpha1.ConditionApplied).Reason, refused)
	case p.held != "":
		condition.Stalled(s, condition.Get(s, v1alpha1.ConditionPruneHeld).Reason, p.held)
	default:
		s.Status.LastAppliedRevision = s.Status.LastAttemptedRevision
		condition.Ready(s, v1alpha1.ReasonSucceeded, "Applied revision "+s.Status.LastAppliedRevision)
	}
}

// refused is what could not be applied, "" when everything was.
func (p *pass) refused() string {
	return strings.Join(slices.Concat(p.conflicts, p.refusals), "; ")
}

// concludeBuilt says whether every document is whole, once they were looked at.
func (p *pass) concludeBuilt(broken []v1alpha1.Finding) {
	switch {
	case p.failed == v1alpha1.ConditionSourceReady || p.failed == v1alpha1.ConditionBuilt:
	case len(broken) > 0:
		condition.False(p.sync, v1alpha1.ConditionBuilt, v1alpha1.ReasonBuildFailed, summary(broken))
	default:
		condition.True(p.sync, v1alpha1.ConditionBuilt, v1alpha1.ReasonSucceeded, "Built revision "+p.kept.built.revision)
	}
}

// concludeApplied says whether all that was built is applied, once all of it
// was tried.
func (p *pass) concludeApplied(broken []v1alpha1.Finding) {
	s := p.sync
	if len(p.conflicts) > 0 {
		condition.True(s, v1alpha1.ConditionFieldConflict, v1alpha1.ReasonFieldConflict, strings.Join(p.conflicts, "; "))
	} else if p.failed == "" {
		condition.Remove(s, v1alpha1.ConditionFieldConflict)
	}
	switch {
	case p.failed != "":
	case len(p.conflicts) > 0:
		condition.False(s, v1alpha1.ConditionApplied, v1alpha1.ReasonFieldConflict, p.refused())
	case len(p.refusals) > 0:
		condition.False(s, v1alpha1.ConditionApplied, v1alpha1.ReasonApplyFailed, p.refused())
	case len(broken) > 0:
		condition.True(s, v1alpha1.ConditionApplied, v1alpha1.ReasonSucceeded, "What could be built is applied")
	default:
		condition.True(s, v1alpha1.ConditionApplied, v1alpha1.ReasonSucceeded, "Applied revision "+p.kept.built.revision)
	}
}

func (p *pass) concludeError(err error) {
	reason := fault.Reason(err, v1alpha1.ReasonApplyFailed)
	condition.False(p.sync, p.failed, reason, err.Error())
	if fault.IsTerminal(err) {
		condition.Stalled(p.sync, reason, err.Error())
		return
	}
	condition.Progressing(p.sync, reason, err.Error())
}

func (p *pass) concludeReport(err error) {
	if p.sync.Spec.Report == nil || p.sync.Spec.Report.Commit == nil {
		condition.Remove(p.sync, v1alpha1.ConditionReported)
		return
	}
	if err != nil {
		condition.False(p.sync, v1alpha1.ConditionReported, fault.Reason(err, v1alpha1.ReasonReportFailed), err.Error())
	}
}

// result says when to look again. A retryable error goes back to the queue's
// backoff; everything else waits for the interval, an event or the hook.
func (p *pass) result(stepErr, reportErr error, now time.Time) (ctrl.Result, error) {
	_, waits := fault.AsWaiting(stepErr)
	if stepErr != nil && !fault.IsTerminal(stepErr) && !waits {
		return ctrl.Result{}, stepErr
	}
	if reportErr != nil && !fault.IsTerminal(reportErr) {
		return ctrl.Result{}, reportErr
	}
	next := p.kept.lookedAt.Add(p.interval()).Sub(now)
	if p.failed == v1alpha1.ConditionSourceReady || p.failed != "" && next <= 0 {
		next = p.interval() // it was not read, or not come to, and is not to be asked without rest
	}
	if p.reportDue > 0 {
		next = min(next, p.reportDue)
	}
	return ctrl.Result{RequeueAfter: max(next, 100*time.Millisecond)}, nil
}

// interval is that of the RepoSync, out of step with others.
func (p *pass) interval() time.Duration {
	return max(p.kept.spread.Of(interval(p.sync)), repolayout.MinInterval)
}

// interval is how often to look at the source, never so often that it is a loop.
func interval(s *v1alpha1.RepoSync) time.Duration {
	return max(s.Spec.Interval.Duration, repolayout.MinInterval)
}

func errorsOf(findings []v1alpha1.Finding) []v1alpha1.Finding {
	var errors []v1alpha1.Finding
	for _, f := range findings {
		if f.Severity == finding.Error {
			errors = append(errors, f)
		}
	}
	return errors
}

// summary is the first finding in full and how many more there are.
func summary(errors []v1alpha1.Finding) string {
	f := errors[0]
	where := f.File
	if f.Line > 0 {
		where = fmt.Sprintf("%s:%d", f.File, f.Line)
	}
	text := fmt.Sprintf("%s: %s (%s)", where, f.Message, f.Code)
	if more := len(errors) - 1; more > 0 {
		text += fmt.Sprintf(" and %d more, see status.findings", more)
	}
	return text
}

func statusEqual(a, b *v1alpha1.RepoSync) bool {
	return equality.Semantic.DeepEqual(a.Status, b.Status)
}

func joinIDs(entries []v1alpha1.InventoryEntry) string {
	ids := make([]string, len(entries))
	for i, e := range entries {
		ids[i] = e.ID
	}
	return strings.Join(ids, ", ")
}

// warnWhenNew emits a warning when a condition that matters has become bad, or
// bad for another reason.
func warnWhenNew(rec events.EventRecorder, before, after *v1alpha1.RepoSync, kind string) {
	was, is := condition.Get(before, kind), condition.Get(after, kind)
	bad := metav1.ConditionFalse
	if kind == v1alpha1.ConditionPruneHeld {
		bad = metav1.ConditionTrue
	}
	if is == nil || is.Status != bad || (was != nil && was.Status == is.Status && was.Message == is.Message) {
		return
	}
	rec.Eventf(after, nil, corev1.EventTypeWarning, is.Reason, kind, "%s", is.Message)
}

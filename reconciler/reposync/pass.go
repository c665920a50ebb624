// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"fmt"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/equality"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxFindings bounds what a status carries; the report's README names the rest.
const maxFindings = 50

// pass is what one reconcile of a RepoSync has learnt so far.
type pass struct {
	sync *v1alpha1.RepoSync
	kept *kept

	looked    bool   // the source was asked in this pass
	failed    string // the condition of the step that erred
	conflicts []string
	refusals  []string // objects the API server would not take, with its words
	pruned    []v1alpha1.InventoryEntry
	held      string // why deleting waits for a person
	reportDue time.Duration
}

func (p *pass) suspend() {
	p.sync.Status.ObservedGeneration = p.sync.Generation
	condition.False(p.sync, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "Suspended: new commits are not looked at; what runs, runs on")
	condition.Remove(p.sync, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
}

// conclude turns what the pass has learnt into conditions.
func (p *pass) conclude(stepErr, reportErr error) {
	s := p.sync
	s.Status.ObservedGeneration = s.Generation
	p.concludeReport(reportErr)
	errors := errorsOf(s.Status.Findings)
	switch {
	case stepErr != nil:
		p.concludeError(stepErr)
	case len(errors) > 0:
		message := summary(errors)
		condition.False(s, v1alpha1.ConditionBuilt, v1alpha1.ReasonBuildFailed, message)
		condition.Stalled(s, v1alpha1.ReasonBuildFailed, message)
	case len(p.conflicts) > 0:
		message := strings.Join(p.conflicts, "; ")
		condition.True(s, v1alpha1.ConditionFieldConflict, v1alpha1.ReasonFieldConflict, message)
		condition.False(s, v1alpha1.ConditionApplied, v1alpha1.ReasonFieldConflict, message)
		condition.Stalled(s, v1alpha1.ReasonFieldConflict, message)
	case len(p.refusals) > 0:
		message := strings.Join(p.refusals, "; ")
		condition.False(s, v1alpha1.ConditionApplied, v1alpha1.ReasonApplyFailed, message)
		condition.Stalled(s, v1alpha1.ReasonApplyFailed, message)
	case p.held != "":
		condition.Stalled(s, condition.Get(s, v1alpha1.ConditionPruneHeld).Reason, p.held)
	default:
		s.Status.LastAppliedRevision = s.Status.LastAttemptedRevision
		condition.Ready(s, v1alpha1.ReasonSucceeded, "Applied revision "+s.Status.LastAppliedRevision)
	}
	if len(p.conflicts) == 0 {
		condition.Remove(s, v1alpha1.ConditionFieldConflict)
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
	if stepErr != nil && !fault.IsTerminal(stepErr) {
		return ctrl.Result{}, stepErr
	}
	if reportErr != nil && !fault.IsTerminal(reportErr) {
		return ctrl.Result{}, reportErr
	}
	next := p.kept.lookedAt.Add(p.sync.Spec.Interval.Duration).Sub(now)
	if p.reportDue > 0 {
		next = min(next, p.reportDue)
	}
	return ctrl.Result{RequeueAfter: max(next, 100*time.Millisecond)}, nil
}

func errorsOf(findings []v1alpha1.Finding) []v1alpha1.Finding {
	var errors []v1alpha1.Finding
	for _, f := range findings {
		if f.Severity == "error" {
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

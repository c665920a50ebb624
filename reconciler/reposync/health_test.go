// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/health"
)

// TestHealth: what Flux and Argo CD make of a RepoSync, of every form that a pass may
// leave it in.
func TestHealth(t *testing.T) {
	broken := built{findings: []v1alpha1.Finding{{Severity: finding.Error, Code: "UnknownField", File: "a.yaml", Line: 3, Message: "no such field"}}}
	selected := func(change func(*v1alpha1.Workspace)) func(*pass) {
		return func(p *pass) {
			w := &v1alpha1.Workspace{}
			change(w)
			p.sync.Spec.Mode, p.workspaces = v1alpha1.ModeReportOnly, []*v1alpha1.Workspace{w}
		}
	}
	cases := map[string]struct {
		reason    string
		built     built
		suspended bool
		change    func(*pass)
		err       error
		reportErr error
		after     func(*v1alpha1.RepoSync)
		want      health.Health
	}{
		"Applied":     {reason: "All is as Git says.", want: health.Ready},
		"NotReported": {reason: "The report is told by a condition of its own.", reportErr: errors.New("no answer"), want: health.Ready},
		"Broken":      {reason: "Another commit helps.", built: broken, want: health.Stalled},
		"Refused":     {reason: "So it does here.", change: func(p *pass) { p.refusals = []string{"a.yaml:1: …"} }, want: health.Stalled},
		"Conflict":    {reason: "A person decides who is right.", change: func(p *pass) { p.conflicts = []string{"…"} }, want: health.Stalled},
		"Held":        {reason: "A person approves.", change: func(p *pass) { hold(p) }, want: health.Stalled},
		"Unreachable": {
			reason: "The server may answer the next time.",
			change: func(p *pass) { p.failed = v1alpha1.ConditionSourceReady },
			err:    fault.Retry(v1alpha1.ReasonSourceUnreachable, errors.New("no answer")), want: health.Progressing,
		},
		"Unsigned": {
			reason: "Nobody waits for a signature on a commit that has none.",
			change: func(p *pass) { p.failed = v1alpha1.ConditionVerified },
			err:    fault.Stop(v1alpha1.ReasonInvalidCommitSignature, errors.New("no signature")), want: health.Stalled,
		},
		"Depends": {
			reason: "Another RepoSync is on its way.",
			change: func(p *pass) { p.failed = v1alpha1.ConditionApplied },
			err:    fault.Wait(v1alpha1.ReasonDependencyNotReady, 0, "Waiting"), want: health.Progressing,
		},
		"Suspended": {reason: "Somebody wants it to look at nothing.", suspended: true, want: health.Suspended},
		"AllReady": {
			reason: "With ReportOnly it is as its Workspaces are.",
			change: selected(func(w *v1alpha1.Workspace) { condition.Ready(w, v1alpha1.ReasonSucceeded, "") }), want: health.Ready,
		},
		"OneFails": {
			reason: "It fails with them.",
			change: selected(func(w *v1alpha1.Workspace) { condition.Stalled(w, v1alpha1.ReasonRefused, "no") }), want: health.Stalled,
		},
		"OneStarts": {
			reason: "It waits for them.",
			change: selected(func(w *v1alpha1.Workspace) { condition.Progressing(w, v1alpha1.ReasonProgressing, "") }), want: health.Progressing,
		},
		"OneIsSuspended": {
			reason: "One that is suspended holds up nothing.",
			change: selected(func(w *v1alpha1.Workspace) { condition.False(w, v1alpha1.ConditionReady, v1alpha1.ReasonSuspended, "") }), want: health.Ready,
		},
		"FluxIsBehind": {
			reason: "What they say is of the commit before.",
			change: func(p *pass) {
				selected(func(w *v1alpha1.Workspace) { condition.Ready(w, v1alpha1.ReasonSucceeded, "") })(p)
				p.lag = "Flux has not applied it"
			},
			want: health.Progressing,
		},
		"Edited": {reason: "What its conditions say is of the spec before.", after: func(s *v1alpha1.RepoSync) { s.Generation++ }, want: health.Progressing},
		"Corrected": {
			reason: "What was broken may not be any more.",
			built:  broken, after: func(s *v1alpha1.RepoSync) { s.Generation++ }, want: health.Progressing,
		},
		"Deleting": {
			reason: "Its Workspaces go.",
			after: func(s *v1alpha1.RepoSync) {
				s.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)}
				condition.Progressing(s, v1alpha1.ReasonDeleting, "")
			},
			want: health.Deleting,
		},
		"New": {
			reason: "Nobody has looked at it: the CRD says so.",
			after:  func(s *v1alpha1.RepoSync) { s.Status = v1alpha1.RepoSyncStatus{ObservedGeneration: -1} }, want: health.Progressing,
		},
	}
	// Whatever it was before, what it is shows alone.
	for before, was := range cases {
		for name, c := range cases {
			s := team()
			s.Generation = 3
			for _, c := range []struct {
				built     built
				suspended bool
				change    func(*pass)
				err, told error
			}{{was.built, was.suspended, was.change, was.err, was.reportErr}, {c.built, c.suspended, c.change, c.err, c.reportErr}} {
				s.Generation++
				s.Spec = v1alpha1.RepoSyncSpec{Report: &v1alpha1.Report{Commit: &v1alpha1.CommitReport{}}}
				p := passOf(s, c.built)
				if c.suspended {
					p.suspend()
					continue
				}
				if c.change != nil {
					c.change(p)
				}
				p.conclude(c.err, c.told)
			}
			if c.after != nil {
				c.after(s)
			}
			got, err := health.Of(s)
			if err != nil || got != c.want {
				t.Errorf("%s, after %s: %s\ngot %+v (%v), want %+v: %+v", name, before, c.reason, got, err, c.want, s.Status.Conditions)
			}
		}
	}
}

// hold says that deleting waits for a person.
func hold(p *pass) {
	p.held = "Deleting 3 of 3 objects waits for approval"
	condition.True(p.sync, v1alpha1.ConditionPruneHeld, v1alpha1.ReasonTooMuchToPrune, p.held)
}

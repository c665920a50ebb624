// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/health"
)

// TestHealth: what Flux and Argo CD make of a Workspace, of every form that a pass may
// leave it in.
func TestHealth(t *testing.T) {
	answers := func(p *pass) {
		condition.True(p.ws, v1alpha1.ConditionInferenceReady, v1alpha1.ReasonSucceeded, "The model answers")
	}
	ended := func(reason string) func(*pass) {
		return func(p *pass) {
			p.ws.Spec.Tuning = &v1alpha1.TuningSpec{}
			condition.False(p.ws, v1alpha1.ConditionTuningSucceeded, reason, "The run has ended")
		}
	}
	cases := map[string]struct {
		reason string
		change func(*pass)
		err    error
		after  func(*v1alpha1.Workspace)
		want   health.Health
	}{
		"Starting": {reason: "Its nodes are on their way.", want: health.Progressing},
		"Serving":  {reason: "The model answers.", change: answers, want: health.Ready},
		"Tuned": {
			reason: "The adapter is published; that its nodes are gone changes nothing.",
			change: func(p *pass) {
				p.ws.Spec.Tuning = &v1alpha1.TuningSpec{}
				condition.True(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonSucceeded, "")
				condition.True(p.ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonReleased, "")
			},
			want: health.Ready,
		},
		"Training":   {reason: "The Job runs.", change: ended(v1alpha1.ReasonJobRunning), want: health.Progressing},
		"JobFailed":  {reason: "It is not tried again.", change: ended(v1alpha1.ReasonJobFailed), want: health.Stalled},
		"Spent":      {reason: "It goes on with more budget alone.", change: ended(v1alpha1.ReasonBudgetSpent), want: health.Stalled},
		"Worse":      {reason: "It is measured, and not published.", change: ended(v1alpha1.ReasonEvaluationFailed), want: health.Stalled},
		"Waiting":    {reason: "An input is on its way.", err: fault.Wait(v1alpha1.ReasonInputMissing, 0, "Waiting"), want: health.Progressing},
		"Refused":    {reason: "Only another commit helps.", err: fault.Stop(v1alpha1.ReasonRefused, errors.New("no")), want: health.Stalled},
		"TriedAgain": {reason: "The API server did not answer.", err: errors.New("no answer"), want: health.Progressing},
		"NowRefused": {
			reason: "What still answers is not what Git says.",
			change: answers, err: fault.Stop(v1alpha1.ReasonRefused, errors.New("no")), want: health.Stalled,
		},
		"Suspended": {
			reason: "Somebody wants it not to run.",
			change: func(p *pass) { p.ws.Spec.Suspend = true }, want: health.Suspended,
		},
		"Edited": {
			reason: "What its conditions say is of the spec before.",
			change: answers, after: func(w *v1alpha1.Workspace) { w.Generation++ }, want: health.Progressing,
		},
		"Corrected": {
			reason: "A refusal is of the spec before too.",
			err:    fault.Stop(v1alpha1.ReasonRefused, errors.New("no")), after: func(w *v1alpha1.Workspace) { w.Generation++ }, want: health.Progressing,
		},
		"Deleting": {
			reason: "Its nodes go.",
			change: answers, after: func(w *v1alpha1.Workspace) { w.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, want: health.Deleting,
		},
		"New": {
			reason: "Nobody has looked at it: the CRD says so.",
			after: func(w *v1alpha1.Workspace) {
				w.Status = v1alpha1.WorkspaceStatus{ObservedGeneration: -1}
			},
			want: health.Progressing,
		},
	}
	// Whatever it was before, what it is shows alone.
	for before, was := range cases {
		for name, c := range cases {
			ws := &v1alpha1.Workspace{}
			ws.Generation = 3
			pass := &pass{ws: ws}
			if was.change != nil {
				was.change(pass)
			}
			pass.conclude(was.err)
			ws.Spec = v1alpha1.WorkspaceSpec{}
			ws.Generation++
			condition.Remove(ws, v1alpha1.ConditionInferenceReady, v1alpha1.ConditionTuningSucceeded) // as a pass observes them anew
			if c.change != nil {
				c.change(pass)
			}
			pass.conclude(c.err)
			if c.after != nil {
				c.after(ws)
			}
			got, err := health.Of(ws)
			if err != nil || got != c.want {
				t.Errorf("%s, after %s: %s\ngot %+v (%v), want %+v: %+v", name, before, c.reason, got, err, c.want, ws.Status.Conditions)
			}
		}
	}
}

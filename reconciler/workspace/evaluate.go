// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"encoding/json"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// missed says which thresholds that Git has now the recorded numbers of the run
// miss.
func (p *pass) missed() []string {
	if p.ws.Spec.Tuning == nil || p.ws.Status.Tuning == nil {
		return nil
	}
	return repolayout.Missed(p.ws.Spec.Tuning.Evaluation, p.ws.Status.Tuning.Evaluation)
}

// withheld says that the adapter of the run was not published for its numbers.
func (p *pass) withheld() bool {
	t := p.ws.Status.Tuning
	return t != nil && t.Run == p.runName() && t.Evaluation != nil && t.Evaluation.Withheld
}

// owed says that the adapter of the run was withheld for numbers that are good
// enough now: a threshold was lowered in Git. The run goes on from its last
// checkpoint, where nothing is left to train, and publishes. Without that
// checkpoint it would train once more, which nobody asked for.
func (p *pass) owed() bool { return p.withheld() && len(p.missed()) == 0 && !p.claimGone }

// judge says whether a run that has trained has succeeded.
func (p *pass) judge(reason, message string) {
	missed := p.missed()
	switch {
	case len(missed) > 0:
		condition.False(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonEvaluationFailed, p.missedMessage(missed))
	case p.owed():
		condition.False(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonProgressing, "The run meets the thresholds of its evaluation now: it publishes the adapter from its last checkpoint")
	case p.withheld():
		condition.False(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonEvaluationFailed, fmt.Sprintf(
			"Run %s meets the thresholds of its evaluation now, and its adapter is gone with claim %s: other data or settings are another run", p.ws.Status.Tuning.Run, repolayout.WorkClaimName(p.ws.Name)))
	default:
		if measured := repolayout.Measured(p.ws.Status.Tuning.Evaluation); len(measured) > 0 {
			message += ": " + strings.Join(measured, "; ")
		}
		condition.True(p.ws, v1alpha1.ConditionTuningSucceeded, reason, message)
	}
}

// judgeAgain holds the recorded numbers of a run that is over to the thresholds that
// Git has now. Nothing is run for that.
func (p *pass) judgeAgain() {
	t, c := p.ws.Status.Tuning, condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded)
	switch {
	case p.ws.Spec.Tuning.Evaluation == nil || t.Evaluation == nil || c == nil:
	case c.Reason == v1alpha1.ReasonEvaluationFailed:
		p.judge(v1alpha1.ReasonSucceeded, "Run "+t.Run+" is complete")
	case len(p.missed()) > 0 && condition.Is(p.ws, v1alpha1.ConditionTuningSucceeded):
		p.judge(c.Reason, c.Message)
	}
}

// missedMessage says what became of an adapter that is not good enough, and what
// helps.
func (p *pass) missedMessage(missed []string) string {
	t, out := p.ws.Status.Tuning, p.ws.Spec.Tuning.Output
	where := fmt.Sprintf("The adapter is not published, and kept in folder %s/out of claim %s", repolayout.RunFolder(t.Digest), repolayout.WorkClaimName(p.ws.Name))
	remedy := "Other data or settings are another run; a threshold that these numbers meet publishes the adapter without training it again"
	switch {
	case t.Adapter != "":
		where = "It was published before this was demanded of it, and is promoted no more"
		remedy = "Other data or settings are another run; a threshold that these numbers meet makes this one good again"
	case out.Claim != "":
		where = fmt.Sprintf("The adapter is in folder %s of claim %s all the same: nothing should serve it", t.Run, out.Claim)
		remedy = "Other data or settings are another run; a threshold that these numbers meet makes this one good"
	}
	return fmt.Sprintf("The evaluation of run %s missed what Git demands: %s. %s. %s", t.Run, strings.Join(missed, "; "), where, remedy)
}

// maxMeasured is the longest annotation of an image that is read, in bytes.
const maxMeasured = 4096

// measuredBefore is what the annotations of a published image say of its run; nil
// where they say nothing.
func measuredBefore(annotations map[string]string) *v1alpha1.EvaluationStatus {
	text := annotations[repolayout.AnnotationEvaluation]
	if text == "" || len(text) > maxMeasured {
		return nil
	}
	got := &v1alpha1.EvaluationStatus{}
	if json.Unmarshal([]byte(text), got) != nil {
		return nil
	}
	got.Withheld = false
	return got
}

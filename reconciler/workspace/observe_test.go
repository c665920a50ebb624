// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestFailureMessage(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, failed string
		timeout        time.Duration
		says, why      string
	}{
		"OutOfTime":  {"It is the limit that must change, and nothing is lost.", batchv1.JobReasonDeadlineExceeded, 12 * time.Hour, "took longer than spec.tuning.timeout, 12h0m0s", ""},
		"OutOfTries": {"The log says why.", batchv1.JobReasonBackoffLimitExceeded, 12 * time.Hour, "kubectl logs", ""},
		"ByAPatch":   {"A limit that a patch has set is not the field's.", batchv1.JobReasonDeadlineExceeded, 0, "gave up (DeadlineExceeded", ""},
		"Said":       {"A container that knows why has said it.", batchv1.JobReasonBackoffLimitExceeded, 0, "gave up: task gsm8k could not be measured. A changed input", "task gsm8k could not be measured"},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w"}}
			ws.Spec.Tuning = &v1alpha1.TuningSpec{}
			if tc.timeout > 0 {
				ws.Spec.Tuning.Timeout = &metav1.Duration{Duration: tc.timeout}
			}
			job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w-1", UID: "u"}}
			got := failureMessage(ws, job, &batchv1.JobCondition{Reason: tc.failed}, tc.why)
			if !strings.Contains(got, tc.says) || !strings.Contains(got, "espalier.dev/retry=u") {
				t.Errorf("%s\ngot %s", tc.reason, got)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/utils/ptr"
)

func TestDecode(t *testing.T) {
	for name, c := range map[string]struct {
		reason, body string
		want         Report
		err          string
	}{
		"Step": {
			reason: "What KubeflowCallback posts after a step.",
			body: `{"trainerStatus":{"lastUpdatedTime":"2026-11-26T03:00:00+00:00","progressPercentage":34,"estimatedRemainingSeconds":3600,
				"metrics":[{"name":"loss","value":"0.81234"},{"name":"learning_rate","value":"0.0002"},{"name":"current_step","value":"340"},{"name":"total_steps","value":"1000"}]}}`,
			want: Report{Percent: ptr.To[int32](34), Step: ptr.To[int64](340), Steps: ptr.To[int64](1000), Loss: "0.8123", Remaining: ptr.To(time.Hour)},
		},
		"Begin": {
			reason: "What it posts before the first step.",
			body:   `{"trainerStatus":{"progressPercentage":0,"metrics":[{"name":"total_steps","value":"1000"}]}}`,
			want:   Report{Percent: ptr.To[int32](0), Steps: ptr.To[int64](1000)},
		},
		"Broken": {
			reason: "Python writes nan for a loss that is none.",
			body:   `{"trainerStatus":{"progressPercentage":1,"metrics":[{"name":"loss","value":"nan"}]}}`,
			want:   Report{Percent: ptr.To[int32](1), Loss: "NaN"},
		},
		"Infinite": {
			reason: "A loss of fp16 may leave its range.",
			body:   `{"trainerStatus":{"metrics":[{"name":"loss","value":"inf"}]}}`,
			want:   Report{Loss: "Inf"},
		},
		"StepsOnly": {
			reason: "A trainer of one's own need not divide.",
			body:   `{"trainerStatus":{"metrics":[{"name":"current_step","value":"5"},{"name":"total_steps","value":"10"}]}}`,
			want:   Report{Percent: ptr.To[int32](50), Step: ptr.To[int64](5), Steps: ptr.To[int64](10)},
		},
		"Unknown": {
			reason: "Fields and metrics that nobody here reads do no harm, nor do numbers that are none.",
			body:   `{"kind":"x","trainerStatus":{"phase":"new","metrics":[{"name":"mfu","value":"0.4"},{"name":"current_step","value":"-1"},{"name":"total_steps","value":"0"},{"name":"loss","value":"<b>"}]}}`,
		},
		"NoJSON":       {reason: "Says what was expected.", body: `percent=3`, err: "as JSON"},
		"Empty":        {reason: "An object of something else.", body: `{}`, err: "trainerStatus is missing"},
		"TooMuch":      {reason: "There is no more than all.", body: `{"trainerStatus":{"progressPercentage":101}}`, err: "from 0 to 100"},
		"Past":         {reason: "Time left is no debt.", body: `{"trainerStatus":{"estimatedRemainingSeconds":-1}}`, err: "from 0 to"},
		"TooLong":      {reason: "It must be a time.Duration.", body: `{"trainerStatus":{"estimatedRemainingSeconds":9223372036854775807}}`, err: "from 0 to"},
		"ManyMetrics":  {reason: "Bounded work.", body: `{"trainerStatus":{"metrics":[` + strings.Repeat(`{},`, metricLimit) + `{}]}}`, err: "at most 256"},
		"PercentFloat": {reason: "The protocol has whole percents.", body: `{"trainerStatus":{"progressPercentage":1.5}}`, err: "as JSON"},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := Decode([]byte(c.body))
			if c.err != "" {
				if err == nil || !strings.Contains(err.Error(), c.err) {
					t.Fatalf("%s\nerror %v, want one with %q", c.reason, err, c.err)
				}
				return
			}
			if diff := cmp.Diff(c.want, got); err != nil || diff != "" {
				t.Errorf("%s\nerror %v, -want +got:\n%s", c.reason, err, diff)
			}
		})
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte(`{"trainerStatus":{"progressPercentage":34,"estimatedRemainingSeconds":3600,"metrics":[{"name":"loss","value":"nan"},{"name":"current_step","value":"9"},{"name":"total_steps","value":"3"}]}}`))
	f.Fuzz(func(t *testing.T, body []byte) {
		r, err := Decode(body)
		if err != nil {
			return
		}
		if p := r.Percent; p != nil && (*p < 0 || *p > 100) {
			t.Errorf("percent %d", *p)
		}
		if len(r.Loss) > 24 {
			t.Errorf("a loss of %d characters", len(r.Loss))
		}
		if d := r.Remaining; d != nil && *d < 0 {
			t.Errorf("%s remain", *d)
		}
	})
}

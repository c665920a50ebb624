// SPDX-License-Identifier: Apache-2.0

package report

import (
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestRemaining(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		left    time.Duration
		percent int32
		want    string
	}{
		"Unknown": {reason: "One step tells no pace.", left: -1},
		"Done":    {reason: "There is nothing left.", percent: 100},
		"Seconds": {reason: "No countdown.", left: 20 * time.Second, want: "less than 10 min"},
		"Minutes": {reason: "Tens of minutes.", left: 44 * time.Minute, want: "about 40 min"},
		"Hours":   {reason: "Whole hours.", left: 3*time.Hour + 35*time.Minute, want: "about 4 h"},
		"Days":    {reason: "Whole days, more than one.", left: 26 * time.Hour, want: "about 2 days"},
		"Week":    {reason: "Also many.", left: 6*24*time.Hour + 20*time.Hour, want: "about 7 days"},
	} {
		t.Run(name, func(t *testing.T) {
			p := &v1alpha1.TuningProgress{Percent: c.percent}
			if c.left >= 0 {
				p.Remaining = &metav1.Duration{Duration: c.left}
			}
			if got := Remaining(p); got != c.want {
				t.Errorf("%s\n%q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"errors"
	"fmt"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/jitter"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestInterval: the forge is looked at when the interval is over, out of step with other
// RepoSyncs, and what is due or asked for is no interval.
func TestInterval(t *testing.T) {
	now := time.Unix(2_000_000, 0)
	for name, c := range map[string]struct {
		reason   string
		interval time.Duration
		looked   time.Duration // ago
		spread   jitter.Spread
		follow   time.Duration
		err      error
		want     time.Duration
	}{
		"Interval": {reason: "The rest of the interval.", interval: time.Minute, looked: 20 * time.Second, want: 40 * time.Second},
		"Longer":   {reason: "RepoSyncs of one interval must not ask a forge all at once.", interval: time.Minute, looked: 20 * time.Second, spread: 0.05, want: 43 * time.Second},
		"Shorter":  {reason: "To both sides, as Flux does.", interval: time.Minute, looked: 20 * time.Second, spread: -0.05, want: 37 * time.Second},
		"Least":    {reason: "No interval is shorter than the API allows.", interval: time.Second, spread: -0.5, want: time.Second},
		"Stopped":  {reason: "So is one that a person has to help.", interval: time.Minute, looked: time.Hour, spread: 0.05, err: fault.Stopf("X", "no"), want: 63 * time.Second},
		"EditDue":  {reason: "An edit of a comment that is due is no interval.", interval: time.Hour, spread: 0.05, follow: time.Minute, want: time.Minute},
		"ForgeAsksToo": {reason: "Also where it says so of one pull request of several.", interval: time.Minute, want: 10 * time.Minute,
			err: errors.Join(&forge.Error{Status: 403}, fmt.Errorf("pull request 3: %w", &forge.Error{After: 10 * time.Minute}))},
		"Limited":   {reason: "One that does not say how long is asked less and less.", interval: time.Minute, err: &forge.Error{Reason: forge.ReasonRateLimited}, want: retryFirst},
		"ForgeAsks": {reason: "What a forge asks for is kept to.", interval: time.Minute, spread: -0.05, err: &forge.Error{After: 10 * time.Minute}, want: 10 * time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := New(Deps{Clock: func() time.Time { return now }}), &v1alpha1.RepoSync{}
			s.Spec.Interval.Duration = c.interval
			k := &kept{lookedAt: now.Add(-c.looked), spread: c.spread, followDue: c.follow}
			got, err := r.result(s, k, c.err)
			if err != nil || got.RequeueAfter != c.want {
				t.Errorf("%s\ngot %v (%v), want %v", c.reason, got.RequeueAfter, err, c.want)
			}
			over := k.lookedAt.Add(k.interval(s))
			r.Clock = func() time.Time { return over.Add(-1) }
			if r.due(s, k) {
				t.Errorf("%s\nthe forge is asked before the interval is over", c.reason)
			}
			r.Clock = func() time.Time { return over }
			if !r.due(s, k) {
				t.Errorf("%s\nthe forge is not asked when the interval is over", c.reason)
			}
		})
	}
	r := New(Deps{Jitter: 5})
	if a, b := r.recall(&v1alpha1.RepoSync{}).spread, New(Deps{}).recall(&v1alpha1.RepoSync{}).spread; a == 0 || b != 0 {
		t.Errorf("drawn %v with jitter, %v without", a, b)
	}
}

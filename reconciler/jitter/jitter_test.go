// SPDX-License-Identifier: Apache-2.0

package jitter

import (
	"testing"
	"time"
)

// TestPercent: what Flux's flag of the same name does, by its limits.
func TestPercent(t *testing.T) {
	for name, c := range map[string]struct {
		reason      string
		percent     Percent
		interval    time.Duration
		least, most time.Duration
	}{
		"Default": {"Flux's default, to both sides.", 5, time.Minute, 57 * time.Second, 63 * time.Second},
		"Ten":     {"Its documentation: a value of 10 is +/-10 %.", 10, 100 * time.Second, 90 * time.Second, 110 * time.Second},
		"Most":    {"An interval is never over before it begins.", 99, time.Hour, 36 * time.Second, 2*time.Hour - 36*time.Second},
		"Off":     {"0 turns it off.", 0, time.Hour, time.Hour, time.Hour},
		"Below":   {"The flag refuses it, and nothing else comes of it.", -5, time.Hour, time.Hour, time.Hour},
		"Nothing": {"No interval has no part.", 50, 0, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			longer, shorter := 0, 0
			for range 200 {
				got := c.percent.Draw().Of(c.interval)
				if got < c.least || got > c.most {
					t.Fatalf("%s\n%s became %s, want %s to %s", c.reason, c.interval, got, c.least, c.most)
				}
				if got > c.interval {
					longer++
				} else if got < c.interval {
					shorter++
				}
			}
			if moves := c.least != c.most; moves != (longer > 20) || moves != (shorter > 20) {
				t.Errorf("%s\nof 200, %d are longer and %d shorter", c.reason, longer, shorter)
			}
		})
	}
	if got := Spread(0).Of(time.Hour); got != time.Hour {
		t.Errorf("what was never drawn is %s", got)
	}
}

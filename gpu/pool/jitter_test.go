// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"testing"
	"time"
)

// TestJitter: pools that are sent away together come back apart, none of them early,
// and each after the same time whoever asks: the pauses of a test, and of a restarted
// controller, are those of the one before.
func TestJitter(t *testing.T) {
	cases := map[string]struct {
		reason string
		of     func(string, time.Duration) time.Duration
		most   time.Duration // for a minute, not reached
	}{
		"Spread": {"Nobody said how long: up to four times the pause.", spread, 4 * time.Minute},
		"Later":  {"The cloud said how long: a quarter at most on top of it.", Later, 75 * time.Second},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			seen := map[time.Duration]bool{}
			var least, most time.Duration
			for i := range 200 {
				uid := fmt.Sprintf("uid-%d", i)
				d := tc.of(uid, time.Minute)
				if d < time.Minute || d >= tc.most || d != tc.of(uid, time.Minute) {
					t.Fatalf("%s\n%s waits %s", tc.reason, uid, d)
				}
				if i == 0 || d < least {
					least = d
				}
				most = max(most, d)
				seen[d] = true
			}
			if len(seen) < 150 || most-least < (tc.most-time.Minute)*9/10 {
				t.Errorf("%s\n%d different waits of 200, from %s to %s", tc.reason, len(seen), least, most)
			}
			if d := tc.of("uid", 0); d != 0 {
				t.Errorf("what was not asked for is waited for: %s", d)
			}
		})
	}
}

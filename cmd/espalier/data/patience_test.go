// SPDX-License-Identifier: Apache-2.0

package data

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"time"
)

// TestPatience: a server is waited for some minutes since something came, because a GPU waits
// too, whatever pauses it asks for; and it is asked twice.
func TestPatience(t *testing.T) {
	const s = time.Second
	for name, tc := range map[string]struct {
		reason string
		again  retryError
		took   time.Duration // each attempt
		more   int           // attempts that come further, after the first pause
		want   []time.Duration
		says   string
	}{
		"Away": {
			reason: "A server that is started anew is there in two minutes.",
			want:   []time.Duration{1 * s, 2 * s, 4 * s, 8 * s, 16 * s, 32 * s, 64 * s}, says: "giving up after 8 attempts that came no further",
		},
		"Busy": {
			reason: "Of the pauses that it asks for as many as end in time.", again: retryError{after: 2 * time.Minute},
			want: []time.Duration{120 * s, 120 * s}, says: "giving up after 3 attempts that came no further",
		},
		"Slow": {
			reason: "Attempts that take long themselves are fewer.", took: time.Minute,
			want: []time.Duration{1 * s, 2 * s, 4 * s, 8 * s}, says: "giving up after 5 attempts that came no further",
		},
		"VerySlow": {
			reason: "One that failed late is made once more.", took: time.Hour,
			want: []time.Duration{1 * s}, says: "giving up after 2 attempts that came no further",
		},
		"Further": {
			reason: "Bytes that come begin the time anew.", again: retryError{after: 2 * time.Minute}, more: 4,
			want: slices.Repeat([]time.Duration{120 * s}, 6), says: "giving up after 3 attempts that came no further",
		},
		"Denied": {
			reason: "Minutes of refusals are within it.", again: retryError{denied: true},
			want: []time.Duration{30 * s, 60 * s, 120 * s}, says: "4 times in a row",
		},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{}
			o.defaults()
			p := newPatience(o)
			tc.again.err = errors.New("the server answers 503")
			var waited []time.Duration
			var err error
			for err == nil {
				p.begun = p.begun.Add(-tc.took)
				if n := len(waited); n > 0 && n <= tc.more {
					p.further()
				}
				var pause time.Duration
				if pause, err = p.pause(&tc.again); err == nil {
					waited = append(waited, pause)
					p.begun = p.begun.Add(-pause)
				}
			}
			if !slices.Equal(waited, tc.want) || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\nwaited %v and ended with %v, want %v and %q", tc.reason, waited, err, tc.want, tc.says)
			}
		})
	}
}

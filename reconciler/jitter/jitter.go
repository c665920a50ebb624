// SPDX-License-Identifier: Apache-2.0

// Package jitter makes intervals longer or shorter at random, as Flux's controllers do by
// --interval-jitter-percentage: RepoSyncs of one interval that were applied together would
// ask a server all at once for ever.
//
// It is for intervals alone. What is due, what a server asks for, and the least time
// between two commits of a report are kept to.
package jitter

import (
	"math/rand/v2"
	"time"
)

// Percent is by how much an interval is made longer or shorter at most. 0 or less: by
// nothing.
type Percent int

// Spread is what was drawn for one interval. The zero value leaves it as it is.
type Spread float64

// Draw draws anew, for each interval that begins.
func (p Percent) Draw() Spread {
	if p <= 0 {
		return 0
	}
	return Spread(p) / 100 * Spread(2*rand.Float64()-1) //nolint:gosec // it keeps requests out of step and protects nothing
}

// Of is an interval as it was drawn.
func (s Spread) Of(interval time.Duration) time.Duration {
	return interval + time.Duration(float64(s)*float64(interval))
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"time"

	"golang.org/x/time/rate"
)

// What a RepoSync may write to its status branch, beside minInterval: so many
// commits in a burst, and one more each paceEvery. A push with all its phases is
// well within it; a Workspace that flaps is not, and must not fill a repository.
const (
	paceBurst = 60
	paceEvery = 2 * time.Minute
)

// pace says when the next commit of a report may be made. Its zero value has made
// none yet.
type pace struct {
	last  time.Time
	spare *rate.Limiter
}

// due is how long to wait from now, 0 or less where nothing is in the way.
func (p *pace) due(now time.Time, minInterval time.Duration) time.Duration {
	wait := p.last.Add(minInterval).Sub(now)
	if p.spare != nil {
		missing := 1 - p.spare.TokensAt(now)
		wait = max(wait, time.Duration(missing*float64(paceEvery)))
	}
	return wait
}

// made notes a commit.
func (p *pace) made(now time.Time) {
	if p.spare == nil {
		p.spare = rate.NewLimiter(rate.Every(paceEvery), paceBurst)
	}
	p.last = now
	p.spare.AllowN(now, 1)
}

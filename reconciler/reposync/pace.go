// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"time"

	"golang.org/x/time/rate"
)

// What a RepoSync may write to its status branch, beside minInterval: so many
// commits in a burst, and one more each paceEvery. A Workspace that flaps is held to
// that, and must not fill a repository. A push is not: whoever has pushed is told
// soon, whatever came before, and less often as it takes longer, so that a push adds
// about two dozen commits at most. As many pushes are told so as commits are made.
const (
	paceBurst = 60
	paceEvery = 2 * time.Minute
	// paceShare of the time since a push may pass between two commits of it.
	paceShare = 5
)

// pace says when the next commit of a report may be made. Its zero value has made
// none yet.
type pace struct {
	last  time.Time
	spare *rate.Limiter

	revision string // that was told last
	since    time.Time
	pushes   *rate.Limiter
}

// pushed notes the revision that is to be told.
func (p *pace) pushed(now time.Time, revision string) {
	if p.revision == revision {
		return
	}
	p.revision = revision
	if p.pushes == nil {
		p.pushes = newPace()
	}
	p.since = time.Time{} // long ago
	if p.pushes.AllowN(now, 1) {
		p.since = now
	}
}

// due is how long to wait from now, 0 or less where nothing is in the way.
func (p *pace) due(now time.Time, minInterval time.Duration) time.Duration {
	wait := p.last.Add(minInterval).Sub(now)
	if p.spare != nil {
		missing := 1 - p.spare.TokensAt(now)
		spare := time.Duration(missing * float64(paceEvery))
		push := p.last.Add(now.Sub(p.since) / paceShare).Sub(now)
		wait = max(wait, min(spare, push))
	}
	return wait
}

// made notes a commit.
func (p *pace) made(now time.Time) {
	if p.spare == nil {
		p.spare = newPace()
	}
	p.last = now
	p.spare.AllowN(now, 1)
}

func newPace() *rate.Limiter { return rate.NewLimiter(rate.Every(paceEvery), paceBurst) }

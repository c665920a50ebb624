// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"fmt"
	"testing"
	"time"
)

// spend makes a commit whenever one may be made, for so long, and returns how many.
func (p *pace) spend(now *time.Time, long, minInterval time.Duration) (commits int) {
	for end := now.Add(long); now.Before(end); *now = now.Add(time.Second) {
		if p.due(*now, minInterval) <= 0 {
			p.made(*now)
			commits++
		}
	}
	return commits
}

// TestPaceOfPush: whoever pushes is told soon, though a large rollout before has
// used up what may be written. A push of 1,000 Workspaces had done so, and a later
// one of a single Workspace was told after 121 s.
func TestPaceOfPush(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var p pace
	p.pushed(now, "main@sha1:1")
	p.spend(&now, 5*time.Minute, time.Second)
	for i := range 3 {
		p.pushed(now, fmt.Sprint("main@sha1:", 2+i))
		for range 3 { // that it was read, that pods start, that they answer
			if due := p.due(now, time.Second); due > 2*time.Second {
				t.Errorf("push %d is told in %s", i, due)
			} else {
				now = now.Add(max(due, 0))
			}
			p.made(now)
			now = now.Add(2 * time.Second)
		}
	}
	if got := p.spend(&now, time.Hour, time.Second); got > 30+25 {
		t.Errorf("%d commits in the hour after a push", got)
	}
}

// TestPaceOfManyPushes: what pushes all the time, as a repository that follows its own
// reports would, does not fill a repository either.
func TestPaceOfManyPushes(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	var p pace
	commits := 0
	for i := range 24 * 60 {
		p.pushed(now, fmt.Sprint(i))
		commits += p.spend(&now, time.Minute, 10*time.Second)
	}
	if most := 24*60*3 + 6*60; commits > most {
		t.Errorf("%d commits in a day of a push a minute, want at most %d", commits, most)
	}
}

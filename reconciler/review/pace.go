// SPDX-License-Identifier: Apache-2.0

package review

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// How often a forge is asked.
const (
	// lookEvery is the shortest time between two looks that somebody wants: webhooks
	// come in bursts, and our own comments bring some too.
	lookEvery = 5 * time.Second
	// Backoff of what has failed.
	retryFirst = 2 * time.Second
	retryMost  = 10 * time.Minute
)

// backoff is how long something that has failed is left alone.
type backoff struct {
	err   error
	tries int
	until time.Time
}

// after is the backoff after another failure: twice as long as the one before, or the
// interval where no try can help.
func (b backoff) after(err error, now time.Time, interval time.Duration) backoff {
	pause := interval
	if !fault.IsTerminal(err) {
		pause = min(retryFirst<<min(b.tries, 16), retryMost)
	}
	return backoff{err: err, tries: b.tries + 1, until: now.Add(pause)}
}

// trial is what may fail for one pull request. With another head, other settings or
// another question it is another trial.
type trial struct {
	number         int64
	hearing        bool // what people ask for, rather than answering
	head, settings string
	asked          int64
}

// trials are those of one look.
type trials struct {
	now      func() time.Time
	interval time.Duration
	before   map[trial]backoff // of the last look
	failed   map[trial]backoff // those that rest, with those that failed anew
	problems []error           // of the latter
}

// try does something, unless it has failed and its time has not come.
func (t *trials) try(at trial, do func() error) {
	was := t.before[at]
	if t.now().Before(was.until) {
		t.failed[at] = was
		return
	}
	if err := do(); err != nil {
		t.problems = append(t.problems, err)
		t.failed[at] = was.after(err, t.now(), t.interval)
	}
}

// troubles are all that has failed for pull requests and not come right, in order.
func (k *kept) troubles() error {
	var all []error
	for _, f := range k.failed {
		all = append(all, f.err)
	}
	slices.SortFunc(all, func(a, b error) int { return strings.Compare(a.Error(), b.Error()) })
	return errors.Join(all...)
}

// waits is how long no pass may be made. What happens in the cluster is no reason to
// ask a forge that was not well; a webhook and another spec are, unless the forge said
// when it wants to be asked.
func (r *Reconciler) waits(s *v1alpha1.RepoSync, k *kept) time.Duration {
	until := k.rest.until
	if r.wanted(s) && k.triedAt.Add(lookEvery).Before(until) {
		until = k.triedAt.Add(lookEvery)
	}
	if k.rests != s.Generation {
		until = time.Time{}
	}
	if until.Before(k.notBefore) {
		until = k.notBefore
	}
	return until.Sub(r.Clock())
}

// wanted says whether somebody wants the forge looked at.
func (r *Reconciler) wanted(s *v1alpha1.RepoSync) bool {
	_, asked := r.asked.Load(s.UID)
	return asked
}

// due says whether it is time to look at the forge.
func (r *Reconciler) due(s *v1alpha1.RepoSync, k *kept) bool {
	now := r.Clock()
	if k.generation == s.Generation && now.Before(r.next(s, k)) {
		return false
	}
	r.asked.Delete(s.UID)
	k.triedAt, k.lookedAt = now, time.Time{} // the question stands until it is answered
	return true
}

// next is when to look at the forge: after the interval, and before where somebody
// wants it, or where it is time to try again what failed.
func (r *Reconciler) next(s *v1alpha1.RepoSync, k *kept) time.Time {
	at := k.lookedAt.Add(k.interval(s))
	if soon := k.triedAt.Add(lookEvery); r.wanted(s) && soon.Before(at) {
		at = soon
	}
	for f := range maps.Values(k.failed) {
		if f.until.Before(at) {
			at = f.until
		}
	}
	return at
}

// leftAlone says whether a forge wants fewer requests, and for how long where it says
// that, among all that went wrong.
func leftAlone(err error) (is bool, after time.Duration) {
	if refused, ok := err.(*forge.Error); ok { //nolint:errorlint // each of a tree is looked at
		return refused.After > 0 || refused.Reason == forge.ReasonRateLimited, refused.After
	}
	var inner []error
	switch e := err.(type) { //nolint:errorlint // likewise
	case interface{ Unwrap() []error }:
		inner = e.Unwrap()
	case interface{ Unwrap() error }:
		inner = []error{e.Unwrap()}
	}
	for _, one := range inner {
		also, longer := leftAlone(one)
		is, after = is || also, max(after, longer)
	}
	return is, after
}

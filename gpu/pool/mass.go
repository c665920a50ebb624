// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The breaker of mass deletion: at most this many pools, or this share of all
// where that is more, are deleted within this time unasked.
const (
	massAtMost  = 2
	massPercent = 25
	massWindow  = 10 * time.Minute
)

// Doomed is a GPUNodePool that is being deleted.
type Doomed struct {
	At time.Time // since when
	// Explained deletions are no mistake in Git: the run that the nodes were for is
	// done, and its Workspace stays.
	Explained bool
}

// Fleet is what the breaker looks at: the pools of the cluster that nodes are
// bought for, how many they are, and those that are being deleted.
type Fleet struct {
	All    int
	Doomed []Doomed
}

// Mass is a deletion of many pools at once.
type Mass struct {
	Count int
	Last  time.Time // when the last of them was asked for
}

// MassOf counts the unexplained deletions around one of them, itself included;
// nil: too few to ask. It goes by when they were asked for and never by the
// clock, so that no hold ends by itself.
func (f Fleet) MassOf(one Doomed) *Mass {
	if one.Explained {
		return nil
	}
	m := Mass{}
	for _, d := range f.Doomed {
		if d.Explained || d.At.Sub(one.At).Abs() > massWindow {
			continue
		}
		m.Count++
		if d.At.After(m.Last) {
			m.Last = d.At
		}
	}
	if m.Count <= max(massAtMost, f.All*massPercent/100) {
		return nil
	}
	return &m
}

// Approved says whether an approval covers a deletion that was asked for at a
// time. What is asked for later needs another.
func Approved(value string, at time.Time) bool {
	until, err := time.Parse(time.RFC3339, value)
	return err == nil && !at.After(until)
}

// Held is what the decision to delete becomes while a person has not said that
// so many deletions are meant. m is nil where the others are gone already.
func Held(f Facts, d Decision, m *Mass, annotation string) Decision {
	d.Do, d.Wait = ActionNone, f.Idle // an annotation wakes it
	if m == nil {
		m = &Mass{Last: f.Pool.DeletionTimestamp.Time}
	}
	message := fmt.Sprintf("Many node pools are deleted at once, which is held: if it is meant, kubectl annotate --overwrite -A --all gpunodepools.espalier.dev %s=%s",
		annotation, m.Last.UTC().Format(time.RFC3339))
	return d.alarm(v1alpha1.ConditionDeletionBlocked, ReasonMassDeletion, message).say(ReasonMassDeletion, message)
}

// Unjudged is what a decision becomes where nobody came to ask whether the deletion is
// held: a hold that only its condition remembers goes on, and where nothing was seen,
// so does any.
func Unjudged(f Facts, d Decision, seen bool) Decision {
	for _, c := range f.Pool.Status.Conditions {
		kept := !seen || c.Reason == ReasonMassDeletion
		if c.Type == v1alpha1.ConditionDeletionBlocked && kept && f.Pool.DeletionTimestamp != nil {
			return d.alarm(c.Type, c.Reason, c.Message)
		}
	}
	return d
}

// WasHeld says whether the breaker held a pool before: only a person lets go.
func WasHeld(p *v1alpha1.GPUNodePool) bool {
	for _, c := range p.Status.Conditions {
		if c.Type == v1alpha1.ConditionDeletionBlocked && c.Reason == ReasonMassDeletion {
			return true
		}
	}
	return false
}

// SPDX-License-Identifier: Apache-2.0

package progress

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Pace of what is told on: transformers reports every five seconds.
const (
	// between is the least time between two that wake a Workspace: each is a write
	// of its status.
	between = 30 * time.Second
	// apart is the least time between two reports of a run that are looked at.
	apart = time.Second
	// forget is how long a run is remembered that says nothing any more. Its status
	// keeps what it said last.
	forget = 24 * time.Hour
	// waiting is the number of Workspaces that may wait to be looked at; beyond it
	// a Workspace is woken by its next report.
	waiting = 1024
)

// Run is a tuning Job, and the pod that speaks for it.
type Run struct {
	Workspace types.NamespacedName
	Job, Pod  types.UID
}

// Store keeps how far each run is, in memory: the status of its Workspace has it
// after a restart.
type Store struct {
	clock func() time.Time
	wake  chan event.TypedGenericEvent[*v1alpha1.Workspace]

	mu   sync.Mutex
	runs map[types.UID]*record // by Job
}

// NewStore returns an empty Store.
func NewStore(clock func() time.Time) *Store {
	return &Store{clock: clock, wake: make(chan event.TypedGenericEvent[*v1alpha1.Workspace], waiting), runs: map[types.UID]*record{}}
}

// Of is how far the run of a Job is; nil: it has said nothing to this process, or
// there is no Store.
func (s *Store) Of(job types.UID) *v1alpha1.TuningProgress {
	if s == nil {
		return nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if r := s.runs[job]; r != nil {
		return r.last.DeepCopy()
	}
	return nil
}

// Wakes yields Workspaces whose runs have gone on.
func (s *Store) Wakes() <-chan event.TypedGenericEvent[*v1alpha1.Workspace] { return s.wake }

// Put takes a report; false: the one before was a moment ago, and this one was not
// looked at.
func (s *Store) Put(run Run, report Report) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	now := s.clock()
	r := s.runs[run.Job]
	if r == nil {
		s.sweep(now)
		r = &record{}
		s.runs[run.Job] = r
	}
	ends := report.Percent != nil && *report.Percent == 100
	if now.Sub(r.last.At.Time) < apart && !ends {
		return false
	}
	r.take(run.Pod, report, now)
	if now.Sub(r.told) < between && !ends {
		return true
	}
	r.told = now
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: run.Workspace.Namespace, Name: run.Workspace.Name}}
	select {
	case s.wake <- event.TypedGenericEvent[*v1alpha1.Workspace]{Object: ws}:
	default:
	}
	return true
}

// sweep drops runs that say nothing any more.
func (s *Store) sweep(now time.Time) {
	for job, r := range s.runs {
		if now.Sub(r.last.At.Time) > forget {
			delete(s.runs, job)
		}
	}
}

// record is what one run has said.
type record struct {
	last v1alpha1.TuningProgress
	told time.Time // when its Workspace was woken

	pod      types.UID
	fromStep int64     // the first that this pod reported
	from     time.Time // and when
}

// take folds a report into what was said before: a report may leave out the loss
// of steps that were not logged.
func (r *record) take(pod types.UID, report Report, now time.Time) {
	if pod != r.pod {
		*r = record{told: r.told, last: r.last, pod: pod}
	}
	r.last.At = metav1.NewTime(now.Truncate(time.Second))
	// The first call of a pod says 0, whichever checkpoint it goes on from.
	begins := report.Step == nil && report.Percent != nil && *report.Percent == 0
	if report.Percent != nil && !begins {
		r.last.Percent = *report.Percent
	}
	if report.Steps != nil {
		r.last.Steps = *report.Steps
	}
	if report.Step != nil {
		if r.from.IsZero() {
			r.fromStep, r.from = *report.Step, now
		}
		r.last.Step = *report.Step
	}
	if report.Loss != "" {
		r.last.Loss = report.Loss
	}
	r.last.Remaining = r.remaining(report, now)
}

// remaining is how long the run still takes at the pace of this pod. What
// transformers reckons counts the steps of earlier pods as if this one had done
// them: after a resume it is far too little. Without steps its word is taken.
func (r *record) remaining(report Report, now time.Time) *metav1.Duration {
	took, done := now.Sub(r.from), r.last.Step-r.fromStep
	switch {
	case r.last.Percent == 100:
		return &metav1.Duration{}
	case report.Step == nil || r.last.Steps == 0:
		if report.Remaining == nil {
			return nil
		}
		return &metav1.Duration{Duration: *report.Remaining}
	case done <= 0 || took <= 0:
		return nil
	}
	left := max(0, r.last.Steps-r.last.Step)
	seconds := took.Seconds() / float64(done) * float64(left)
	return &metav1.Duration{Duration: time.Duration(min(seconds, remainingLimit)) * time.Second}
}

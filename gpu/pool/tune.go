// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"fmt"
	"slices"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// What of a pool is changed in place, and how its nodes are counted where the
// cloud's own autoscaler does that.

// tuneAfter is the pause between two changes in place: AKS lets a pool be written
// once a minute, and what it stores otherwise than it was written must not become
// a write with every look.
const tuneAfter = time.Minute

// autoscale is how far the cloud's autoscaler may go; nil: we count the nodes.
func (f Facts) autoscale() *v1alpha1.AKSAutoscale { return f.Pool.Spec.Autoscale() }

// bounds are the numbers of nodes that are left as they are. An autoscaler that is
// on counts alone; one that is to be turned off is, before anything is counted; one
// that is to be turned on gets a number within its bounds from us beforehand: which
// node goes is nothing to leave to a cloud that knows nothing of pods, and AKS turns
// none on in a write that changes the number too.
func (f Facts) bounds() (fewest, most int32) {
	a := f.autoscale()
	switch {
	case f.Seen.Autoscaled:
		return 0, f.Seen.Count
	case a != nil && !f.idling():
		return a.Min, a.Max
	}
	return f.wanted(), f.wanted()
}

// wantsPool says whether the cloud is to have a node pool at all: one that its
// autoscaler fills may be empty.
func (f Facts) wantsPool() bool { return f.wanted() > 0 || f.autoscale() != nil }

// mayTune says whether settings may be changed in place now: of nodes that were
// usable once, or that nobody orders until an autoscaler is off, between operations
// of the cloud.
func (f Facts) mayTune() bool {
	settled := f.Seen.State == StateSucceeded || f.mayRetry()
	used := f.wasReady() || f.Pool.Status.Phase == v1alpha1.PhaseIdle || f.Seen.Autoscaled && f.autoscale() == nil
	pause := tuneAfter
	if f.saidNo() != "" {
		pause = mendAfter
	}
	last := f.Pool.Status.Tuned
	return len(f.Seen.Behind) > 0 && settled && used && (last == nil || f.Now.Sub(last.Time) >= pause)
}

// saidNo is what the cloud said to the last change in place that this generation
// asks for; empty: it took it, or none was sent.
func (f Facts) saidNo() string {
	c := meta.FindStatusCondition(f.Pool.Status.Conditions, v1alpha1.ConditionDrifted)
	if c == nil || f.Pool.Generation != f.Pool.Status.ObservedGeneration {
		return ""
	}
	_, said, _ := strings.Cut(c.Message, notChanged)
	return said
}

// tuned notes when settings were sent: the next try is paced from here.
func (f Facts) tuned(d Decision) Decision {
	now := metav1.NewTime(f.Now.Truncate(time.Second))
	d.Tuned = &now
	return d
}

// refused says that settings could not be changed in place, and why.
func refused(f Facts, d Decision, why *Failure) Decision {
	if why.Class.KeepsCandidate() && why.Class != ClassUnknown {
		return d // waiting helps, and ClusterBusy and the like say so
	}
	return f.tuned(d).drifted(string(why.Class), notChanged+strings.Join(f.Seen.Behind, ", ")+": "+why.Sentence())
}

const notChanged = "These could not be changed: "

// drifted raises Drifted, or adds to what it says.
func (d Decision) drifted(reason, message string) Decision {
	at := slices.IndexFunc(d.Alarms, func(a Alarm) bool { return a.Type == v1alpha1.ConditionDrifted })
	if at < 0 {
		return d.alarm(v1alpha1.ConditionDrifted, reason, message)
	}
	if !strings.Contains(d.Alarms[at].Message, message) {
		d.Alarms[at].Message += ". " + message
	}
	return d
}

// stillRefused keeps what the cloud said to a change while the next try is not due.
func (f Facts) stillRefused(d Decision) Decision {
	if said := f.saidNo(); said != "" && len(f.Seen.Behind) > 0 && !f.mayTune() {
		c := meta.FindStatusCondition(f.Pool.Status.Conditions, v1alpha1.ConditionDrifted)
		return d.drifted(c.Reason, notChanged+said)
	}
	return d
}

// elsewhere says that the autoscaler's nodes cannot be had and those of another
// candidate may: the pool has none, so nothing runs on it.
func (f Facts) elsewhere(d Decision) bool {
	if f.autoscale() == nil || len(f.Nodes) > 0 || f.Seen.Failure == nil {
		return false
	}
	why := failureOf(f.Seen)
	if why.Class == ClassFailed || rules[why.Class].scope == scopePool {
		return false
	}
	skipped := skip(slices.Clone(d.Skipped), why, Candidate(d.Candidate), f.Pool.Spec.Candidates, f.Now, f.Catalog)
	return choose(f.Pool.Spec.Candidates, skipped, f.Now) >= 0
}

// nodes says how many nodes of a candidate are wanted.
func (f Facts) nodes(c v1alpha1.Candidate) string {
	if a := f.autoscale(); a != nil {
		return fmt.Sprintf("%d to %s", a.Min, plural(a.Max, size(c)+" node"))
	}
	return plural(f.wanted(), size(c)+" node")
}

// readyAutoscaled says what there is of a pool that the cloud's autoscaler fills:
// nodes on their way, and on their way out, are its business, and one that has had
// its time and cannot be used is a person's.
func readyAutoscaled(f Facts, d Decision) Decision {
	if d.Count.Stuck != "" {
		d = d.alarm(v1alpha1.ConditionDegraded, ReasonNodesMissing, fmt.Sprintf("%d of %s can be used: %s",
			d.Count.Usable, plural(bounded(int64(len(f.Nodes))), "node"), d.Count.Stuck))
	}
	there := "none is there now"
	if n := bounded(int64(len(f.Nodes))); n > 0 {
		there = fmt.Sprintf("%d %s there, with %s", n, are(n), plural(d.Count.Allocatable, "GPU"))
	}
	if !f.Seen.Autoscaled {
		return d.say(v1alpha1.ReasonSucceeded, fmt.Sprintf("The cluster autoscaler of AKS is yet to be turned on for %s: %s", f.nodes(Candidate(d.Candidate)), there))
	}
	return d.say(v1alpha1.ReasonSucceeded, fmt.Sprintf("The cluster autoscaler of AKS keeps %s, as pods need them: %s", f.nodes(Candidate(d.Candidate)), there))
}

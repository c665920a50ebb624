// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"slices"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// priority is the candidate's, with the API's default filled in.
func priority(c v1alpha1.Candidate) v1alpha1.Priority {
	if c.Priority == "" {
		return v1alpha1.OnDemand
	}
	return c.Priority
}

// Same says whether two candidates ask for the same machines.
func Same(a, b v1alpha1.Candidate) bool {
	return a.InstanceType == b.InstanceType && priority(a) == priority(b) && sameZones(a.Zones, b.Zones)
}

// madeOf says whether machines in the cloud are those of a candidate: in all of
// its zones, or in those that had the size.
func madeOf(c, found v1alpha1.Candidate) bool {
	some := found
	some.Zones = c.Zones
	inside := !slices.ContainsFunc(found.Zones, func(z string) bool { return !slices.Contains(c.Zones, z) })
	return Same(c, some) && inside && (len(c.Zones) == 0) == (len(found.Zones) == 0)
}

func sameZones(a, b []string) bool {
	return slices.Equal(slices.Sorted(slices.Values(a)), slices.Sorted(slices.Values(b)))
}

// choose returns the index of the first candidate that is not skipped at now;
// -1 if there is none.
func choose(candidates []v1alpha1.Candidate, skipped []v1alpha1.SkippedCandidate, now time.Time) int {
	return slices.IndexFunc(candidates, func(c v1alpha1.Candidate) bool {
		return !slices.ContainsFunc(skipped, func(s v1alpha1.SkippedCandidate) bool {
			return matches(s, c) && now.Before(s.Until.Time)
		})
	})
}

func matches(s v1alpha1.SkippedCandidate, c v1alpha1.Candidate) bool {
	return Same(c, v1alpha1.Candidate{InstanceType: s.InstanceType, Priority: s.Priority, Zones: s.Zones})
}

// current drops the entries that are over, those of candidates that the spec no
// longer has, and, when the spec is new, those that only said that it was wrong,
// or that the candidate cannot be what it asks for: what still holds is said again.
// What was ruled out in some zones is so in fewer of them.
func current(skipped []v1alpha1.SkippedCandidate, candidates []v1alpha1.Candidate, now time.Time, newSpec bool) []v1alpha1.SkippedCandidate {
	var kept []v1alpha1.SkippedCandidate
	for _, s := range skipped {
		over := !now.Before(s.Until.Time) || newSpec && (Class(s.Class) == ClassSpec || Class(s.Class) == ClassCandidate)
		at := slices.IndexFunc(candidates, func(c v1alpha1.Candidate) bool { return matches(s, c) })
		if at < 0 {
			at = slices.IndexFunc(candidates, func(c v1alpha1.Candidate) bool { return narrowed(s, c) })
		}
		if at >= 0 && !over {
			s.Zones = candidates[at].Zones
			kept = append(kept, s)
		}
	}
	return kept
}

// narrowed says whether a candidate is that of an entry, in fewer zones.
func narrowed(s v1alpha1.SkippedCandidate, c v1alpha1.Candidate) bool {
	return madeOf(v1alpha1.Candidate{InstanceType: s.InstanceType, Priority: s.Priority, Zones: s.Zones}, c)
}

// skip adds what a failure of candidate tried rules out.
func skip(skipped []v1alpha1.SkippedCandidate, f *Failure, tried v1alpha1.Candidate, candidates []v1alpha1.Candidate, now time.Time, catalog Catalog) []v1alpha1.SkippedCandidate {
	for _, c := range candidates {
		if !rulesOut(f.Class, tried, c, catalog) {
			continue
		}
		entry := v1alpha1.SkippedCandidate{
			InstanceType: c.InstanceType,
			Priority:     priority(c),
			Zones:        c.Zones,
			Class:        string(f.Class),
			Until:        metav1.NewTime(now.Add(f.Rest(c)).Truncate(time.Second)),
			Message:      f.Sentence(),
		}
		at := slices.IndexFunc(skipped, func(s v1alpha1.SkippedCandidate) bool { return matches(s, c) })
		if at < 0 {
			skipped = append(skipped, entry)
		} else if skipped[at].Until.Before(&entry.Until) {
			skipped[at] = entry
		}
	}
	return skipped
}

// rulesOut says whether a failure of one candidate rules out another.
func rulesOut(class Class, tried, other v1alpha1.Candidate, catalog Catalog) bool {
	size := tried.InstanceType == other.InstanceType
	prio := priority(tried) == priority(other)
	// A spot allocation that failed says nothing of on demand, but not the reverse.
	machines := size && (prio || priority(tried) == v1alpha1.OnDemand)
	return map[scope]bool{
		scopePool:        true,
		scopeCandidate:   size && prio,
		scopeSize:        size,
		scopeCapacity:    machines,
		scopeZones:       machines && sameZones(tried.Zones, other.Zones),
		scopeFamily:      prio && (size || sameFamily(tried.InstanceType, other.InstanceType, catalog)),
		scopeAllPriority: prio,
	}[rules[class].scope]
}

func sameFamily(a, b string, catalog Catalog) bool {
	x, okX := catalog(a)
	y, okY := catalog(b)
	return okX && okY && x.Family != "" && x.Family == y.Family
}

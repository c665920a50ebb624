// SPDX-License-Identifier: Apache-2.0

package shard

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func labelled(key string) *v1alpha1.RepoSync {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "models", Generation: 1}}
	if key != "" {
		s.Labels = map[string]string{Label: key}
	}
	return s
}

func TestShard(t *testing.T) {
	for name, c := range map[string]struct {
		reason   string
		selector string
		has      []string // values of the label, "" for none
		hasNot   []string
		lease    string
	}{
		"All":   {"Without a selector nothing is divided, and the Lease keeps its name.", "", []string{"", "one", "two"}, nil, "controller.espalier.dev"},
		"One":   {"Flux's own form.", Label + "=one", []string{"one"}, []string{"", "two"}, ""},
		"Rest":  {"What has no label is somebody's too.", "!" + Label, []string{""}, []string{"one", "two"}, ""},
		"Other": {"Several in one.", Label + " in (one,two)", []string{"one", "two"}, []string{""}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := Parse(c.selector)
			if err != nil {
				t.Fatal(err)
			}
			for _, key := range c.has {
				if !s.Has(labelled(key)) {
					t.Errorf("%s Not in it: %q", c.reason, key)
				}
			}
			for _, key := range c.hasNot {
				if s.Has(labelled(key)) {
					t.Errorf("%s In it: %q", c.reason, key)
				}
			}
			if got := s.Lease("controller.espalier.dev"); c.selector == "" && got != c.lease || !strings.HasPrefix(got, "controller.espalier.dev") {
				t.Errorf("%s Its Lease is %s", c.reason, got)
			}
		})
	}
	if _, err := Parse("a in"); err == nil || !strings.Contains(err.Error(), `"a in" is no label selector`) {
		t.Errorf("got %v", err)
	}
}

// TestLease: two shards have two Leases, and a selector that is written in another way
// has the same.
func TestLease(t *testing.T) {
	lease := func(selector string) string {
		t.Helper()
		s, err := Parse(selector)
		if err != nil {
			t.Fatal(err)
		}
		return s.Lease("controller.espalier.dev")
	}
	if lease(Label+"=one") == lease(Label+"=two") || lease(Label+"=one") == lease("") {
		t.Error("two shards would wait for each other")
	}
	if lease(Label+"=one") != lease(Label+" = one") {
		t.Error("two replicas would both act")
	}
}

// TestPredicate: an object that comes into the shard is asked for, one that goes is not,
// and is let go of once.
func TestPredicate(t *testing.T) {
	s, err := Parse(Label + "=one")
	if err != nil {
		t.Fatal(err)
	}
	p := s.Predicate(predicate.GenerationChangedPredicate{})
	newer := labelled("one")
	newer.Generation = 2
	for name, c := range map[string]struct {
		reason  string
		was, is *v1alpha1.RepoSync
		passes  bool
		left    bool
	}{
		"Comes":    {reason: "Its label says so from now on.", was: labelled("two"), is: labelled("one"), passes: true},
		"Goes":     {reason: "Another acts from now on.", was: labelled("one"), is: labelled("two"), left: true},
		"Changes":  {reason: "It is of the shard.", was: labelled("one"), is: newer, passes: true},
		"Same":     {reason: "Nothing has changed that matters.", was: labelled("one"), is: labelled("one")},
		"Stranger": {reason: "It is another's.", was: labelled("two"), is: labelled("two")},
	} {
		t.Run(name, func(t *testing.T) {
			if got := p.Update(event.UpdateEvent{ObjectOld: c.was, ObjectNew: c.is}); got != c.passes {
				t.Errorf("%s Got %v", c.reason, got)
			}
			if got := s.Left().Update(event.UpdateEvent{ObjectOld: c.was, ObjectNew: c.is}); got != c.left {
				t.Errorf("%s Has it left: got %v", c.reason, got)
			}
		})
	}
	for _, part := range []*Shard{s, nil} {
		if left := part.Left(); left.Create(event.CreateEvent{Object: labelled("two")}) || left.Delete(event.DeleteEvent{Object: labelled("one")}) ||
			left.Generic(event.GenericEvent{Object: labelled("two")}) || part == nil && left.Update(event.UpdateEvent{ObjectOld: labelled("one"), ObjectNew: labelled("two")}) {
			t.Error("what comes, ends or is everybody's leaves nothing")
		}
	}
}

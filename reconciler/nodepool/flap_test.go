// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// TestHoldOutlivesUnseen: a pass that could not look has judged nothing, so that a
// hold which only the condition remembers does not end by it.
func TestHoldOutlivesUnseen(t *testing.T) {
	faults := map[string]fakearm.Fault{"Throttled": fakearm.Throttled(0), "Down": {Status: 503, Code: "ServiceUnavailable", Message: "later"}}
	for name, fault := range faults {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			names := []string{"p0", "p1", "p2"}
			w.owned(names...)
			w.deleteAll(names...)
			held := func(n string) bool {
				return w.get(n) != nil && w.condition(n, v1alpha1.ConditionDeletionBlocked).Reason == pool.ReasonMassDeletion
			}
			w.drive(&life{}, names, func() bool { return held("p0") && held("p1") && held("p2") })
			w.change("p0", suspended)
			w.drive(&life{}, names, func() bool { return w.get("p0") == nil })
			r, _ := w.controller(&life{})
			for _, n := range names[1:] {
				w.arm.Advance(r.Deps.IdleInterval)
				w.arm.FailNext("LIST", fault)
				_, _ = r.Reconcile(w.ctx, request(n)) // an error only asks for the next
				if c := w.condition(n, v1alpha1.ConditionReady); c.Reason == pool.ReasonMassDeletion {
					t.Fatalf("the look of %s did not fail", n)
				}
				if !held(n) {
					t.Errorf("%s is not held any more: %+v", n, w.get(n).Status.Conditions)
				}
			}
			for range 5 {
				w.arm.Advance(r.Deps.IdleInterval)
				for _, n := range names[1:] {
					w.once(r, n)
				}
			}
			if n := len(w.arm.Pools()); n != 2 || !held("p1") || !held("p2") {
				t.Errorf("%d of 2 pools are left, and nobody has approved", n)
			}
		})
	}
}

// TestHoldIsSaidOnce: a hold that goes on while looks fail now and then is one event.
func TestHoldIsSaidOnce(t *testing.T) {
	w := newWorld(t)
	w.owned(subject)
	pod := w.podOn(w.nodes()[0], "own")
	pod.Labels = map[string]string{repolayout.LabelWorkspace: subject}
	if err := w.kube.Update(w.ctx, pod); err != nil {
		t.Fatal(err)
	}
	w.deleteAll(subject)
	recorder := events.NewFakeRecorder(100)
	r, _ := w.controller(&life{})
	r.Deps.Events = recorder
	for i := range 40 {
		if i%4 == 3 {
			w.arm.FailNext("LIST", fakearm.Throttled(0))
		}
		w.arm.Advance(r.Deps.PollInterval)
		_, _ = r.Reconcile(w.ctx, request(subject))
	}
	w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonInUse, "team-a/own")
	close(recorder.Events)
	said := 0
	for e := range recorder.Events {
		if strings.HasPrefix(e, "Warning "+pool.ReasonInUse) {
			said++
		}
	}
	if said != 1 {
		t.Errorf("said %d times", said)
	}
}

// request asks for a pass of a pool.
func request(name string) ctrl.Request {
	return ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: name}}
}

// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// owned makes a Workspace and a pool of its own that is Ready, of each name.
func (w *world) owned(names ...string) {
	w.t.Helper()
	yes := true
	for _, name := range names {
		ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: name, UID: types.UID("ws-" + name), Finalizers: []string{repolayout.Finalizer}}}
		w.create(ws)
		p := gpuPool(name, t4)
		p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: name, UID: ws.UID, Controller: &yes}}
		w.create(p)
	}
	w.drive(&life{}, names, func() bool { return !slices.ContainsFunc(names, func(n string) bool { return !w.ready(n)() }) })
}

// change changes a Workspace, whose status is no subresource here.
func (w *world) change(name string, how func(*v1alpha1.Workspace)) {
	w.t.Helper()
	ws := &v1alpha1.Workspace{}
	if err := w.kube.Get(w.ctx, types.NamespacedName{Namespace: "team-a", Name: name}, ws); err != nil {
		w.t.Fatal(err)
	}
	how(ws)
	if err := w.kube.Update(w.ctx, ws); err != nil {
		w.t.Fatal(err)
	}
}

// deleteAll deletes pools as kubectl delete does.
func (w *world) deleteAll(names ...string) {
	w.t.Helper()
	for _, n := range names {
		if err := w.kube.Delete(w.ctx, w.get(n)); err != nil {
			w.t.Fatal(err)
		}
	}
}

// givenBack marks a pool as its Workspace does that lets go of it.
func (w *world) givenBack(name string) {
	w.t.Helper()
	p := w.get(name)
	metav1.SetMetaDataAnnotation(&p.ObjectMeta, repolayout.AnnotationGivenBack, string(p.UID))
	if err := w.kube.Update(w.ctx, p); err != nil {
		w.t.Fatal(err)
	}
}

func suspended(ws *v1alpha1.Workspace) { ws.Spec.Suspend = true }

func doneRun(ws *v1alpha1.Workspace) {
	ws.Spec.Tuning = &v1alpha1.TuningSpec{}
	condition.True(ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonSucceeded, "")
}

// TestDeletedAtWork: nodes that their own Workspace works on are not taken away by
// hand, and go as soon as it lets them go.
func TestDeletedAtWork(t *testing.T) {
	cases := map[string]struct {
		reason string
		before func(*world)
		held   bool
		after  func(*world) // what lets the nodes go
	}{
		"Serves": {
			reason: "The pods of a service would lose their nodes, until a person suspends it.",
			before: func(*world) {}, held: true,
			after: func(w *world) { w.change(subject, suspended) },
		},
		"Deleted": {
			reason: "A Workspace that goes takes its pods along.",
			before: func(*world) {}, held: true,
			after: func(w *world) {
				ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: subject}}
				if err := w.kube.Delete(w.ctx, ws); err != nil {
					t.Fatal(err)
				}
			},
		},
		"GivenBack": {
			reason: "The controller of the Workspace says so, whatever its status has come to say.",
			before: func(*world) {}, held: true,
			after: func(w *world) { w.givenBack(subject) },
		},
		"PodsGone": {
			reason: "Without a pod nothing is lost: the Workspace buys other nodes.",
			before: func(*world) {}, held: true,
			after: func(w *world) {
				if err := w.kube.Delete(w.ctx, w.podOf(subject)); err != nil {
					t.Fatal(err)
				}
			},
		},
		"NobodyEndsThem": {
			reason: "The node is dead: its kubelet does not tell that the pod has ended, which should have long ago.",
			before: func(*world) {}, held: true,
			after: func(w *world) {
				pod := w.podOf(subject)
				pod.SetFinalizers([]string{"example.com/kubelet"})
				if err := w.kube.Update(w.ctx, pod); err != nil {
					t.Fatal(err)
				}
				if err := w.kube.Delete(w.ctx, pod); err != nil {
					t.Fatal(err)
				}
				w.arm.Advance(w.podOf(subject).GetDeletionTimestamp().Add(time.Minute).Sub(w.arm.Now()))
				r, _ := w.controller(&life{})
				w.once(r, subject)
				if !w.blocked(pool.ReasonInUse)() {
					t.Fatal("a pod that ends late is not waited for")
				}
				w.arm.Advance(5 * time.Minute)
			},
		},
		"Forced": {
			reason: "A person has said that the pods do not matter.",
			before: func(*world) {}, held: true,
			after: func(w *world) {
				p := w.get(subject)
				metav1.SetMetaDataAnnotation(&p.ObjectMeta, repolayout.AnnotationForceDelete, string(p.UID))
				if err := w.kube.Update(w.ctx, p); err != nil {
					t.Fatal(err)
				}
			},
		},
		"Suspended": {reason: "Its pods are on their way out.", before: func(w *world) { w.change(subject, suspended) }},
		"Done":      {reason: "What is left of a run writes its last lines.", before: func(w *world) { w.change(subject, doneRun) }},
		"Moved": {
			reason: "It is the pool that the Workspace has left.",
			before: func(w *world) {
				w.change(subject, func(ws *v1alpha1.Workspace) { ws.Spec.Resource.NodePool = "shared" })
			},
		},
		"GoesOnAfterwards": {
			reason: "It was suspended, gave its nodes back and is to go on: it waits for other nodes, and those go.",
			before: func(w *world) { w.givenBack(subject) },
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.owned(subject)
			pod := w.podOn(w.nodes()[0], "own")
			pod.Labels = map[string]string{repolayout.LabelWorkspace: subject}
			if err := w.kube.Update(w.ctx, pod); err != nil {
				t.Fatal(err)
			}
			tc.before(w)
			w.deleteAll(subject)
			if tc.held {
				w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonInUse))
				w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonInUse, "Workspace team-a/p uses them: pods team-a/own run there; suspend or delete")
				w.arm.Advance(100 * time.Hour)
				r, _ := w.controller(&life{})
				w.once(r, subject)
				if w.arm.Counts()["DELETE"] != 0 {
					t.Fatalf("%s\ntime let the nodes go", tc.reason)
				}
				tc.after(w)
			}
			w.drive(&life{}, []string{subject}, func() bool { return w.get(subject) == nil })
			if left := w.arm.Pools(); len(left) != 0 {
				t.Errorf("%s\nleft %+v", tc.reason, left)
			}
		})
	}
}

// TestForeignBesideOwn: only the pods that are not the Workspace's are said to be not,
// and when they have gone, its own are said.
func TestForeignBesideOwn(t *testing.T) {
	w := newWorld(t)
	w.owned(subject)
	pod := w.podOn(w.nodes()[0], "own")
	pod.Labels = map[string]string{repolayout.LabelWorkspace: subject}
	if err := w.kube.Update(w.ctx, pod); err != nil {
		t.Fatal(err)
	}
	stranger := w.podOn(w.nodes()[0], "stranger")
	w.deleteAll(subject)
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonForeignPods))
	w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonForeignPods, ": team-a/stranger; move them")
	if err := w.kube.Delete(w.ctx, stranger); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonInUse))
	w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonInUse, "pods team-a/own run there")
}

// TestUninstall: Workspaces that go themselves explain nothing, so that taking Espalier
// out of a cluster of three pools needs the approval that docs/install.md has.
func TestUninstall(t *testing.T) {
	w := newWorld(t)
	names := []string{"p0", "p1", "p2"}
	w.owned(names...)
	for _, n := range names {
		if err := w.kube.Delete(w.ctx, &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: n}}); err != nil {
			t.Fatal(err)
		}
	}
	w.deleteAll(names...)
	held := func(n string) bool {
		return w.condition(n, v1alpha1.ConditionDeletionBlocked).Reason == pool.ReasonMassDeletion
	}
	w.drive(&life{}, names, func() bool { return held("p0") && held("p1") && held("p2") })
	var latest time.Time
	for _, n := range names {
		if at := w.get(n).DeletionTimestamp.Time; at.After(latest) {
			latest = at
		}
	}
	for _, n := range names {
		p := w.get(n)
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, repolayout.AnnotationApproveDeletion, latest.UTC().Format("2006-01-02T15:04:05Z")) // as date -u writes it
		if err := w.kube.Update(w.ctx, p); err != nil {
			t.Fatal(err)
		}
	}
	w.drive(&life{}, names, func() bool { return len(w.arm.Pools()) == 0 })
}

// podOf reads the pod that the Workspace of a name has.
func (w *world) podOf(name string) client.Object {
	w.t.Helper()
	pods := &corev1.PodList{}
	if err := w.kube.List(w.ctx, pods, client.MatchingLabels{repolayout.LabelWorkspace: name}); err != nil || len(pods.Items) != 1 {
		w.t.Fatalf("%d pods: %v", len(pods.Items), err)
	}
	return &pods.Items[0]
}

// TestMassDeletionOfDoneRuns: runs that are done, and Workspaces that are suspended,
// give their nodes back, however many there are.
func TestMassDeletionOfDoneRuns(t *testing.T) {
	w := newWorld(t)
	names := []string{"p0", "p1", "p2", "p3"}
	w.owned(names...)
	w.change("p0", doneRun)
	w.change("p1", suspended)
	w.change("p2", suspended)
	w.deleteAll(names...)
	w.givenBack("p3")
	w.drive(&life{}, names, func() bool { return len(w.arm.Pools()) == 0 })
}

// TestMassDeletionByHand: kubectl delete --all takes the nodes of Workspaces too that
// have no pod on them yet, and is held for a person, or until they let go.
func TestMassDeletionByHand(t *testing.T) {
	w := newWorld(t)
	var names []string
	for i := range 5 {
		names = append(names, fmt.Sprintf("p%d", i))
	}
	w.owned(names...)
	w.change("p4", doneRun)
	w.deleteAll(names...)
	held := func(n string) bool {
		return w.get(n) != nil && w.condition(n, v1alpha1.ConditionDeletionBlocked).Reason == pool.ReasonMassDeletion
	}
	w.drive(&life{}, names, func() bool { return held("p0") && held("p1") && held("p2") && held("p3") && w.get("p4") == nil })
	w.arm.Advance(100 * time.Hour)
	if n := len(w.arm.Pools()); n != 4 {
		t.Fatalf("%d of 4 pools are there", n)
	}
	w.change("p0", suspended)
	w.drive(&life{}, names, func() bool { return w.get("p0") == nil })
	if n := len(w.arm.Pools()); n != 3 || !held("p1") {
		t.Errorf("%d of 3 pools are there", n)
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"net/http"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

func TestForeignPodsBlock(t *testing.T) {
	w := newWorld(t)
	yes := true
	p := gpuPool("p", t4)
	p.OwnerReferences = []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "ws", UID: "ws", Controller: &yes}}
	w.create(p)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	own := w.pod("own", map[string]string{repolayout.LabelWorkspace: "ws"})
	stranger := w.pod("stranger", nil)
	w.delete()
	w.drive(&life{}, []string{"p"}, func() bool {
		return w.condition("p", v1alpha1.ConditionDeletionBlocked).Status == metav1.ConditionTrue
	})
	w.want(v1alpha1.ConditionDeletionBlocked, metav1.ConditionTrue, pool.ReasonForeignPods, "team-a/"+stranger.Name+";")
	if c := w.condition("p", v1alpha1.ConditionDeletionBlocked); strings.Contains(c.Message, own.Name) {
		t.Errorf("the Workspace's own pod blocks: %s", c.Message)
	}
	r, _ := w.controller(&life{})
	w.arm.Advance(100 * time.Hour)
	w.once(r, "p")
	if w.arm.Counts()["DELETE"] != 0 {
		t.Error("time turned a block into a delete")
	}
	if err := w.kube.Delete(w.ctx, stranger); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{"p"}, w.gone())
	if len(w.arm.Pools()) != 0 {
		t.Errorf("left in the cloud: %+v", w.arm.Pools())
	}
}

// TestDroppedAndListedAgain: a commit drops the candidate in use, and is reverted while the
// pods of others keep its nodes: they stay, and no longer go when those pods do.
func TestDroppedAndListedAgain(t *testing.T) {
	w := readyWorld(t, 1)
	node := w.nodes()[0]
	stranger := w.podOn(node, "busy")
	candidates := w.get(subject).Spec.Candidates
	w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = gpuPool(subject, a100).Spec.Candidates })
	w.drive(&life{}, []string{subject}, w.blocked(pool.ReasonForeignPods))
	w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = candidates })
	if err := w.kube.Delete(w.ctx, stranger); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{subject}, w.ready(subject))
	w.want(v1alpha1.ConditionDeletionBlocked, "", "", "")
	if n := w.node(node); n == nil || n.Spec.Unschedulable || w.arm.Counts()["DELETE"] != 0 {
		t.Errorf("%d DELETEs, node %+v; want it kept and not cordoned", w.arm.Counts()["DELETE"], n)
	}
}

func TestOwnershipLost(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	name := w.get("p").Status.PoolName
	w.arm.SetTag(name, aks.TagInstallation, "installation-2")
	w.delete()
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseLost))
	w.want(v1alpha1.ConditionOwnershipLost, metav1.ConditionTrue, string(pool.ClassOwnership), aks.TagInstallation)
	w.want(v1alpha1.ConditionStalled, metav1.ConditionTrue, string(pool.ClassOwnership), "deletionPolicy")
	if w.arm.Counts()["DELETE"] != 0 {
		t.Fatal("a pool of another installation was deleted")
	}
	w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.DeletionPolicy = v1alpha1.Orphan })
	w.drive(&life{}, []string{"p"}, w.gone())
	if len(w.arm.Pools()) != 1 {
		t.Error("letting the object go took the pool away")
	}
}

// TestOwnershipGivenBack: a person takes the mark of a Ready pool away and puts it back, which
// AKS is still at when the controller looks next: it looks by itself, and keeps the nodes.
func TestOwnershipGivenBack(t *testing.T) {
	w := newWorld(t)
	w.owned(subject)
	w.arm.Advance(24 * time.Hour)
	name := w.get(subject).Status.PoolName
	w.arm.SetTag(name, aks.TagInstallation, "installation-2")
	r, _ := w.controller(&life{})
	if res := w.once(r, subject); !w.phase(v1alpha1.PhaseLost)() || res.RequeueAfter != defaultIdle {
		t.Errorf("phase %s, looks again after %s; want %s after %s", w.get(subject).Status.Phase, res.RequeueAfter, v1alpha1.PhaseLost, defaultIdle)
	}
	w.arm.SetTag(name, aks.TagInstallation, installation)
	w.arm.SetState(name, "Updating")
	for range 3 {
		w.arm.Advance(defaultIdle)
		w.once(r, subject)
	}
	if st, n := w.get(subject).Status, w.arm.Counts()["DELETE"]; st.Phase != v1alpha1.PhaseReady || n != 0 {
		t.Errorf("phase %s, %d DELETEs; want %s and none", st.Phase, n, v1alpha1.PhaseReady)
	}
}

// TestETagRace: the pool changes between the look and the delete.
func TestETagRace(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	w.delete()
	w.arm.FailNext("DELETE", fakearm.Fault{Status: http.StatusPreconditionFailed, Code: "PreconditionFailed", Message: "changed"})
	w.drive(&life{}, []string{"p"}, w.gone())
	if n := w.arm.Counts()["DELETE"]; n != 2 || len(w.arm.Pools()) != 0 {
		t.Errorf("%d DELETEs, left %+v", n, w.arm.Pools())
	}
}

// TestEviction: a spot pool that lost every node and gets none back moves on; one
// whose nodes merely fail is kept.
func TestEviction(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4+"/spot", a100))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	w.arm.Refuse(t4, fakearm.SKUNotAvailable(t4))
	w.arm.Evict(w.get("p").Status.PoolName)
	w.drive(&life{}, []string{"p"}, func() bool {
		return w.condition("p", v1alpha1.ConditionDegraded).Status == metav1.ConditionTrue
	})
	w.want(v1alpha1.ConditionReady, metav1.ConditionFalse, pool.ReasonNodesMissing, "0 of 1")
	w.drive(&life{}, []string{"p"}, func() bool { return w.ready("p")() && w.get("p").Status.Candidate.Attempt == 2 })
	if c := w.get("p").Status.Candidate; c.Priority != v1alpha1.OnDemand {
		t.Errorf("moved on to %+v", c)
	}
}

// TestMend: of two spot nodes one is evicted. AKS does not replace it by itself:
// the same number is ordered once more, and the node that is left is kept.
func TestMend(t *testing.T) {
	w := newWorld(t)
	p := gpuPool("p", t4+"/spot")
	scaledTo(2)(p)
	w.create(p)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	kept := w.nodes()[0]
	w.arm.Evict(w.get("p").Status.PoolName)
	w.drive(&life{}, []string{"p"}, func() bool { return w.condition("p", v1alpha1.ConditionDegraded).Status == metav1.ConditionTrue })
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if st := w.get("p").Status; st.Candidate.Attempt != 1 || st.ReadyNodes != 2 || w.node(kept) == nil {
		t.Errorf("status %+v, nodes %v", st, w.nodes())
	}
	if n := w.arm.Counts()["PUT"]; n != 2 {
		t.Errorf("%d PUTs, want the create and one more", n)
	}
}

// TestVanished: a person deletes our pool; it is declared, so it comes back.
func TestVanished(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("p", t4))
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	w.arm.Remove(w.get("p").Status.PoolName)
	w.drive(&life{}, []string{"p"}, func() bool { return w.ready("p")() && w.get("p").Status.Candidate.Attempt == 2 })
	if n := len(w.arm.Pools()); n != 1 {
		t.Errorf("%d pools", n)
	}
}

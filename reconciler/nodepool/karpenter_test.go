// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// orchardPoints is the least number of points that the enumeration must reach.
const orchardPoints = 220

func replicas(n int32) func(*v1alpha1.GPUNodePool) {
	return func(p *v1alpha1.GPUNodePool) { p.Spec.Replicas = &n }
}

// orchardScenario is a story of one pool: prepare runs unharmed, then the
// controller is killed at every write of the rest.
type orchardScenario struct {
	reason  string
	classes []v1alpha1.NodeClassReference
	prepare func(*orchard)
	until   func(*orchard) bool // nil: whole
	want    string              // instance type of the NodeClaims at the end
	nodes   int
}

var orchardScenarios = map[string]orchardScenario{
	"Create": {
		reason: "Two nodes are two NodeClaims in one NodePool, whenever the process dies.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) { w.plant(replicas(2), t4) }, want: t4, nodes: 2,
	},
	"OwnClass": {
		reason:  "On AKS, without a class of the installation's, the pool makes its own.",
		prepare: func(w *orchard) { w.plant(nil, t4) }, want: t4, nodes: 1,
	},
	"Standalone": {
		reason: "gpu-provisioner knows no NodePools.", classes: []v1alpha1.NodeClassReference{kait},
		prepare: func(w *orchard) { w.plant(replicas(2), t4) }, want: t4, nodes: 2,
	},
	"Failover": {
		reason: "What is sold out is told by an Event of a NodeClaim that is gone, a quota by a condition.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.soldOut[a100], w.refused[h100] = true, "VcpuLimitExceeded: your current vCPU limit of 0"
			w.plant(replicas(2), a100, h100, t4)
		},
		want: t4, nodes: 2,
	},
	"Grow": {
		reason: "A changed count is more NodeClaims of the same attempt.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(nil, t4)
			w.drive(&life{}, w.whole)
			w.edit(replicas(3))
		},
		want: t4, nodes: 3,
	},
	"Shrink": {
		reason: "The last go first, and nothing of them stays.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(replicas(3), t4)
			w.drive(&life{}, w.whole)
			w.edit(replicas(1))
		},
		want: t4, nodes: 1,
	},
	"Replace": {
		reason: "A candidate that the spec no longer lists is deleted before its successor is ordered.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(nil, t4)
			w.drive(&life{}, w.whole)
			w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates[0].InstanceType = a100 })
		},
		want: a100, nodes: 1,
	},
	"Evicted": {
		reason: "A spot node that is taken away is ordered again.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(replicas(2), t4+"/spot")
			w.drive(&life{}, w.whole)
			claims := w.list(claimKind)
			w.must(w.kube.Delete(w.t.Context(), &claims[1]))
		},
		want: t4, nodes: 2,
	},
	"NodeLost": {
		reason: "The NodeClaim of a node that does not answer is deleted, and another one ordered.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(replicas(2), t4)
			w.drive(&life{}, w.whole)
			w.silence("node-" + w.live()[0])
			w.now = w.now.Add(lostAfter - time.Minute)
		},
		until: func(w *orchard) bool { return w.whole() && w.answers() && len(w.get().Status.Removing) == 0 },
		want:  t4, nodes: 2,
	},
	"NodeLostStandalone": {
		reason: "So is that of gpu-provisioner.", classes: []v1alpha1.NodeClassReference{kait},
		prepare: func(w *orchard) {
			w.plant(nil, t4)
			w.drive(&life{}, w.whole)
			w.silence("node-" + w.live()[0])
			w.now = w.now.Add(lostAfter - time.Minute)
		},
		until: func(w *orchard) bool { return w.whole() && w.answers() && len(w.get().Status.Removing) == 0 },
		want:  t4, nodes: 1,
	},
	"StatusLost": {
		reason: "A restored object has no status: its NodeClaims carry its marks and are found again.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(replicas(2), t4)
			w.drive(&life{}, w.whole)
			p := w.get()
			p.Status = v1alpha1.GPUNodePoolStatus{ObservedGeneration: -1}
			w.must(w.kube.Status().Update(w.t.Context(), p))
		},
		want: t4, nodes: 2,
	},
	"Delete": {
		reason: "The object goes only when its NodeClaims, its NodePool and its class are gone.",
		prepare: func(w *orchard) {
			w.plant(replicas(2), t4)
			w.drive(&life{}, w.whole)
			w.must(w.kube.Delete(w.t.Context(), w.get()))
		},
		until: (*orchard).gone,
	},
	"DeleteCreating": {
		reason: "An object deleted while its nodes are being made leaves nothing.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(replicas(2), t4)
			w.drive(&life{}, func() bool { return len(w.live()) == 1 })
			w.must(w.kube.Delete(w.t.Context(), w.get()))
		},
		until: (*orchard).gone,
	},
	"Orphan": {
		reason: "Nodes that are left to themselves are held by nothing of ours.", classes: []v1alpha1.NodeClassReference{ec2},
		prepare: func(w *orchard) {
			w.plant(func(p *v1alpha1.GPUNodePool) { p.Spec.DeletionPolicy = v1alpha1.Orphan }, t4)
			w.drive(&life{}, w.whole)
			w.must(w.kube.Delete(w.t.Context(), w.get()))
		},
		until: (*orchard).gone, want: t4, nodes: 1,
	},
}

// TestKarpenterCrash kills the controller at every write to the API server,
// before it took effect and after, and looks at what the world became.
func TestKarpenterCrash(t *testing.T) {
	total := 0
	for name, sc := range orchardScenarios {
		calls := len(grow(t, sc, &life{}))
		total += 2 * calls
		for at := 1; at <= calls; at++ {
			for _, before := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d/before=%t", name, at, before), func(t *testing.T) {
					t.Parallel()
					grow(t, sc, &life{killAt: at, before: before})
				})
			}
		}
		t.Logf("%s: killed at %d writes, before and after each", name, calls)
	}
	t.Logf("%d crash points", total)
	if total < orchardPoints {
		t.Errorf("%d crash points, want at least %d", total, orchardPoints)
	}
}

// grow plays a scenario with a life that may end early, and a fresh one after it.
func grow(t *testing.T, sc orchardScenario, first *life) []string {
	t.Helper()
	w := newOrchard(t, sc.classes...)
	sc.prepare(w)
	until := w.whole
	if sc.until != nil {
		until = func() bool { return sc.until(w) }
	}
	w.drive(first, until)
	w.drive(&life{}, until)
	claims := w.list(claimKind)
	for i := range claims {
		if got := sizeOf(&claims[i]); got != sc.want {
			t.Errorf("%s: a NodeClaim of %s, want %s", sc.reason, got, sc.want)
		}
		if held := slices.Contains(claims[i].GetFinalizers(), "espalier.dev/finalizer"); held == (w.get() == nil) {
			t.Errorf("%s: held %t where the object is there: %t", sc.reason, held, w.get() != nil)
		}
	}
	homes := min(1, sc.nodes)
	if slices.Contains(sc.classes, kait) {
		homes = 0
	}
	classes := 0
	if len(sc.classes) == 0 {
		classes = min(1, sc.nodes)
	}
	if len(claims) != sc.nodes || len(w.list(poolKind)) != homes || len(w.list(classKind)) != classes {
		t.Errorf("%s: %d NodeClaims, %d NodePools and %d node classes, want %d, %d and %d", sc.reason,
			len(claims), len(w.list(poolKind)), len(w.list(classKind)), sc.nodes, homes, classes)
	}
	return first.log
}

// TestKarpenterOrders: what is created, as Karpenter and gpu-provisioner read it.
func TestKarpenterOrders(t *testing.T) {
	w := newOrchard(t)
	w.plant(func(p *v1alpha1.GPUNodePool) {
		p.Spec.NodeLabels = map[string]string{"app": "phi"}
		p.Spec.Candidates[0].Zones = []string{"1"}
	}, t4+"/spot")
	w.drive(&life{}, w.whole)
	np, claim := w.list(poolKind)[0], w.list(claimKind)[0]
	name := w.get().Status.PoolName
	text := func(o unstructured.Unstructured, path ...string) string {
		v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
		return fmt.Sprint(v)
	}
	for what, c := range map[string]struct{ got, want string }{
		"limits":        {text(np, "spec", "limits"), "map[cpu:0]"},
		"budgets":       {text(np, "spec", "disruption", "budgets"), "[map[nodes:0]]"},
		"consolidation": {text(np, "spec", "disruption", "consolidateAfter"), "Never"},
		"class":         {text(np, "spec", "template", "spec", "nodeClassRef"), "map[group:karpenter.azure.com kind:AKSNodeClass name:" + name + "]"},
		"expiry":        {text(claim, "spec", "expireAfter"), "Never"},
		"request":       {text(claim, "spec", "resources", "requests"), "map[nvidia.com/gpu:1]"},
		"home":          {claim.GetLabels()["karpenter.sh/nodepool"], name},
		"label":         {claim.GetLabels()["app"], "phi"},
		"name":          {claim.GetName(), name + "-0"},
		"owner":         {fmt.Sprint(len(claim.GetOwnerReferences())) + claim.GetOwnerReferences()[0].Kind, "1NodePool"},
		"disk":          {text(w.list(classKind)[0], "spec", "osDiskSizeGB"), "256"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", what, c.got, c.want)
		}
	}
	wants := text(claim, "spec", "requirements")
	for _, part := range []string{"[" + t4 + "]", "[spot]", "[eastus-1]", "[linux]"} {
		if !strings.Contains(wants, part) {
			t.Errorf("the requirements %s lack %s", wants, part)
		}
	}
}

// TestStandaloneNames: gpu-provisioner makes the name of a NodeClaim the name of
// an agent pool.
func TestStandaloneNames(t *testing.T) {
	w := newOrchard(t, kait)
	w.plant(replicas(2), t4)
	w.drive(&life{}, w.whole)
	for _, c := range w.list(claimKind) {
		if n := c.GetName(); len(n) > 12 || strings.Trim(n, "abcdefghijklmnopqrstuvwxyz234567") != "" {
			t.Errorf("%s is no name of an agent pool", n)
		}
		if c.GetLabels()["kaito.sh/workspace"] == "" || len(c.GetOwnerReferences()) > 0 {
			t.Errorf("gpu-provisioner would not take %v", c.GetLabels())
		}
	}
}

// TestKarpenterSays: the reason and the words of Ready where there are no nodes.
func TestKarpenterSays(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		classes []v1alpha1.NodeClassReference
		prepare func(*orchard)
		want    string // reason: message, in part
	}{
		"Quota": {
			reason: "The one candidate waits for quota, and a person has to ask for it.", classes: []v1alpha1.NodeClassReference{ec2},
			prepare: func(w *orchard) { w.refused[t4] = "VcpuLimitExceeded: vCPU limit of 0"; w.plant(nil, t4) },
			want:    "FamilyQuota: No candidate can be had now. " + t4 + ": LaunchFailed: VcpuLimitExceeded",
		},
		"SpotOfGPUProvisioner": {
			reason: "It would make an on-demand node without a word.", classes: []v1alpha1.NodeClassReference{kait},
			prepare: func(w *orchard) { w.plant(nil, t4+"/spot") },
			want:    "CandidateRefused: No candidate can be had now. " + t4 + " (spot): gpu-provisioner makes no spot nodes",
		},
		"ForbiddenClass": {
			reason: "A class holds an identity of the cloud: who declares a pool chooses none that the installation does not offer.", classes: []v1alpha1.NodeClassReference{ec2},
			prepare: func(w *orchard) {
				w.plant(func(p *v1alpha1.GPUNodePool) {
					p.Spec.Karpenter = &v1alpha1.KarpenterSpec{NodeClassRef: &v1alpha1.NodeClassReference{Group: ec2.Group, Kind: ec2.Kind, Name: "admin"}}
				}, t4)
			},
			want: "PrerequisiteMissing: No candidate can be had now. " + t4 + ": the node class karpenter.k8s.aws/EC2NodeClass/admin is none of those",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOrchard(t, c.classes...)
			c.prepare(w)
			var got string
			w.drive(&life{}, func() bool {
				ready := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.ConditionReady)
				if ready != nil && w.get().Status.Phase == v1alpha1.PhaseExhausted {
					got = ready.Reason + ": " + ready.Message
				}
				return got != ""
			})
			if !strings.HasPrefix(got, c.want) || len(w.list(claimKind))+len(w.list(poolKind)) > 0 {
				t.Errorf("%s\ngot  %s\nwant %s\nleft: %d NodeClaims", c.reason, got, c.want, len(w.list(claimKind)))
			}
		})
	}
}

// TestForeignPodUnnamed: where names stay within a namespace, a pod of another team is
// in the way without one.
func TestForeignPodUnnamed(t *testing.T) {
	w := newOrchard(t, ec2)
	w.plant(nil, t4)
	w.drive(&life{}, w.whole)
	w.must(w.kube.Create(t.Context(), &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "visitor"},
		Spec:       corev1.PodSpec{NodeName: "node-" + w.live()[0]},
	}))
	w.must(w.kube.Delete(t.Context(), w.get()))
	r, ctx := w.controller(&life{})
	r.Deps.NamesWithin = true
	for range 20 {
		if _, err := r.Reconcile(ctx, theRequest()); err != nil {
			t.Fatal(err)
		}
		w.now = w.now.Add(time.Minute)
	}
	c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.ConditionDeletionBlocked)
	if c == nil || !strings.Contains(c.Message, otherNamespaces) || strings.Contains(c.Message, "visitor") {
		t.Errorf("told %+v", c)
	}
}

// TestKarpenterForeignPod: no node is taken from under somebody's pod.
func TestKarpenterForeignPod(t *testing.T) {
	w := newOrchard(t, ec2)
	w.plant(replicas(2), t4)
	w.drive(&life{}, w.whole)
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "visitor"},
		Spec:       corev1.PodSpec{NodeName: "node-" + w.live()[1]},
	}
	w.must(w.kube.Create(t.Context(), pod))
	w.must(w.kube.Delete(t.Context(), w.get()))
	w.drive(&life{}, func() bool {
		c := meta.FindStatusCondition(w.get().Status.Conditions, v1alpha1.ConditionDeletionBlocked)
		return c != nil && strings.Contains(c.Message, "other/visitor")
	})
	if len(w.live()) != 2 {
		t.Fatalf("left are %v", w.live())
	}
	w.must(w.kube.Delete(t.Context(), pod))
	w.drive(&life{}, w.gone)
}

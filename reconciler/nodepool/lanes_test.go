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

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lanePoints is the least number of points that the enumeration must reach.
const lanePoints = 134

// laneScenario is a story of one pool that Karpenter fills: prepare runs unharmed,
// then the controller is killed at every write of the rest.
type laneScenario struct {
	reason  string
	prepare func(*orchard)
	until   func(*orchard) bool // nil: grown
	want    []string            // instance types of the NodeClaims at the end, in order
	pools   int                 // NodePools at the end
}

func idleBy(action v1alpha1.IdleAction) func(*v1alpha1.GPUNodePool) {
	return func(p *v1alpha1.GPUNodePool) {
		p.Spec.Idle = &v1alpha1.PoolIdle{After: metav1.Duration{Duration: 10 * time.Minute}, Action: action}
	}
}

// resting says that the pool is Idle and allows no node.
func (w *orchard) resting() bool {
	allowed := 0
	for _, n := range w.list(poolKind) {
		allowed += limit(&n)
	}
	return w.get().Status.Phase == v1alpha1.PhaseIdle && allowed == 0 && len(w.list(claimKind)) == 0
}

var laneScenarios = map[string]laneScenario{
	"Create": {
		reason:  "A NodePool a candidate, of which the first has the nodes.",
		prepare: func(w *orchard) { w.sow(2, nil, a100, t4) }, want: []string{a100, a100}, pools: 2,
	},
	"Most": {
		reason:  "More pods than nodes are allowed: not one more, of no candidate.",
		prepare: func(w *orchard) { w.sow(9, nil, a100, t4) }, want: []string{a100, a100, a100}, pools: 2,
	},
	"Failover": {
		reason:  "What Karpenter cannot have of the first, it may have of the next.",
		prepare: func(w *orchard) { w.soldOut[a100] = true; w.sow(2, nil, a100, h100, t4) }, want: []string{h100, h100}, pools: 3,
	},
	"Split": {
		reason: "What is there of the first stays, the rest is of the second: together no more than is allowed.",
		prepare: func(w *orchard) {
			w.sow(1, nil, a100, t4)
			w.drive(&life{}, w.grown)
			w.soldOut[a100], w.pods = true, 5
		},
		want: []string{a100, t4, t4}, pools: 2,
	},
	"Reorder": {
		reason: "Another order of preference moves no node.",
		prepare: func(w *orchard) {
			w.sow(2, nil, a100, t4)
			w.drive(&life{}, w.grown)
			w.edit(func(p *v1alpha1.GPUNodePool) { slices.Reverse(p.Spec.Candidates) })
		},
		until: func(w *orchard) bool {
			return w.grown() && slices.ContainsFunc(w.list(poolKind), func(n unstructured.Unstructured) bool {
				return weight(&n) == 100 && limit(&n) == 1 && w.of(n.GetName()) == 0
			})
		},
		want: []string{a100, a100}, pools: 2,
	},
	"Drop": {
		reason: "Nodes of a candidate that is no longer listed stay while pods run on them, and no more are made.",
		prepare: func(w *orchard) {
			w.sow(1, nil, a100, t4)
			w.drive(&life{}, w.grown)
			w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = p.Spec.Candidates[1:] })
		},
		until: func(w *orchard) bool {
			return w.grown() && slices.ContainsFunc(w.list(poolKind), func(n unstructured.Unstructured) bool {
				return limit(&n) == 0 && w.of(n.GetName()) == 1
			})
		},
		want: []string{a100}, pools: 2,
	},
	"Dropped": {
		reason: "Its NodePool goes with its last node.",
		prepare: func(w *orchard) {
			w.sow(1, nil, a100, t4)
			w.drive(&life{}, w.grown)
			w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates = p.Spec.Candidates[1:] })
			w.pods = 0
		},
		until: func(w *orchard) bool { return w.grown() && len(w.list(poolKind)) == 1 }, pools: 1,
	},
	"Idle": {
		reason: "Nobody's pod brings a node to a pool that nobody uses.",
		prepare: func(w *orchard) {
			w.sow(2, idleBy(v1alpha1.IdleScaleToZero), a100, t4)
			w.drive(&life{}, w.grown)
			w.leave()
		},
		until: (*orchard).resting, pools: 2,
	},
	"IdleDelete": {
		reason: "Nothing of it is left but the object.",
		prepare: func(w *orchard) {
			w.sow(2, idleBy(v1alpha1.IdleDelete), a100, t4)
			w.drive(&life{}, w.grown)
			w.leave()
		},
		until: func(w *orchard) bool { return w.resting() && len(w.list(poolKind)) == 0 }, pools: 0,
	},
	"Again": {
		reason: "A Workspace that comes back finds room.",
		prepare: func(w *orchard) {
			w.sow(1, idleBy(v1alpha1.IdleDelete), a100, t4)
			w.drive(&life{}, w.grown)
			w.leave()
			w.drive(&life{}, func() bool { return w.resting() && len(w.list(poolKind)) == 0 })
			w.must(w.kube.Create(w.t.Context(), &v1alpha1.Workspace{
				ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "user"},
				Spec:       v1alpha1.WorkspaceSpec{Resource: v1alpha1.ResourceSpec{NodePool: subject}},
			}))
			w.pods = 2
		},
		want: []string{a100, a100}, pools: 2,
	},
	"StatusLost": {
		reason: "A restored object has no status: its NodePools carry its marks and are found again.",
		prepare: func(w *orchard) {
			w.sow(2, nil, a100, t4)
			w.drive(&life{}, w.grown)
			p := w.get()
			p.Status = v1alpha1.GPUNodePoolStatus{ObservedGeneration: -1}
			w.must(w.kube.Status().Update(w.t.Context(), p))
		},
		want: []string{a100, a100}, pools: 2,
	},
	"Delete": {
		reason: "Karpenter puts no node in the place of one that is drained.",
		prepare: func(w *orchard) {
			w.sow(2, nil, a100, t4)
			w.drive(&life{}, w.grown)
			w.leave()
			w.pods = 2 // of somebody who tolerates the taints
			w.must(w.kube.Delete(w.t.Context(), w.get()))
		},
		until: (*orchard).gone,
	},
	"DeleteWithoutClass": {
		reason: "A node class that the installation no longer allows does not keep a pool from going.",
		prepare: func(w *orchard) {
			w.sow(1, nil, a100)
			w.drive(&life{}, w.grown)
			w.leave()
			w.classes = []v1alpha1.NodeClassReference{{Group: ec2.Group, Kind: ec2.Kind, Name: "another"}}
			w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Karpenter.NodeClassRef = &ec2 })
			w.must(w.kube.Delete(w.t.Context(), w.get()))
		},
		until: (*orchard).gone,
	},
	"Orphan": {
		reason: "Nodes that are left to themselves stay, and nobody's pod brings another.",
		prepare: func(w *orchard) {
			w.sow(1, func(p *v1alpha1.GPUNodePool) { p.Spec.DeletionPolicy = v1alpha1.Orphan }, a100, t4)
			w.drive(&life{}, w.grown)
			w.must(w.kube.Delete(w.t.Context(), w.get()))
		},
		until: func(w *orchard) bool {
			open := slices.ContainsFunc(w.list(poolKind), func(n unstructured.Unstructured) bool { return limit(&n) > 0 })
			return w.gone() && !open
		},
		want: []string{a100}, pools: 1,
	},
}

// TestLanesCrash is TestKarpenterCrash for NodePools that Karpenter fills.
func TestLanesCrash(t *testing.T) {
	total := 0
	for name, sc := range laneScenarios {
		calls := len(growLanes(t, sc, &life{}))
		total += 2 * calls
		for at := 1; at <= calls; at++ {
			for _, before := range []bool{true, false} {
				t.Run(fmt.Sprintf("%s/%d/before=%t", name, at, before), func(t *testing.T) {
					t.Parallel()
					growLanes(t, sc, &life{killAt: at, before: before})
				})
			}
		}
		t.Logf("%s: killed at %d writes, before and after each", name, calls)
	}
	t.Logf("%d crash points", total)
	if total < lanePoints {
		t.Errorf("%d crash points, want at least %d", total, lanePoints)
	}
}

func growLanes(t *testing.T, sc laneScenario, first *life) []string {
	t.Helper()
	w := newOrchard(t, ec2)
	sc.prepare(w)
	until := w.grown
	if sc.until != nil {
		until = func() bool { return sc.until(w) }
	}
	w.drive(first, until)
	w.drive(&life{}, until)
	var got []string
	claims := w.list(claimKind)
	for i := range claims {
		got = append(got, sizeOf(&claims[i]))
	}
	slices.SortFunc(got, func(a, b string) int { return strings.Compare(a, b) })
	want := slices.Sorted(slices.Values(sc.want))
	if !slices.Equal(got, want) || len(w.list(poolKind)) != sc.pools {
		t.Errorf("%s\ngot  %v in %d NodePools\nwant %v in %d", sc.reason, got, len(w.list(poolKind)), want, sc.pools)
	}
	return first.log
}

// TestLaneOrders: what is written, as Karpenter reads it.
func TestLaneOrders(t *testing.T) {
	w := newOrchard(t)
	w.sow(1, func(p *v1alpha1.GPUNodePool) {
		p.Spec.NodeLabels = map[string]string{"app": "phi"}
		p.Spec.Karpenter.ConsolidateAfter = &metav1.Duration{Duration: 10 * time.Minute}
		p.Spec.Candidates[1].Zones = []string{"1"}
	}, a100, t4+"/spot")
	w.drive(&life{}, w.grown)
	pools := w.list(poolKind)
	slices.SortFunc(pools, func(a, b unstructured.Unstructured) int { return int(weight(&b) - weight(&a)) })
	first, second := pools[0], pools[1]
	text := func(o unstructured.Unstructured, path ...string) string {
		v, _, _ := unstructured.NestedFieldNoCopy(o.Object, path...)
		return fmt.Sprint(v)
	}
	for what, c := range map[string]struct{ got, want string }{
		"weights":       {text(first, "spec", "weight") + " " + text(second, "spec", "weight"), "100 99"},
		"limits":        {text(first, "spec", "limits") + " " + text(second, "spec", "limits"), "map[nodes:3 nvidia.com/gpu:3] map[nodes:0 nvidia.com/gpu:0]"},
		"budgets":       {text(first, "spec", "disruption", "budgets"), "[map[nodes:0 reasons:[Drifted Underutilized]] map[nodes:100% reasons:[Empty]]]"},
		"consolidation": {text(first, "spec", "disruption", "consolidationPolicy") + " " + text(first, "spec", "disruption", "consolidateAfter"), "WhenEmpty 600s"},
		"expiry":        {text(first, "spec", "template", "spec", "expireAfter"), "Never"},
		"class":         {text(first, "spec", "template", "spec", "nodeClassRef"), "map[group:karpenter.azure.com kind:AKSNodeClass name:" + w.get().Status.PoolName + "]"},
		"label":         {text(first, "spec", "template", "metadata", "labels", "app"), "phi"},
		"price":         {w.get().Status.USDPerHour, "1.5"},
		"taints":        {text(second, "spec", "template", "spec", "taints"), "[map[effect:NoSchedule key:sku value:gpu] map[effect:NoSchedule key:espalier.dev/pool value:team-a." + subject + "]]"},
	} {
		if c.got != c.want {
			t.Errorf("%s: got %s, want %s", what, c.got, c.want)
		}
	}
	wants := text(second, "spec", "template", "spec", "requirements")
	for _, part := range []string{"[" + t4 + "]", "[spot]", "[eastus-1]", "[linux]"} {
		if !strings.Contains(wants, part) {
			t.Errorf("the requirements %s lack %s", wants, part)
		}
	}
}

// TestLanesSay: what the conditions tell.
func TestLanesSay(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		prepare func(*orchard)
		kind    string
		want    string // reason: message, in part
	}{
		"Empty": {
			reason:  "Pods are what brings nodes, so that a pool without any is Ready.",
			prepare: func(w *orchard) { w.sow(0, nil, a100, t4) },
			kind:    v1alpha1.ConditionReady, want: "Succeeded: Karpenter keeps at most 3 nodes of " + a100 + ", else " + t4 + ", as pods need them: none is there now",
		},
		"SoldOut": {
			reason:  "What Karpenter says of a size that it cannot have is said here, in its words.",
			prepare: func(w *orchard) { w.soldOut[a100] = true; w.sow(1, nil, a100, t4) },
			kind:    v1alpha1.ConditionCapacityNotFound, want: "Capacity: Passed over for now: " + a100 + ": ",
		},
		"NoneLeft": {
			reason:  "Where none can be had the pool is not Ready, and Karpenter goes on trying the first.",
			prepare: func(w *orchard) { w.soldOut[a100] = true; w.sow(1, nil, a100) },
			kind:    v1alpha1.ConditionReady, want: "Capacity: No candidate can be had now. " + a100 + ": ",
		},
		"Foreign": {
			reason: "A NodePool of the name that is somebody else's is not written to.",
			prepare: func(w *orchard) {
				w.sow(1, nil, a100)
				w.drive(&life{}, w.grown)
				o := w.list(poolKind)[0]
				labels := o.GetLabels()
				labels["espalier.dev/owner-uid"] = "another"
				o.SetLabels(labels)
				w.must(w.kube.Update(w.t.Context(), &o))
			},
			kind: v1alpha1.ConditionOwnershipLost, want: "OwnershipLost: ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOrchard(t, ec2)
			c.prepare(w)
			got := ""
			r, ctx := w.controller(&life{})
			for range 200 {
				res, _ := r.Reconcile(ctx, theRequest())
				w.now = w.now.Add(max(res.RequeueAfter, time.Second))
				w.tick()
				w.invariants()
				if said := meta.FindStatusCondition(w.get().Status.Conditions, c.kind); said != nil {
					got = said.Reason + ": " + said.Message
				}
				if strings.HasPrefix(got, c.want) {
					return
				}
			}
			t.Errorf("%s\ngot  %s\nwant %s", c.reason, got, c.want)
		})
	}
}

// TestLanesForeignPod: no node is taken from under somebody's pod, and none is added
// meanwhile.
func TestLanesForeignPod(t *testing.T) {
	w := newOrchard(t, ec2)
	w.sow(2, nil, a100)
	w.drive(&life{}, w.grown)
	w.leave()
	w.pods = 2
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
	w.pods = 3
	w.tick()
	if len(w.live()) != 2 {
		t.Fatalf("left are %v", w.live())
	}
	w.must(w.kube.Delete(t.Context(), pod))
	w.drive(&life{}, w.gone)
}

// TestKarpenterMarked: what nothing answers for is found with its nodes and its price.
func TestKarpenterMarked(t *testing.T) {
	w := newOrchard(t, ec2)
	w.sow(2, func(p *v1alpha1.GPUNodePool) { p.Spec.DeletionPolicy = v1alpha1.Orphan }, a100, t4)
	w.drive(&life{}, w.grown)
	w.must(w.kube.Delete(t.Context(), w.get()))
	w.drive(&life{}, w.gone)
	r, ctx := w.controller(&life{})
	marked, err := r.Deps.Providers[v1alpha1.ProviderKarpenter].(Marker).Marked(ctx, 0)
	w.must(err)
	var got []string
	for _, o := range pool.Orphans(marked, installation, nil) {
		got = append(got, fmt.Sprintf("%s %s %d of %s", o.Reason, o.Object, o.Count, o.Candidate.InstanceType))
	}
	slices.Sort(got)
	want := []string{"NoObject team-a/" + subject + " 2 of " + a100} // the one without nodes went with the pool
	if !slices.Equal(got, want) {
		t.Errorf("got  %v\nwant %v", got, want)
	}
}

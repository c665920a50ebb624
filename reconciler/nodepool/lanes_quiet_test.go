// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"slices"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/gpu/karpenter"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// countReads is a client that counts what is read through it.
func countReads(c client.WithWatch, requests *int) client.WithWatch {
	return interceptor.NewClient(c, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			*requests++
			return c.List(ctx, list, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			*requests++
			return c.Get(ctx, key, o, opts...)
		},
	})
}

// TestLanesQuiet: a pool that Karpenter fills costs no request while nobody waits, and
// the Events are read, in one, while somebody does.
func TestLanesQuiet(t *testing.T) {
	w := newOrchard(t, ec2)
	w.sow(2, nil, a100, t4)
	w.drive(&life{}, w.grown)
	requests := 0
	live := countReads(w.kube, &requests)
	sizes := func(string) (pool.Size, bool) { return pool.Size{GPUs: 1}, true }
	clock := func() time.Time { return w.now }
	provider, err := karpenter.New(karpenter.Config{Client: w.kube, Live: live, Classes: w.classes, Sizes: sizes, Region: "eastus", Clock: clock})
	w.must(err)
	r, err := New(slimmed{w.kube}, live, Deps{
		Providers: map[v1alpha1.Provider]pool.Provider{v1alpha1.ProviderKarpenter: provider}, Installation: installation, Clock: clock, Sizes: sizes,
		HourlyUSD: func(v1alpha1.Candidate, int) string { return "1" },
	})
	w.must(err)
	look := func(times int) (spent time.Duration) {
		for range times {
			res, err := r.Reconcile(t.Context(), theRequest())
			w.must(err)
			w.now = w.now.Add(res.RequeueAfter)
			spent += res.RequeueAfter
		}
		return spent
	}
	look(2)
	requests = 0
	spent := look(10)
	t.Logf("%d requests past the cache in %s", requests, spent)
	if requests != 0 || spent < 15*time.Minute {
		t.Errorf("%d requests in %s, want none, and looks that are far apart", requests, spent)
	}
	w.pods = 4 // one more than there may be
	w.tick()
	look(1)
	if requests != 1 {
		t.Errorf("%d requests while somebody waits, want the list of Events", requests)
	}
}

// TestLanesRest: whatever changes in Git or by hand, the limits come to rest, and no
// NodePool is made in the place of one that is as wanted.
func TestLanesRest(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*orchard)
		pools  int
	}{
		"Fewer": {
			"More nodes are there than are allowed now.", func(w *orchard) {
				w.soldOut[a100], w.pods = true, 3
				w.drive(&life{}, w.grown)
				w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Karpenter.MaxNodes = 1 })
			}, 2,
		},
		"ZonesTurned": {
			"Another order of zones is the same candidate.", func(w *orchard) {
				w.edit(func(p *v1alpha1.GPUNodePool) {
					slices.Reverse(p.Spec.Candidates[0].Zones)
					p.Spec.Karpenter.MaxNodes = 2
				})
			}, 2,
		},
		"Going": {
			"Somebody deletes a NodePool, which stays while pods run on its nodes.", func(w *orchard) {
				n := w.list(poolKind)[1]
				if weight(&n) != 100 {
					n = w.list(poolKind)[0]
				}
				n.SetFinalizers([]string{"karpenter.sh/termination"})
				w.must(w.kube.Update(t.Context(), &n))
				w.must(w.kube.Delete(t.Context(), &n))
				w.edit(func(p *v1alpha1.GPUNodePool) { p.Spec.Karpenter.MaxNodes = 2 })
			}, 2,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newOrchard(t, ec2)
			w.sow(2, func(p *v1alpha1.GPUNodePool) { p.Spec.Candidates[0].Zones = []string{"1", "2"} }, a100, t4)
			w.drive(&life{}, w.grown)
			c.change(w)
			r, ctx := w.controller(&life{})
			hasty := 0
			for at := range 40 {
				res, err := r.Reconcile(ctx, theRequest())
				w.must(err)
				w.now = w.now.Add(max(res.RequeueAfter, time.Second))
				w.tick()
				w.invariants()
				if at >= 30 && res.RequeueAfter < time.Second {
					hasty++
				}
			}
			if hasty > 0 || len(w.list(poolKind)) != c.pools {
				t.Errorf("%s\nafter 30 passes %d of ten ask for another at once, with %d NodePools, want %d", c.reason, hasty, len(w.list(poolKind)), c.pools)
			}
		})
	}
}

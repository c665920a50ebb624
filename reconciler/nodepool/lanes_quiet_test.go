// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"testing"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/gpu/karpenter"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLanesQuiet: a pool that Karpenter fills costs no request while nobody waits, and
// the Events are read, in one, while somebody does.
func TestLanesQuiet(t *testing.T) {
	w := newOrchard(t, ec2)
	w.sow(2, nil, a100, t4)
	w.drive(&life{}, w.grown)
	requests := 0
	live := interceptor.NewClient(w.kube, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			requests++
			return c.List(ctx, list, opts...)
		},
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			requests++
			return c.Get(ctx, key, o, opts...)
		},
	})
	sizes := func(string) (pool.Size, bool) { return pool.Size{GPUs: 1}, true }
	clock := func() time.Time { return w.now }
	provider, err := karpenter.New(karpenter.Config{Client: w.kube, Live: live, Classes: w.classes, Sizes: sizes, Region: "eastus", Clock: clock})
	w.must(err)
	r, err := New(w.kube, live, Deps{
		Providers: map[v1alpha1.Provider]pool.Provider{v1alpha1.ProviderKarpenter: provider}, Installation: installation, Clock: clock, Sizes: sizes,
		HourlyUSD: func(v1alpha1.Candidate, int) string { return "1" },
	})
	w.must(err)
	look := func(times int) (spent time.Duration) {
		for range times {
			res, err := r.Reconcile(t.Context(), requestOf(subject))
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

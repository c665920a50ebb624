// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPrices: what a shared pool costs is asked of the pool, once a pass however many name it.
func TestPrices(t *testing.T) {
	on := func(name, pool, shares string) *v1alpha1.Workspace {
		w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name}}
		w.Spec.Resource.NodePool, w.Status.NodePool = shares, pool
		w.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionResourceReady, Status: metav1.ConditionTrue, Reason: v1alpha1.ReasonSucceeded}}
		return w
	}
	pool := func(name string, provider v1alpha1.Provider, usd string) client.Object {
		return &v1alpha1.GPUNodePool{
			ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name},
			Spec:       v1alpha1.GPUNodePoolSpec{Provider: provider}, Status: v1alpha1.GPUNodePoolStatus{USDPerHour: usd},
		}
	}
	type prices = map[types.NamespacedName]string
	key := func(name string) types.NamespacedName { return types.NamespacedName{Namespace: "models", Name: name} }
	waits := on("waits", "", "shared")
	for name, c := range map[string]struct {
		reason string
		of     []*v1alpha1.Workspace
		fails  error
		want   prices
		reads  int
	}{
		"Own":        {"What own nodes cost the Workspace says: thousands of them ask nothing.", []*v1alpha1.Workspace{on("a", "a", "")}, nil, prices{}, 0},
		"Shared":     {"It is read once.", []*v1alpha1.Workspace{on("a", "shared", "shared"), on("b", "shared", "shared")}, nil, prices{key("shared"): "4.775"}, 1},
		"Existing":   {"Nodes that exist cost nothing.", []*v1alpha1.Workspace{on("a", "ours", "ours")}, nil, prices{key("ours"): "0"}, 1},
		"Gone":       {"A pool that is gone has no price, and is looked for once.", []*v1alpha1.Workspace{on("a", "gone", "gone"), on("b", "gone", "gone")}, nil, prices{key("gone"): ""}, 1},
		"Waits":      {"Who holds no node of it does not ask.", []*v1alpha1.Workspace{waits}, nil, prices{}, 0},
		"Unreadable": {"A price that was not read is not one that is not known: the last report stays.", []*v1alpha1.Workspace{on("a", "shared", "shared")}, errors.New("the cache has stopped"), nil, 1},
	} {
		t.Run(name, func(t *testing.T) {
			reads := 0
			counted := interceptor.Funcs{Get: func(ctx context.Context, under client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if reads++; c.fails != nil {
					return c.fails
				}
				return under.Get(ctx, key, o, opts...)
			}}
			r := newReconciler(t, counted, pool("shared", v1alpha1.ProviderAKS, "4.775"), pool("ours", v1alpha1.ProviderExisting, ""))
			got, err := r.own().prices(t.Context(), c.of)
			if !errors.Is(err, c.fails) {
				t.Fatalf("%s\ngot %v", c.reason, err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" || reads != c.reads {
				t.Errorf("%s\n%s%d reads, want %d", c.reason, diff, reads, c.reads)
			}
		})
	}
}

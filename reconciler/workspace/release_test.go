// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestGiveBack: nodes that a Workspace lets go are marked as such, and those that go
// with it are not: Git may have dropped it by mistake.
func TestGiveBack(t *testing.T) {
	release := func(r *Reconciler, p *pass) error { return r.giveBack(context.Background(), p.ws, p.pool) }
	remove := func(r *Reconciler, p *pass) error {
		_, err := r.removePools(context.Background(), p)
		return err
	}
	cases := map[string]struct {
		reason        string
		change        func(*v1alpha1.GPUNodePool)
		do            func(*Reconciler, *pass) error
		leaves, marks bool
	}{
		"Released": {"It is deleted, and said to be.", func(*v1alpha1.GPUNodePool) {}, release, true, true},
		"CutOff": {
			"The controller died between the two, or a person was faster.",
			func(p *v1alpha1.GPUNodePool) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, release, true, true,
		},
		"Deleted":       {"The Workspace goes, which may be a mistake.", func(*v1alpha1.GPUNodePool) {}, remove, true, false},
		"SomebodyElses": {"It is left to others.", func(p *v1alpha1.GPUNodePool) { p.OwnerReferences = nil }, release, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			yes := true
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "w", UID: "ws"}}
			pool := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{
				Namespace: "a", Name: "w", UID: "pool", Finalizers: []string{repolayout.Finalizer},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "w", UID: "ws", Controller: &yes}},
			}}
			tc.change(pool)
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			r := New(Deps{Client: kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(pool).Build()})
			if err := tc.do(r, &pass{ws: ws, pool: pool}); err != nil {
				t.Fatal(err)
			}
			got := &v1alpha1.GPUNodePool{}
			if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(pool), got); err != nil {
				t.Fatal(err)
			}
			if leaves, marks := got.DeletionTimestamp != nil, got.Annotations[repolayout.AnnotationGivenBack] == "pool"; leaves != tc.leaves || marks != tc.marks {
				t.Errorf("%s\ndeleted %t, marked %t", tc.reason, leaves, marks)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestBehind: a pass over a Workspace that the cache has from before the last write of its
// status would find it as it was then, and leave what was written.
func TestBehind(t *testing.T) {
	r, fake := withChildren(t)
	now := time.Unix(1e9, 0)
	r.Clock = func() time.Time { return now }
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", Finalizers: []string{"espalier.dev/finalizer"}}}
	if err := fake.Create(t.Context(), ws); err != nil {
		t.Fatal(err)
	}
	before := ws.DeepCopy()
	calls := 0
	counted := interceptor.NewClient(fake, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if into, ok := o.(*v1alpha1.Workspace); ok {
				before.DeepCopyInto(into)
				return nil
			}
			calls++
			return c.Get(ctx, key, o, opts...)
		},
	})
	r.Client, r.Reader = counted, counted
	written := ws.DeepCopy()
	written.ResourceVersion = before.ResourceVersion + "0" // a later one
	r.written.Note(written, now)
	request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(ws)}
	result, err := r.Reconcile(t.Context(), request)
	if err != nil || result.RequeueAfter <= 0 || calls != 0 {
		t.Errorf("it goes on (%d calls): %v, %v", calls, result, err)
	}
	before.ResourceVersion = written.ResourceVersion
	if _, err := r.Reconcile(t.Context(), request); calls == 0 {
		t.Errorf("it does not go on when the cache has heard: %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestKeptAgain: what pods were rendered to is recorded again after somebody deleted
// it, or the next release of Espalier would restart them.
func TestKeptAgain(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	kube := kubefake.NewClientBuilder().WithScheme(scheme).Build()
	r := New(Deps{Client: kube, Reader: kube, Clock: func() time.Time { return now }})
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
	ws.Spec.Inference = &v1alpha1.InferenceSpec{}
	look := func() bool {
		t.Helper()
		p := &pass{ws: ws, kept: map[string]bool{}, deployment: &appsv1.Deployment{}}
		p.out.Workload, p.out.Pods = parsed(t, wantedDeployment), "sha256:0123456789abcdef0123456789abcdef"
		if err := r.keep(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		had := p.kept["phi"]
		if err := r.record(t.Context(), p, p.out.Workload); err != nil {
			t.Fatal(err)
		}
		return had
	}
	if look() || !look() || !look() {
		t.Fatal("it is recorded once, and known then")
	}
	revision := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: repolayout.RevisionName("phi", "sha256:0123456789abcdef0123456789abcdef")}}
	if err := kube.Delete(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	now = now.Add(believedKept)
	look()
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(revision), revision); err != nil {
		t.Errorf("it is not recorded again: %v", err)
	}

	// A Workspace of that name comes back before the garbage collector has taken what the
	// first one has left.
	ws.UID = "uid-2"
	r.applied.Clear()
	if look() || !look() {
		t.Error("it is recorded for the Workspace that is there now, and known then")
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(revision), revision); err != nil || !metav1.IsControlledBy(revision, ws) {
		t.Errorf("it is of %v (%v)", revision.OwnerReferences, err)
	}
}

// TestAskedOnce: what was recorded is asked for once nodes can be used, and not again
// after it was recorded: before that nothing of it is written.
func TestAskedOnce(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	asked := 0
	kube := kubefake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			asked++
			return c.Get(ctx, key, o, opts...)
		},
	}).Build()
	r := New(Deps{Client: kube, Reader: kube, Clock: func() time.Time { return time.Unix(1e9, 0) }})
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
	ws.Spec.Inference = &v1alpha1.InferenceSpec{}
	for i, c := range []struct {
		nodes bool
		want  int
	}{{false, 0}, {true, 1}, {true, 1}} {
		p := &pass{ws: ws, kept: map[string]bool{}}
		if c.nodes {
			p.deployment = &appsv1.Deployment{}
		}
		p.out.Workload, p.out.Pods = parsed(t, wantedDeployment), "sha256:0123456789abcdef0123456789abcdef"
		for range 2 { // as a step, and before it is served
			if err := r.keep(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
		if asked != c.want {
			t.Errorf("asked %d times by pass %d, want %d", asked, i, c.want)
		}
		if c.nodes {
			if err := r.record(t.Context(), p, p.out.Workload); err != nil {
				t.Fatal(err)
			}
		}
	}
}

// TestLackingKind: a cluster without KEDA is asked for it once a minute, and not for
// each Workspace: every time it is a discovery.
func TestLackingKind(t *testing.T) {
	asked, now := 0, time.Unix(1e9, 0)
	kube := kubefake.NewClientBuilder().WithInterceptorFuncs(interceptor.Funcs{
		Get: func(_ context.Context, _ client.WithWatch, _ client.ObjectKey, o client.Object, _ ...client.GetOption) error {
			asked++
			return &meta.NoKindMatchError{GroupKind: o.GetObjectKind().GroupVersionKind().GroupKind()}
		},
	}).Build()
	r := New(Deps{Client: kube, Reader: kube, Clock: func() time.Time { return now }})
	for _, c := range []struct {
		after time.Duration
		want  int
	}{{0, 1}, {time.Second, 1}, {time.Minute, 2}, {0, 2}} {
		now = now.Add(c.after)
		for range 3 {
			left, err := r.removeAutoscaler(t.Context(), &v1alpha1.Workspace{}, autoscalers[0])
			if left || err != nil {
				t.Fatalf("left %v, %v", left, err)
			}
		}
		if asked != c.want {
			t.Errorf("asked %d times, want %d", asked, c.want)
		}
	}
}

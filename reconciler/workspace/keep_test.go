// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
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
	if look() || !look() {
		t.Error("it is recorded for the Workspace that is there now, and known then")
	}
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(revision), revision); err != nil || !metav1.IsControlledBy(revision, ws) {
		t.Errorf("it is of %v (%v)", revision.OwnerReferences, err)
	}
}

// TestKeptUntold: what was recorded before the digest told of the pool is gone on with while the
// pool says the same of the pods, and not put back when it says something else.
func TestKeptUntold(t *testing.T) {
	const untold, told = "sha256:0123456789abcdef0123456789abcdef", "sha256:fedcba9876543210fedcba9876543210"
	deployment := func(image, slice, not string) string {
		return `{apiVersion: apps/v1, kind: Deployment, metadata: {name: phi}, spec: {replicas: 1, template: {spec: {
  affinity: {nodeAffinity: {requiredDuringSchedulingIgnoredDuringExecution: {nodeSelectorTerms: [{matchExpressions: [{key: node.kubernetes.io/instance-type, operator: NotIn, values: [` + not + `]}]}]}}},
  containers: [{name: vllm, image: "example.com/vllm:` + image + `", resources: {limits: {"nvidia.com/` + slice + `": "1", memory: ` + image + `Gi}}}]}}}}`
	}
	for name, c := range map[string]struct {
		reason string
		later  string // what this release renders
		image  string // of what is applied
	}{
		"SamePool":       {"A release says something else, and the pool does not: the pods stay.", deployment("2", "mig-2g.24gb", "a"), "example.com/vllm:1"},
		"OtherSlices":    {"There are no such slices any more.", deployment("2", "mig-1g.12gb", "a"), "example.com/vllm:2"},
		"OtherCandidate": {"There are nodes that it cannot use.", deployment("2", "mig-2g.24gb", "a, b"), "example.com/vllm:2"},
	} {
		t.Run(name, func(t *testing.T) {
			r, fake := withChildren(t)
			r.Reader, r.Clock = fake, func() time.Time { return time.Unix(1e9, 0) }
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
			ws.Spec.Inference = &v1alpha1.InferenceSpec{}
			apply := func(text, pods, untold string) string {
				t.Helper()
				p := &pass{ws: ws, kept: map[string]bool{}, deployment: &appsv1.Deployment{}}
				p.out.Workload, p.out.Pods, p.out.PodsUntold = parsed(t, text), pods, untold
				if err := errors.Join(r.keep(t.Context(), p), r.record(t.Context(), p, p.out.Workload)); err != nil {
					t.Fatal(err)
				}
				containers, _, _ := unstructured.NestedSlice(p.out.Workload.Object, "spec", "template", "spec", "containers")
				return containers[0].(map[string]any)["image"].(string)
			}
			apply(deployment("1", "mig-2g.24gb", "a"), untold, "")
			for range 2 { // and of what was recorded then
				if got := apply(c.later, told, untold); got != c.image {
					t.Errorf("%s\napplied is %s, want %s", c.reason, got, c.image)
				}
			}
			all := &appsv1.ControllerRevisionList{}
			if err := fake.List(t.Context(), all); err != nil || len(all.Items) != 1 || all.Items[0].Name != repolayout.RevisionName("phi", told) {
				t.Errorf("%s\nrecorded are %v, %v", c.reason, all.Items, err)
			}
		})
	}
}

// TestKeptUnheard: a record whose creation was not answered is found by the next pass, also
// of a Workspace that was new.
func TestKeptUnheard(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	lost := errors.New("connection reset by peer")
	kube := kubefake.NewClientBuilder().WithScheme(scheme).WithInterceptorFuncs(interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if err := c.Create(ctx, o, opts...); err != nil {
				return err
			}
			return lost
		},
	}).Build()
	r := New(Deps{Client: kube, Reader: kube, Clock: func() time.Time { return time.Unix(1e9, 0) }})
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
	ws.Spec.Inference = &v1alpha1.InferenceSpec{}
	r.isNew(ws)
	pass := func() *pass {
		t.Helper()
		p := &pass{ws: ws, kept: map[string]bool{}, deployment: &appsv1.Deployment{}}
		p.out.Workload, p.out.Pods = parsed(t, wantedDeployment), "sha256:0123456789abcdef0123456789abcdef"
		if err := r.keep(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		return p
	}
	p := pass()
	if err := r.record(t.Context(), p, p.out.Workload); !errors.Is(err, lost) || p.kept["phi"] {
		t.Fatalf("recording ends with %v", err)
	}
	if !pass().kept["phi"] {
		t.Error("what is recorded is not known")
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

// TestNewHasNoRecord: of a Workspace that is new nothing can have been recorded, and what
// this process has recorded it need not list.
func TestNewHasNoRecord(t *testing.T) {
	first, second := "sha256:"+strings.Repeat("0123456789abcdef", 2), "sha256:"+strings.Repeat("fedcba9876543210", 2)
	for name, c := range map[string]struct {
		reason                      string
		new                         bool
		status                      v1alpha1.WorkspaceStatus // when the finalizer was added
		between                     func(*Reconciler)        // before the spec is another
		gets, lists, thenGets, then int
	}{
		"New":   {"It had not even the finalizer.", true, v1alpha1.WorkspaceStatus{}, nil, 0, 0, 0, 0},
		"Known": {"An earlier process may have recorded something.", false, v1alpha1.WorkspaceStatus{}, nil, 1, 1, 0, 0},
		"LostFinalizer": {"Somebody has taken the finalizer away from one that had passes.", true,
			v1alpha1.WorkspaceStatus{Resolved: &v1alpha1.Resolved{}}, nil, 1, 1, 0, 0},
		"Restarted": {"After a start it is asked for, and listed.", true, v1alpha1.WorkspaceStatus{}, func(r *Reconciler) { r.known.of = nil }, 0, 0, 1, 1},
		"OtherShard": {"Another process may have recorded something meanwhile.", true, v1alpha1.WorkspaceStatus{},
			func(r *Reconciler) { r.dismiss(client.ObjectKey{Namespace: "models", Name: "phi"}) }, 0, 0, 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			gets, lists := 0, 0
			r, fake := withChildren(t)
			counting := interceptor.NewClient(fake, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					gets++
					return c.Get(ctx, key, o, opts...)
				},
				List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
					lists++
					return c.List(ctx, o, opts...)
				},
			})
			r.Reader, r.Clock = counting, func() time.Time { return time.Unix(1e9, 0) }
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}, Status: c.status}
			ws.Spec.Inference = &v1alpha1.InferenceSpec{}
			if c.new {
				r.isNew(ws)
			}
			apply := func(pods string) {
				t.Helper()
				gets, lists = 0, 0
				p := &pass{ws: ws, kept: map[string]bool{}, deployment: &appsv1.Deployment{}}
				p.out.Workload, p.out.Pods = parsed(t, wantedDeployment), pods
				if err := errors.Join(r.keep(t.Context(), p), r.record(t.Context(), p, p.out.Workload)); err != nil {
					t.Fatal(err)
				}
				all := &appsv1.ControllerRevisionList{}
				if err := fake.List(t.Context(), all); err != nil || len(all.Items) != 1 || all.Items[0].Name != repolayout.RevisionName("phi", pods) {
					t.Errorf("%s\nrecorded are %v, %v", c.reason, all.Items, err)
				}
			}
			apply(first)
			if gets != c.gets || lists != c.lists {
				t.Errorf("%s\n%d gets and %d lists first", c.reason, gets, lists)
			}
			if c.between != nil {
				c.between(r)
			}
			apply(second)
			if gets != c.thenGets || lists != c.then {
				t.Errorf("%s\n%d gets and %d lists of another spec", c.reason, gets, lists)
			}
		})
	}
}

// TestRecordOfAnother: what was made anew under the name of a record is not deleted for it.
func TestRecordOfAnother(t *testing.T) {
	r, fake := withChildren(t)
	r.Clock = func() time.Time { return time.Unix(1e9, 0) }
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
	other := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi-old", UID: "theirs"}}
	if err := fake.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	k := r.knownOf(ws)
	k.complete, k.revisions = true, keptRevisions("").with(keptRevision{"phi-old", "ours"})
	var asked *metav1.Preconditions
	r.Client = interceptor.NewClient(fake, interceptor.Funcs{
		Delete: func(_ context.Context, _ client.WithWatch, _ client.Object, opts ...client.DeleteOption) error {
			asked = (&client.DeleteOptions{}).ApplyOptions(opts).AsDeleteOptions().Preconditions
			return apierrors.NewConflict(schema.GroupResource{}, "phi-old", errors.New("the UID is another")) // as the API server does
		},
	})
	p := &pass{ws: ws}
	p.out.Workload, p.out.Pods = parsed(t, wantedDeployment), "sha256:0123456789abcdef0123456789abcdef"
	if err := r.forget(t.Context(), p); err == nil || asked == nil || *asked.UID != "ours" || k.complete {
		t.Errorf("deleted by %v: %v", asked, err)
	}
	if err := r.forget(t.Context(), p); err != nil {
		t.Errorf("it is not asked anew what there is: %v", err)
	}
}

// TestNoAutoscalers: a namespace is looked into once a minute for autoscalers that a new
// service could have been left, and each is asked for where there are some.
func TestNoAutoscalers(t *testing.T) {
	hpa := func() client.Object {
		o := parsed(t, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {namespace: models, name: other}}`)
		return o
	}
	for name, c := range map[string]struct {
		reason      string
		there       bool
		had         string // what the Deployment is given to
		applied     bool   // autoscalers of others of the namespace are
		gets, lists int    // of three Workspaces, for the kind of Kubernetes itself
	}{
		"None":    {"Nothing is there to be removed.", false, "", false, 0, 1},
		"Some":    {"Another has one: each is asked for by name.", true, "", false, 3, 1},
		"Had":     {"One that was scaled is always asked for.", false, "HorizontalPodAutoscaler", false, 3, 0},
		"Applied": {"KEDA makes more of them, in its time.", false, "", true, 3, 0},
	} {
		t.Run(name, func(t *testing.T) {
			gets, lists, now := 0, 0, time.Unix(1e9, 0)
			r, fake := withChildren(t)
			if c.there {
				if err := fake.Create(t.Context(), hpa()); err != nil {
					t.Fatal(err)
				}
			}
			r.Clock = func() time.Time { return now }
			r.Reader = interceptor.NewClient(fake, interceptor.Funcs{
				Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
					gets++
					return c.Get(ctx, key, o, opts...)
				},
				List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
					lists++
					return c.List(ctx, o, opts...)
				},
			})
			r.lacking.Store(autoscalers[0], now.Add(time.Hour)) // no KEDA
			if c.applied {
				p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "scaled", UID: "uid-0"}}}
				p.out.Autoscaler = parsed(t, `{apiVersion: autoscaling/v2, kind: HorizontalPodAutoscaler, metadata: {name: scaled}}`)
				if err := r.applyAutoscaler(t.Context(), p); err != nil {
					t.Fatal(err)
				}
				gets = 0
			}
			for range 2 { // and again after the minute
				gets, lists = 0, 0
				for i := range 3 {
					ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: fmt.Sprint("w", i)}}
					if err := r.removeAutoscalers(t.Context(), ws, c.had, ""); err != nil {
						t.Fatal(err)
					}
				}
				if gets != c.gets || lists != c.lists {
					t.Errorf("%s\n%d gets, %d lists", c.reason, gets, lists)
				}
				if now = now.Add(believedLacking); c.applied {
					break
				}
			}
		})
	}
}

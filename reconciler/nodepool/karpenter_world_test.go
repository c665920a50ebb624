// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/managedfields"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/gpu/karpenter"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var (
	claimKind = karpenter.NodeClaim.WithVersion("v1")
	poolKind  = karpenter.NodePool.WithVersion("v1")
	classKind = karpenter.AKSNodeClass.WithVersion("v1beta1")

	ec2  = v1alpha1.NodeClassReference{Group: "karpenter.k8s.aws", Kind: "EC2NodeClass", Name: "gpu"}
	kait = v1alpha1.NodeClassReference{Group: "kaito.sh", Kind: "KaitoNodeClass", Name: "default"}
)

const finalizerKarpenter = "karpenter.sh/termination"

// orchard is a cluster with a Karpenter that does in a tick what the real one
// does in a while; test/karpenter has the real one.
type orchard struct {
	t       *testing.T
	kube    client.WithWatch
	now     time.Time
	classes []v1alpha1.NodeClassReference
	soldOut map[string]bool // by instance type: InsufficientCapacityError
	refused map[string]string
	foreign map[string]string // resource versions of what is not ours, by kind/name
	pods    int               // that wait for, or have, a node each, of NodePools that Karpenter fills
	made    int               // NodeClaims of Karpenter's own, so far
}

func newOrchard(t *testing.T, classes ...v1alpha1.NodeClassReference) *orchard {
	t.Helper()
	mapper := meta.NewDefaultRESTMapper([]schema.GroupVersion{claimKind.GroupVersion(), classKind.GroupVersion()})
	for _, k := range []schema.GroupVersionKind{claimKind, poolKind, classKind} {
		mapper.Add(k, meta.RESTScopeRoot)
	}
	mapper.Add(v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Pod"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Event"), meta.RESTScopeNamespace)
	mapper.Add(corev1.SchemeGroupVersion.WithKind("Node"), meta.RESTScopeRoot)
	w := &orchard{
		t: t, now: time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC), classes: classes,
		soldOut: map[string]bool{}, refused: map[string]string{}, foreign: map[string]string{},
	}
	w.kube = kubefake.NewClientBuilder().WithScheme(small).WithRESTMapper(mapper).WithStatusSubresource(&v1alpha1.GPUNodePool{}).
		WithTypeConverters(managedfields.NewDeducedTypeConverter()). // the default reads the schema of all of Kubernetes, each time
		WithIndex(&corev1.Pod{}, FieldNodeName, func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithIndex(&corev1.Event{}, "type", func(o client.Object) []string { return []string{o.(*corev1.Event).Type} }).
		WithIndex(&corev1.Event{}, "involvedObject.uid", func(o client.Object) []string {
			return []string{string(o.(*corev1.Event).InvolvedObject.UID)}
		}).Build()
	for _, kind := range []schema.GroupVersionKind{claimKind, poolKind} {
		for _, name := range []string{"foreign", "foreign2"} {
			o := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{}}}
			o.SetGroupVersionKind(kind)
			o.SetName(name)
			if name == "foreign2" { // as our own, but of another installation
				o.SetLabels(map[string]string{karpenter.LabelInstallation: "another", karpenter.LabelOwner: "uid-p"})
			}
			w.must(w.kube.Create(t.Context(), o))
			w.foreign[kind.Kind+"/"+name] = o.GetResourceVersion()
		}
	}
	return w
}

func (w *orchard) must(err error) {
	w.t.Helper()
	if err != nil {
		w.t.Fatal(err)
	}
}

func (w *orchard) list(kind schema.GroupVersionKind) []unstructured.Unstructured {
	w.t.Helper()
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	w.must(w.kube.List(w.t.Context(), found))
	return slices.DeleteFunc(found.Items, func(o unstructured.Unstructured) bool { return strings.HasPrefix(o.GetName(), "foreign") })
}

// live are the names of NodeClaims that are not being deleted.
func (w *orchard) live() []string {
	var names []string
	for _, c := range w.list(claimKind) {
		if c.GetDeletionTimestamp() == nil {
			names = append(names, c.GetName())
		}
	}
	return names
}

// tick is what Karpenter does next.
func (w *orchard) tick() {
	w.t.Helper()
	for _, n := range w.list(poolKind) {
		if n.GetUID() == "" { // the fake gives none to what is applied
			n.SetUID(types.UID("uid-" + n.GetName()))
		}
		w.say(&n, "Ready", "True", "Ready", "")
	}
	w.fill()
	for _, c := range w.list(claimKind) {
		if c.GetDeletionTimestamp() != nil {
			w.terminate(&c)
			continue
		}
		w.launch(&c)
	}
}

func (w *orchard) say(o *unstructured.Unstructured, kind, status, reason, message string) {
	w.t.Helper()
	list, _, _ := unstructured.NestedSlice(o.Object, "status", "conditions")
	list = slices.DeleteFunc(list, func(c any) bool { return c.(map[string]any)["type"] == kind })
	list = append(list, map[string]any{"type": kind, "status": status, "reason": reason, "message": message})
	w.must(unstructured.SetNestedSlice(o.Object, list, "status", "conditions"))
	w.must(w.kube.Update(w.t.Context(), o))
}

func (w *orchard) launch(c *unstructured.Unstructured) {
	w.t.Helper()
	if !slices.Contains(c.GetFinalizers(), finalizerKarpenter) {
		c.SetFinalizers(append(c.GetFinalizers(), finalizerKarpenter))
		w.must(w.kube.Update(w.t.Context(), c))
	}
	size := sizeOf(c)
	if node, _, _ := unstructured.NestedString(c.Object, "status", "nodeName"); w.soldOut[size] && node == "" {
		w.must(w.kube.Create(w.t.Context(), &corev1.Event{
			ObjectMeta:     metav1.ObjectMeta{Namespace: "default", Name: string(c.GetUID())},
			InvolvedObject: corev1.ObjectReference{Kind: "NodeClaim", Name: c.GetName(), UID: c.GetUID()},
			Type:           "Warning", Reason: "InsufficientCapacityError", LastTimestamp: metav1.NewTime(w.now),
			Message: "NodeClaim " + c.GetName() + " event: all requested instance types were unavailable during launch",
		}))
		w.must(w.kube.Delete(w.t.Context(), c))
		return
	}
	if why := w.refused[size]; why != "" {
		w.say(c, "Launched", "Unknown", "LaunchFailed", why)
		return
	}
	w.say(c, "Launched", "True", "Launched", "")
	w.register(c, size)
	w.must(unstructured.SetNestedField(c.Object, "node-"+c.GetName(), "status", "nodeName"))
	w.say(c, "Registered", "True", "Registered", "")
}

func sizeOf(c *unstructured.Unstructured) string {
	list, _, _ := unstructured.NestedSlice(c.Object, "spec", "requirements")
	for _, r := range list {
		if m := r.(map[string]any); m["key"] == corev1.LabelInstanceTypeStable {
			return m["values"].([]any)[0].(string)
		}
	}
	return ""
}

func (w *orchard) register(c *unstructured.Unstructured, size string) {
	w.t.Helper()
	gpus := corev1.ResourceList{pool.ResourceGPU: *resource.NewQuantity(int64(hardware[size].GPUs), resource.DecimalSI)}
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + c.GetName(), Labels: c.GetLabels()}}
	n.Status = corev1.NodeStatus{
		Capacity: gpus, Allocatable: gpus,
		Conditions: []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}},
	}
	if err := w.kube.Create(w.t.Context(), withForeign(n)); err != nil && !apierrors.IsAlreadyExists(err) {
		w.t.Fatal(err)
	}
}

func (w *orchard) terminate(c *unstructured.Unstructured) {
	w.t.Helper()
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "node-" + c.GetName()}}
	w.must(client.IgnoreNotFound(w.kube.Delete(w.t.Context(), n)))
	rest := slices.DeleteFunc(c.GetFinalizers(), func(f string) bool { return f == finalizerKarpenter })
	if len(rest) == len(c.GetFinalizers()) {
		return
	}
	c.SetFinalizers(rest)
	w.must(w.kube.Update(w.t.Context(), c))
}

// controller starts a process, whose writes are counted and may be its last.
func (w *orchard) controller(l *life) (*Reconciler, context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.t.Context())
	w.t.Cleanup(cancel)
	l.cancel = cancel
	kube := interceptor.NewClient(w.kube, interceptor.Funcs{
		Create: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			return l.call("create", func() error {
				o.SetUID(types.UID(fmt.Sprintf("uid-%s-%d", o.GetName(), w.now.UnixNano())))
				return c.Create(ctx, o, opts...)
			})
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			return l.call("delete", func() error { return c.Delete(ctx, o, opts...) })
		},
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			return l.call("apply", func() error { return c.Apply(ctx, o, opts...) })
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			return l.call("patch", func() error {
				err := c.Patch(ctx, o, p, opts...)
				if n, isNode := o.(*corev1.Node); isNode && err == nil {
					keepsForeign(w.t, n)
				}
				return err
			})
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return l.call("patch "+sub, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
	clock := func() time.Time { return w.now }
	sizes := func(name string) (pool.Size, bool) {
		h, ok := hardware[name]
		return pool.Size{GPUs: h.GPUs, Family: h.Family}, ok
	}
	provider, err := karpenter.New(karpenter.Config{Client: kube, Live: kube, Classes: w.classes, Sizes: sizes, Region: "eastus", Clock: clock})
	w.must(err)
	r, err := New(slimmed{kube}, kube, Deps{
		Providers:    map[v1alpha1.Provider]pool.Provider{v1alpha1.ProviderKarpenter: provider},
		Installation: installation, Clock: clock, Sizes: sizes, LostAfter: lostAfter,
		HourlyUSD: func(_ v1alpha1.Candidate, nodes int) string { return fmt.Sprintf("%d.5", nodes) },
	})
	w.must(err)
	return r, ctx
}

// drive lets the controller and Karpenter take turns until the world is as
// wanted, or the controller is dead.
func (w *orchard) drive(l *life, until func() bool) {
	w.t.Helper()
	r, ctx := w.controller(l)
	for range 500 {
		if l.dead || until() {
			return
		}
		made := len(l.log)
		res, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: subject}})
		w.oneMutation(l.log[made:])
		wait := res.RequeueAfter
		if err != nil || wait == 0 {
			wait = backoffMin
		}
		w.now = w.now.Add(wait)
		w.tick()
		w.invariants()
	}
	if !l.dead && !until() {
		p := w.get()
		w.t.Fatalf("not there; live NodeClaims: %v; the pool: %+v", w.live(), p)
	}
}

// oneMutation sees that a reconcile wrote at most one object of Karpenter. Patches are
// those of our own objects, and of nodes that are cordoned.
func (w *orchard) oneMutation(calls []string) {
	w.t.Helper()
	writes := slices.DeleteFunc(slices.Clone(calls), func(c string) bool { return strings.HasPrefix(c, "patch") })
	if len(writes) > 1 {
		w.t.Fatalf("one reconcile made several mutations: %v", writes)
	}
}

// invariants hold at every moment: what is not ours is as it was, and no attempt
// has more nodes than were ever wanted.
func (w *orchard) invariants() {
	w.t.Helper()
	for _, kind := range []schema.GroupVersionKind{claimKind, poolKind} {
		for _, name := range []string{"foreign", "foreign2"} {
			o := &unstructured.Unstructured{}
			o.SetGroupVersionKind(kind)
			w.must(w.kube.Get(w.t.Context(), types.NamespacedName{Name: name}, o))
			if o.GetResourceVersion() != w.foreign[kind.Kind+"/"+name] {
				w.t.Fatalf("%s %s was touched", kind.Kind, name)
			}
		}
	}
	if n := len(w.live()); n > 3 {
		w.t.Fatalf("%d NodeClaims at once", n)
	}
	w.bounded()
}

// get reads the subject; nil: it is gone.
func (w *orchard) get() *v1alpha1.GPUNodePool {
	w.t.Helper()
	p := &v1alpha1.GPUNodePool{}
	err := w.kube.Get(w.t.Context(), types.NamespacedName{Namespace: "team-a", Name: subject}, p)
	if apierrors.IsNotFound(err) {
		return nil
	}
	w.must(err)
	return p
}

func (w *orchard) ready() bool {
	p := w.get()
	return p != nil && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) && p.Status.ObservedGeneration == p.Generation
}

// whole is ready with just the NodeClaims that are wanted.
func (w *orchard) whole() bool {
	return w.ready() && len(w.list(claimKind)) == int(w.get().DesiredReplicas()) && len(w.live()) == int(w.get().DesiredReplicas())
}

func (w *orchard) gone() bool { return w.get() == nil }

func (w *orchard) edit(change func(*v1alpha1.GPUNodePool)) {
	w.t.Helper()
	p := w.get()
	change(p)
	p.Generation++
	w.must(w.kube.Update(w.t.Context(), p))
}

func (w *orchard) plant(change func(*v1alpha1.GPUNodePool), instances ...string) {
	w.t.Helper()
	p := gpuPool(subject, instances...)
	p.Spec.Provider = v1alpha1.ProviderKarpenter
	if change != nil {
		change(p)
	}
	w.must(w.kube.Create(w.t.Context(), p))
}

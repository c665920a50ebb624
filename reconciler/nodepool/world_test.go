// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/apimachinery/pkg/types"
	clienttesting "k8s.io/client-go/testing"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/existing"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

const (
	t4   = "Standard_NC4as_T4_v3"
	a100 = "Standard_NC24ads_A100_v4"
	h100 = "Standard_NC40ads_H100_v5"
)

var hardware = map[string]fakearm.Hardware{
	t4:   {GPUs: 1, VCPUs: 4, MemoryGiB: 28, Family: "standardNCASv3_T4Family"},
	a100: {GPUs: 1, VCPUs: 24, MemoryGiB: 220, Family: "standardNCADSA100v4Family"},
	h100: {GPUs: 1, VCPUs: 40, MemoryGiB: 320, Family: "standardNCADSH100v5Family"},
}

const installation = "installation-1"

// subject is the pool that a test of one pool is about.
const subject = "p"

// world is one cluster, one cloud, one clock. Controllers come and go in it.
type world struct {
	t    *testing.T
	ctx  context.Context
	kube client.WithWatch
	arm  *fakearm.Server
	// interrupted names the pods that lost their node, of which evicted counts as
	// the cloud's own doing.
	interrupted []string
	evicting    bool
	cache       map[string]*corev1.Node // of the nodes: the fake client reads all of them with every list
	checked     int                     // requests that were looked at
	changes     int                     // of the cloud that were looked at
}

func newWorld(t *testing.T) *world {
	t.Helper()
	return newWorldOf(t, fakearm.Options{})
}

// newWorldOf is newWorld with another kind of cloud.
func newWorldOf(t *testing.T, opt fakearm.Options) *world {
	t.Helper()
	w := &world{t: t, ctx: t.Context(), cache: map[string]*corev1.Node{}}
	w.kube = kubefake.NewClientBuilder().WithScheme(small).
		WithObjectTracker(clienttesting.NewObjectTracker(small, serializer.NewCodecFactory(small).UniversalDecoder())). // without managed fields, which cost more than the rest
		WithStatusSubresource(&v1alpha1.GPUNodePool{}).
		WithIndex(&corev1.Pod{}, FieldNodeName, func(o client.Object) []string { return []string{o.(*corev1.Pod).Spec.NodeName} }).
		WithIndex(&v1alpha1.GPUNodePool{}, fieldSelects, selects).
		WithIndex(&v1alpha1.GPUNodePool{}, fieldLabel, poolLabel).Build()
	var err error
	opt.Sizes = func(name string) (fakearm.Hardware, bool) { h, ok := hardware[name]; return h, ok }
	if opt.CreateDelay == 0 {
		opt.CreateDelay, opt.GPUDelay, opt.DeleteDelay = 4*time.Minute, 30*time.Second, 3*time.Minute
	}
	opt.Nodes, opt.NodesReady, opt.Manual = sink{w.kube, w}, true, true
	w.arm, err = fakearm.Start(opt)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(w.arm.Close)
	return w
}

// small holds the kinds of these tests alone: the fake client walks its scheme
// with every write.
var small = func() *runtime.Scheme {
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			panic(err)
		}
	}
	return s
}()

// sink is a fakearm.NodeSink over the client of the tests.
type sink struct {
	c client.Client
	w *world
}

func (s sink) Create(ctx context.Context, n *corev1.Node) error {
	defer s.w.remember(n.Name)
	err := s.c.Create(ctx, withForeign(n))
	if apierrors.IsAlreadyExists(err) {
		return nil
	}
	return err
}

func (s sink) SetGPUs(ctx context.Context, name string, gpus int) error {
	defer s.w.remember(name)
	n := &corev1.Node{}
	if err := s.c.Get(ctx, types.NamespacedName{Name: name}, n); err != nil {
		return client.IgnoreNotFound(err)
	}
	fakearm.SetGPUs(n, gpus)
	return s.c.Status().Update(ctx, n)
}

func (s sink) Delete(ctx context.Context, name string) error {
	defer s.w.remember(name)
	var pods corev1.PodList
	if err := s.c.List(ctx, &pods, client.MatchingFields{FieldNodeName: name}); err != nil {
		return err
	}
	for i := range pods.Items {
		if pool.Works(&pods.Items[i]) && !s.w.evicting {
			s.w.interrupted = append(s.w.interrupted, pods.Items[i].Name)
		}
		if err := s.c.Delete(ctx, &pods.Items[i]); client.IgnoreNotFound(err) != nil {
			return err
		}
	}
	return client.IgnoreNotFound(s.c.Delete(ctx, &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: name}}))
}

// remember reads a node that was written.
func (w *world) remember(name string) {
	n := &corev1.Node{}
	if err := w.kube.Get(w.ctx, types.NamespacedName{Name: name}, n); err != nil {
		delete(w.cache, name)
		return
	}
	keepsForeign(w.t, n)
	w.cache[name] = n
}

// listNodes lists nodes as the client would.
func (w *world) listNodes(out *corev1.NodeList, opts ...client.ListOption) {
	var o client.ListOptions
	o.ApplyOptions(opts)
	for _, name := range slices.Sorted(maps.Keys(w.cache)) {
		if n := w.cache[name]; o.LabelSelector == nil || o.LabelSelector.Matches(labels.Set(n.Labels)) {
			out.Items = append(out.Items, *n.DeepCopy())
		}
	}
}

// errKilled is what every call of a killed controller gets.
var errKilled = errors.New("the controller was killed")

// life is one process of the controller: it may be killed at a call.
type life struct {
	calls  int
	killAt int  // the number of the call; 0: never
	before bool // killed before the call took effect, else after
	dead   bool
	cancel context.CancelFunc
	log    []string
}

// call runs one call of the outside world, or dies.
func (l *life) call(name string, do func() error) error {
	if l.dead {
		return errKilled
	}
	l.calls++
	l.log = append(l.log, name)
	if l.calls != l.killAt {
		return do()
	}
	if !l.before {
		_ = do() // its answer is never seen
	}
	l.dead = true
	l.cancel()
	return errKilled
}

// transport is the network of one life.
type transport struct {
	l    *life
	next policy.Transporter
}

func (t transport) Do(r *http.Request) (resp *http.Response, err error) {
	name := r.Method + " " + r.URL.Path[strings.LastIndex(r.URL.Path, "/")+1:]
	kill := t.l.call(name, func() error {
		resp, err = t.next.Do(r)
		return err
	})
	if kill != nil && resp != nil {
		_ = resp.Body.Close()
	}
	return resp, kill
}

// frozen is a cache that is behind: it still shows an object as it was.
type frozen struct {
	client.WithWatch
	pool *v1alpha1.GPUNodePool
}

func (f frozen) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	if p, ok := o.(*v1alpha1.GPUNodePool); ok {
		f.pool.DeepCopyInto(p)
		return nil
	}
	return f.WithWatch.Get(ctx, key, o, opts...)
}

// staticToken is a credential that the fake takes.
type staticToken struct{}

func (staticToken) GetToken(context.Context, policy.TokenRequestOptions) (azcore.AccessToken, error) {
	return azcore.AccessToken{Token: fakearm.Token, ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// controller starts a process.
func (w *world) controller(l *life) (*Reconciler, context.Context) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(w.ctx)
	w.t.Cleanup(cancel)
	l.cancel = cancel
	cloud, err := aks.New(aks.Config{
		SubscriptionID: fakearm.Subscription, ResourceGroup: fakearm.ResourceGroup, ClusterName: fakearm.Cluster,
		Endpoint: w.arm.URL, Credential: staticToken{}, Transport: transport{l, inProcess{w.arm}}, Clock: w.arm.Now,
		ReadRetries: -1,
	})
	if err != nil {
		w.t.Fatal(err)
	}
	kube := interceptor.NewClient(w.kube, interceptor.Funcs{
		List: func(ctx context.Context, c client.WithWatch, into client.ObjectList, opts ...client.ListOption) error {
			if nodes, ok := into.(*corev1.NodeList); ok {
				w.listNodes(nodes, opts...)
				return nil
			}
			return c.List(ctx, into, opts...)
		},
		Patch: func(ctx context.Context, c client.WithWatch, o client.Object, p client.Patch, opts ...client.PatchOption) error {
			defer w.remember(o.GetName())
			return l.call("patch", func() error { return c.Patch(ctx, o, p, opts...) })
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, p client.Patch, opts ...client.SubResourcePatchOption) error {
			return l.call("patch "+sub, func() error { return c.SubResource(sub).Patch(ctx, o, p, opts...) })
		},
	})
	r, err := New(slimmed{kube}, kube, Deps{
		Providers:    map[v1alpha1.Provider]pool.Provider{v1alpha1.ProviderAKS: cloud, v1alpha1.ProviderExisting: existing.Provider{}},
		Installation: installation, Clock: w.arm.Now, LostAfter: lostAfter,
		Sizes: func(name string) (pool.Size, bool) {
			h, ok := hardware[name]
			size := pool.Size{GPUs: h.GPUs, Family: h.Family, VCPUs: h.VCPUs}
			if name == a100 {
				size.DiskGiB, size.Slices = 960, map[string]int{"MIG3g": 2}
			}
			return size, ok
		},
		HourlyUSD: func(_ v1alpha1.Candidate, nodes int) string { return fmt.Sprintf("%d.5", nodes) },
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return r, ctx
}

// gpuPool is a GPUNodePool with candidates, as a test needs it.
func gpuPool(name string, instances ...string) *v1alpha1.GPUNodePool {
	p := &v1alpha1.GPUNodePool{}
	p.Namespace, p.Name, p.UID, p.Generation = "team-a", name, types.UID("uid-"+name), 1
	p.Spec = v1alpha1.GPUNodePoolSpec{
		Provider: v1alpha1.ProviderAKS, OSDiskSizeGiB: 256,
		Timeouts: v1alpha1.PoolTimeouts{Provision: metav1.Duration{Duration: 20 * time.Minute}, GPUReady: metav1.Duration{Duration: 15 * time.Minute}},
	}
	for _, i := range instances {
		c := v1alpha1.Candidate{InstanceType: i, Priority: v1alpha1.OnDemand}
		if plain, spot := strings.CutSuffix(i, "/spot"); spot {
			c = v1alpha1.Candidate{InstanceType: plain, Priority: v1alpha1.Spot}
		}
		p.Spec.Candidates = append(p.Spec.Candidates, c)
	}
	return p
}

func (w *world) create(o client.Object) {
	w.t.Helper()
	n, isNode := o.(*corev1.Node)
	if isNode {
		withForeign(n)
	}
	if err := w.kube.Create(w.ctx, o); err != nil {
		w.t.Fatal(err)
	}
	if isNode {
		w.remember(n.Name)
	}
}

// get reads a pool; nil: it is gone.
func (w *world) get(name string) *v1alpha1.GPUNodePool {
	w.t.Helper()
	p := &v1alpha1.GPUNodePool{}
	err := w.kube.Get(w.ctx, types.NamespacedName{Namespace: "team-a", Name: name}, p)
	if apierrors.IsNotFound(err) {
		return nil
	}
	if err != nil {
		w.t.Fatal(err)
	}
	return p
}

// edit changes the subject's spec as a new generation.
func (w *world) edit(change func(*v1alpha1.GPUNodePool)) {
	w.t.Helper()
	p := w.get(subject)
	change(p)
	p.Generation++
	if err := w.kube.Update(w.ctx, p); err != nil {
		w.t.Fatal(err)
	}
}

// maxSteps bounds a drive, in moments of the fake's clock at which a pool looks.
const maxSteps = 10_000

// drive reconciles pools in turn, moving the clock on by what they ask to wait,
// until the world is as wanted or the controller is dead. It checks at every
// step what must always hold.
func (w *world) drive(l *life, names []string, until func() bool) {
	w.t.Helper()
	r, ctx := w.controller(l)
	due := map[string]time.Time{}
	for range maxSteps {
		if l.dead || until() {
			return
		}
		next := w.arm.Now().Add(time.Hour)
		for _, name := range names {
			if at, ok := due[name]; !ok || !at.After(w.arm.Now()) {
				asked := len(w.arm.Requests())
				res, err := r.Reconcile(ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: name}})
				w.oneMutation(asked)
				wait := res.RequeueAfter
				if err != nil {
					wait = backoffMin
				}
				if wait == 0 {
					wait = backoffMin // the harness has no watches: it looks again
				}
				due[name] = w.arm.Now().Add(wait)
				w.invariants()
			}
			if due[name].Before(next) {
				next = due[name]
			}
		}
		w.arm.Advance(next.Sub(w.arm.Now()))
	}
	if !l.dead && !until() {
		w.t.Fatalf("not there after %d steps; pools in the cloud: %+v; objects: %s", maxSteps, w.arm.Pools(), w.describe(names))
	}
}

func (w *world) describe(names []string) string {
	var b strings.Builder
	for _, n := range names {
		if p := w.get(n); p != nil {
			c := meta.FindStatusCondition(p.Status.Conditions, v1alpha1.ConditionReady)
			fmt.Fprintf(&b, "%s %s %+v; removing %v; ", n, p.Status.Phase, c, p.Status.Removing)
			for _, a := range w.arm.Pools() {
				if a.Name == p.Status.PoolName {
					fmt.Fprintf(&b, "agent pool %s of %d: %v; ", a.State, a.Count, a.Props)
				}
			}
		}
	}
	return b.String()
}

// invariants hold at every moment, whatever fails: an object has at most one
// agent pool of ours, no name is ordered twice, what is not ours was never asked
// to change, and no node went with foreign work on it.
func (w *world) invariants() {
	w.t.Helper()
	if now := w.arm.Changes(); now != w.changes {
		w.changes = now
		w.oneEach()
	}
	for _, r := range w.arm.RequestsAfter(w.checked) {
		w.checked++
		write := isWrite(r)
		if write && !strings.HasPrefix(r.Pool, "g") || write && strings.HasPrefix(r.Pool, "foreign") {
			w.t.Fatalf("a pool that is not ours was asked to change: %+v", r)
		}
	}
	if fights := w.arm.Fights(); len(fights) > 0 {
		w.t.Fatalf("the autoscaler was interfered with: %v", fights)
	}
	for _, pod := range w.interrupted {
		if strings.HasPrefix(pod, "foreign") || strings.HasPrefix(pod, "busy") {
			w.t.Fatalf("pod %s lost its node", pod)
		}
	}
}

// oneMutation sees that a reconcile asked the cloud to change at most one thing.
func (w *world) oneMutation(before int) {
	w.t.Helper()
	var writes []fakearm.Request
	for _, r := range w.arm.RequestsAfter(before) {
		if isWrite(r) {
			writes = append(writes, r)
		}
	}
	if len(writes) > 1 {
		w.t.Fatalf("one reconcile made several mutations: %+v", writes)
	}
}

func isWrite(r fakearm.Request) bool {
	return r.Kind == http.MethodPut || r.Kind == http.MethodDelete || r.Kind == "REMOVE"
}

// oneEach sees that no object has two agent pools, and that no name was ordered
// twice.
func (w *world) oneEach() {
	w.t.Helper()
	owners := map[string]string{}
	for _, p := range w.arm.Pools() {
		uid := p.Tags[aks.TagOwner]
		if uid == "" || p.Tags[aks.TagInstallation] != installation {
			continue
		}
		if other := owners[uid]; other != "" {
			w.t.Fatalf("object %s has two agent pools at once: %s and %s", uid, other, p.Name)
		}
		owners[uid] = p.Name
	}
	ordered := w.arm.Ordered()
	if len(ordered) != len(slices.Compact(slices.Sorted(slices.Values(ordered)))) {
		w.t.Fatalf("a name was ordered twice: %v", ordered)
	}
}

func (w *world) ready(name string) func() bool {
	return func() bool {
		p := w.get(name)
		return p != nil && meta.IsStatusConditionTrue(p.Status.Conditions, v1alpha1.ConditionReady) && p.Status.ObservedGeneration == p.Generation
	}
}

func (w *world) phase(want v1alpha1.PoolPhase) func() bool {
	return func() bool { p := w.get(subject); return p != nil && p.Status.Phase == want }
}

func (w *world) gone() func() bool { return func() bool { return w.get(subject) == nil } }

func (w *world) delete() {
	w.t.Helper()
	if err := w.kube.Delete(w.ctx, w.get(subject)); err != nil {
		w.t.Fatal(err)
	}
}

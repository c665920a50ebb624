// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"maps"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// inputStand is a cluster with a ConfigMap and a Secret, and a watch that may be behind it.
type inputStand struct {
	live, watched map[string]string // UID and version, by kind; absent: not there
	reads         int               // of inputs, past the cache
	now           time.Time
	ws            *v1alpha1.Workspace
	pass          *pass
}

func newInputStand(t *testing.T) (*Reconciler, *inputStand) {
	t.Helper()
	s := &inputStand{now: time.Unix(1e9, 0)}
	s.both("ConfigMap", "u1/5")
	s.both("Secret", "s1/4")
	s.ws = &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1", Generation: 1}}
	s.ws.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{AccessSecret: "token"}, Config: "settings"}
	r, fake := withChildren(t)
	isInput := func(o client.Object) (string, bool) {
		kind := o.GetObjectKind().GroupVersionKind().Kind
		if _, ok := o.(*corev1.ConfigMap); ok {
			kind = "ConfigMap"
		}
		return kind, kind == "ConfigMap" || kind == "Secret"
	}
	r.Clock = func() time.Time { return s.now }
	r.Client = interceptor.NewClient(fake, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if kind, ok := isInput(o); ok {
				return fillInput(o, key, kind, s.watched)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	r.Reader = interceptor.NewClient(fake, interceptor.Funcs{
		Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			if kind, ok := isInput(o); ok {
				s.reads++
				return fillInput(o, key, kind, s.live)
			}
			return c.Get(ctx, key, o, opts...)
		},
	})
	return r, s
}

// fillInput reads an input, whose content tells its version.
func fillInput(o client.Object, key client.ObjectKey, kind string, from map[string]string) error {
	uid, version, there := strings.Cut(from[kind], "/")
	if !there {
		return apierrors.NewNotFound(schema.GroupResource{Resource: kind}, key.Name)
	}
	o.SetNamespace(key.Namespace)
	o.SetName(key.Name)
	o.SetUID(types.UID(uid))
	o.SetResourceVersion(version)
	if cm, ok := o.(*corev1.ConfigMap); ok {
		cm.Data = map[string]string{"version": version}
	}
	return nil
}

// both sets what is there and what the watch has heard of.
func (s *inputStand) both(kind, is string) {
	if s.live == nil {
		s.live, s.watched = map[string]string{}, map[string]string{}
	}
	s.live[kind], s.watched[kind] = is, is
}

// serving is a pass over a service that is there.
func (s *inputStand) serving() {
	s.pass = &pass{ws: s.ws, kept: map[string]bool{}, pool: &v1alpha1.GPUNodePool{}, deployment: &appsv1.Deployment{}}
}

// TestInputsAreBelieved: what was read past the cache is not read again in each pass, and
// no pass that may begin anything rests on what a watch has not heard of.
func TestInputsAreBelieved(t *testing.T) {
	ready := func() *v1alpha1.GPUNodePool {
		pool := &v1alpha1.GPUNodePool{}
		pool.Status.Candidate = &v1alpha1.CandidateStatus{}
		pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue}}
		return pool
	}
	for name, c := range map[string]struct {
		reason  string
		happens func(*inputStand)
		reads   int
		config  string // the version of the ConfigMap that the pass goes by; "": it waits for it
		secret  string
		moved   bool // it may not begin anything
	}{
		"Nothing":       {"Nothing has changed.", func(*inputStand) {}, 0, "5", "4", false},
		"Behind":        {"The watch has not heard of what was read.", func(s *inputStand) { s.watched["ConfigMap"] = "u1/3" }, 0, "5", "4", false},
		"BehindForLong": {"After a backup was put back versions are lower for good.", func(s *inputStand) { s.watched["ConfigMap"] = "u1/3"; s.now = s.now.Add(heldAhead) }, 1, "5", "4", false},
		"NotHeardOf":    {"What the watch does not have may be gone.", func(s *inputStand) { delete(s.watched, "ConfigMap") }, 1, "5", "4", false},
		"Changed":       {"The watch tells of a change.", func(s *inputStand) { s.both("ConfigMap", "u1/6") }, 1, "6", "4", false},
		"SecretChanged": {"So it does of a Secret.", func(s *inputStand) { s.both("Secret", "s1/7") }, 1, "5", "7", false},
		"WithTheSpec": {"Changed together with the spec: the first pass over the new generation reads it, whatever the watch has.",
			func(s *inputStand) { s.ws.Generation = 2; s.live["ConfigMap"] = "u1/6" }, 2, "6", "4", false},
		"WatchBehind": {"Changed, and the watch has not heard of it: nothing begins by it, and the next pass reads it.",
			func(s *inputStand) { s.live["ConfigMap"] = "u1/6" }, 0, "5", "4", true},
		"SecretBehind":  {"So with a Secret.", func(s *inputStand) { s.live["Secret"] = "s1/7" }, 0, "5", "4", true},
		"GoneBehind":    {"Deleted, and the watch has not heard of it.", func(s *inputStand) { delete(s.live, "ConfigMap") }, 0, "5", "4", true},
		"MadeAnew":      {"Deleted and made again under the same name, it is another.", func(s *inputStand) { s.both("ConfigMap", "u2/8") }, 1, "8", "4", false},
		"AnewBehind":    {"Made again, and the watch has the former one.", func(s *inputStand) { s.live["ConfigMap"] = "u2/8" }, 0, "5", "4", true},
		"Gone":          {"Deleted, it is waited for.", func(s *inputStand) { delete(s.live, "ConfigMap"); delete(s.watched, "ConfigMap") }, 1, "", "", false},
		"MayBegin":      {"Where the pods are to start all is read.", func(s *inputStand) { s.pass.deployment, s.pass.pool = nil, ready(); s.live["ConfigMap"] = "u1/6" }, 2, "6", "4", false},
		"NoNodesYet":    {"Where nodes are to be bought as well.", func(s *inputStand) { s.pass.deployment, s.pass.pool = nil, nil }, 2, "5", "4", false},
		"NodesAwaited":  {"While nodes are waited for nothing begins.", func(s *inputStand) { s.pass.deployment = nil }, 0, "5", "4", false},
		"AnotherOfName": {"A Workspace that came in the place of another.", func(s *inputStand) { s.ws.UID = "uid-2" }, 2, "5", "4", false},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newInputStand(t)
			s.serving()
			if err := r.inputs(t.Context(), s.pass); err != nil || s.reads != 2 {
				t.Fatalf("the first pass reads %d, %v", s.reads, err)
			}
			s.serving()
			s.reads = 0
			c.happens(s)
			err := r.inputs(t.Context(), s.pass)
			if waiting, ok := fault.AsWaiting(err); c.config == "" && (!ok || waiting.Reason != v1alpha1.ReasonInputMissing) || c.config != "" && err != nil {
				t.Fatalf("%s\n%v", c.reason, err)
			}
			if s.reads != c.reads || s.pass.configMaps["settings"]["version"] != c.config || c.config != "" && s.pass.versions["Secret/token"] != c.secret {
				t.Errorf("%s\n%d reads, %v, %v", c.reason, s.reads, s.pass.configMaps, s.pass.versions)
			}
			if err := r.confirm(t.Context(), s.pass); errors.Is(err, errInputMoved) != c.moved {
				t.Errorf("%s\nconfirmed: %v", c.reason, err)
			}
			if c.moved {
				s.serving()
				if err := r.inputs(t.Context(), s.pass); err == nil && len(s.pass.onTrust) > 0 {
					t.Errorf("%s\nthe next pass believes %d of them", c.reason, len(s.pass.onTrust))
				}
			}
		})
	}
}

// TestNothingBeginsOnTrust: neither a run, a service nor nodes are asked for by an input
// that is another by now; nothing that runs is ended for it.
func TestNothingBeginsOnTrust(t *testing.T) {
	const job = `{apiVersion: batch/v1, kind: Job, metadata: {name: phi-2}, spec: {template: {spec: {restartPolicy: Never, containers: [{name: train, image: "example.com/axolotl:1"}]}}}}`
	for name, c := range map[string]struct {
		reason string
		do     func(*Reconciler, *pass) error
		left   client.Object // what must not be there; with a UID: what must
	}{
		"Run": {"A Job of the older input would train for nothing.", func(r *Reconciler, p *pass) error {
			p.out.Workload = parsed(t, job)
			_, err := r.applyWork(t.Context(), p, p.out.Workload.DeepCopy(), once)
			return err
		}, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "phi-2"}}},
		"Service": {"Pods would restart twice.", func(r *Reconciler, p *pass) error {
			_, err := r.applyServing(t.Context(), p, nil, parsed(t, wantedDeployment))
			return err
		}, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "phi"}}},
		"Nodes": {"Nodes of another size would be bought.", func(r *Reconciler, p *pass) error {
			_, err := r.applyWork(t.Context(), p, parsed(t, wantedPool), apply.Object)
			return err
		}, &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Name: "phi"}}},
		"OtherRun": {"The run of what the input may be again goes on.", func(r *Reconciler, p *pass) error {
			p.out.Workload = parsed(t, job)
			p.jobs = []batchv1.Job{{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi-1", UID: "j1"}}}
			if err := r.Client.Create(t.Context(), p.jobs[0].DeepCopy()); err != nil {
				return err
			}
			_, err := r.deleteOtherJobs(t.Context(), p)
			return err
		}, &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "phi-1", UID: "j1"}}},
		"OtherService": {"So does a service of another shape.", func(r *Reconciler, p *pass) error {
			p.out.Workload = parsed(t, wantedDeployment)
			p.deployment = &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi-other", UID: "d1"}}
			if err := r.Client.Create(t.Context(), p.deployment.DeepCopy()); err != nil {
				return err
			}
			return r.retire(t.Context(), p)
		}, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "phi-other", UID: "d1"}}},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newInputStand(t)
			for range 2 {
				s.serving()
				if err := r.inputs(t.Context(), s.pass); err != nil {
					t.Fatal(err)
				}
			}
			s.pass.deployment = nil
			s.live["ConfigMap"] = "u1/6"
			if err := c.do(r, s.pass); !errors.Is(err, errInputMoved) {
				t.Errorf("%s\n%v", c.reason, err)
			}
			wanted := c.left.GetUID() != ""
			if err := r.Reader.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: c.left.GetName()}, c.left); (err == nil) != wanted {
				t.Errorf("%s\n%T %s: %v", c.reason, c.left, c.left.GetName(), err)
			}
		})
	}
}

// TestHeldInputsAreBounded: what is held of inputs is bounded, and what is not held is read.
func TestHeldInputsAreBounded(t *testing.T) {
	h := &readInputs{}
	key := func(i int) inputKey { return inputKey{"ConfigMap", "", fmt.Sprint(i)} }
	put := func(i, version, size int) {
		in := inputOf(&metav1.ObjectMeta{UID: "u", ResourceVersion: fmt.Sprint(version)}, time.Unix(1e9, 0))
		in.content = strings.Repeat("x", size)
		h.put(key(i), in)
	}
	has := func(i int) bool { _, ok := h.get(key(i)); return ok }
	for i := range 100 {
		put(i, 1, 1<<20)
		has(0) // which is used all the time
		if _, ok := h.of[key(max(i-3, 0)).sum()]; !ok || i > 10 && h.bytes < heldBytes/2 {
			t.Errorf("more is dropped than the oldest: %d bytes of %d", h.bytes, len(h.of))
		}
	}
	sum := 0
	for _, in := range h.of {
		sum += in.size()
	}
	if h.bytes > heldBytes || h.bytes != sum || len(h.of) < 5 || !has(0) || has(1) || !has(99) {
		t.Errorf("%d bytes of %d, which take %d", h.bytes, len(h.of), sum)
	}
	put(1000, 1, heldBytes)
	if has(1000) {
		t.Error("one that takes more than a quarter of the room is held")
	}
	put(5, 9, 1)
	put(5, 8, 1)
	if got, _ := h.get(key(5)); got.version != 9 {
		t.Errorf("an older reading took the place of a later one: %d", got.version)
	}
	h.drop(key(5))
	if has(5) {
		t.Error("it was dropped")
	}
}

// TestPack: what a pass believes of a ConfigMap is what was read of it.
func TestPack(t *testing.T) {
	long := strings.Repeat("long ", 1000)
	for name, c := range map[string]struct {
		reason string
		data   map[string]string
		raw    map[string][]byte
	}{
		"Nothing": {"An empty ConfigMap is one.", nil, nil},
		"Both":    {"Keys of both kinds, and values of any length.", map[string]string{"a": "", "b.yaml": long}, map[string][]byte{"c": []byte(long), "d": {0, 255}}},
		"Raw":     {"Bytes alone.", nil, map[string][]byte{"d": {128}}},
	} {
		t.Run(name, func(t *testing.T) {
			data, raw := unpack(pack(c.data, c.raw))
			if !maps.Equal(data, c.data) || !maps.EqualFunc(raw, c.raw, bytes.Equal) {
				t.Errorf("%s\n%v, %v", c.reason, data, raw)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	kruntime "k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/reconciler/registry"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/scale"
)

// anyCluster takes all that is written and keeps none of it, and has every input. Each text
// that it answers with is one of its own, as it is of an API server.
type anyCluster struct {
	client.Client
	writes  int
	content string // of ConfigMaps
}

// heldScheme is made once: what it takes is nobody's.
var heldScheme = func() *kruntime.Scheme {
	scheme := kruntime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		panic(err)
	}
	return scheme
}()

func (c *anyCluster) Scheme() *kruntime.Scheme { return heldScheme }

func (c *anyCluster) version() string { return strconv.Itoa(1_000_000 + c.writes) }

func (c *anyCluster) uid() types.UID {
	c.writes++
	return types.UID(fmt.Sprintf("0f6a9b1e-5d2c-4f3a-9c1d-%012d", c.writes))
}

func (c *anyCluster) Get(_ context.Context, key client.ObjectKey, o client.Object, _ ...client.GetOption) error {
	switch o := o.(type) {
	case *corev1.ConfigMap:
		o.Data = map[string]string{strings.Clone("inference_config.yaml"): strings.Clone(c.content)}
	case *metav1.PartialObjectMetadata:
		if o.Kind != "Secret" {
			return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
		}
	case *corev1.Secret:
	default:
		return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
	}
	o.SetNamespace(strings.Clone(key.Namespace))
	o.SetName(strings.Clone(key.Name))
	o.SetUID(c.uid())
	o.SetResourceVersion(c.version())
	return nil
}

func (c *anyCluster) List(context.Context, client.ObjectList, ...client.ListOption) error { return nil }

func (c *anyCluster) Create(_ context.Context, o client.Object, _ ...client.CreateOption) error {
	o.SetUID(c.uid())
	o.SetResourceVersion(c.version())
	return nil
}

func (c *anyCluster) Apply(_ context.Context, o kruntime.ApplyConfiguration, _ ...client.ApplyOption) error {
	written := o.(interface {
		SetUID(types.UID)
		SetResourceVersion(string)
		SetGeneration(int64)
	})
	written.SetUID(c.uid())
	written.SetResourceVersion(c.version())
	written.SetGeneration(1)
	return nil
}

// noRegistry holds nothing yet.
type noRegistry struct{}

func (noRegistry) Look(context.Context, string, authn.Keychain) (*registry.Tag, error) {
	return nil, nil
}

// heldObjects is how many objects are reachable; after scale.InUse, which collects.
func heldObjects() int64 {
	var m runtime.MemStats
	runtime.ReadMemStats(&m)
	return int64(m.HeapObjects)
}

// BenchmarkHeld prints what is held of each Workspace once passes have brought it to where
// it stays: of a service, and of a run.
func BenchmarkHeld(b *testing.B) {
	const n = 10_000
	for name, of := range map[string]func(testing.TB, *Reconciler, string){"Service": holdService, "Run": holdRun} {
		b.Run(name, func(b *testing.B) {
			cluster := &anyCluster{content: "vllm:\n  max-num-seqs: 16\n"}
			per := func(total int64) float64 { return float64(total) / n }
			for b.Loop() {
				bytes, objects := scale.InUse(), heldObjects()
				r := New(Deps{Client: cluster, Reader: cluster, Registry: noRegistry{}, Clock: func() time.Time { return time.Unix(1e9, 0) }})
				for i := range n {
					of(b, r, fmt.Sprintf("phi-%05d", i))
				}
				all, allObjects := scale.InUse(), heldObjects()
				r.read.of = nil
				rest, restObjects := scale.InUse(), heldObjects()
				runtime.KeepAlive(r)
				b.ReportMetric(per(all-bytes), "B-held/Workspace")
				b.ReportMetric(per(allObjects-objects), "objects-held/Workspace")
				b.ReportMetric(per(all-rest), "B-inputs/Workspace")
				b.ReportMetric(per(allObjects-restObjects), "objects-inputs/Workspace")
			}
		})
	}
}

// heldWorkspace is a Workspace as a cache has it until it has the next version of it.
func heldWorkspace(r *Reconciler, name string) *v1alpha1.Workspace {
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
		Namespace: strings.Clone("models"), Name: name, Generation: 1, UID: r.Client.(*anyCluster).uid(), ResourceVersion: "5",
	}}
	r.isNew(ws)
	return ws
}

func holdService(t testing.TB, r *Reconciler, name string) {
	t.Helper()
	ws := heldWorkspace(r, name)
	ws.Spec.Inference = &v1alpha1.InferenceSpec{Config: name}
	p := &pass{ws: ws, kept: map[string]bool{}}
	p.out.Pods = "sha256:0123456789abcdef0123456789abcdef"
	p.out.Workload = named(t, wantedDeployment, name)
	if err := r.inputs(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, child := range []string{wantedPool, wantedDeployment, wantedService} {
		if _, err := r.applyChild(t.Context(), ws, named(t, child, name)); err != nil {
			t.Fatal(err)
		}
	}
	if err := r.record(t.Context(), p, p.out.Workload); err != nil {
		t.Fatal(err)
	}
}

func holdRun(t testing.TB, r *Reconciler, name string) {
	t.Helper()
	ws := heldWorkspace(r, name)
	ws.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: "registry.example.com/" + name + ":1", PushSecret: "push-" + name}}
	p := &pass{ws: ws, kept: map[string]bool{}}
	p.out.Digest = "sha256:" + strings.Repeat("0123456789abcdef", 4)
	p.out.Workload = &unstructured.Unstructured{Object: map[string]any{"apiVersion": batchv1.SchemeGroupVersion.String(), "kind": "Job"}}
	p.out.Workload.SetName(name + "-0123456789")
	if _, err := r.version(t.Context(), p, "Secret", ws.Spec.Tuning.Output.PushSecret); err != nil {
		t.Fatal(err)
	}
	if err := r.published(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	for _, child := range []*unstructured.Unstructured{named(t, wantedPool, name), p.out.Workload.DeepCopy()} {
		if _, err := r.applyChild(t.Context(), ws, child); err != nil {
			t.Fatal(err)
		}
	}
}

// named is an object under another name.
func named(t testing.TB, text, name string) *unstructured.Unstructured {
	t.Helper()
	content, err := yaml.YAMLToJSON([]byte(text))
	o := &unstructured.Unstructured{}
	if err := errors.Join(err, json.Unmarshal(content, &o.Object)); err != nil {
		t.Fatal(err)
	}
	o.SetName(name)
	return o
}

// BenchmarkIndexed prints what the indexes of a cache hold of each Workspace that has a
// ConfigMap of its own: beside what the cache itself does.
func BenchmarkIndexed(b *testing.B) {
	const n = 10_000
	indexers := toolscache.Indexers{}
	for index := range namedBy {
		keys := bucketsOf(index)
		indexers[index] = func(o any) ([]string, error) { return keys(o.(client.Object)), nil }
	}
	for b.Loop() {
		held, objects := map[bool]int64{}, map[bool]int64{}
		for indexed, by := range map[bool]toolscache.Indexers{false: {}, true: indexers} {
			held[indexed], objects[indexed] = -scale.InUse(), -heldObjects()
			store := toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, by)
			for i := range n {
				w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: fmt.Sprintf("phi-%05d", i)}}
				w.Spec.Inference = &v1alpha1.InferenceSpec{Config: w.Name}
				if err := store.Add(w); err != nil {
					b.Fatal(err)
				}
			}
			held[indexed] += scale.InUse()
			objects[indexed] += heldObjects()
			runtime.KeepAlive(store)
		}
		b.ReportMetric(float64(held[true]-held[false])/n, "B-held/Workspace")
		b.ReportMetric(float64(objects[true]-objects[false])/n, "objects-held/Workspace")
	}
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	toolscache "k8s.io/client-go/tools/cache"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/source"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// shelf is a cache that is always right, in the place of one beside an API server: it
// copies what it gives, unless it is told not to.
type shelf struct {
	client.Client
	mutex   sync.Mutex
	version int // of what was written last; 1 is before everything
	sync    *v1alpha1.RepoSync
	fleet   toolscache.Indexer // of Workspaces
	inputs  map[types.NamespacedName]*metav1.PartialObjectMetadata
	applied int
	gets    int   // of what a RepoSync applies
	refuses error // every Apply
}

// Get implements client.Reader.
func (s *shelf) Get(_ context.Context, key types.NamespacedName, into client.Object, opts ...client.GetOption) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	switch o := into.(type) {
	case *v1alpha1.RepoSync:
		s.sync.DeepCopyInto(o)
		return nil
	}
	s.gets++
	switch o := into.(type) {
	case *v1alpha1.Workspace:
		if w := s.workspace(key); w != nil {
			if *o = *w; !shares((&client.GetOptions{}).ApplyOptions(opts).UnsafeDisableDeepCopy) {
				w.DeepCopyInto(o)
			}
			return nil
		}
	case *metav1.PartialObjectMetadata:
		if m := s.inputs[key]; m != nil {
			m.DeepCopyInto(o)
			return nil
		}
	}
	return apierrors.NewNotFound(schema.GroupResource{}, key.Name)
}

func shares(asked *bool) bool { return asked != nil && *asked }

// List implements client.Reader.
func (s *shelf) List(_ context.Context, list client.ObjectList, opts ...client.ListOption) error {
	all, ok := list.(*v1alpha1.WorkspaceList)
	if !ok {
		return nil
	}
	shared := shares((&client.ListOptions{}).ApplyOptions(opts).UnsafeDisableDeepCopy)
	for _, in := range s.fleet.List() {
		w := in.(*v1alpha1.Workspace)
		if !shared {
			w = w.DeepCopy()
		}
		all.Items = append(all.Items, *w)
	}
	return nil
}

func (s *shelf) workspace(key types.NamespacedName) *v1alpha1.Workspace {
	in, _, _ := s.fleet.GetByKey(key.String())
	w, _ := in.(*v1alpha1.Workspace)
	return w
}

func (s *shelf) put(w *v1alpha1.Workspace) { _ = s.fleet.Add(w) } // it has a name

// watches are the informers of a shelf, of Workspaces alone.
type watches struct {
	cache.Informers
	cache.Informer
	of *shelf
}

// GetInformer implements cache.Informers.
func (w watches) GetInformer(context.Context, client.Object, ...cache.InformerGetOption) (cache.Informer, error) {
	return w, nil
}

// GetIndexer is that of a shared informer.
func (w watches) GetIndexer() toolscache.Indexer { return w.of.fleet }

// Apply implements client.Writer.
func (s *shelf) Apply(_ context.Context, o runtime.ApplyConfiguration, _ ...client.ApplyOption) error {
	s.mutex.Lock()
	defer s.mutex.Unlock()
	u, ok := o.(interface{ UnstructuredContent() map[string]any })
	if !ok {
		return fmt.Errorf("%T is applied", o)
	}
	if s.applied++; s.refuses != nil {
		return s.refuses
	}
	s.version++
	object := &unstructured.Unstructured{Object: u.UnstructuredContent()}
	object.SetResourceVersion(strconv.Itoa(s.version))
	object.SetUID(types.UID(object.GetKind() + object.GetName()))
	key := client.ObjectKeyFromObject(object)
	if object.GetKind() != v1alpha1.WorkspaceKind {
		s.inputs[key] = &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, UID: object.GetUID(), ResourceVersion: object.GetResourceVersion(),
			Labels: object.GetLabels(), Annotations: object.GetAnnotations(),
		}}
		return nil
	}
	object.SetGeneration(int64(s.version))
	w := &v1alpha1.Workspace{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, w); err != nil {
		return err
	}
	w.Status.ObservedGeneration = w.Generation
	condition.Ready(w, v1alpha1.ReasonSucceeded, "The model answers")
	s.put(w)
	return nil
}

// Status implements client.StatusClient.
func (s *shelf) Status() client.SubResourceWriter { return shelfStatus{of: s} }

type shelfStatus struct {
	client.SubResourceWriter
	of *shelf
}

// Patch implements client.SubResourceWriter.
func (s shelfStatus) Patch(_ context.Context, o client.Object, patch client.Patch, _ ...client.SubResourcePatchOption) error {
	if _, err := patch.Data(o); err != nil {
		return err
	}
	s.of.sync = o.(*v1alpha1.RepoSync).DeepCopy()
	return nil
}

// shelved is a RepoSync that has applied many Workspaces, each with a ConfigMap, all of
// them ready.
func shelved(b testing.TB, n int) (*Reconciler, *shelf) {
	b.Helper()
	s := &shelf{version: 1, sync: team(), fleet: toolscache.NewIndexer(toolscache.MetaNamespaceKeyFunc, nil), inputs: map[types.NamespacedName]*metav1.PartialObjectMetadata{}}
	s.sync.Spec.Interval.Duration = time.Hour
	s.sync.Spec.Source.Git = &v1alpha1.GitSource{URL: "https://example.com/models.git"}
	s.sync.Finalizers, s.sync.ResourceVersion = []string{repolayout.Finalizer}, "1"
	r := New(Deps{Client: s, Reader: s, Events: &events.FakeRecorder{}, Inventories: &inventory.Memory{}, Clock: time.Now})
	r.held = watches{of: s}
	wanted := assembleFleet(b, n)
	wanted.revision = "main@sha1:" + testHash
	r.kept.Store(s.sync.UID, &kept{
		lookedAt: time.Now(), commit: &source.Commit{Revision: wanted.revision, Hash: testHash},
		judged: &judgement{revision: wanted.revision}, built: wanted, applied: map[string]apply.Mark{},
	})
	r.mustReconcile(b)
	return r, s
}

func (r *Reconciler) mustReconcile(b testing.TB) {
	b.Helper()
	if _, err := r.Reconcile(b.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(team())}); err != nil {
		b.Fatal(err)
	}
}

// assembleFleet takes one Workspace through the building of a unit, and names the copies.
func assembleFleet(b testing.TB, n int) built {
	b.Helper()
	one := assembleTree(b, team(), fstest.MapFS{
		"a.yaml": workspaceFile("phi"), "b.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: phi}\ndata: {a: '1'}\n")},
	})
	var all built
	for i := range n {
		for _, w := range one.wanted {
			o, another := w.object(), *w
			o.SetName(fmt.Sprintf("model-%05d", i))
			another.entry = inventory.Entry(o, fmt.Sprintf("workspaces/model-%05d", i))
			another.pack(o)
			all.wanted = append(all.wanted, &another)
		}
	}
	slices.SortFunc(all.wanted, func(x, y *wanted) int { return strings.Compare(x.entry.ID, y.entry.ID) })
	return all
}

// BenchmarkPass is a pass that the news of one Workspace brings, which is one of many:
// with each the status of a Workspace has changed, and nothing that Git says. Or events
// spoke of one object, or everything is compared, as at the end of an interval.
func BenchmarkPass(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		for name, id := range map[string]string{"News": "-", "Stirred": "models_model-00007_espalier.dev_Workspace", "Whole": ""} {
			b.Run(fmt.Sprintf("%s/%d", name, n), func(b *testing.B) { benchmarkPass(b, n, id) })
		}
	}
}

func benchmarkPass(b *testing.B, n int, stirs string) {
	b.Helper()
	r, s := shelved(b, n)
	if s.applied != 2*n {
		b.Fatalf("%d objects are applied", s.applied)
	}
	r.mustReconcile(b) // what was written is to be seen first
	key := types.NamespacedName{Namespace: "models", Name: "model-00007"}
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		w := s.workspace(key).DeepCopy()
		if condition.Ready(w, v1alpha1.ReasonSucceeded, "The model answers"); i%2 == 0 {
			condition.Progressing(w, v1alpha1.ReasonWaitingForPods, "0 of 1 pods is ready")
		}
		s.version++
		w.ResourceVersion = strconv.Itoa(s.version)
		s.put(w)
		if stirs != "-" {
			r.stirred.add(client.ObjectKeyFromObject(s.sync), stirs)
		}
		r.mustReconcile(b)
	}
	if s.applied != 2*n {
		b.Errorf("%d objects were applied again", s.applied-2*n)
	}
}

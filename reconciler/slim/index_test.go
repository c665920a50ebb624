// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// running is a cache of an API server that has some objects of a kind, and where nothing happens.
func running(t *testing.T, kind string, list client.ObjectList, prepare func(cache.Cache)) cache.Cache {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch query := r.URL.Query(); {
		case query.Get("sendInitialEvents") != "":
			w.WriteHeader(http.StatusUnprocessableEntity)
			_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
		case query.Get("watch") != "":
			w.(http.Flusher).Flush()
			<-r.Context().Done()
		default:
			_ = json.NewEncoder(w).Encode(list)
		}
	}))
	t.Cleanup(server.Close)
	list.SetResourceVersion("1")
	list.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind + "List"))
	scheme, mapper := runtime.NewScheme(), meta.NewDefaultRESTMapper(nil)
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mapper.Add(v1alpha1.GroupVersion.WithKind(kind), meta.RESTScopeNamespace)
	held, err := NewCache(&rest.Config{Host: server.URL}, cache.Options{Scheme: scheme, Mapper: mapper, DefaultTransform: Transform})
	if err != nil {
		t.Fatal(err)
	}
	prepare(held)
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- held.Start(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
	})
	if !held.WaitForCacheSync(ctx) {
		t.Fatal("the cache was not filled")
	}
	return held
}

func threeWorkspaces() *v1alpha1.WorkspaceList {
	all := &v1alpha1.WorkspaceList{}
	for _, key := range []client.ObjectKey{{Namespace: "models", Name: "phi"}, {Namespace: "models", Name: "qwen"}, {Namespace: "research", Name: "phi"}} {
		all.Items = append(all.Items, v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
			Namespace: key.Namespace, Name: key.Name, ResourceVersion: "1", Labels: map[string]string{"of": key.Name},
		}})
	}
	return all
}

// TestIndex: a real cache finds by what Index has made of it, in the one scope that was
// named and not in the other.
func TestIndex(t *testing.T) {
	held := running(t, v1alpha1.WorkspaceKind, threeWorkspaces(), func(held cache.Cache) {
		names := func(o client.Object) []string { return []string{o.GetName()} }
		for field, scope := range map[string]Scope{"within": WithinNamespace, "everywhere": Everywhere} {
			if err := Index(t.Context(), held, &v1alpha1.Workspace{}, field, scope, names); err != nil {
				t.Fatal(err)
			}
		}
	})
	for name, c := range map[string]struct {
		reason string
		opts   []client.ListOption
		want   []string
	}{
		"Within":            {"Of its namespace.", []client.ListOption{client.InNamespace("models"), client.MatchingFields{"within": "phi"}}, []string{"models/phi"}},
		"WithinNone":        {"There is none of that name.", []client.ListOption{client.InNamespace("research"), client.MatchingFields{"within": "qwen"}}, nil},
		"WithinAsked":       {"It is not kept for all namespaces.", []client.ListOption{client.MatchingFields{"within": "phi"}}, nil},
		"Everywhere":        {"Of all.", []client.ListOption{client.MatchingFields{"everywhere": "phi"}}, []string{"models/phi", "research/phi"}},
		"EverywhereOfOne":   {"Where there is one.", []client.ListOption{client.MatchingFields{"everywhere": "qwen"}}, []string{"models/qwen"}},
		"EverywhereOfAsked": {"It is not kept for one namespace.", []client.ListOption{client.InNamespace("models"), client.MatchingFields{"everywhere": "phi"}}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			var list v1alpha1.WorkspaceList
			if err := held.List(t.Context(), &list, c.opts...); err != nil {
				t.Fatal(err)
			}
			var got []string
			for i := range list.Items {
				got = append(got, client.ObjectKeyFromObject(&list.Items[i]).String())
			}
			slices.Sort(got)
			if d := cmp.Diff(c.want, got); d != "" {
				t.Errorf("%s\n(-want +got):\n%s", c.reason, d)
			}
		})
	}
}

// TestNewCache: a cache holds node pools packed, and hands them out whole to whoever asks,
// as it gives them to an index.
func TestNewCache(t *testing.T) {
	all := &v1alpha1.GPUNodePoolList{}
	for i := range 3 {
		all.Items = append(all.Items, *poolOf(i).(*v1alpha1.GPUNodePool))
	}
	want, told := all.DeepCopy(), make(chan any, len(all.Items))
	held := running(t, v1alpha1.GPUNodePoolKind, all, func(held cache.Cache) {
		racks := func(o client.Object) []string { return []string{o.(*v1alpha1.GPUNodePool).Spec.NodeLabels["rack"]} }
		if err := Index(t.Context(), held, &v1alpha1.GPUNodePool{}, "rack", Everywhere, racks); err != nil {
			t.Fatal(err)
		}
		informer, err := held.GetInformer(t.Context(), &v1alpha1.GPUNodePool{}, cache.BlockUntilSynced(false))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := informer.AddEventHandler(toolscache.ResourceEventHandlerFuncs{AddFunc: func(o any) { told <- o }}); err != nil {
			t.Fatal(err)
		}
	})
	for range want.Items {
		if o, ok := (<-told).(client.Object); !ok || metav1.GetControllerOf(o) == nil || Whole(o).(*v1alpha1.GPUNodePool).Status.Phase != v1alpha1.PhaseReady {
			t.Errorf("who is told of events does not know whose it is: %v", o)
		}
	}
	var of v1alpha1.GPUNodePoolList
	for name, opts := range map[string][]client.ListOption{
		"Plain": nil, "NoCopies": {client.UnsafeDisableDeepCopy}, "Indexed": {client.MatchingFields{"rack": "r0000"}, client.UnsafeDisableDeepCopy},
		"Labelled": {client.HasLabels{repolayout.LabelWorkspace}, client.InNamespace("models"), client.UnsafeDisableDeepCopy},
	} {
		if err := held.List(t.Context(), &of, opts...); err != nil || len(of.Items) != len(want.Items) {
			t.Errorf("%s: %d were found: %v", name, len(of.Items), err)
		}
	}
	if err := held.List(t.Context(), &of, client.MatchingLabels{repolayout.LabelWorkspace: "w00002"}); err != nil || len(of.Items) != 1 {
		t.Errorf("%d have the label of one: %v", len(of.Items), err)
	}
	for i := range want.Items {
		is := &v1alpha1.GPUNodePool{}
		if err := held.Get(t.Context(), client.ObjectKeyFromObject(&want.Items[i]), is, client.UnsafeDisableDeepCopy); err != nil {
			t.Fatal(err)
		}
		want.Items[i].ManagedFields = nil
		if !equality.Semantic.DeepEqual(is, &want.Items[i]) {
			t.Errorf("it is another:\n%v\n%v", is, want.Items[i])
		}
	}
}

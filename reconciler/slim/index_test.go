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
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// workspaces is an API server that has some Workspaces, and where nothing happens.
func workspaces(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/json")
	switch query := r.URL.Query(); {
	case query.Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		_ = json.NewEncoder(w).Encode(metav1.Status{Status: metav1.StatusFailure, Reason: metav1.StatusReasonInvalid, Code: http.StatusUnprocessableEntity})
		return
	case query.Get("watch") != "":
		w.(http.Flusher).Flush()
		<-r.Context().Done()
		return
	}
	list := v1alpha1.WorkspaceList{TypeMeta: metav1.TypeMeta{APIVersion: v1alpha1.GroupVersion.String(), Kind: "WorkspaceList"}, ListMeta: metav1.ListMeta{ResourceVersion: "1"}}
	for _, key := range []client.ObjectKey{{Namespace: "models", Name: "phi"}, {Namespace: "models", Name: "qwen"}, {Namespace: "research", Name: "phi"}} {
		list.Items = append(list.Items, v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: key.Namespace, Name: key.Name, ResourceVersion: "1", Labels: map[string]string{"of": key.Name}}})
	}
	_ = json.NewEncoder(w).Encode(list)
}

// TestIndex: a real cache finds by what Index has made of it, in the one scope that was
// named and not in the other.
func TestIndex(t *testing.T) {
	held := filled(t, func(t *testing.T, held cache.Cache) {
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

// filled is a real cache of these Workspaces, prepared before it is filled.
func filled(t *testing.T, prepare func(*testing.T, cache.Cache)) cache.Cache {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(workspaces))
	t.Cleanup(server.Close)
	scheme, mapper := runtime.NewScheme(), meta.NewDefaultRESTMapper(nil)
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	mapper.Add(v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind), meta.RESTScopeNamespace)
	held, err := cache.New(&rest.Config{Host: server.URL}, cache.Options{Scheme: scheme, Mapper: mapper})
	if err != nil {
		t.Fatal(err)
	}
	prepare(t, held)
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

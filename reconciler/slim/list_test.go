// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestList: what is listed is what the cache holds, itself and not a copy.
func TestList(t *testing.T) {
	held := running(t, v1alpha1.WorkspaceKind, threeWorkspaces(), func(cache.Cache) {})
	for name, c := range map[string]struct {
		reason string
		opts   []client.ListOption
		want   []string
	}{
		"All":       {"Of all namespaces.", nil, []string{"models/phi", "models/qwen", "research/phi"}},
		"Namespace": {"Of one.", []client.ListOption{client.InNamespace("models")}, []string{"models/phi", "models/qwen"}},
		"Labels":    {"With labels.", []client.ListOption{client.MatchingLabels{"of": "phi"}}, []string{"models/phi", "research/phi"}},
		"Both":      {"With labels in one namespace.", []client.ListOption{client.InNamespace("models"), client.MatchingLabels{"of": "phi"}}, []string{"models/phi"}},
		"None":      {"There is none.", []client.ListOption{client.InNamespace("none")}, nil},
	} {
		list, err := List(t.Context(), held, &v1alpha1.Workspace{}, c.opts...)
		if err != nil {
			t.Fatal(err)
		}
		var got []string
		for _, w := range list {
			got = append(got, client.ObjectKeyFromObject(w).String())
		}
		if slices.Sort(got); !cmp.Equal(c.want, got) {
			t.Errorf("%s: %s\ngot %v, want %v", name, c.reason, got, c.want)
		}
	}
	informer, err := held.GetInformer(t.Context(), &v1alpha1.Workspace{})
	if err != nil {
		t.Fatal(err)
	}
	list, err := List(t.Context(), held, &v1alpha1.Workspace{}, client.InNamespace("research"))
	if err != nil || len(list) != 1 {
		t.Fatal(list, err)
	}
	in, _, err := informer.(interface{ GetIndexer() toolscache.Indexer }).GetIndexer().GetByKey("research/phi")
	if err != nil || in != any(list[0]) {
		t.Errorf("a copy was listed (%v)", err)
	}
}

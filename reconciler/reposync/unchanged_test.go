// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"slices"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/apply"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestUnchangedIsNotWritten: a pass writes what differs from Git, and nothing else,
// whether this life of the controller applied it or the one before.
func TestUnchangedIsNotWritten(t *testing.T) {
	configMap := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "settings"}}
	workspace := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi"}}
	patch := func(o client.Object, text string) func(context.Context, client.Client) error {
		return func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, o.DeepCopyObject().(client.Object), client.RawPatch("application/merge-patch+json", []byte(text)))
		}
	}
	for name, c := range map[string]struct {
		reason string
		change func(context.Context, client.Client) error
		want   []string // what is applied then
	}{
		"Nothing": {reason: "A commit that touches nothing writes nothing."},
		"InputDeleted": {
			"What is gone comes back.",
			func(ctx context.Context, c client.Client) error {
				return c.Delete(ctx, configMap.DeepCopy())
			},
			[]string{"settings"},
		},
		"InputChanged":     {"A value that somebody changed is written, or is a conflict.", patch(configMap, `{"data":{"a":"2"}}`), []string{"settings"}},
		"InputLabelGone":   {"Without its labels nobody would prune it.", patch(configMap, `{"metadata":{"labels":{"`+repolayout.LabelSyncName+`":null}}}`), []string{"settings"}},
		"WorkspaceChanged": {"So it is with a Workspace.", patch(workspace, `{"spec":{"inference":{"preset":"phi-4"}}}`), []string{"phi"}},
		"WorkspaceLabelGone": {
			"Labels have no generation.",
			patch(workspace, `{"metadata":{"labels":{"`+repolayout.LabelSyncName+`":null}}}`), []string{"phi"},
		},
	} {
		for _, restarted := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				var written []string
				r := newReconciler(t, interceptor.Funcs{
					Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
						written = append(written, o.(interface{ GetName() string }).GetName())
						return c.Apply(ctx, o, opts...)
					},
				})
				p := passOf(team(), assembleTree(t, team(), fstest.MapFS{
					"a.yaml": workspaceFile("phi"),
					"b.yaml": {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\ndata: {a: '1'}\n")},
				}))
				if err := r.applyAll(t.Context(), p.in(r)); err != nil {
					t.Fatal(err)
				}
				if slices.Sort(written); !cmp.Equal(written, []string{"phi", "settings"}) {
					t.Fatalf("the first pass applied %v", written)
				}
				if c.change != nil {
					if err := c.change(t.Context(), r.Client); err != nil {
						t.Fatal(err)
					}
				}
				written, p.looked = nil, true
				if restarted {
					p.kept.applied = map[string]apply.Mark{}
				}
				if err := r.applyAll(t.Context(), p.in(r)); err != nil {
					t.Fatal(err)
				}
				if !slices.Equal(written, c.want) {
					t.Errorf("%s\nrestarted %v: applied %v, want %v", c.reason, restarted, written, c.want)
				}
			})
		}
	}
}

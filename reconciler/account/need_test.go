// SPDX-License-Identifier: Apache-2.0

package account_test

import (
	"os"
	"path/filepath"
	"slices"
	"testing"

	"golang.org/x/tools/txtar"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/reconciler/account"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestText(t *testing.T) {
	deployment, pool := schema.GroupVersionKind{Group: "apps", Kind: "Deployment"}, schema.GroupVersionKind{Group: "espalier.dev", Kind: "GPUNodePool"}
	needs := slices.Concat(account.ToApply(pool, "team-b"), account.ToApply(deployment, "team-a"), account.ToApply(deployment, "team-a"),
		[]account.Need{account.To(account.Delete, schema.GroupVersionKind{Kind: "ConfigMap"}, "team-a")})
	const want = "delete configmaps in namespace team-a; create, patch deployments.apps in namespace team-a; create, patch gpunodepools.espalier.dev in namespace team-b"
	if got := account.Text(needs); got != want {
		t.Errorf("each once, in order:\ngot  %s\nwant %s", got, want)
	}
}

// golden is what a Workspace renders to, by package render's golden files.
type golden struct {
	workspace *v1alpha1.Workspace
	kinds     []schema.GroupVersionKind
}

func goldens(t *testing.T) map[string]golden {
	t.Helper()
	files, err := filepath.Glob("../../render/testdata/*.txtar")
	if err != nil || len(files) < 20 {
		t.Fatalf("finding the golden files of package render: %d (%v)", len(files), err)
	}
	all := map[string]golden{}
	for _, file := range files {
		archive, err := txtar.ParseFile(file)
		if err != nil {
			t.Fatal(err)
		}
		g := golden{}
		for _, f := range archive.Files {
			switch f.Name {
			case "workspace.yaml":
				d, findings := repolayout.Decode(f.Data, nil)
				if d.Workspace == nil {
					t.Fatalf("%s: %v", file, findings)
				}
				g.workspace = d.Workspace
			case "want.yaml":
				g.kinds = kindsIn(t, f.Data)
			}
		}
		all[filepath.Base(file)] = g
	}
	return all
}

func kindsIn(t *testing.T, stream []byte) []schema.GroupVersionKind {
	t.Helper()
	var kinds []schema.GroupVersionKind
	for _, doc := range repolayout.Split("want.yaml", stream) {
		meta := metav1.TypeMeta{}
		if err := yaml.Unmarshal(doc.Text, &meta); err != nil {
			t.Fatal(err)
		}
		kinds = append(kinds, meta.GroupVersionKind())
	}
	return kinds
}

// TestChildren: what is asked for before anything is rendered is needed indeed. A
// service needs Deployments even where today's nodes make StatefulSets of it.
func TestChildren(t *testing.T) {
	for name, g := range goldens(t) {
		ns := g.workspace.Namespace
		rendered := account.ToApply(schema.GroupVersionKind{Group: "apps", Version: "v1", Kind: "Deployment"}, ns)
		rendered = append(rendered, account.Revisions(ns))
		for _, kind := range g.kinds {
			rendered = append(rendered, account.ToApply(kind, ns)...)
		}
		for _, n := range account.Children(g.workspace) {
			if !slices.Contains(rendered, n) {
				t.Errorf("%s: %s is asked for, and nothing of the kind is rendered", name, account.Text([]account.Need{n}))
			}
		}
		if len(account.Children(g.workspace)) < 6 {
			t.Errorf("%s: only %s is asked for", name, account.Text(account.Children(g.workspace)))
		}
	}
}

// TestTeamRole: the role that docs/tenants.md binds has all that is rendered.
func TestTeamRole(t *testing.T) {
	text, err := os.ReadFile("../../deploy/rbac/tenants.yaml")
	if err != nil {
		t.Fatal(err)
	}
	role := rbacv1.ClusterRole{}
	for _, doc := range repolayout.Split("tenants.yaml", text) {
		if err := yaml.UnmarshalStrict(doc.Text, &role); err != nil {
			t.Fatal(err)
		}
		if role.Name == "espalier-team" {
			break
		}
		role = rbacv1.ClusterRole{}
	}
	has := func(n account.Need) bool {
		return slices.ContainsFunc(role.Rules, func(r rbacv1.PolicyRule) bool {
			return slices.Contains(r.APIGroups, n.Group) && slices.Contains(r.Resources, n.Resource) && slices.Contains(r.Verbs, n.Verb)
		})
	}
	for name, g := range goldens(t) {
		needs := account.Children(g.workspace)
		for _, kind := range append(g.kinds, v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind)) {
			needs = append(needs, append(account.ToApply(kind, ""), account.To(account.Delete, kind, ""))...)
		}
		for _, n := range account.Sorted(needs) {
			if !has(n) {
				t.Errorf("%s: the ClusterRole espalier-team may not %s", name, account.Text([]account.Need{n}))
			}
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const good = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: NAME
spec:
  resource:
    instanceType: Standard_NC6s_v3
  inference:
    preset: phi-4-mini-instruct
`

func workspaceFile(name string) *fstest.MapFile {
	return &fstest.MapFile{Data: []byte(strings.ReplaceAll(good, "NAME", name))}
}

func assembleTree(t testing.TB, sync *v1alpha1.RepoSync, tree fstest.MapFS) built {
	t.Helper()
	units, err := build.Build(t.Context(), tree, ".", build.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	return new(assembled).assemble(sync, "", "main@sha1:0123456789012345678901234567890123456789", units)
}

func TestAssemble(t *testing.T) {
	sync := func(change func(*v1alpha1.RepoSync)) *v1alpha1.RepoSync {
		s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team"}}
		if change != nil {
			change(s)
		}
		return s
	}
	for name, c := range map[string]struct {
		reason string
		sync   *v1alpha1.RepoSync
		tree   fstest.MapFS
		wanted []string // IDs
		codes  []string // of error findings, with file
	}{
		"BrokenBesideGood": {
			reason: "A document that does not decode is reported alone; the other proceeds.",
			sync:   sync(nil),
			tree: fstest.MapFS{
				"good.yaml":   workspaceFile("good"),
				"broken.yaml": {Data: []byte(strings.ReplaceAll(good, "preset: phi", "presett: phi"))},
			},
			wanted: []string{"models_good_espalier.dev_Workspace"},
			codes:  []string{"broken.yaml UnknownField"},
		},
		"TwoOfOneName": {
			reason: "Nobody can say which of two was meant, so neither is applied.",
			sync:   sync(nil),
			tree:   fstest.MapFS{"a.yaml": workspaceFile("twin"), "b.yaml": workspaceFile("twin"), "c.yaml": workspaceFile("single")},
			wanted: []string{"models_single_espalier.dev_Workspace"},
			codes:  []string{"b.yaml NameCollision"},
		},
		"OtherNamespace": {
			reason: "A RepoSync writes to one namespace; a tenant cannot reach another.",
			sync:   sync(nil),
			tree:   fstest.MapFS{"a.yaml": {Data: []byte(strings.Replace(good, "name: NAME", "name: a\n  namespace: kube-system", 1))}},
			codes:  []string{"a.yaml NamespaceNotAllowed"},
		},
		"TargetNamespace": {
			reason: "With targetNamespace that namespace is the one.",
			sync:   sync(func(s *v1alpha1.RepoSync) { s.Spec.TargetNamespace = "serving" }),
			tree:   fstest.MapFS{"a.yaml": workspaceFile("a")},
			wanted: []string{"serving_a_espalier.dev_Workspace"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := assembleTree(t, c.sync, c.tree)
			var wanted, codes []string
			for _, w := range b.wanted {
				wanted = append(wanted, w.entry.ID)
			}
			for _, f := range errorsOf(b.findings) {
				if f.Line == 0 {
					t.Errorf("finding without a line: %+v", f)
				}
				if code := f.File + " " + f.Code; len(codes) == 0 || codes[len(codes)-1] != code {
					codes = append(codes, code)
				}
			}
			if diff := cmp.Diff(c.wanted, wanted); diff != "" {
				t.Errorf("%s\nwanted -want +got:\n%s", c.reason, diff)
			}
			for _, code := range c.codes {
				if !strings.Contains(strings.Join(codes, "\n"), code) {
					t.Errorf("%s\nno finding %q in %q", c.reason, code, codes)
				}
			}
			if len(c.codes) == 0 && len(codes) > 0 {
				t.Errorf("%s\nunexpected findings %q", c.reason, codes)
			}
		})
	}
}

func TestAssembleMarksWhereItComesFrom(t *testing.T) {
	sync := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team"}}
	sync.Spec.Substitutions = map[string]string{"Standard_NC6s_v3": "Standard_NC4as_T4_v3"}
	b := assembleTree(t, sync, fstest.MapFS{"a.yaml": workspaceFile("a")})
	if len(b.wanted) != 1 {
		t.Fatalf("findings: %v", b.findings)
	}
	o := b.wanted[0].object()
	want := map[string]string{
		repolayout.AnnotationSource:      "a.yaml:1",
		repolayout.AnnotationSubstituted: "Standard_NC6s_v3=Standard_NC4as_T4_v3",
	}
	for key, value := range want {
		if got := o.GetAnnotations()[key]; got != value {
			t.Errorf("annotation %s = %q, want %q", key, got, value)
		}
	}
	again := assembleTree(t, sync, fstest.MapFS{"a.yaml": workspaceFile("a"), "unrelated.md": {Data: []byte("x")}})
	if diff := cmp.Diff(o.Object, again.wanted[0].object().Object); diff != "" {
		t.Errorf("a commit that changes something else changes this object:\n%s", diff)
	}
}

// TestAssembleKeepsUnits: a unit that a commit has not touched is not decoded
// again, and what one RepoSync makes of a document reaches no other.
func TestAssembleKeepsUnits(t *testing.T) {
	cache := build.NewCache(build.CacheLimits{})
	units := func(tree fstest.MapFS) []build.Unit {
		t.Helper()
		units, err := cache.Build(t.Context(), tree, ".", build.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		return units
	}
	moving := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "moving"}}
	moving.Spec.Substitutions = map[string]string{"Standard_NC6s_v3": "Standard_NC4as_T4_v3"}
	tree := fstest.MapFS{"a.yaml": workspaceFile("a"), "b.yaml": workspaceFile("b")}
	var kept assembled
	first := kept.assemble(moving, "", "1", units(tree))
	tree["b.yaml"] = workspaceFile("other")
	second := kept.assemble(moving, "", "2", units(tree))
	if len(second.wanted) != 2 || first.wanted[0] != second.wanted[0] || first.wanted[1] == second.wanted[1] {
		t.Errorf("a is the same object again, and b another: %v, %v", first.wanted, second.wanted)
	}
	staying := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "other", Name: "staying"}}
	b := new(assembled).assemble(staying, "", "2", units(tree))
	fresh := assembleTree(t, staying, tree)
	for i := range fresh.wanted {
		if diff := cmp.Diff(fresh.wanted[i].object().Object, b.wanted[i].object().Object); diff != "" {
			t.Errorf("another RepoSync's substitutions are in a shared document (-fresh +cache):\n%s", diff)
		}
	}
}

// A status that is read back is the same: what mends a finding is not in it.
func TestInStatus(t *testing.T) {
	with := []v1alpha1.Finding{{Code: "A", Fix: v1alpha1.Fix{Old: "a", New: "b"}}, {Code: "B"}}
	if diff := cmp.Diff([]v1alpha1.Finding{{Code: "A"}, {Code: "B"}}, inStatus(with)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if with[0].Fix.None() {
		t.Error("the finding itself lost its fix")
	}
}

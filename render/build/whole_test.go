// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"fmt"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// TestUnitsEqualWhole compares building folder by folder with building the
// root, which one more setting without effect forces.
func TestUnitsEqualWhole(t *testing.T) {
	split := buildTree(t, tree(rootOfTwo+unitA+unitB), "", build.Limits{})
	whole := buildTree(t, tree(rootOfTwo+"generatorOptions: {}\n"+unitA+unitB), "", build.Limits{})
	if len(split) != 2 || len(whole) != 1 {
		t.Fatalf("%d and %d units, want 2 and 1", len(split), len(whole))
	}
	if diff := cmp.Diff(bytesOf(whole), bytesOf(split)); diff != "" {
		t.Errorf("folder by folder is not the whole (-whole +folders):\n%s", diff)
	}
}

// TestUnitsEqualWholeOfRandomTrees: where the whole builds, the units give the
// same bytes in the same order, or say which name they do not follow.
func TestUnitsEqualWholeOfRandomTrees(t *testing.T) {
	compared, linked := 0, 0
	for seed := range uint64(60) {
		r := newRepository(seed, true)
		list := r.some(unitFolders...)
		root := "resources: [" + strings.Join(list, ", ") + "]\n"
		for name := range r.files {
			if !strings.Contains(name, "/") {
				delete(r.files, name)
			}
		}
		r.put("kustomization.yaml", root)
		split := buildTree(t, r.tree(), "", build.Limits{})
		r.put("kustomization.yaml", root+"generatorOptions: {}\n")
		whole := buildTree(t, r.tree(), "", build.Limits{})
		if len(whole) != 1 || len(whole[0].Findings) > 0 || len(list) < 2 {
			continue // two make one object
		}
		if strings.Contains(outline(split), build.NameElsewhere) {
			linked++
			continue
		}
		compared++
		if diff := cmp.Diff(bytesOf(whole), bytesOf(split)); diff != "" {
			t.Errorf("seed %d: folder by folder is not the whole (-whole +folders):\n%s\n%v", seed, diff, r.files)
		}
	}
	t.Logf("compared %d, with names that are not followed %d", compared, linked)
	if compared < 10 || linked < 1 {
		t.Errorf("only %d trees were compared, %d with names that are not followed", compared, linked)
	}
}

// TestWhatIsAUnit: a root is built a folder at a time only when that gives what
// building it gives.
func TestWhatIsAUnit(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		root   string
		want   string // paths of the units
	}{
		"OnlyFolders":         {"it lists folders and nothing else", "resources: [a, b]\n", "a b"},
		"Order":               {"units are in the order of the list, not of their names", "resources: [b, a]\n", "b a"},
		"Nested":              {"a folder that lists folders is one unit", "resources: [deep]\n", "deep"},
		"WithMetadata":        {"metadata has no effect", "metadata: {name: root}\nresources: [a, b]\n", "a b"},
		"BuiltInConfig":       {"what is built in has no effect", "configurations: [kustomize/names.yaml]\nopenapi: {path: kustomize/merge-keys.yaml}\nresources: [a, b]\n", "a b"},
		"OtherConfig":         {"another configuration reaches into every folder", "configurations: [other.yaml]\nresources: [a, b]\n", "."},
		"Labels":              {"labels reach into every folder", "labels: [{pairs: {x: y}}]\nresources: [a, b]\n", "."},
		"CommonAnnotations":   {"annotations as well", "commonAnnotations: {x: y}\nresources: [a, b]\n", "."},
		"NamePrefix":          {"prefixes as well", "namePrefix: x-\nresources: [a, b]\n", "."},
		"Images":              {"and images", "images: [{name: x, newTag: y}]\nresources: [a, b]\n", "."},
		"SortOptions":         {"another order is the root's", "sortOptions: {order: legacy}\nresources: [a, b]\n", "."},
		"BuildMetadata":       {"annotations of the build are the root's", "buildMetadata: [managedByLabel]\nresources: [a, b]\n", "."},
		"Generator":           {"an object of its own", "configMapGenerator: [{name: x, literals: [a=b]}]\nresources: [a, b]\n", "."},
		"AFile":               {"a file of its own", "resources: [a, c.yaml]\n", "."},
		"Bases":               {"the deprecated field goes behind resources", "bases: [a]\nresources: [b]\n", "."},
		"AComponent":          {"a component at the root acts on all", "components: [part]\nresources: [a, b]\n", "."},
		"AnotherVersion":      {"Kustomize refuses a version it does not know", "apiVersion: example.com/v1\nresources: [a, b]\n", "."},
		"ByAnchor":            {"an alias is followed by the whole build", "metadata: {name: &x a}\nresources: [*x]\n", "."},
		"OneFolderOfAnother":  {"a folder within a listed one is a unit as well", "resources: [deep, deep/d]\n", "deep deep/d"},
		"EmptyResources":      {"nothing is listed", "resources: []\n", "."},
		"KindOfComponent":     {"a component cannot be a root", "kind: Component\nresources: [a]\n", "."},
		"FieldInAnotherCase":  {"which a reviewer would not find", "Resources: [a]\n", "."},
		"TwoListsOfResources": {"of which one would be lost", "resources: [a]\nresources: [b]\n", "."},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{
				"kustomization.yaml":        {Data: []byte(c.root)},
				"kustomize/names.yaml":      {Data: config.Names()},
				"kustomize/merge-keys.yaml": {Data: config.Schema()},
				"other.yaml":                {Data: []byte("nameReference: []\n")},
				"c.yaml":                    {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")},
				"part/kustomization.yaml": {Data: []byte(
					"apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {x: y}}]\n")},
				"deep/kustomization.yaml": {Data: []byte("resources: [d]\n")},
			}
			for _, unit := range unitFolders {
				files[unit+"/kustomization.yaml"] = &fstest.MapFile{Data: []byte("resources: [c.yaml]\n")}
				files[unit+"/c.yaml"] = &fstest.MapFile{Data: fmt.Appendf(nil, "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\n", strings.ReplaceAll(unit, "/", "-"))}
			}
			var paths []string
			for _, u := range buildTree(t, files, "", build.Limits{}) {
				paths = append(paths, u.Path)
			}
			if got := strings.Join(paths, " "); got != c.want {
				t.Errorf("%s: units %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// TestNameElsewhere: a build of the whole would follow a name into another
// folder; units do not, and say so.
func TestNameElsewhere(t *testing.T) {
	const shared = "-- shared/kustomization.yaml --\nconfigMapGenerator: [{name: training, literals: [a=b]}]\n"
	workspace := strings.ReplaceAll(unitA, "config: params", "config: training")
	withOwn := strings.Replace(workspace, "[workspace.yaml]", "[workspace.yaml, own.yaml]", 1) + "-- a/own.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: training}\n"
	const root = "-- kustomization.yaml --\nresources: [a, shared]\n"
	for name, c := range map[string]struct{ reason, archive, want string }{
		"AnotherNamespace": {"names are followed within a namespace only", root + workspace + shared, ""},
		"Followed":         {"the suffix would reach the field", root + workspace + strings.Replace(shared, "configMap", "namespace: team-a\nconfigMap", 1), "a/workspace.yaml:13"},
		"NotChanged":       {"a name that is kept needs no following", root + workspace + strings.Replace(shared, "configMap", "namespace: team-a\ngeneratorOptions: {disableNameSuffixHash: true}\nconfigMap", 1), ""},
		"OwnName":          {"where the whole build would leave an object of the folder for another's of that name", root + withOwn + strings.Replace(shared, "configMap", "namespace: team-a\nconfigMap", 1), ""},
		"OfTheSameFolder":  {"a folder's own object comes first", root + unitA + strings.ReplaceAll(shared, "training", "params"), ""},
	} {
		t.Run(name, func(t *testing.T) {
			got := ""
			for _, u := range buildTree(t, tree(c.archive), "", build.Limits{}) {
				for _, f := range u.Findings {
					if f.Code != build.NameElsewhere || u.Path != "a" || len(u.Objects()) > 0 {
						t.Errorf("unexpected %+v", f)
					}
					t.Log(f.Message)
					got += fmt.Sprintf("%s:%d", f.File, f.Line)
				}
			}
			if got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"fmt"
	"math/rand/v2"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
)

// compareDirect builds a tree both ways with Kustomize, and returns how many
// units were built directly.
func compareDirect(t *testing.T, files fstest.MapFS) (direct int) {
	t.Helper()
	eachTask(files, func(task *task) {
		own, ok := task.direct()
		if !ok {
			return
		}
		made, err := task.kustomize(t.Context(), own)
		if err != nil {
			t.Logf("not built directly: %v", err) // but as a whole, which may be refused as well
			return
		}
		direct++
		if diff := cmp.Diff(shownWhole(t, task), shownBuilt(t, task, made, nil)); diff != "" {
			t.Errorf("unit %s (- as a whole, + directly):\n%s", task.plan.path, diff)
		}
	})
	return direct
}

// TestDirectUnits says which units are built by their own kustomization.
func TestDirectUnits(t *testing.T) {
	const sort = "sortOptions: {order: fifo}\n"
	for name, c := range map[string]struct {
		reason, kustomization string
		direct                bool
	}{
		"Overlay":        {"the usual one", "resources: [../base]\nnamePrefix: x-\n", true},
		"Patched":        {"by both kinds of patches", "resources: [../base]\npatches:\n- patch: '[{\"op\": \"replace\", \"path\": \"/spec/resource/count\", \"value\": 3}]'\n  target: {kind: Workspace}\n- path: patch.yaml\n", true},
		"Sealed":         {"a base that generates stays a base: the name of what it generates is its own", "resources: [../generates, w.yaml]\nnameSuffix: -x\nnamespace: team\n", true},
		"Merged":         {"a generator over one of the base", "resources: [../generates]\nconfigMapGenerator: [{name: chat, behavior: merge, literals: [b=c]}]\n", true},
		"Deep":           {"a base of bases", "resources: [../bases, w.yaml]\nlabels: [{pairs: {a: b}, includeSelectors: true}]\n", true},
		"Component":      {"components act where they are listed", "resources: [../base]\ncomponents: [../component]\nnamePrefix: x-\n", true},
		"Twice":          {"one object of two bases is a mistake, of the whole", "resources: [../base, ../bases]\nnamePrefix: x-\n", false},
		"Empty":          {"a base that lists nothing", "resources: [../empty, w.yaml]\nnamePrefix: x-\n", true},
		"IsComponent":    {"a component is none to list", "kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\nresources: [../base]\nnamePrefix: x-\n", false},
		"Configurations": {"those of Espalier, once more", "resources: [../base]\nnamePrefix: x-\nconfigurations: [names.yaml]\n", false},
		"Sorted":         {"the order of a folder that is listed counts nothing", "resources: [w.yaml, ../base]\nnamePrefix: x-\n" + sort, true},
		"ReadsItself":    {"its own file is data too, and says what was written", "resources: [../base]\nnamePrefix: x-\nconfigMapGenerator: [{name: self, files: [kustomization.yaml]}]\n", false},
		"Escaped":        {"a name in it may be escaped", "resources: [../base]\nnamePrefix: x-\nconfigMapGenerator: [{name: self, files: [\"kustomiza\\x74ion.yaml\"]}]\n", false},
		"Origin":         {"where an object came from may be asked for", "resources: [../base]\nnamePrefix: x-\nreplacements: [{source: {kind: Workspace, fieldPath: 'metadata.annotations.[config.kubernetes.io/origin]'}, targets: [{select: {kind: Workspace}, fieldPaths: [spec.inference.preset]}]}]\n", false},
		"NextLine":       {"a line break of YAML 1.1 alone", "resources: [../base]\ncommonAnnotations: {note: \"a\u0085b\"}\n", false},
		"Metadata":       {"nor do marks that it asks for", "resources: [../base]\nnamePrefix: x-\nbuildMetadata: [managedByLabel]\n", true},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{
				"kustomization.yaml":           {Data: []byte("resources: [unit]\n")},
				"unit/kustomization.yaml":      {Data: []byte(c.kustomization)},
				"unit/names.yaml":              {Data: []byte("nameReference: []\n")},
				"unit/w.yaml":                  {Data: []byte(strings.Replace(quickWorkspace, "name: chat #", "name: own #", 1))},
				"unit/patch.yaml":              {Data: []byte("apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: chat}\nspec: {suspend: true}\n")},
				"base/kustomization.yaml":      {Data: []byte("resources: [w.yaml]\n")},
				"base/w.yaml":                  {Data: []byte(quickWorkspace)},
				"bases/kustomization.yaml":     {Data: []byte("resources: [../base, c.yaml]\n")},
				"bases/c.yaml":                 {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: chat}\ndata: {a: b}\n")},
				"generates/kustomization.yaml": {Data: []byte("resources: [../base]\nconfigMapGenerator: [{name: chat, literals: [a=b]}]\n")},
				"empty/kustomization.yaml":     {Data: []byte("resources: []\n")},
				"component/kustomization.yaml": {Data: []byte("kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\npatches: [{path: ../unit/patch.yaml}]\n")},
			}
			if got := compareDirect(t, files); (got == 1) != c.direct {
				t.Errorf("%s: built directly: %t, want %t", c.reason, got == 1, c.direct)
			}
		})
	}
	t.Run("Root", func(t *testing.T) {
		for text, want := range map[string]int{
			"resources: [b.yaml, a.yaml]\nnamePrefix: x-\n" + sort:                              1,
			"resources: [a.yaml, b.yaml]\nnamePrefix: x-\nbuildMetadata: [originAnnotations]\n": 0,
		} {
			files := fstest.MapFS{
				"kustomization.yaml": {Data: []byte(text)},
				"a.yaml":             {Data: []byte("apiVersion: v1\nkind: Secret\nmetadata: {name: a}\n")},
				"b.yaml":             {Data: []byte(quickWorkspace)},
			}
			if got := compareDirect(t, files); got != want {
				t.Errorf("%q: %d units were built directly, want %d", text, got, want)
			}
		}
	})
}

// directParts are what a kustomization of a random overlay may say.
var directParts = []string{
	"namePrefix: pre-", "nameSuffix: -suf", "namespace: team", "commonLabels: {app: x}", "commonAnnotations: {note: y}",
	"labels: [{pairs: {a: b}}]", "labels: [{pairs: {a: b}, includeTemplates: true, fields: [{path: spec/x, create: true}]}]",
	"images: [{name: registry.example.com/a, newTag: '2'}]", "replicas: [{name: chat, count: 3}]",
	"generatorOptions: {labels: {l: m}, disableNameSuffixHash: true}",
	"configMapGenerator: [{name: chat, literals: [a=b]}]", "configMapGenerator: [{name: chat, files: [w.yaml, k=kustomization.yaml]}]", "configMapGenerator: [{name: base, behavior: merge, literals: [x=y]}]",
	"secretGenerator: [{name: pull, literals: [a=b]}]",
	"patches: [{patch: '[{\"op\": \"add\", \"path\": \"/metadata/labels\", \"value\": {\"p\": \"q\"}}]', target: {kind: Workspace}}]",
	"patches: [{patch: '{apiVersion: espalier.dev/v1alpha1, kind: Workspace, metadata: {name: chat}, spec: {suspend: true}}'}]",
	"patches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: base}, $patch: delete}'}]",
	"patchesStrategicMerge: ['{apiVersion: espalier.dev/v1alpha1, kind: Workspace, metadata: {name: chat}, spec: {resource: {count: 5}}}']",
	"replacements: [{source: {kind: ConfigMap, name: base, fieldPath: data.a}, targets: [{select: {kind: Workspace}, fieldPaths: [spec.inference.preset]}]}]",
	"components: [../component]", "sortOptions: {order: legacy}", "buildMetadata: [originAnnotations]",
}

// TestDirectIsWhole compares random overlays.
func TestDirectIsWhole(t *testing.T) {
	direct := 0
	for seed := range uint64(400) {
		r := rand.New(rand.NewPCG(seed, 11))
		parts := func(most int) (text string) {
			said := map[string]bool{}
			for range r.IntN(most + 1) {
				part := directParts[r.IntN(len(directParts))]
				if field, _, _ := strings.Cut(part, ":"); !said[field] {
					said[field], text = true, text+part+"\n"
				}
			}
			return text
		}
		resources := [][]string{{"../base"}, {"../base", "w.yaml"}, {"w.yaml", "../base"}, {"w.yaml"}, {"../middle"}, {"../middle", "w.yaml"}}[r.IntN(6)]
		base := "resources: [w.yaml, c.yaml]\n"
		if r.IntN(4) == 0 {
			base += parts(2)
		}
		files := fstest.MapFS{
			"kustomization.yaml":           {Data: []byte("resources: [unit]\n")},
			"unit/kustomization.yaml":      {Data: fmt.Appendf(nil, "resources: [%s]\n%s", strings.Join(resources, ", "), parts(3))},
			"unit/w.yaml":                  {Data: []byte(strings.NewReplacer("name: chat #", "name: own #", "config: chat", "config: base").Replace(quickWorkspace))},
			"middle/kustomization.yaml":    {Data: []byte("resources: [../base]\n" + []string{"", "", "nameSuffix: -mid\n"}[r.IntN(3)])},
			"base/kustomization.yaml":      {Data: []byte(base)},
			"base/w.yaml":                  {Data: []byte(quickWorkspace)},
			"base/c.yaml":                  {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: base}\ndata: {a: b}\n")},
			"component/kustomization.yaml": {Data: []byte("kind: Component\napiVersion: kustomize.config.k8s.io/v1alpha1\n" + parts(1))},
		}
		direct += compareDirect(t, files)
		if t.Failed() {
			t.Fatalf("seed %d: %s", seed, files["unit/kustomization.yaml"].Data)
		}
	}
	if direct < 200 {
		t.Errorf("%d of 400 units were built directly: the test compares too little", direct)
	}
}

// FuzzDirect looks for an overlay that is built otherwise directly than as a whole.
func FuzzDirect(f *testing.F) {
	for _, part := range directParts {
		f.Add([]byte("resources: [../base]\n"+part+"\n"), []byte("resources: [w.yaml]\n"), []byte(quickWorkspace))
	}
	f.Add([]byte("resources: [../base, ../base]\nnamePrefix: x\n"), []byte("resources: []\n"), []byte(quickWorkspace))
	f.Add([]byte("resources: [../base]\nnamePrefix: x\n"), []byte("resources: [w.yaml]\n"), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {? {k: v} : x}\n"))
	f.Add([]byte("resources: [../base]\nnamePrefix: x\n"), []byte("resources: [w.yaml]\n"), []byte(strings.Replace(quickWorkspace, "[pull, other]", "[{pull: other}]", 1)))
	f.Add([]byte("resources: [../base]\nnamePrefix: x\nconfigMapGenerator: [{name: c, files: [../base/w.yaml]}]\npatches: [{patch: '- {op: add, path: !!binary L3NwZWMvdHVuaW5nL2NvbmZpZw==, value: c}', target: {kind: Workspace}}]\n"),
		[]byte("resources: [w.yaml]\n"), []byte(quickWorkspace))
	f.Fuzz(func(t *testing.T, unit, base, file []byte) {
		compareDirect(t, fstest.MapFS{
			"kustomization.yaml":      {Data: []byte("resources: [unit]\n")},
			"unit/kustomization.yaml": {Data: unit}, "base/kustomization.yaml": {Data: base}, "base/w.yaml": {Data: file},
		})
	})
}

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

// shownObjects is all that is known of objects, with the lines of some fields.
func shownObjects(t *testing.T, objects []builtObject) string {
	t.Helper()
	var b strings.Builder
	for _, o := range objects {
		fmt.Fprintf(&b, "%+v written %q\n%s", o.id, o.written(), o.text)
		for _, named := range o.open(nil) {
			fmt.Fprintf(&b, "# %s names %s %s\n", named.field, named.kind, named.name)
		}
		for _, field := range []string{"", "metadata.name", "spec.inference.config", "spec.inference.adapters[0].pullSecrets[0]", "data.a", "none.at.all"} {
			file, line := o.At(field)
			fmt.Fprintf(&b, "# %s at %s:%d\n", field, file, line)
		}
	}
	return b.String()
}

// eachTask prepares what is to be built of a tree.
func eachTask(files fstest.MapFS, do func(*task)) {
	s := newSource(files, Limits{FileBytes: 1 << 16, OutputBytes: 1 << 20}.withDefaults(), false)
	plans, err := newView(s).plan(".")
	if err != nil {
		return
	}
	for _, p := range plans {
		if t := s.prepare(p); !t.done {
			do(t)
		}
	}
}

// shownWhole is all that becomes of a unit that Kustomize builds as a whole.
func shownWhole(t *testing.T, task *task) string {
	t.Helper()
	whole, err := task.whole()
	if err != nil {
		t.Fatal(err)
	}
	made, err := task.kustomize(t.Context(), whole)
	return shownBuilt(t, task, made, err)
}

// shownBuilt is all that becomes of what Kustomize has built.
func shownBuilt(t *testing.T, task *task, made built, err error) string {
	t.Helper()
	var objects []builtObject
	if err == nil {
		objects, err = task.objects(made)
	}
	if err != nil {
		return "refused: " + err.Error()
	}
	return shownObjects(t, objects)
}

// compareQuick builds a tree the quick way and with Kustomize, and
// returns how many units went the quick way.
func compareQuick(t *testing.T, files fstest.MapFS) (quick int) {
	t.Helper()
	eachTask(files, func(task *task) {
		got, ok := task.quick()
		if !ok {
			return
		}
		quick++
		if diff := cmp.Diff(shownWhole(t, task), shownObjects(t, got)); diff != "" {
			t.Errorf("unit %s (- Kustomize, + the quick way):\n%s", task.plan.path, diff)
		}
	})
	return quick
}

const quickWorkspace = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: chat # said to users
  labels: {app.kubernetes.io/name: chat}
  annotations: {note: "on call: no. 1"}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4, count: 2}
  suspend: false
  inference:
    preset: phi-4-mini-instruct
    config: chat
    adapters:
    - {name: a, image: "registry.example.com/a:1", pullSecrets: [pull, other]}
    template:
`

// TestQuickUnits: what is usual goes the quick way, with the result of Kustomize.
func TestQuickUnits(t *testing.T) {
	for name, c := range map[string]struct {
		reason, kustomization, more string
		quick                       bool
	}{
		"Lists":         {"the plainest", "resources: [w.yaml]", "", true},
		"Generates":     {"the name of the ConfigMap reaches the Workspace", "resources: [w.yaml]\nconfigMapGenerator:\n- name: chat\n  files: [a.txt, k=a.txt]\n  literals: [x=1]\n  envs: [a.txt]\n", "", true},
		"Secret":        {"a list of names", "resources: [w.yaml]\nsecretGenerator:\n- {name: pull, literals: [a=b], type: Opaque}\n", "", true},
		"KeptName":      {"options of a generator are the library's", "resources: [w.yaml]\nconfigMapGenerator:\n- {name: chat, files: [a.txt], options: {disableNameSuffixHash: true, labels: {x: z}}}\n", "", true},
		"Base":          {"a base that lists is plain too", "resources: [base, w.yaml]", "", true},
		"TwoDocuments":  {"a file of several documents", "resources: [w.yaml, two.yaml]", "", true},
		"Prefix":        {"a transformer is Kustomize's", "resources: [w.yaml]\nnamePrefix: x-", "", false},
		"Patch":         {"so is a patch", "resources: [w.yaml]\npatches: [{patch: '{apiVersion: espalier.dev/v1alpha1, kind: Workspace, metadata: {name: chat}, spec: {suspend: true}}'}]", "", false},
		"GlobalOptions": {"and options of all generators", "resources: [w.yaml]\ngeneratorOptions: {labels: {a: b}}\n", "", false},
		"Merge":         {"a generator that changes another", "resources: [base]\nconfigMapGenerator: [{name: b, behavior: merge, literals: [c=d]}]", "", false},
		"Local":         {"an annotation of Kustomize drops the object", "resources: [w.yaml, more.yaml]", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: l, annotations: {config.kubernetes.io/local-config: 'true'}}\n", false},
		"Number":        {"Kustomize makes texts of annotations", "resources: [more.yaml]", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: l, annotations: {a: 1}}\n", false},
		"List":          {"a List is taken apart", "resources: [more.yaml]", "apiVersion: v1\nkind: List\nmetadata: {name: l}\nitems: []\n", false},
		"Anchor":        {"anchors are expanded", "resources: [more.yaml]", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: l}\ndata: {a: &a x, b: *a}\n", false},
		"OtherKind":     {"other kinds have other rules of names", "resources: [more.yaml]", "apiVersion: v1\nkind: Pod\nmetadata: {name: l}\n", false},
		"Namespaces":    {"a name is followed within a namespace only", "resources: [w.yaml, more.yaml]", "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: l, namespace: other}\n", false},
		"Float":         {"1.50 is written as 1.5", "resources: [more.yaml]", "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: l}\nspec: {a: 1.50}\n", false},
		"Windows":       {"line ends of Windows", "resources: [more.yaml]", "apiVersion: v1\r\nkind: ConfigMap\r\nmetadata: {name: l}\r\n", false},
	} {
		t.Run(name, func(t *testing.T) {
			files := fstest.MapFS{
				"kustomization.yaml":      {Data: []byte(c.kustomization)},
				"w.yaml":                  {Data: []byte(quickWorkspace)},
				"more.yaml":               {Data: []byte(c.more)},
				"a.txt":                   {Data: []byte("a=vllm:\nb=max-num-seqs: 4\n")},
				"two.yaml":                {Data: []byte("# one\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: x}\ndata:\n  a: |\n    k:\n      v: 1\n---\n\n---\napiVersion: v1\nkind: Secret\nmetadata: {name: y}\nstringData: {a: 'yes', b: null}\n")},
				"base/kustomization.yaml": {Data: []byte("configMapGenerator: [{name: b, literals: [a=b]}]\n")},
			}
			if got := compareQuick(t, files); (got == 1) != c.quick {
				t.Errorf("%s: the quick way: %t, want %t", c.reason, got == 1, c.quick)
			}
		})
	}
}

// TestQuickFiles: without a kustomization each file is a unit, and most are plain.
func TestQuickFiles(t *testing.T) {
	files := fstest.MapFS{
		"w.yaml":      {Data: []byte(quickWorkspace)},
		"deep/c.yaml": {Data: []byte("# one\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c, namespace: team}\ndata: {a: b}\n---\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: c, namespace: team}\n")},
		"pod.yaml":    {Data: []byte("apiVersion: v1\nkind: Pod\nmetadata: {name: p}\n")},
		"twice.yaml":  {Data: []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n")},
	}
	if got := compareQuick(t, files); got != 2 {
		t.Errorf("%d of 4 files went the quick way, want 2", got)
	}
}

// scalars are written in every style, and in ways that readers of YAML take
// differently.
var scalars = []string{
	"plain", "'single'", `"double\n"`, "yes", "off", "~", "", "null", "true", "False", "0", "-1", "007", "0x1F", "1_000", "12e3", ".inf", "1.5", "2001-01-01",
	"'2001-01-01'", "'1'", `"a: b"`, "'# no comment'", "a # comment", "|\n    one\n    two", "|-\n    one\n      two\n\n    three", "|+\n    one\n\n", ">\n    folded\n    text", "|\n     indented\n    less",
	"'trailing '", `" leading"`, `"tab\t"`, `"é"`, `"\u00a0"`, `"\u2028"`, `"😀"`, `"\x07"`, "!!str 5", "!custom x", "&a x", "{}", "[]", "[a, b]", "{a: 1}", "[null]", "'<<'", "'='", "'-'", "'? '", "'%'", "'@x'", "'`x'", "18446744073709551615", "9007199254740993",
	"'" + strings.Repeat("long words ", 30) + "'", "\n    - a\n    -   b: c\n        d: e", "'it''s'", `"\\ \/ <&>"`, "1:20", "'---'", "'...'", "0o7", "+1", "'\n\n    two'",
}

var usual = []string{"plain", "'single'", "yes", "true", "'1'", "|\n    one\n    two", "{a: 1}", "'# no comment'", "0", "[a, b]", "a # comment", "'it''s'"}

var keys = []string{"a", "yes", "y", "'1'", "1", "a.b", "null", "true", "<<", "a/b", "'a b'", "A", "a10", "a9", "é"}

// TestQuickIsKustomize compares random units.
func TestQuickIsKustomize(t *testing.T) {
	quick := 0
	for seed := range uint64(1000) {
		r := rand.New(rand.NewPCG(seed, 7))
		pick := func(from []string) string { return from[r.IntN(len(from))] }
		scalar := func() string {
			if r.IntN(3) > 0 {
				return pick(usual)
			}
			return pick(scalars)
		}
		files := fstest.MapFS{"k.txt": {Data: []byte(pick([]string{"a=b\n", "x: 1\n", "u=v\nw=x\n", " x\n", "\x00\xff", "a\t\nb", "é\n"}))}}
		var b strings.Builder
		for i := range 1 + r.IntN(3) {
			kind := pick([]string{"ConfigMap", "Secret", "ConfigMap", "Pod"}) // names may be taken twice
			name := pick([]string{"one", "two", "three"})
			if r.IntN(8) > 0 {
				kind, name = pick([]string{"ConfigMap", "Secret"}), fmt.Sprintf("n%d", i)
			}
			fmt.Fprintf(&b, "%sapiVersion: v1\nkind: %s\nmetadata:\n  name: %s\n", pick([]string{"---\n", "---\n", "---\n", "--- # c\n", "# c\n---\n"}), kind, name)
			if r.IntN(4) == 0 {
				fmt.Fprintf(&b, "  %s: {%s: %s}\n", pick([]string{"labels", "annotations"}), pick(keys[:3]), scalar())
			}
			fmt.Fprintf(&b, "data:\n  %s: %s\n", pick(keys[:1+r.IntN(len(keys))]), scalar())
			if r.IntN(2) == 0 {
				fmt.Fprintf(&b, "  z: %s\n", scalar())
			}
		}
		files["a.yaml"] = &fstest.MapFile{Data: []byte(b.String())}
		kustomization := "resources: [a.yaml, w.yaml]\n"
		if r.IntN(3) > 0 {
			kustomization += "configMapGenerator:\n- name: " + pick([]string{"config", "n0"}) + "\n  " + pick([]string{"files: [k.txt]", "literals: [a=b]", "envs: [k.txt]"}) + "\n"
		}
		files["kustomization.yaml"] = &fstest.MapFile{Data: []byte(kustomization)}
		files["w.yaml"] = &fstest.MapFile{Data: []byte(strings.Replace(quickWorkspace, "config: chat", "config: "+pick([]string{"config", "config", "n0", "other", "{a: b}"}), 1))}
		quick += compareQuick(t, files)
	}
	if quick < 60 {
		t.Errorf("%d of 1000 units went the quick way: the test compares too little", quick)
	}
}

// FuzzQuick looks for a file that the quick way and Kustomize read differently.
func FuzzQuick(f *testing.F) {
	for _, s := range scalars {
		f.Add([]byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata:\n  a: "+s+"\n"), []byte("resources: [c.yaml]"))
	}
	f.Add([]byte(quickWorkspace), []byte("resources: [c.yaml]\nconfigMapGenerator: [{name: chat, files: [c.yaml]}]\n"))
	f.Fuzz(func(t *testing.T, file, kustomization []byte) {
		compareQuick(t, fstest.MapFS{"kustomization.yaml": {Data: kustomization}, "c.yaml": {Data: file}})
	})
}

// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"runtime/metrics"
	"slices"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/espalier-dev/espalier/render/build"
)

// TestRefusals feeds hostile repositories. Every one must be refused before
// Kustomize starts, at its line, and quickly.
func TestRefusals(t *testing.T) {
	const cm = "-- c.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"
	k := func(lines string) string { return "-- kustomization.yaml --\n" + lines + "\n" + cm }
	for name, tc := range map[string]struct {
		reason, archive string
		limits          build.Limits
		want            []string // code and place of the findings
	}{
		"RemoteBase":       {"a URL as base", k("resources:\n- c.yaml\n- https://github.com/o/r//x?ref=v1"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3"}},
		"RemoteFile":       {"a URL as file", k("resources: [\"http://127.0.0.1:1/x.yaml\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"GitHubShorthand":  {"a host without a scheme", k("resources: [GitHub.com/o/r]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"GitHubWithFolder": {"with a folder and a revision", k("resources: [\"github.com/o/r//x?ref=v1\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"GoGetterSchemes":  {"every getter of the library that Kustomize once used", k("resources: [\"s3::https://s3.amazonaws.com/b/k\", \"hg::http://example.com/r\", \"gcs::https://x/y\", \"ssh://git@example.com/r\", \"file://x/../../etc\"]"), build.Limits{}, slices.Repeat([]string{"RemoteReference kustomization.yaml:1"}, 5)},
		"WindowsPaths":     {"a drive or a share", k("resources: ['C:/x', '\\\\host\\share']"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1", "PathOutsideTree kustomization.yaml:1"}},
		"SCPStyle":         {"git's own form", k("resources: [git@example.com:o/r.git]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"UserAtHost":       {"the same without a colon", k("resources: [git@example.com/o/r]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"ForcedGit":        {"go-getter's prefix", k("resources: [\"git::example.com/o/r\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"FileScheme":       {"a file URL", k("resources: [\"file:///etc\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"SchemeInCapitals": {"schemes have no case", k("resources: [\"HTTPS://example.com/x\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"RemoteComponent":  {"components too", k("resources: [c.yaml]\ncomponents: [\"https://example.com/c\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2"}},
		"RemoteOldBase":    {"and the deprecated bases", k("resources: [c.yaml]\nbases:\n- https://example.com/c"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3"}},
		"RemotePatch":      {"patches are read by the same loader", k("resources: [c.yaml]\npatches:\n- path: https://example.com/p"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3"}},
		"RemoteOldPatch":   {"all kinds of patches", k("resources: [c.yaml]\npatchesStrategicMerge: [\"https://example.com/p\"]\npatchesJson6902:\n- path: http://example.com/q\n  target: {kind: X, name: z, version: v1}"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2", "RemoteReference kustomization.yaml:4"}},
		"RemoteGenerator":  {"files of generators", k("configMapGenerator:\n- name: x\n  files: [\"key=https://example.com/f\"]\n  envs: [\"https://example.com/e\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3", "RemoteReference kustomization.yaml:4"}},
		"RemoteSecret":     {"and secrets", k("secretGenerator:\n- name: x\n  env: https://example.com/e"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2"}},
		"RemoteCRD":        {"and settings", k("resources: [c.yaml]\ncrds: [\"https://example.com/c\"]\nconfigurations: [\"https://example.com/d\"]\nreplacements:\n- path: https://example.com/e"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2", "RemoteReference kustomization.yaml:3", "RemoteReference kustomization.yaml:5"}},
		"TypesWithoutEnd":  {"Kustomize follows the types of crds without looking back, until the process ends", k("resources: [c.yaml]\ncrds: [loop.json]\n-- loop.json --\n{\"x.Loop\":{\"Schema\":{\"properties\":{\"apiVersion\":{},\"kind\":{},\"metadata\":{\"$ref\":\"x.Loop\"}}}}}"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"RemoteInBase":     {"however deep", "-- kustomization.yaml --\nnamespace: a\nresources: [a]\n-- a/kustomization.yaml --\nresources: [b]\n-- a/b/kustomization.yaml --\nresources:\n\n- https://example.com/x\n", build.Limits{}, []string{"RemoteReference a/b/kustomization.yaml:3"}},
		"Absolute":         {"an absolute path", k("resources: [/etc/passwd]"), build.Limits{}, []string{"PathOutsideTree kustomization.yaml:1"}},
		"OutOfTree":        {"a path that leaves the tree", k("resources: [a/../../etc]"), build.Limits{}, []string{"PathOutsideTree kustomization.yaml:1"}},
		"OutByGenerator":   {"by a generator", k("configMapGenerator:\n- name: x\n  files: [../../etc/passwd]"), build.Limits{}, []string{"PathOutsideTree kustomization.yaml:3"}},
		"OutByAnyField": {"by every field that names a file", k("resources: [c.yaml]\ncomponents: [../../x]\ncrds: [../../x]\nconfigurations: [../../x]\nopenapi: {path: ../../x}\nreplacements: [{path: ../../x}]\npatches: [{path: ../../x}]\nsecretGenerator: [{name: x, envs: [../../x]}]"), build.Limits{},
			[]string{"PathOutsideTree kustomization.yaml:2", "FieldRefused kustomization.yaml:3", "PathOutsideTree kustomization.yaml:4", "FieldRefused kustomization.yaml:5", "PathOutsideTree kustomization.yaml:6", "PathOutsideTree kustomization.yaml:7", "PathOutsideTree kustomization.yaml:8"}},
		"HelmGenerator":     {"in either form", k("helmChartInflationGenerator: [{chartName: x, chartRepoUrl: \"https://example.com\"}]"), build.Limits{}, []string{"PluginRefused kustomization.yaml:1"}},
		"Helm":              {"helm runs a program", k("helmCharts: [{name: x}]\nhelmGlobals: {chartHome: z}"), build.Limits{}, []string{"PluginRefused kustomization.yaml:1", "PluginRefused kustomization.yaml:2"}},
		"Plugins":           {"plugins run programs and containers", k("generators: [c.yaml]\ntransformers:\n- |-\n  apiVersion: x/v1\n  kind: Y\n  metadata: {name: z, annotations: {config.kubernetes.io/function: \"exec: {path: /bin/sh}\"}}\nvalidators: [c.yaml]"), build.Limits{}, []string{"PluginRefused kustomization.yaml:1", "PluginRefused kustomization.yaml:3", "PluginRefused kustomization.yaml:7"}},
		"AnotherCase":       {"Kustomize takes fields in any case, a reviewer's search does not", k("HelmCharts: [{name: x}]"), build.Limits{}, []string{"UnknownField kustomization.yaml:1"}},
		"ByMergeKey":        {"nor by way of an anchor", k("metadata: &m {helmCharts: [{name: x}]}\n<<: *m"), build.Limits{}, []string{"UnknownField kustomization.yaml:2"}},
		"FieldTwice":        {"the second of two would win", k("resources: [c.yaml]\nresources: [/etc]"), build.Limits{}, []string{"InvalidYAML kustomization.yaml:2"}},
		"OpenAPI":           {"a schema is process-wide", k("resources: [c.yaml]\nopenapi: {path: c.yaml}"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"OpenAPIVersion":    {"another version resets the schema of all", k("resources: [c.yaml]\nopenapi: {version: v1.20.4}"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"OpenAPIRemote":     {"wherever it is", k("resources: [c.yaml]\nopenapi: {path: \"https://example.com/s.json\"}"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"OpenAPIInBase":     {"however deep", "-- kustomization.yaml --\nnamespace: a\nresources: [a]\n-- a/kustomization.yaml --\nopenapi: {path: s.json}\n-- a/s.json --\n{}\n", build.Limits{}, []string{"FieldRefused a/kustomization.yaml:1"}},
		"Vars":              {"vars multiply texts", k("resources: [c.yaml]\nvars: []"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"Cycle":             {"two that list each other", "-- kustomization.yaml --\nnamespace: x\nresources: [a]\n-- a/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [../a]\n", build.Limits{}, []string{"Cycle b/kustomization.yaml:1"}},
		"ListsItself":       {"one that lists itself", k("resources: [c.yaml, .]"), build.Limits{}, []string{"Cycle kustomization.yaml:1"}},
		"AliasBomb":         {"a kilobyte that stands for 85 MB", k("resources: [bomb.yaml]") + "-- bomb.yaml --\n" + bomb(7), build.Limits{}, []string{"AliasBomb bomb.yaml:9"}},
		"AliasInItself":     {"in the kustomization itself", "-- kustomization.yaml --\n" + bomb(7), build.Limits{}, []string{"AliasBomb kustomization.yaml:9"}},
		"AliasInPatch":      {"within a patch", k("resources: [c.yaml]\npatches:\n- patch: |\n" + indent(bomb(7))), build.Limits{}, []string{"AliasBomb kustomization.yaml:12"}},
		"AliasOfItself":     {"an alias that contains itself", k("resources: [loop.yaml]") + "-- loop.yaml --\na: &a [*a]\n", build.Limits{}, []string{"InvalidYAML loop.yaml:1"}},
		"LargeFile":         {"a file over the limit", k("resources: [big.yaml]") + "-- big.yaml --\n" + strings.Repeat("# x\n", 100), build.Limits{FileBytes: 300}, []string{"TooLarge kustomization.yaml:1"}},
		"ManyFiles":         {"files over the limit", k("configMapGenerator:\n- name: x\n  files: [a, b, c]\n") + "-- a --\n-- b --\n-- c --\n", build.Limits{Files: 3}, []string{"TooLarge kustomization.yaml:3"}},
		"LargeTree":         {"bytes over the limit", k("resources: [c.yaml]"), build.Limits{TreeBytes: 30}, []string{"TooLarge kustomization.yaml:1"}},
		"ManyObjects":       {"Kustomize compares each with every other", k("resources: [many.yaml]\n") + "-- many.yaml --\n" + documents(2001), build.Limits{}, []string{"TooLarge kustomization.yaml:0"}},
		"ManyInAFile":       {"a file without a kustomization too", "-- many.yaml --\n" + documents(2001), build.Limits{}, []string{"TooLarge many.yaml:0"}},
		"ManyLevels":        {"in every kustomization over the other", levels(40, 900), build.Limits{}, []string{"TooLarge kustomization.yaml:0"}},
		"Doubling":          {"ten kustomizations that stand for 1024", doubling(10), build.Limits{Kustomizations: 1000}, []string{"TooLarge kustomization.yaml:0"}},
		"DoublingBytes":     {"and for their bytes", doubling(20), build.Limits{Kustomizations: 1 << 30}, []string{"TooLarge kustomization.yaml:0"}},
		"SelfReplacement":   {"replacements of a section by one that contains it", k("resources: [c.yaml]\nreplacements:\n" + strings.Repeat("- {source: {kind: ConfigMap, fieldPath: metadata}, targets: [{select: {kind: ConfigMap}, fieldPaths: [metadata.annotations], options: {create: true}}]}\n", 30)), build.Limits{}, []string{"TooLarge kustomization.yaml:0"}},
		"SelfCopy":          {"patches that copy a section into itself", k("resources: [c.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |\n" + strings.Repeat("    - {op: copy, from: /metadata, path: /metadata/x}\n", 30)), build.Limits{}, []string{"TooLarge kustomization.yaml:0"}},
		"TwoKustomizations": {"which one counts?", k("resources: [c.yaml]") + "-- Kustomization --\nresources: []\n", build.Limits{}, []string{"BuildFailed Kustomization:0"}},
		"Three":             {"nor do three names help", k("resources: [c.yaml]") + "-- Kustomization --\nresources: []\n-- kustomization.yml --\nresources: []\n", build.Limits{}, []string{"BuildFailed kustomization.yml:0"}},
		"Time":              {"a build over its time", k("namePrefix: x-\nresources: [many.yaml]\n") + "-- many.yaml --\n" + documents(500), build.Limits{Time: time.Nanosecond}, []string{"BuildTimeout kustomization.yaml:0"}},
		"NotAMapping":       {"a kustomization that is a list", k("- c.yaml"), build.Limits{}, []string{"NotAnObject kustomization.yaml:1"}},
		"WrongType":         {"a field of another type", k("resources: c.yaml"), build.Limits{}, []string{"BuildFailed kustomization.yaml:0"}},
		"Output":            {"output over the limit", k("configMapGenerator:\n- {name: x, literals: [a=b]}"), build.Limits{OutputBytes: 60}, []string{"TooLarge kustomization.yaml:0"}},
		"KustomizeSaysNo":   {"what only Kustomize finds", k("resources: [c.yaml]\npatches: [{path: c.yaml, target: {kind: \"(\"}}]"), build.Limits{}, []string{"BuildFailed kustomization.yaml:0"}},
	} {
		t.Run(name, func(t *testing.T) {
			start, allocated := time.Now(), allocatedBytes()
			units := buildTree(t, tree(tc.archive), "", tc.limits)
			took, allocated := time.Since(start), allocatedBytes()-allocated
			if t.Logf("took %v and %.1f MiB", took, float64(allocated)/(1<<20)); took > 5*time.Second || allocated > 64<<20 {
				t.Errorf("it took %v and %d bytes", took, allocated)
			}
			var got []string
			for _, u := range units {
				if len(u.Objects()) > 0 {
					t.Errorf("%s: objects came out: %s", tc.reason, outline(units))
				}
				for _, f := range u.Findings {
					got = append(got, fmt.Sprintf("%s %s:%d", f.Code, f.File, f.Line))
				}
			}
			if strings.Join(got, "\n") != strings.Join(tc.want, "\n") {
				t.Errorf("%s:\ngot  %s\nwant %s", tc.reason, strings.Join(got, "\n     "), strings.Join(tc.want, "\n     "))
			}
			for _, u := range units {
				for _, f := range u.Findings {
					t.Logf("%s", f.Message)
				}
			}
		})
	}
}

// allocatedBytes is what was ever allocated.
func allocatedBytes() uint64 {
	sample := []metrics.Sample{{Name: "/gc/heap/allocs:bytes"}}
	metrics.Read(sample)
	return sample[0].Value.Uint64()
}

// bomb is nine to the power of levels, in less than a kilobyte.
func bomb(levels int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i <= levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	return b.String()
}

// documents are ConfigMaps in one file.
func documents(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c%d}\n", i)
	}
	return b.String()
}

// levels are kustomizations one over the other, with objects at the bottom.
func levels(n, objects int) string {
	var b strings.Builder
	b.WriteString("-- kustomization.yaml --\nnamePrefix: x-\nresources: [l0]\n")
	for i := range n {
		next := fmt.Sprintf("../l%d", i+1)
		if i == n-1 {
			next = "../many.yaml"
		}
		fmt.Fprintf(&b, "-- l%d/kustomization.yaml --\nresources: [%s]\n", i, next)
	}
	return b.String() + "-- many.yaml --\n" + documents(objects)
}

func indent(text string) string {
	return "    " + strings.ReplaceAll(strings.TrimSuffix(text, "\n"), "\n", "\n    ")
}

// doubling lists every level twice, under two prefixes.
func doubling(levels int) string {
	var b strings.Builder
	b.WriteString("-- kustomization.yaml --\nnamePrefix: x-\nresources: [l0/a, l0/b]\n")
	for i := range levels {
		for _, side := range []string{"a", "b"} {
			next := fmt.Sprintf("[../../l%d/a, ../../l%d/b]", i+1, i+1)
			if i == levels-1 {
				next = "[../../c.yaml]"
			}
			fmt.Fprintf(&b, "-- l%d/%s/kustomization.yaml --\nnamePrefix: %s%d-\nresources: %s\n", i, side, side, i, next)
		}
	}
	b.WriteString("-- c.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {x: " + strings.Repeat("x", 1000) + "}\n")
	return b.String()
}

// TestFunctionsAreNotRun: an object may carry the annotation that makes a function
// of it; nothing is run, whichever of its two names it has.
func TestFunctionsAreNotRun(t *testing.T) {
	mark := filepath.Join(t.TempDir(), "ran")
	for _, annotation := range []string{"config.kubernetes.io/function", "config.k8s.io/function"} {
		archive := "-- kustomization.yaml --\nresources: [f.yaml]\n-- f.yaml --\napiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: f\n  annotations:\n    " +
			annotation + ": |\n      exec: {path: /usr/bin/touch, args: [" + mark + "]}\n      container: {image: example.com/evil}\n"
		units := buildTree(t, tree(archive), "", build.Limits{})
		if len(units) != 1 || len(units[0].Objects()) != 1 {
			t.Errorf("%s: an annotation is data:\n%s", annotation, outline(units))
		}
	}
	if _, err := os.Stat(mark); !os.IsNotExist(err) {
		t.Errorf("a function was run: %v", err)
	}
}

func TestNoCredentialInFinding(t *testing.T) {
	for _, url := range []string{"https://user:hunter2@example.com/x", "https://example.com/x?token=hunter2", "user:hunter2@example.com/x"} {
		units := buildTree(t, tree("-- kustomization.yaml --\nresources: [\""+url+"\"]\n"), "", build.Limits{})
		if len(units) != 1 || len(units[0].Findings) != 1 {
			t.Fatalf("%s", outline(units))
		}
		if m := units[0].Findings[0].Message; strings.Contains(m, "hunter2") {
			t.Errorf("the message holds a credential: %s", m)
		}
	}
}

// FuzzBuild looks for panics, and for kustomizations that get past the checks
// to something outside of the tree: nothing but ConfigMaps of the tree may come
// out.
func FuzzBuild(f *testing.F) {
	for _, seed := range []string{
		"resources: [c.yaml]", "resources: [a]\nnamePrefix: x-", "patches: [{patch: '{}'}]",
		"configMapGenerator: [{name: x, files: [c.yaml]}]", "resources: [https://example.com]",
		"replacements: [{path: c.yaml}]", "components: [a]", "a: &a [*a]", "helmCharts: []", "resources: &r [c.yaml]\nbases: *r",
		"resources: [c.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |-\n    - {op: add, path: /data, value: {a: b}}\n",
		"resources: [c.yaml]\npatches: [{patch: '{apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: b}}'}]",
	} {
		f.Add([]byte(seed), []byte("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\n"))
	}
	f.Fuzz(func(t *testing.T, kustomization, file []byte) {
		files := fstest.MapFS{
			"kustomization.yaml":   {Data: kustomization},
			"c.yaml":               {Data: file},
			"a/kustomization.yaml": {Data: []byte("resources: [../c.yaml]\n")},
		}
		ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
		defer cancel()
		units, err := build.Build(ctx, files, "", build.Limits{FileBytes: 1 << 16, OutputBytes: 1 << 20, AliasBytes: 1 << 12})
		if err != nil {
			t.Fatalf("an error instead of a finding: %v", err)
		}
		for _, u := range units {
			for _, read := range u.Reads() {
				if _, ok := files[read]; !ok {
					t.Errorf("it read %q", read)
				}
			}
			for _, o := range u.Objects() {
				if name, _ := o.At("data.a"); files[name] == nil {
					t.Errorf("%s is said to be in %q", o, name)
				}
			}
		}
	})
}

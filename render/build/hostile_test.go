// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"context"
	"fmt"
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
		"RemoteBase":        {"a URL as base", k("resources:\n- c.yaml\n- https://github.com/o/r//x?ref=v1"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3"}},
		"RemoteFile":        {"a URL as file", k("resources: [\"http://127.0.0.1:1/x.yaml\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"GitHubShorthand":   {"a host without a scheme", k("resources: [GitHub.com/o/r]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"SCPStyle":          {"git's own form", k("resources: [git@example.com:o/r.git]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"UserAtHost":        {"the same without a colon", k("resources: [git@example.com/o/r]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"ForcedGit":         {"go-getter's prefix", k("resources: [\"git::example.com/o/r\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"FileScheme":        {"a file URL", k("resources: [\"file:///etc\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"SchemeInCapitals":  {"schemes have no case", k("resources: [\"HTTPS://example.com/x\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:1"}},
		"RemoteComponent":   {"components too", k("resources: [c.yaml]\ncomponents: [\"https://example.com/c\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2"}},
		"RemoteOldBase":     {"and the deprecated bases", k("resources: [c.yaml]\nbases:\n- https://example.com/c"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3"}},
		"RemotePatch":       {"patches are read by the same loader", k("resources: [c.yaml]\npatches:\n- path: https://example.com/p"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3"}},
		"RemoteOldPatch":    {"all kinds of patches", k("resources: [c.yaml]\npatchesStrategicMerge: [\"https://example.com/p\"]\npatchesJson6902:\n- path: http://example.com/q\n  target: {kind: X, name: z, version: v1}"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2", "RemoteReference kustomization.yaml:4"}},
		"RemoteGenerator":   {"files of generators", k("configMapGenerator:\n- name: x\n  files: [\"key=https://example.com/f\"]\n  envs: [\"https://example.com/e\"]"), build.Limits{}, []string{"RemoteReference kustomization.yaml:3", "RemoteReference kustomization.yaml:4"}},
		"RemoteSecret":      {"and secrets", k("secretGenerator:\n- name: x\n  env: https://example.com/e"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2"}},
		"RemoteCRD":         {"and settings", k("resources: [c.yaml]\ncrds: [\"https://example.com/c\"]\nconfigurations: [\"https://example.com/d\"]\nreplacements:\n- path: https://example.com/e"), build.Limits{}, []string{"RemoteReference kustomization.yaml:2", "RemoteReference kustomization.yaml:3", "RemoteReference kustomization.yaml:5"}},
		"RemoteInBase":      {"however deep", "-- kustomization.yaml --\nnamespace: a\nresources: [a]\n-- a/kustomization.yaml --\nresources: [b]\n-- a/b/kustomization.yaml --\nresources:\n\n- https://example.com/x\n", build.Limits{}, []string{"RemoteReference a/b/kustomization.yaml:3"}},
		"Absolute":          {"an absolute path", k("resources: [/etc/passwd]"), build.Limits{}, []string{"PathOutsideTree kustomization.yaml:1"}},
		"OutOfTree":         {"a path that leaves the tree", k("resources: [a/../../etc]"), build.Limits{}, []string{"PathOutsideTree kustomization.yaml:1"}},
		"OutByGenerator":    {"by a generator", k("configMapGenerator:\n- name: x\n  files: [../../etc/passwd]"), build.Limits{}, []string{"PathOutsideTree kustomization.yaml:3"}},
		"Helm":              {"helm runs a program", k("helmCharts: [{name: x}]\nhelmGlobals: {chartHome: z}"), build.Limits{}, []string{"PluginRefused kustomization.yaml:1", "PluginRefused kustomization.yaml:2"}},
		"Plugins":           {"plugins run programs and containers", k("generators: [c.yaml]\ntransformers:\n- |-\n  apiVersion: x/v1\n  kind: Y\n  metadata: {name: z, annotations: {config.kubernetes.io/function: \"exec: {path: /bin/sh}\"}}\nvalidators: [c.yaml]"), build.Limits{}, []string{"PluginRefused kustomization.yaml:1", "PluginRefused kustomization.yaml:3", "PluginRefused kustomization.yaml:7"}},
		"AnotherCase":       {"Kustomize takes fields in any case, a reviewer's search does not", k("HelmCharts: [{name: x}]"), build.Limits{}, []string{"UnknownField kustomization.yaml:1"}},
		"ByMergeKey":        {"nor by way of an anchor", k("metadata: &m {helmCharts: [{name: x}]}\n<<: *m"), build.Limits{}, []string{"UnknownField kustomization.yaml:2"}},
		"FieldTwice":        {"the second of two would win", k("resources: [c.yaml]\nresources: [/etc]"), build.Limits{}, []string{"InvalidYAML kustomization.yaml:2"}},
		"OpenAPI":           {"a schema is process-wide", k("resources: [c.yaml]\nopenapi: {path: c.yaml}"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"Vars":              {"vars multiply texts", k("resources: [c.yaml]\nvars: []"), build.Limits{}, []string{"FieldRefused kustomization.yaml:2"}},
		"Cycle":             {"two that list each other", "-- kustomization.yaml --\nnamespace: x\nresources: [a]\n-- a/kustomization.yaml --\nresources: [../b]\n-- b/kustomization.yaml --\nresources: [../a]\n", build.Limits{}, []string{"Cycle b/kustomization.yaml:1"}},
		"ListsItself":       {"one that lists itself", k("resources: [c.yaml, .]"), build.Limits{}, []string{"Cycle kustomization.yaml:1"}},
		"AliasBomb":         {"a kilobyte that stands for 85 MB", k("resources: [bomb.yaml]") + "-- bomb.yaml --\n" + bomb(7), build.Limits{}, []string{"AliasBomb bomb.yaml:9"}},
		"AliasInPatch":      {"within a patch", k("resources: [c.yaml]\npatches:\n- patch: |\n" + indent(bomb(7))), build.Limits{}, []string{"AliasBomb kustomization.yaml:12"}},
		"AliasOfItself":     {"an alias that contains itself", k("resources: [loop.yaml]") + "-- loop.yaml --\na: &a [*a]\n", build.Limits{}, []string{"InvalidYAML loop.yaml:1"}},
		"LargeFile":         {"a file over the limit", k("resources: [big.yaml]") + "-- big.yaml --\n" + strings.Repeat("# x\n", 100), build.Limits{FileBytes: 300}, []string{"TooLarge kustomization.yaml:1"}},
		"ManyFiles":         {"files over the limit", k("configMapGenerator:\n- name: x\n  files: [a, b, c]\n") + "-- a --\n-- b --\n-- c --\n", build.Limits{Files: 3}, []string{"TooLarge kustomization.yaml:3"}},
		"LargeTree":         {"bytes over the limit", k("resources: [c.yaml]"), build.Limits{TreeBytes: 30}, []string{"TooLarge kustomization.yaml:1"}},
		"Doubling":          {"ten kustomizations that stand for 1024", doubling(10), build.Limits{Kustomizations: 1000}, []string{"TooLarge kustomization.yaml:0"}},
		"DoublingBytes":     {"and for their bytes", doubling(20), build.Limits{Kustomizations: 1 << 30}, []string{"TooLarge kustomization.yaml:0"}},
		"SelfReplacement":   {"replacements of a section by one that contains it", k("resources: [c.yaml]\nreplacements:\n" + strings.Repeat("- {source: {kind: ConfigMap, fieldPath: metadata}, targets: [{select: {kind: ConfigMap}, fieldPaths: [metadata.annotations], options: {create: true}}]}\n", 30)), build.Limits{}, []string{"TooLarge kustomization.yaml:0"}},
		"SelfCopy":          {"patches that copy a section into itself", k("resources: [c.yaml]\npatches:\n- target: {kind: ConfigMap}\n  patch: |\n" + strings.Repeat("    - {op: copy, from: /metadata, path: /metadata/x}\n", 30)), build.Limits{}, []string{"TooLarge kustomization.yaml:0"}},
		"TwoKustomizations": {"which one counts?", k("resources: [c.yaml]") + "-- Kustomization --\nresources: []\n", build.Limits{}, []string{"BuildFailed Kustomization:0"}},
		"NotAMapping":       {"a kustomization that is a list", k("- c.yaml"), build.Limits{}, []string{"NotAnObject kustomization.yaml:1"}},
		"WrongType":         {"a field of another type", k("resources: c.yaml"), build.Limits{}, []string{"BuildFailed kustomization.yaml:0"}},
		"Output":            {"output over the limit", k("configMapGenerator:\n- {name: x, literals: [a=b]}"), build.Limits{OutputBytes: 60}, []string{"TooLarge kustomization.yaml:0"}},
		"KustomizeSaysNo":   {"what only Kustomize finds", k("resources: [c.yaml]\npatches: [{path: c.yaml, target: {kind: \"(\"}}]"), build.Limits{}, []string{"BuildFailed kustomization.yaml:0"}},
	} {
		t.Run(name, func(t *testing.T) {
			start := time.Now()
			units := buildTree(t, tree(tc.archive), "", tc.limits)
			if took := time.Since(start); took > 5*time.Second {
				t.Errorf("it took %v", took)
			}
			var got []string
			for _, u := range units {
				if len(u.Objects) > 0 {
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

// bomb is nine to the power of levels, in less than a kilobyte.
func bomb(levels int) string {
	var b strings.Builder
	b.WriteString("apiVersion: v1\nkind: ConfigMap\nmetadata: {name: bomb}\na0: &a0 [x,x,x,x,x,x,x,x,x]\n")
	for i := 1; i <= levels; i++ {
		fmt.Fprintf(&b, "a%d: &a%d [%s]\n", i, i, strings.TrimSuffix(strings.Repeat(fmt.Sprintf("*a%d,", i-1), 9), ","))
	}
	return b.String()
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
			for _, read := range u.Reads {
				if _, ok := files[read]; !ok {
					t.Errorf("it read %q", read)
				}
			}
		}
	})
}

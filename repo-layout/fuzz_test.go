// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"os"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// FuzzDecode starts from the documents of kaito.sh and from ours, and holds
// Decode to what it promises: no panic, exactly one result when nothing is
// refused, bounded and placed findings, and a native form that reads back.
func FuzzDecode(f *testing.F) {
	files, err := filepath.Glob("kaito/testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("reading the corpus: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(text)
	}
	for _, text := range []string{
		serving,
		header + onA100 + tunes + fromURL + intoClaim,
		header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {split: 5%, maxLoss: '1', tasks: [{name: a, metric: 'b,c', minimum: '0.5'}]}\n",
		"apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec: {provider: aks, candidates: [{instanceType: A}]}\n",
		"apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec: {provider: existing, nodeLabels: {a: b}, driver: 580.95.05, candidates: [{instanceType: A}]}\n",
		header + "  resource: {instanceType: A, provider: existing, labelSelector: {matchLabels: {a: b}}, driver: '580'}\n" + serves,
		"apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\n",
		"apiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: a}\nspec: {resources: {requests: {storage: 1Gi}}}\n",
		"a: &a [*a, <<: *a]\n---\n%YAML 1.1\n...\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, doc := range repolayout.Split("f.yaml", text) {
			d, findings := repolayout.Decode(doc.Text, doc)
			for _, f := range findings {
				if f.Code == "" || f.Message == "" || f.Line < 1 || len(f.Message) > 500 {
					t.Errorf("%+v", f)
				}
			}
			if finding.Refused(findings) {
				continue
			}
			native, err := repolayout.Encode(d)
			if err != nil {
				t.Fatal(err)
			}
			if _, again := repolayout.Decode(native, nil); finding.Refused(again) {
				t.Errorf("the native form is refused: %v\n%s", again, native)
			}
			if converted, _, err := repolayout.Convert(doc.Text, doc); err != nil || converted == nil {
				t.Errorf("the document is not converted: %v", err)
			}
			repolayout.DecodeSync(doc.Text, doc)
		}
	})
}

// FuzzSync: a RepoSync that decodes encodes to one that decodes, and one that
// does not says why.
func FuzzSync(f *testing.F) {
	for _, text := range []string{
		following, fluxed, following + elsewhere, following + federated, following + "  defaults: {provider: existing, driver: '580'}\n",
		following + "  ref: {branch: main}\n  path: models\n  interval: 1m\n  substitutions: {A: B}\n  report: {commit: {branch: status}}\n",
	} {
		f.Add([]byte(text))
	}
	f.Fuzz(func(t *testing.T, text []byte) {
		for _, doc := range repolayout.Split("f.yaml", text) {
			sync, findings := repolayout.DecodeSync(doc.Text, doc)
			if refused := finding.Refused(findings); refused == (sync != nil) {
				t.Fatalf("refused is %v and the RepoSync %v: %v", refused, sync, findings)
			}
			if sync == nil {
				continue
			}
			again, err := yaml.Marshal(sync)
			if err != nil {
				t.Fatal(err)
			}
			if other, findings := repolayout.DecodeSync(again, nil); other == nil {
				t.Errorf("what was read is refused: %v\n%s", findings, again)
			}
		}
	})
}

// FuzzLine: a path may be anything.
func FuzzLine(f *testing.F) {
	f.Add("spec.tuning.input.urls[1]")
	f.Add("metadata.annotations[a.b/c]")
	f.Fuzz(func(t *testing.T, path string) {
		file, line := repolayout.FilePosition("f.yaml", []byte(file), "Workspace", "a").At(path)
		if file != "f.yaml" || line < 1 {
			t.Errorf("%s:%d", file, line)
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const head = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata:\n  name: a\nspec:\n"

// TestFixes: a finding carries the line that mends it where one certainly does.
func TestFixes(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string // new lines
	}{
		"Field": {
			"a slip in the name of a field", head + "  resource:\n    instanceTyp: A\n  inference: {preset: phi-4}\n",
			[]string{"    instanceType: A"},
		},
		"FieldIsThere": {
			"the field that is meant stands beside it", head + "  resource:\n    instanceType: A\n    instanceTyp: A\n  inference: {preset: phi-4}\n",
			nil,
		},
		"FieldOfAnotherType": {
			"what is written does not fit the field that has nearly the name", head + "  resource:\n    instanceType: A\n    cuont: many\n  inference: {preset: phi-4}\n",
			nil,
		},
		"FieldIsAnotherWord": {
			"a name that only reminds of a field", head + "  resource:\n    preferredNodes: [a]\n  inference: {preset: phi-4}\n",
			nil,
		},
		"TwoOnOneLine": {
			"each by itself; what shows them together drops both (finding.Agree)", head + "  resource: {instanceTyp: A, cuont: 1}\n  inference: {preset: phi-4}\n",
			[]string{"  resource: {instanceTyp: A, count: 1}", "  resource: {instanceType: A, cuont: 1}"},
		},
		"Method": {
			"in capitals", head + "  resource: {instanceType: A}\n  tuning:\n    preset: phi-4\n    method: QLoRA # as in the paper\n    input: {claim: data}\n    output: {claim: out}\n",
			[]string{"    method: qlora # as in the paper"},
		},
		"MethodOfKAITO": {
			"a warning in its documents", "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata:\n  name: a\nresource:\n  instanceType: A\n  labelSelector: {matchLabels: {a: b}}\ntuning:\n  preset: {name: phi-4}\n  method: QLoRA\n  input: {urls: [\"https://example.com/a.parquet\"]}\n  output: {image: registry.example.com/a/b:1, imagePushSecret: s}\n",
			[]string{"  method: qlora"},
		},
		"Image": {
			"a name in capitals, whose tag keeps them", head + "  resource: {instanceType: A}\n  tuning:\n    preset: phi-4\n    input: {claim: data}\n    output:\n      image: ghcr.io/Team/Adapter:V1\n      pushSecret: s\n",
			[]string{"      image: ghcr.io/team/adapter:V1"},
		},
		"ImageWithoutARegistry": {
			"lower case alone does not mend it", head + "  resource: {instanceType: A}\n  tuning:\n    preset: phi-4\n    input: {claim: data}\n    output:\n      image: Team/Adapter\n      pushSecret: s\n",
			nil,
		},
		"Priority": {
			"a value in another case", head + "  resource:\n    candidates:\n    - {instanceType: A, priority: spot}\n  inference: {preset: phi-4}\n",
			[]string{"    - {instanceType: A, priority: Spot}"},
		},
		"Version": {
			"a version that does not exist", "apiVersion: espalier.dev/v1\nkind: Workspace\nmetadata:\n  name: a\n",
			[]string{"apiVersion: espalier.dev/v1alpha1"},
		},
		"Pool": {
			"a pool's values too", "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata:\n  name: a\nspec:\n  provider: AKS\n  candidates: [{instanceType: A}]\n  deletionPolicy: orphan\n",
			[]string{"  provider: aks", "  deletionPolicy: Orphan"},
		},
		"Secret": {
			"no line of a Secret is repeated", "apiVersion: v1\nkind: Secret\nmetadata:\n  name: a\nstringDat: {password: hidden}\n",
			nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			doc := repolayout.Split("a.yaml", []byte(c.text))[0]
			_, findings := repolayout.Decode(doc.Text, doc)
			if len(findings) == 0 {
				t.Fatalf("%s: nothing was found", c.reason)
			}
			if diff := cmp.Diff(c.want, fixed(findings)); diff != "" {
				t.Errorf("%s: -want +got:\n%s\n%v", c.reason, diff, lines(findings))
			}
		})
	}
}

func fixed(findings []v1alpha1.Finding) []string {
	var list []string
	for _, f := range findings {
		if !f.Fix.None() {
			list = append(list, f.Fix.New)
		}
	}
	return list
}

// A RepoSync is judged by people before they apply it.
func TestFixesOfSync(t *testing.T) {
	text := "apiVersion: espalier.dev/v1alpha1\nkind: RepoSync\nmetadata:\n  name: a\nspec:\n  path: .\n  source:\n    git: {url: \"https://example.com/a.git\", ref: {branch: main}}\n  review:\n    provider: Github\n    secretRef: {name: s}\n    lineComments: fixes\n"
	doc := repolayout.Split("a.yaml", []byte(text))[0]
	_, findings := repolayout.DecodeSync(doc.Text, doc)
	if diff := cmp.Diff([]string{"    provider: GitHub", "    lineComments: Fixes"}, fixed(findings)); diff != "" {
		t.Errorf("-want +got:\n%s\n%v", diff, lines(findings))
	}
}

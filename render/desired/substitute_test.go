// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// inFile is the line of a field in a document that is as it was written.
type inFile struct{ text string }

func (f inFile) At(field string) (string, int) {
	last := field[strings.LastIndexAny(field, ".]")+1:]
	for i, line := range strings.Split(f.text, "\n") {
		if last != "" && strings.Contains(line, last+":") {
			return "w.yaml", i + 1
		}
	}
	return "w.yaml", 1
}

func TestVariables(t *testing.T) {
	const head = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\n"
	for name, tc := range map[string]struct {
		reason, text string
		want         string // in what is decoded
		code, says   string // of the finding; "" for none
		line         int
	}{
		"Text": {
			reason: "What differs between clusters.",
			text:   head + "spec:\n  class: ${CLASS}-premium\n", want: "class: azurefile-premium",
		},
		"Number": {
			reason: "Without quotes it is what it looks like, as in Flux.",
			text:   head + "spec:\n  replicas: ${COPIES}\n", want: "replicas: 3\n",
		},
		"Quoted": {
			reason: "With quotes it stays text.",
			text:   head + "spec:\n  revision: \"${COPIES}\"\n", want: "revision: \"3\"\n",
		},
		"NumberAsLabel": {
			reason: "A label is text, whatever it looks like.",
			text:   head + "metadata:\n  labels:\n    copies: ${COPIES}\n", want: "copies: \"3\"\n",
		},
		"NumberInConfigMap": {
			reason: "So is the data of a ConfigMap.",
			text:   "apiVersion: v1\nkind: ConfigMap\ndata:\n  copies: ${COPIES}\n", want: "copies: \"3\"\n",
		},
		"Default": {
			reason: "A document may say what holds where nothing is set.",
			text:   head + "spec:\n  class: ${OTHER:=managed}\n", want: "class: managed\n",
		},
		"Function": {
			reason: "Flux has those of bash.",
			text:   head + "spec:\n  class: ${CLASS^^}\n", want: "class: AZUREFILE\n",
		},
		"Escaped": {
			reason: "Text that looks like a variable.",
			text:   head + "spec:\n  template: $${CLASS}\n", want: "template: ${CLASS}\n",
		},
		"Opted": {
			reason: "A script in a ConfigMap is full of them.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  annotations:\n    kustomize.toolkit.fluxcd.io/substitute: disabled\ndata:\n  run.sh: echo ${HOME}\n",
			want:   "echo ${HOME}",
		},
		"Injected": {
			reason: "A value is a value: it adds no field.",
			text:   head + "spec:\n  class: ${LINES}\n", want: "class: |-\n    a\n    suspend: true\n",
		},
		"Unset": {
			reason: "Empty is a guess, and mostly a wrong one.",
			text:   head + "spec:\n  class: ${OTHER}\n",
			code:   finding.VariableUnset, says: "spec.class: ${OTHER} is not set: add OTHER to spec.postBuild.substitute of the RepoSync", line: 4,
		},
		"NotOne": {
			reason: "What is no variable must not vanish.",
			text:   head + "spec:\n  class: ${a b\n",
			code:   finding.VariableInvalid, says: "write $$ for the sign itself", line: 4,
		},
		"TooLarge": {
			reason: "A short document must not become a long one.",
			text:   head + "spec:\n  class: '" + strings.Repeat("${LONG}", 2000) + "'\n",
			code:   finding.VariableInvalid, says: "more than 1048576 bytes", line: 4,
		},
		"Nested": {
			reason: "Each replacement within one multiplies: it is counted before it is made.",
			text:   head + "spec:\n  class: '" + strings.Repeat("${CLASS//${NONE:=}/", 40) + "x" + strings.Repeat("}", 40) + "'\n",
			code:   finding.VariableInvalid, says: "more than 1048576 bytes", line: 4,
		},
		"Signs": {
			reason: "Reading very many takes the library minutes.",
			text:   head + "spec:\n  class: '" + strings.Repeat("$", 300_000) + "'\n",
			code:   finding.VariableInvalid, says: "more than 16384 dollar signs", line: 4,
		},
		"Panic": {
			reason: "The library adds position and length, which may overflow: one document must not end the process for all.",
			text:   head + "spec:\n  class: ${CLASS:1:9223372036854775807}\n",
			code:   finding.VariableInvalid, says: "a function fails on what it is given", line: 4,
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, findings := withVariables(Text{YAML: []byte(tc.text), Position: inFile{tc.text}}, map[string]v1alpha1.VariableValue{
				"CLASS": "azurefile", "COPIES": "3", "LINES": "a\nsuspend: true", "LONG": v1alpha1.VariableValue(strings.Repeat("x", 1000)),
			})
			if tc.code == "" {
				if len(findings) > 0 || !strings.Contains(string(got), tc.want) {
					t.Fatalf("%s\ngot %v and\n%s", tc.reason, findings, got)
				}
				return
			}
			if len(findings) != 1 || findings[0].Code != tc.code || findings[0].Line != tc.line || !strings.Contains(findings[0].Message, tc.says) {
				t.Errorf("%s\ngot %v, want %s in line %d with %q", tc.reason, findings, tc.code, tc.line, tc.says)
			}
		})
	}
}

// Without variables a RepoSync leaves every text alone.
func TestNoVariables(t *testing.T) {
	text := []byte("apiVersion: v1\nkind: ConfigMap\ndata:\n  run.sh: echo ${HOME}\n")
	if got, findings := withVariables(Text{YAML: text}, nil); &got[0] != &text[0] || findings != nil {
		t.Errorf("got %v and\n%s", findings, got)
	}
}

// FuzzVariables: no text and no value panics, and what comes out is bounded.
func FuzzVariables(f *testing.F) {
	f.Add("a: ${B}", "c")
	f.Add("a: ${B:=${C}}\nb: ${B//x/y}", "xx")
	f.Add("a: [${B}, $${B}, ${B:0:1}, ${#B}]", "1")
	f.Add("a: ${B:1:9223372036854775807}", "abc")
	f.Add("a: ${B//${C:=}/${B//${C:=}/${B//${C:=}/x}}}", "abcdefghijk")
	f.Fuzz(func(t *testing.T, text, value string) {
		got, findings := withVariables(Text{YAML: []byte(text)}, map[string]v1alpha1.VariableValue{"B": v1alpha1.VariableValue(value)})
		if len(findings) == 0 && len(got) > 8*(maxSubstituted+len(text)) {
			t.Errorf("%d bytes became %d", len(text), len(got))
		}
	})
}

// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

const file = `%YAML 1.1
---
# first
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: a
  annotations:
    example.com/some.key: x
spec:
  tuning:
    input:
      urls:
      - https://data.example.com/1
      - https://data.example.com/2
--- # second
apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata:
  name: b
resource:
  instanceType: A
tuning:
  preset:
    name: phi-4
  input:
    volumeSource:
      persistentVolumeClaim: {claimName: c}
---

---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
`

func TestFilePosition(t *testing.T) {
	for name, c := range map[string]struct {
		reason     string
		kind, name string
		field      string
		line       int
	}{
		"Document":     {"the first line that says something, after directive and comment", "Workspace", "a", "", 4},
		"Field":        {"the line of the key", "Workspace", "a", "spec.tuning.input.urls", 13},
		"Element":      {"the line of the element", "Workspace", "a", "spec.tuning.input.urls[1]", 15},
		"BeyondList":   {"the nearest parent that is written", "Workspace", "a", "spec.tuning.input.urls[7]", 13},
		"Absent":       {"the nearest parent that is written", "Workspace", "a", "spec.tuning.output.image", 11},
		"AbsentWhole":  {"the document, when not even the first step is written", "Workspace", "a", "status.phase", 4},
		"Annotation":   {"a key with dots and slashes is in brackets", "Workspace", "a", "metadata.annotations[example.com/some.key]", 9},
		"OwnWords":     {"a document of kaito.sh by its own names", "Workspace", "b", "resource.instanceType", 22},
		"NativeWords":  {"and by those of the Workspace it converts to", "Workspace", "b", "spec.resource.instanceType", 22},
		"NativePreset": {"also where the shape differs", "Workspace", "b", "spec.tuning.preset", 25},
		"NativeClaim":  {"also where the name differs", "Workspace", "b", "spec.tuning.input.claim", 28},
		"NativeParent": {"the nearest parent there", "Workspace", "b", "spec.tuning.output.pushSecret", 23},
		"OtherKind":    {"an empty document between is none", "ConfigMap", "c", "metadata.name", 34},
		"Unknown":      {"no such document: the file without a line", "Workspace", "z", "spec", 0},
	} {
		t.Run(name, func(t *testing.T) {
			gotFile, line := repolayout.FilePosition("f.yaml", []byte(file), c.kind, c.name).At(c.field)
			if gotFile != "f.yaml" || line != c.line {
				t.Errorf("%s: got %s:%d, want line %d", c.reason, gotFile, line, c.line)
			}
		})
	}
}

func TestSplit(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"Empty":        {"nothing is no document", "", nil},
		"Comments":     {"nor are comments and separators", "# a\n---\n\n---\n# b\n...\n", nil},
		"One":          {"no separator is needed", "a: 1\n", []string{"a: 1\n"}},
		"NoNewline":    {"nor a last newline", "a: 1\n---\nb: 2", []string{"a: 1\n", "---\nb: 2"}},
		"OnSeparator":  {"content may follow the separator", "--- {a: 1}\n--- {b: 2}\n", []string{"--- {a: 1}\n", "--- {b: 2}\n"}},
		"InText":       {"an indented separator is text", "a: |\n  ---\n  b\n", []string{"a: |\n  ---\n  b\n"}},
		"Dashes":       {"four dashes are text", "a: |\n  x\n----: b\n", []string{"a: |\n  x\n----: b\n"}},
		"Broken":       {"one that is no YAML hides none", "a: [\n---\nb: 2\n", []string{"a: [\n", "---\nb: 2\n"}},
		"Mark":         {"a byte order mark says nothing", "\ufeff# c\n---\nkind: X\n", []string{"---\nkind: X\n"}},
		"MarkOfOne":    {"and is of no document", "\ufeffkind: X\n", []string{"kind: X\n"}},
		"WindowsLines": {"carriage returns do not matter", "a: 1\r\n---\r\nb: 2\r\n", []string{"a: 1\r\n", "---\r\nb: 2\r\n"}},
	} {
		t.Run(name, func(t *testing.T) {
			var got []string
			for _, d := range repolayout.Split("f.yaml", []byte(c.text)) {
				got = append(got, string(d.Text))
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestLineBehindMark(t *testing.T) {
	docs := repolayout.Split("a.yaml", []byte("\ufeff# c\n---\nkind: X\n"))
	if len(docs) != 1 {
		t.Fatalf("%d documents, want 1", len(docs))
	}
	if _, line := docs[0].At("kind"); line != 3 {
		t.Errorf("kind stands in line %d, want 3", line)
	}
}

// Findings of the second document of a file carry the file's lines, whether it
// parses or not.
func TestLinesOfLaterDocuments(t *testing.T) {
	docs := repolayout.Split("f.yaml", []byte("a: 1\n---\n# c\napiVersion: v1\nkind: ConfigMap\ndate: {}\n---\nb: [\n"))
	_, findings := repolayout.Decode(docs[1].Text, docs[1])
	want := []string{
		"5: error: metadata.name: a name is required; generateName cannot be kept in Git (NameInvalid)",
		"6: error: date: no such field; did you mean data? (UnknownField)",
	}
	want[0] = "4" + want[0][1:] // no metadata: the document's first line
	if diff := cmp.Diff(want, lines(findings)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	_, findings = repolayout.Decode(docs[2].Text, docs[2])
	if diff := cmp.Diff([]string{"8: error: this is no YAML: did not find expected node content (InvalidYAML)"}, lines(findings)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

func TestLineOfOddPaths(t *testing.T) {
	var n yaml.Node
	if err := yaml.Unmarshal([]byte("a: &x {b: 1}\nc: *x\nd: [e, [f]]\n"), &n); err != nil {
		t.Fatal(err)
	}
	for path, want := range map[string]int{"a.b": 1, "c.b": 1, "d[1][0]": 3, "d[": 3, "d[x]": 3, "..": 0, "[": 0, "a..b": 1, "d[-1]": 3} {
		if got := repolayout.Line(&n, path); got != want {
			t.Errorf("Line(%q) = %d, want %d", path, got, want)
		}
	}
	if got := repolayout.Line(nil, "a"); got != 0 {
		t.Errorf("Line of no document = %d", got)
	}
}

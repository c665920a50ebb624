// SPDX-License-Identifier: Apache-2.0

package desired_test

import (
	"bytes"
	"maps"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// examples are all documents that the tree shows to people, by file: the sample
// repository, KAITO's shapes, and what a KAITO user would try.
func examples(t *testing.T) map[string]string {
	t.Helper()
	files, err := example.Files(example.Options{})
	if err != nil {
		t.Fatal(err)
	}
	maps.DeleteFunc(files, func(name, _ string) bool { return path.Ext(name) != ".yaml" })
	shapes, err := filepath.Glob("../../repo-layout/kaito/testdata/*.yaml")
	if err != nil || len(shapes) == 0 {
		t.Fatalf("reading KAITO's shapes: %v", err)
	}
	for _, name := range shapes {
		text, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		files[name] = string(text)
	}
	script, err := txtar.ParseFile("../../cmd/espalier/testdata/script/kaito-user.txtar")
	if err != nil {
		t.Fatal(err)
	}
	for _, f := range script.Files {
		if strings.HasSuffix(f.Name, ".yaml") {
			files["kaito-user/"+f.Name] = string(f.Data)
		}
	}
	return files
}

// TestRoundTrip: what is written natively is read back as it was, and a document
// of KAITO and its native form render to the same bytes.
func TestRoundTrip(t *testing.T) {
	read, rendered := 0, 0
	files := examples(t)
	for _, name := range slices.Sorted(maps.Keys(files)) {
		var texts, native []desired.Text
		for _, d := range repolayout.Split(name, []byte(files[name])) {
			decoded, findings := repolayout.Decode(d.Text, d)
			if finding.Refused(findings) {
				continue
			}
			read++
			identity(t, name, decoded)
			converted, _, err := repolayout.Convert(d.Text, d)
			if err != nil {
				t.Fatal(err)
			}
			texts = append(texts, desired.Text{YAML: d.Text, Position: d})
			native = append(native, desired.Text{YAML: converted, Position: repolayout.Split(name, converted)[0]})
		}
		want, got := renderedAll(t, texts), renderedAll(t, native)
		rendered += len(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s and its native form render to different objects (-kaito +native):\n%s", name, diff)
		}
	}
	t.Logf("%d documents read back, %d Workspaces rendered both ways", read, rendered)
	if read < 20 || rendered < 12 {
		t.Errorf("only %d documents and %d Workspaces: the search for examples is broken", read, rendered)
	}
}

// identity: native → YAML → native.
func identity(t *testing.T, name string, want repolayout.Decoded) {
	t.Helper()
	text, err := repolayout.Encode(want)
	if err != nil {
		t.Fatal(err)
	}
	got, findings := repolayout.Decode(text, nil)
	if finding.Refused(findings) {
		t.Fatalf("%s: the native form is refused: %v", name, findings)
	}
	if w := want.Workspace; w != nil {
		w = w.DeepCopy()
		delete(w.Annotations, kaito.AnnotationConvertedFrom) // where it came from is no part of the form
		if len(w.Annotations) == 0 {
			w.Annotations = nil
		}
		want.Workspace = w
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: the native form means something else (-written +read):\n%s", name, diff)
	}
}

// renderedAll are the objects of each Workspace that is not refused, as YAML.
func renderedAll(t *testing.T, texts []desired.Text) map[string]string {
	t.Helper()
	documents, findings := desired.Assemble(nil, texts)
	state := newJudge().State(documents, findings)
	all := map[string]string{}
	for _, w := range state.Workspaces {
		if w.Assessment.Refused() {
			continue
		}
		out, err := w.Render()
		if err != nil {
			t.Fatal(err)
		}
		var text bytes.Buffer
		for _, o := range out.Objects() {
			y, err := yaml.Marshal(o.Object)
			if err != nil {
				t.Fatal(err)
			}
			text.WriteString("---\n")
			text.Write(y)
		}
		all[w.Workspace.Name] = text.String()
	}
	return all
}

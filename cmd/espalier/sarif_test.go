// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/santhosh-tekuri/jsonschema/v6"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const refusedText = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: a
spec:
  resource:
    instanceType: Standard_NC6s_v3
    cuont: 2
  inference:
    preset: phi-4-mini-instruct
---
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: b
spec:
  resource:
    instanceType: Standard_NC6s_v3
  inference:
    preset: phi-4-mini-instruct
`

// sarifOf runs validate in a repository whose file with a space in its name has
// the text, from a folder within.
func sarifOf(t *testing.T, text string) sarifLog {
	t.Helper()
	dir := t.TempDir()
	for _, folder := range []string{".git", "models/my team"} {
		if err := os.MkdirAll(filepath.Join(dir, folder), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	if err := os.WriteFile(filepath.Join(dir, "models/my team/a.yaml"), []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	t.Chdir(filepath.Join(dir, "models"))
	var out, talk bytes.Buffer
	if code := run(t.Context(), []string{"validate", "-o", "sarif", "my team/a.yaml"}, nil, &out, &talk); code != exitRefused {
		t.Fatalf("exit %d: %s", code, talk.String())
	}
	judgeSARIF(t, out.Bytes())
	var log sarifLog
	if err := json.Unmarshal(out.Bytes(), &log); err != nil {
		t.Fatal(err)
	}
	return log
}

var schemaOfSARIF = filepath.Join("testdata", "sarif", "sarif-2.1.0-rtm.5.json")

// judgeSARIF validates against the schema of the standard.
func judgeSARIF(t *testing.T, text []byte) {
	t.Helper()
	schema := sarifSchema(t)
	document, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	if err := schema.Validate(document); err != nil {
		t.Errorf("the output is no SARIF: %v\n%.2000s", err, text)
	}
}

var testFolder = func() string { dir, _ := os.Getwd(); return dir }()

func sarifSchema(t *testing.T) *jsonschema.Schema {
	t.Helper()
	file, err := os.Open(filepath.Join(testFolder, schemaOfSARIF))
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	document, err := jsonschema.UnmarshalJSON(file)
	if err != nil {
		t.Fatal(err)
	}
	compiler := jsonschema.NewCompiler()
	compiler.AssertFormat()
	if err := compiler.AddResource("sarif.json", document); err != nil {
		t.Fatal(err)
	}
	schema, err := compiler.Compile("sarif.json")
	if err != nil {
		t.Fatal(err)
	}
	return schema
}

func TestSARIF(t *testing.T) {
	log := sarifOf(t, refusedText)
	run := log.Runs[0]
	var got []string
	for _, r := range run.Results {
		l := r.Locations[0].Physical
		rule := run.Tool.Driver.Rules[r.RuleIndex]
		if rule.ID != r.RuleID || rule.Help.Text == "" || !strings.Contains(rule.HelpURI, "docs/findings.md#"+strings.ToLower(r.RuleID)) {
			t.Errorf("the rule of %s is %+v", r.RuleID, rule)
		}
		got = append(got, strings.Join([]string{r.RuleID, r.Level, l.Artifact.URI, l.Artifact.URIBaseID}, " "))
	}
	want := []string{
		"UnknownField error models/my%20team/a.yaml %SRCROOT%",
		"InstanceTypeRetired error models/my%20team/a.yaml %SRCROOT%",
		"ModelRevisionUnpinned warning models/my%20team/a.yaml %SRCROOT%",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if line := run.Results[0].Locations[0].Physical.Region.StartLine; line != 8 {
		t.Errorf("the first result is at line %d, want 8", line)
	}
}

// The line that mends a finding is a fix of it, in the place of the whole line.
func TestSARIFFixes(t *testing.T) {
	var got []string
	for _, r := range sarifOf(t, refusedText).Runs[0].Results {
		for _, f := range r.Fixes {
			change := f.Changes[0]
			replaced := change.Replacements[0]
			got = append(got, fmt.Sprintf("%s:%d:%s", change.Artifact.URI, replaced.Deleted.StartLine, replaced.Inserted.Text))
		}
	}
	want := []string{
		"models/my%20team/a.yaml:8:    count: 2",
		"models/my%20team/a.yaml:18:    instanceType: Standard_NC4as_T4_v3",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestJSONFixes: the same for scripts.
func TestJSONFixes(t *testing.T) {
	var out bytes.Buffer
	fix := v1alpha1.Fix{Old: "a: <b>", New: "a: c"}
	if err := writeJSON(&out, []shownFinding{{Finding: v1alpha1.Finding{Code: "A", Fix: fix}}, {Finding: v1alpha1.Finding{Code: "B"}}}); err != nil {
		t.Fatal(err)
	}
	want := []map[string]any{
		{"severity": "", "code": "A", "message": "", "fix": map[string]any{"old": "a: <b>", "new": "a: c"}},
		{"severity": "", "code": "B", "message": ""},
	}
	var got []map[string]any
	if err := json.Unmarshal(out.Bytes(), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// A forge tells what is new by the fingerprint: it stays when lines are put
// before a mistake, and two mistakes never share one.
func TestFingerprints(t *testing.T) {
	before := sarifOf(t, strings.Replace(refusedText, "    cuont: 2\n", "", 1)).Runs[0].Results
	after := sarifOf(t, "# one\n# two\n\n"+strings.Replace(refusedText, "    cuont: 2\n", "", 1)).Runs[0].Results
	seen := map[string]bool{}
	for i, r := range before {
		print := r.Fingerprints[fingerprintKey]
		if seen[print] || print == "" {
			t.Errorf("%s: the fingerprint %q is not its own", r.RuleID, print)
		}
		seen[print] = true
		if other := after[i].Fingerprints[fingerprintKey]; other != print {
			t.Errorf("%s: three lines before it change its fingerprint", r.RuleID)
		}
		if a, b := r.Locations[0].Physical.Region.StartLine, after[i].Locations[0].Physical.Region.StartLine; b != a+3 {
			t.Errorf("%s: line %d became %d", r.RuleID, a, b)
		}
	}
	if len(before) != 4 {
		t.Errorf("%d results, want 4", len(before))
	}
}

// No findings are a SARIF log too: forges close what was open.
func TestSARIFEmpty(t *testing.T) {
	var out bytes.Buffer
	if err := writeSARIF(&out, nil); err != nil {
		t.Fatal(err)
	}
	judgeSARIF(t, out.Bytes())
	if !strings.Contains(out.String(), `"results": []`) {
		t.Errorf("got %s", out.String())
	}
}

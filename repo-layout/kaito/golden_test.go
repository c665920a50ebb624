// SPDX-License-Identifier: Apache-2.0

package kaito_test

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

var update = flag.Bool("update", false, "write the golden files")

// Each document of testdata is written anew after a shape that KAITO's
// documentation or users show; its golden file is what a user of Espalier
// reads: the findings, and the native form where it is accepted.
func TestGolden(t *testing.T) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("reading testdata: %v", err)
	}
	for _, file := range files {
		name := strings.TrimSuffix(filepath.Base(file), ".yaml")
		t.Run(name, func(t *testing.T) {
			got := answer(t, file)
			golden := strings.TrimSuffix(file, ".yaml") + ".golden"
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("-want +got, -update writes it:\n%s", diff)
			}
		})
	}
}

func answer(t *testing.T, file string) []byte {
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var out bytes.Buffer
	for _, doc := range repolayout.Split(filepath.Base(file), text) {
		decoded, findings := repolayout.Decode(doc.Text, doc)
		for _, f := range findings {
			fmt.Fprintf(&out, "%s:%d: %s: %s (%s)\n", f.File, f.Line, f.Severity, f.Message, f.Code)
		}
		if finding.Refused(findings) {
			continue
		}
		native, err := repolayout.Encode(decoded)
		if err != nil {
			t.Fatal(err)
		}
		fmt.Fprintf(&out, "---\n%s", native)
		roundTrip(t, decoded, native)
	}
	return out.Bytes()
}

// roundTrip: the native form reads back to what the kaito.sh document became,
// but for the note of where it came from.
func roundTrip(t *testing.T, want repolayout.Decoded, native []byte) {
	t.Helper()
	got, findings := repolayout.Decode(native, nil)
	if len(findings) > 0 {
		t.Fatalf("the native form has findings: %v", findings)
	}
	expected := want.Workspace.DeepCopy()
	delete(expected.Annotations, kaito.AnnotationConvertedFrom)
	if len(expected.Annotations) == 0 {
		expected.Annotations = nil
	}
	if diff := cmp.Diff(expected, got.Workspace); diff != "" {
		t.Errorf("the native form means something else, -converted +native:\n%s", diff)
	}
}

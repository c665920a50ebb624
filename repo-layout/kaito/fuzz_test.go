// SPDX-License-Identifier: Apache-2.0

package kaito_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// FuzzConvert reads a document as either version: no panic, and a Workspace or
// an error, never both and never neither.
func FuzzConvert(f *testing.F) {
	files, err := filepath.Glob("testdata/*.yaml")
	if err != nil || len(files) == 0 {
		f.Fatalf("reading the corpus: %v", err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(string(text))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, version := range []string{"v1alpha1", "v1beta1"} {
			doc := strings.NewReplacer("v1alpha1", version, "v1beta1", version).Replace(text)
			w, problems := kaito.Convert([]byte(doc))
			if refused := finding.HasError(problems); refused == (w != nil) {
				t.Errorf("%s: refused is %v and the Workspace %v: %v", version, refused, w, problems)
			}
			for _, p := range problems {
				if _, known := finding.RuleOf(p.Code); !known || p.Message == "" {
					t.Errorf("%s: %+v", version, p)
				}
			}
		}
	})
}

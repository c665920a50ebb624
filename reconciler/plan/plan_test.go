// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"bytes"
	"flag"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// TestGolden shows every scenario in every form.
func TestGolden(t *testing.T) {
	for name, s := range scenarios {
		t.Run(name, func(t *testing.T) {
			p := s.plan(t)
			if name != "Replicas" { // one shows them; the others would change with every base
				for i := range p.Changes {
					p.Changes[i].Diff = ""
				}
			}
			var text bytes.Buffer
			if err := p.Text(&text, false); err != nil {
				t.Fatal(err)
			}
			json, err := p.JSON()
			if err != nil {
				t.Fatal(err)
			}
			golden(t, s.reason, name+".txt", text.Bytes())
			golden(t, s.reason, name+".md", []byte(p.Markdown(0)))
			golden(t, s.reason, name+".json", json)
		})
	}
}

func golden(t *testing.T, reason, name string, got []byte) {
	t.Helper()
	file := filepath.Join("testdata", "golden", name)
	if *update {
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s\n%s (-want +got):\n%s", reason, name, diff)
	}
}

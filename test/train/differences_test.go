// SPDX-License-Identifier: Apache-2.0

package train

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/test/harness"
)

var update = flag.Bool("update", false, "Write the list of differences into the page")

// page has the list between two marks.
const (
	page  = "../../docs/design/0053-real-trainer.md"
	begin = "<!-- differences: go test ./test/train -run TestDifferences -update -->\n"
	end   = "<!-- end of differences -->\n"
)

// TestDifferences: what differs is in the page, and nothing is listed that is rendered
// otherwise than it says.
func TestDifferences(t *testing.T) {
	text, err := os.ReadFile(page)
	if err != nil {
		t.Fatal(err)
	}
	before, rest, found := strings.Cut(string(text), begin)
	_, after, closed := strings.Cut(rest, end)
	if !found || !closed {
		t.Fatalf("%s has no place for the list", page)
	}
	want := before + begin + table() + end + after
	if *update {
		if err := os.WriteFile(page, []byte(want), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if want != string(text) {
		t.Errorf("%s lists other differences: go test ./test/train -run TestDifferences -update", page)
	}
	espalier, err := harness.BuildEspalier(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := differ(render(t, espalier).files["axolotl.yaml"]); err != nil {
		t.Error(err)
	}
}

func table() string {
	var out strings.Builder
	out.WriteString("| what | in the pod | here | why |\n|---|---|---|---|\n")
	for _, d := range Differences {
		what, rendered, here := "`"+d.Key+"`", shown(d.Rendered), shown(d.Here)
		if d.Key == "" {
			what, rendered, here = d.What, fmt.Sprint(d.Rendered), fmt.Sprint(d.Here)
		}
		fmt.Fprintf(&out, "| %s | %s | %s | %s |\n", what, rendered, here, d.Why)
	}
	return out.String()
}

func shown(value any) string {
	if value == nil {
		return "not said"
	}
	return fmt.Sprintf("`%v`", value)
}

// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

type fixed struct{}

func (fixed) At(field string) (string, int) { return "f.yaml", len(field) }

type document struct{ fixed }

func (document) DocumentLine(n int) int { return 100 + n }

func TestAt(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		problem Problem
		pos     Position
		want    v1alpha1.Finding
	}{
		"Field":    {"the message leads with the field", Errorf(URLInvalid, "a.b", "no %s", "address"), fixed{}, v1alpha1.Finding{Severity: "error", Code: "URLInvalid", File: "f.yaml", Line: 3, Object: "o", Message: "a.b: no address"}},
		"Document": {"without a field there is none to name", Warningf(SecretInGit, "", "readable"), fixed{}, v1alpha1.Finding{Severity: "warning", Code: "SecretInGit", File: "f.yaml", Object: "o", Message: "readable"}},
		"Line":     {"a line of the text becomes one of the file", Problem{Severity: Error, Code: InvalidYAML, Line: 7, Message: "m"}, document{}, v1alpha1.Finding{Severity: "error", Code: "InvalidYAML", File: "f.yaml", Line: 107, Object: "o", Message: "m"}},
		"PlainPos": {"a position without lines of text keeps it", Problem{Severity: Error, Code: InvalidYAML, Line: 7, Message: "m"}, fixed{}, v1alpha1.Finding{Severity: "error", Code: "InvalidYAML", File: "f.yaml", Line: 7, Object: "o", Message: "m"}},
		"NoPos":    {"no position, no file", Errorf(URLInvalid, "a", "m"), nil, v1alpha1.Finding{Severity: "error", Code: "URLInvalid", Object: "o", Message: "a: m"}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, c.problem.At(c.pos, "o")); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

func TestLongMessage(t *testing.T) {
	for _, text := range []string{strings.Repeat("ä", 3000), "x" + strings.Repeat("ä", 3000), strings.Repeat("\xff", 3000)} {
		got := Errorf(UnknownField, text, "no such %s", text).At(nil, "").Message
		if field, _, _ := strings.Cut(got, ": "); len(field) > 170 || len(got) > 1210 || !strings.HasSuffix(got, "…") {
			t.Errorf("a message of %d bytes", len(got))
		}
		if utf8.ValidString(text) && !utf8.ValidString(got) {
			t.Errorf("cut within a character: %q", got)
		}
	}
}

func TestSort(t *testing.T) {
	f := []v1alpha1.Finding{
		{File: "b", Line: 1, Severity: Error, Message: "1"},
		{File: "a", Line: 2, Severity: Warning, Message: "2"},
		{File: "a", Line: 2, Severity: Error, Message: "4"},
		{File: "a", Line: 2, Severity: Error, Message: "3"},
	}
	Sort(f)
	var got string
	for _, one := range f {
		got += one.Message
	}
	if got != "3421" {
		t.Errorf("got %s: by file, line, errors before warnings, text", got)
	}
	if !Refused(f) || Refused(f[2:3]) {
		t.Error("an error refuses, a warning does not")
	}
}

func TestPaths(t *testing.T) {
	for got, want := range map[string]string{
		Key("", "spec"):          "spec",
		Key("a", "b-c_1"):        "a.b-c_1",
		Key("a.labels", "x.y/z"): "a.labels[x.y/z]",
		Key("a", ""):             "a[]",
		Index("a", 3):            "a[3]",
		Location("f.yaml", 3):    "f.yaml:3",
		Location("f.yaml", 0):    "f.yaml",
	} {
		if got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

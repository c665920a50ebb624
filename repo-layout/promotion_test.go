// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const (
	dolly    = "registry.example.com/models/dolly"
	newDolly = dolly + "@sha256:" + "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
)

// promoting are two documents: a run that promotes to b, and b with adapters.
func promoting(model, adapters string) string {
	return header + onA100 + tunes + "    promote: {to: b}\n" + fromURL + "    output: {image: '" + dolly + ":v1', pushSecret: p}\n" +
		"---\n" + strings.Replace(header, "{name: a}", "{name: b}", 1) + onA100 + "  inference: {preset: " + model + ", adapters: [" + adapters + "]}\n"
}

func TestPromotions(t *testing.T) {
	const one = "{name: dolly, image: '" + dolly + ":v1'}"
	for name, c := range map[string]struct {
		reason string
		text   string
		want   string
	}{
		"Good":    {reason: "One adapter is from where the run pushes to.", text: promoting("phi-4", one)},
		"Pinned":  {reason: "Also once it has a digest.", text: promoting("phi-4", "{name: dolly, image: '"+newDolly+"'}")},
		"Missing": {reason: "A folder may be validated without the other.", text: strings.Split(promoting("phi-4", one), "---\n")[0], want: "no Workspace b is among these files"},
		"None":    {reason: "The line to add is said.", text: promoting("phi-4", ""), want: "add {name: a, image: '" + dolly + ":v1'} to its spec.inference.adapters"},
		"Two":     {reason: "Which one is not for a machine to guess.", text: promoting("phi-4", one+", {name: other, image: '"+dolly+":v2'}"), want: "b has 2 adapters from " + dolly},
		"Model":   {reason: "An adapter belongs to one model.", text: promoting("phi-4-mini-instruct", one), want: "b serves phi-4-mini-instruct, and an adapter of phi-4 does not belong to it"},
		"Owner":   {reason: "The same model with who published it.", text: promoting("microsoft/Phi-4", one)},
		"Tunes":   {reason: "What tunes serves nothing.", text: strings.Replace(promoting("phi-4", one), "to: b", "to: a", 1), want: "a does not serve a model"},
	} {
		got := slices.DeleteFunc(repolayout.Promotions(entriesOf(t, c.text)), func(f v1alpha1.Finding) bool { return f.Code == "AdapterNotPinned" })
		if len(got) > 1 || (len(got) == 1) != (c.want != "") || len(got) == 1 && (!strings.Contains(got[0].Message, c.want) || got[0].Line != 9 || got[0].Severity != "warning") {
			t.Errorf("%s: %s\ngot %+v, want %q", name, c.reason, got, c.want)
		}
	}
}

// TestAdapterByTag: what a run pushes to a tag is served by digest, or nobody knows which.
func TestAdapterByTag(t *testing.T) {
	const one = "{name: dolly, image: '" + dolly + ":v1'}"
	alone := strings.Replace(promoting("phi-4", one), "    promote: {to: b}\n", "", 1)
	for name, c := range map[string]struct {
		reason string
		text   string
		warns  bool
	}{
		"Tag":       {"The tag is of whichever run was last.", alone, true},
		"Promoted":  {"A pull request brings the digest.", promoting("phi-4", one), false},
		"Digest":    {"Git says what is served.", strings.Replace(alone, "dolly, image: '"+dolly+":v1'", "dolly, image: '"+newDolly+"'", 1), false},
		"Another":   {"Another tag is another image.", strings.Replace(alone, "dolly, image: '"+dolly+":v1'", "dolly, image: '"+dolly+":v2'", 1), false},
		"Elsewhere": {"A run of another namespace is somebody else's.", strings.Replace(strings.Replace(alone, "{name: b}", "{name: b, namespace: y}", 1), "{name: a}", "{name: a, namespace: x}", 1), false},
	} {
		t.Run(name, func(t *testing.T) {
			got := repolayout.Promotions(entriesOf(t, c.text))
			if (len(got) == 1) != c.warns || len(got) > 1 || c.warns && (got[0].Code != "AdapterNotPinned" || got[0].Severity != "warning" || !strings.Contains(got[0].Message, "promote {to: b}")) {
				t.Errorf("%s\ngot %+v", c.reason, got)
			}
		})
	}
}

func entriesOf(t *testing.T, text string) []repolayout.Entry {
	t.Helper()
	var entries []repolayout.Entry
	for _, d := range repolayout.Split("f.yaml", []byte(text)) {
		decoded, found := repolayout.Decode(d.Text, d)
		if len(found) > 0 {
			t.Fatalf("%+v", found)
		}
		entries = append(entries, repolayout.Entry{Decoded: decoded, Position: d})
	}
	return entries
}

func TestSetAdapterImage(t *testing.T) {
	const before = "# Ours.\n---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {image: " + dolly + ":v1}\n--- # next\n" +
		"apiVersion: espalier.dev/v1alpha1\nkind:   Workspace # so\nmetadata: {name: b}\nspec:\n    inference:\n      preset: phi-4\n      adapters: # ü\n" +
		"      -   image:  IMAGE   # trained in March\n          name: dolly\n      - {name: ü, image: " + dolly + "-other:v1}\n"
	for name, c := range map[string]struct {
		reason string
		old    string // how the image is written; "" takes all of text
		want   string
		text   string
		line   int
		named  types.NamespacedName
		fails  string
	}{
		"Named":     {reason: "It is the Workspace that is meant.", old: dolly + ":v1", want: newDolly, named: types.NamespacedName{Namespace: "any", Name: "b"}},
		"Misnamed":  {reason: "A document of another Workspace is left alone.", old: dolly + ":v1", named: types.NamespacedName{Namespace: "any", Name: "c"}, fails: "another name than Workspace any/c"},
		"Misplaced": {reason: "One of another namespace too.", text: "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: b, namespace: x}\n", line: 1, named: types.NamespacedName{Namespace: "y", Name: "b"}, fails: "another name than Workspace y/b"},
		"Tag":       {reason: "Comments and spaces stay.", old: dolly + ":v1", want: newDolly},
		"Digest":    {reason: "The next run takes the place of the last.", old: dolly + "@sha256:" + strings.Repeat("a", 64), want: newDolly},
		"Single":    {reason: "Quotes stay.", old: "'" + dolly + ":v1'", want: "'" + newDolly + "'"},
		"Double":    {reason: "Both kinds.", old: `"` + dolly + `:v1"`, want: `"` + newDolly + `"`},
		"Same":      {reason: "Nothing to do is said apart.", old: newDolly, fails: repolayout.ErrSameImage.Error()},
		"Anchor":    {reason: "What others refer to is for a person to change.", old: "&image " + dolly + ":v1", fails: "only a person"},
		"Escaped":   {reason: "As is what is not written as it reads.", old: `"registry.example.com/\x6dodels/dolly:v1"`, fails: "only a person"},
		"Folded":    {reason: "Or over lines.", old: ">-\n              " + dolly + ":v1\n", fails: "only a person"},
		"Elsewhere": {reason: "A patch may bring it.", old: "registry.example.com/x/y:v1", fails: "comes from a patch"},
		"KAITO": {
			reason: "Its documents have another form.", text: "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata: {name: b}\n", line: 1,
			fails: "kaito.sh/v1beta1, and not a Workspace of espalier.dev",
		},
		"OtherDocument": {reason: "The line says which.", text: strings.ReplaceAll(before, "IMAGE", dolly+":v1"), line: 3, fails: "not a Workspace"},
		"NoDocument":    {reason: "The file may have changed since.", text: "a: 1\n", line: 30, fails: "no document at line 30"},
	} {
		text, line := c.text, c.line
		if c.old != "" {
			text, line = strings.ReplaceAll(before, "IMAGE", c.old), 8
		}
		got, err := repolayout.SetAdapterImage("f.yaml", []byte(text), line, c.named, newDolly)
		if c.fails != "" {
			if err == nil || !strings.Contains(err.Error(), c.fails) || (name == "Same") != errors.Is(err, repolayout.ErrSameImage) {
				t.Errorf("%s: %s\ngot %q, %v, want %q", name, c.reason, got, err, c.fails)
			}
			continue
		}
		if diff := cmp.Diff(strings.ReplaceAll(before, "IMAGE", c.want), string(got)); diff != "" || err != nil {
			t.Errorf("%s: %s\n%v -want +got:\n%s", name, c.reason, err, diff)
		}
	}
}

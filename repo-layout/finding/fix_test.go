// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestInLine(t *testing.T) {
	size := v1alpha1.Fix{Old: "Standard_NC6s_v3", New: "Standard_NC4as_T4_v3"}
	key := v1alpha1.Fix{Old: "cuont", New: "count", Key: true}
	for name, c := range map[string]struct {
		reason string
		line   string
		word   v1alpha1.Fix
		want   string // "": left alone
	}{
		"Value":         {"the plain case", "    instanceType: Standard_NC6s_v3\n", size, "    instanceType: Standard_NC4as_T4_v3"},
		"Quoted":        {"quotes stay", `    instanceType: "Standard_NC6s_v3"`, size, `    instanceType: "Standard_NC4as_T4_v3"`},
		"WindowsEnd":    {"the end of the line is not a part of it", "    instanceType: Standard_NC6s_v3\r\n", size, "    instanceType: Standard_NC4as_T4_v3"},
		"Flow":          {"a flow mapping that has it once", "    - {instanceType: Standard_NC6s_v3, priority: Spot}", size, "    - {instanceType: Standard_NC4as_T4_v3, priority: Spot}"},
		"Operation":     {"a patch on one line", `  patch: '[{"op":"add","path":"/spec/a","value":"Standard_NC6s_v3"}]'`, size, `  patch: '[{"op":"add","path":"/spec/a","value":"Standard_NC4as_T4_v3"}]'`},
		"Comment":       {"a comment keeps its words", "    instanceType: Standard_NC6s_v3 # Standard_NC6s_v3 is old", size, "    instanceType: Standard_NC4as_T4_v3 # Standard_NC6s_v3 is old"},
		"Twice":         {"which of them is meant is not known", "  - {instanceType: Standard_NC6s_v3, a: Standard_NC6s_v3}", size, ""},
		"OnlyCommented": {"the value comes from elsewhere", "    instanceType: ${SIZE} # Standard_NC6s_v3", size, ""},
		"Variable":      {"the name of a variable is no value", "    instanceType: ${Standard_NC6s_v3}", size, ""},
		"PartOfAnother": {"a longer word is another one", "    instanceType: Standard_NC6s_v3_Promo", size, ""},
		"Elsewhere":     {"a patch or a substitution gave the value", "    instanceType: Standard_NC24s_v3", size, ""},
		"Anchor":        {"what an anchor names stands elsewhere too", "    instanceType: &size Standard_NC6s_v3", size, ""},
		"Alias":         {"as does what an alias stands for", "    - {a: *b, instanceType: Standard_NC6s_v3}", size, ""},
		"Key":           {"the name of a field", "    cuont: 2", key, "    count: 2"},
		"QuotedKey":     {"in quotes", `    "cuont": 2`, key, `    "count": 2`},
		"KeyIsNoValue":  {"a value that reads the same is not the field", "    name: cuont", key, ""},
		"ValueIsNoKey":  {"and a field not the value", "    Standard_NC6s_v3: a", size, ""},
		"InAPointer":    {"a part of a path is not taken for a field", `- {op: add, path: /spec/cuont, value: 2}`, key, ""},
		"Address":       {"an address may hold a password", "    cuont: https://u:p@example.com", key, ""},
		"Token":         {"one of a known kind", "    - {name: HF_TOKEN, value: hf_AbCdEfGhIjKlMn, cuont: 2}", key, ""},
		"Password":      {"a field whose value nobody should read", "    {password: hunter2, cuont: 2}", key, ""},
		"Misspelled":    {"and its name with a slip", "    passwrod: hunter2", v1alpha1.Fix{Old: "passwrod", New: "password", Key: true}, ""},
		"LongRun":       {"a token of no known kind", "    cuont: 2 # was 0a1b2c3d4e5f60718293a4b5", key, ""},
		"SecretRef":     {"the name of a Secret is none", "    {secretRef: {name: forge}, cuont: 2}", key, "    {secretRef: {name: forge}, count: 2}"},
		"LongName":      {"nor is a long name in words", "    {instanceType: Standard_NC24ads_A100_v4, cuont: 2}", key, "    {instanceType: Standard_NC24ads_A100_v4, count: 2}"},
		"Image":         {"a tag belongs to its image", "    image: ghcr.io/Team/x:V1", v1alpha1.Fix{Old: "ghcr.io/Team/x:V1", New: "ghcr.io/team/x:V1"}, "    image: ghcr.io/team/x:V1"},
		"Invisible":     {"what does not show is not repeated", "    instanceType: Standard_NC6s_v3\u202e", size, ""},
		"Long":          {"a program wrote it", "    instanceType: Standard_NC6s_v3 # " + strings.Repeat("x", 300), size, ""},
		"NoWord":        {"what would need quotes is left to people", "    a: b", v1alpha1.Fix{Old: "b", New: "c: d"}, ""},
		"NoLine":        {"there is no such line", "", size, ""},
		"Nothing":       {"there is no fix", "a: b", v1alpha1.Fix{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			want := v1alpha1.Fix{}
			if c.want != "" {
				want = v1alpha1.Fix{Old: strings.TrimRight(c.line, "\r\n"), New: c.want}
			}
			if diff := cmp.Diff(want, InLine(c.line, c.word)); diff != "" {
				t.Errorf("%s: -want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// FuzzInLine: a line that is mended differs in the word alone.
func FuzzInLine(f *testing.F) {
	f.Add("  a: b # c", "b", "dd", false)
	f.Add(`{"a":"b"}`, "a", "bb", true)
	f.Add("a: é", "é", "ee", false)
	f.Fuzz(func(t *testing.T, line, old, instead string, key bool) {
		got := InLine(line, v1alpha1.Fix{Old: old, New: instead, Key: key})
		if got.None() {
			return
		}
		if strings.ContainsAny(got.New, "\r\n") || len(got.New)-len(got.Old) != len(instead)-len(old) || strings.Count(got.New, "\n") != 0 {
			t.Errorf("%q became %q", got.Old, got.New)
		}
	})
}

// A fix goes with the finding only where the position has the text, and never into a
// Secret.
func TestFixAt(t *testing.T) {
	p := Errorf(UnknownField, "a", "no such field").Renamed("cuont", "count")
	for name, c := range map[string]struct {
		reason string
		pos    Position
		object string
		want   v1alpha1.Fix
	}{
		"Text":   {"the line is there", lines("cuont: 2"), "Workspace/a", v1alpha1.Fix{Old: "cuont: 2", New: "count: 2"}},
		"NoText": {"a position that only counts lines", fixed{}, "Workspace/a", v1alpha1.Fix{}},
		"Secret": {"a line of a Secret is not repeated", lines("cuont: 2"), "Secret/a/b", v1alpha1.Fix{}},
		"None":   {"there is no position", nil, "Workspace/a", v1alpha1.Fix{}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, p.At(c.pos, c.object).Fix); diff != "" {
				t.Errorf("%s: -want +got:\n%s", c.reason, diff)
			}
		})
	}
}

type lines string

func (lines) At(string) (string, int) { return "f.yaml", 1 }

func (l lines) Fix(_ string, _ int, word v1alpha1.Fix) v1alpha1.Fix {
	return InLine(string(l), word)
}

func TestAgree(t *testing.T) {
	at := func(line int, instead string) v1alpha1.Finding {
		return v1alpha1.Finding{File: "a.yaml", Line: line, Fix: v1alpha1.Fix{Old: "a", New: instead}}
	}
	findings := []v1alpha1.Finding{at(1, "b"), at(1, "b"), at(2, "b"), {File: "a.yaml", Line: 2}, at(3, "b"), at(3, "c")}
	Agree(findings)
	var got []string
	for _, f := range findings {
		got = append(got, f.Fix.New)
	}
	if diff := cmp.Diff([]string{"b", "b", "b", "", "", ""}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"strings"
	"testing"
)

// TestSchema: every version that tunes has its own schema, with its source.
func TestSchema(t *testing.T) {
	for _, r := range All() {
		if r.Task != Tuning {
			continue
		}
		s := r.Schema()
		if s == nil || !s.Has("base_model") || s.Nearest("learnig_rate") != "learning_rate" {
			t.Fatalf("%s %s: the schema does not know what it should", r.Name, r.Version)
		}
		text, err := files.ReadFile("schemas/" + r.Name + "-" + r.Version + ".json")
		if err != nil || !strings.Contains(string(text), "sha256:") {
			t.Errorf("%s %s: the schema names no source (%v)", r.Name, r.Version, err)
		}
	}
}

func TestSchemaValidate(t *testing.T) {
	r, _ := Lookup(Axolotl, "", "")
	for name, c := range map[string]struct {
		reason string
		file   map[string]any
		want   string // part of the error, "" for none
	}{
		"Whole":   {reason: "What Axolotl asks for is there.", file: map[string]any{"base_model": "a/b", "learning_rate": 0.1}},
		"Missing": {reason: "It cannot do without.", file: map[string]any{"learning_rate": 0.1}, want: "missing property 'base_model'"},
		"Ignored": {reason: "Axolotl ignores what it does not know.", file: map[string]any{"base_modell": "a"}, want: "no key base_modell"},
		"Type":    {reason: "A type is a type.", file: map[string]any{"base_model": 3.0, "learning_rate": 0.1}, want: "got number, want string"},
	} {
		t.Run(name, func(t *testing.T) {
			err := r.Schema().Validate(c.file)
			if (err == nil) != (c.want == "") || err != nil && !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngot %v, want %q", c.reason, err, c.want)
			}
		})
	}
}

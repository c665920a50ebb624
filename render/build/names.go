// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"encoding/json"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"

	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// NameReferences returns the transformer configuration that every build is
// given, for repo-layout/example and for people who build with kubectl.
func NameReferences() []byte { return config.Names() }

// MergeKeys returns the schema with the merge keys of our kinds, likewise.
func MergeKeys() []byte { return config.Schema() }

// nameRules is the built-in configuration.
type nameRules struct {
	NameReference []nameRule `json:"nameReference"`
}

// nameRule says which fields name objects of a kind.
type nameRule struct {
	Kind       string      `json:"kind"`
	Group      string      `json:"group,omitempty"`
	Version    string      `json:"version,omitempty"`
	FieldSpecs []fieldSpec `json:"fieldSpecs"`
}

type fieldSpec struct {
	Group string `json:"group"`
	Kind  string `json:"kind"`
	Path  string `json:"path"`
}

// words are those without which no object has the field.
func (f fieldSpec) words() []string {
	return append(strings.Split(f.Path, "/"), f.Kind)
}

var builtInRules = sync.OnceValue(func() nameRules {
	var r nameRules
	if err := yaml.UnmarshalStrict(config.Names(), &r); err != nil {
		panic("build: the name references are no YAML: " + err.Error())
	}
	return r
})

// field is where a kind names another.
type field struct {
	group, kind string // that has the field
	path        []string
	names       string // kind that it names
}

// nameFields are the fields of the built-in configuration.
var nameFields = sync.OnceValue(func() []field {
	var fields []field
	for _, r := range builtInRules().NameReference {
		for _, f := range r.FieldSpecs {
			fields = append(fields, field{f.Group, f.Kind, strings.Split(f.Path, "/"), r.Kind})
		}
	}
	return fields
})

// ruleWords are all words of the fields of the built-in configuration.
var ruleWords = sync.OnceValue(func() map[string]bool {
	words := map[string]bool{}
	for _, r := range builtInRules().NameReference {
		for _, f := range r.FieldSpecs {
			for _, word := range f.words() {
				words[word] = true
			}
		}
	}
	return words
})

// namesFor is the part of the built-in configuration that may matter to files, nil
// where none does: Kustomize takes longer to read all of it than to build a small
// overlay. A rule may matter where every word of its field is written; Kustomize refuses
// a field of another form also where nothing is there that it could name. Where a word
// may be spelled otherwise, or put together from parts, all rules may.
func namesFor(files map[string][]byte) ([]byte, error) {
	written := map[string]bool{}
	for _, text := range files {
		if bytes.ContainsAny(text, "\\\x00") || bytes.Contains(text, []byte("replacements")) {
			return config.Names(), nil
		}
		noteWords(written, text)
	}
	missing := func(word string) bool { return !written[word] }
	var left nameRules
	for _, r := range builtInRules().NameReference {
		r.FieldSpecs = slices.DeleteFunc(slices.Clone(r.FieldSpecs), func(f fieldSpec) bool {
			return slices.ContainsFunc(f.words(), missing)
		})
		if len(r.FieldSpecs) > 0 {
			left.NameReference = append(left.NameReference, r)
		}
	}
	if len(left.NameReference) == 0 {
		return nil, nil
	}
	return json.Marshal(left)
}

// noteWords adds the words of a text that fields of rules consist of.
func noteWords(written map[string]bool, text []byte) {
	words := ruleWords()
	for word := range bytes.FieldsFuncSeq(text, func(r rune) bool { return !isLetter(r) }) {
		if words[string(word)] {
			written[string(word)] = true
		}
	}
}

func isLetter(r rune) bool {
	return 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' || '0' <= r && r <= '9'
}

// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/santhosh-tekuri/jsonschema/v6"
)

// Schema is a runtime's own JSON schema of its configuration file.
type Schema struct{ compiled *jsonschema.Schema }

// Schema returns the schema of a version; nil where this release does not know
// it.
func (r Runtime) Schema() *Schema { return schemas()[r.Name+"-"+r.Version] }

// schemas panics on a malformed file: they are part of the binary and a test
// loads them.
var schemas = sync.OnceValue(func() map[string]*Schema {
	all := map[string]*Schema{}
	for _, r := range catalogue() {
		name := r.Name + "-" + r.Version
		s, err := loadSchema(name)
		if err != nil {
			panic("presets/runtimes: " + err.Error())
		}
		if s != nil {
			all[name] = s
		}
	}
	return all
})

func loadSchema(name string) (*Schema, error) {
	text, err := files.ReadFile("schemas/" + name + ".json")
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading the schema of %s: %w", name, err)
	}
	doc, err := jsonschema.UnmarshalJSON(bytes.NewReader(text))
	if err != nil {
		return nil, fmt.Errorf("parsing the schema of %s: %w", name, err)
	}
	compiler := jsonschema.NewCompiler()
	if err := compiler.AddResource(name, doc); err != nil {
		return nil, fmt.Errorf("adding the schema of %s: %w", name, err)
	}
	compiled, err := compiler.Compile(name)
	if err != nil {
		return nil, fmt.Errorf("compiling the schema of %s: %w", name, err)
	}
	return &Schema{compiled: compiled}, nil
}

// Has says whether a key of the file is known.
func (s *Schema) Has(key string) bool { return s.compiled.Properties[key] != nil }

// Nearest is the known key closest to one that is not there, "" when none is.
func (s *Schema) Nearest(key string) string {
	return nearest(key, slices.Collect(maps.Keys(s.compiled.Properties)))
}

// Check says in one line why a value is none of a known key, nil when it is one.
func (s *Schema) Check(key string, value any) error {
	return brief(s.compiled.Properties[key].Validate(value))
}

// Validate checks a whole file. A key that the runtime would ignore in silence
// is an error here.
func (s *Schema) Validate(file map[string]any) error {
	for _, key := range slices.Sorted(maps.Keys(file)) {
		if !s.Has(key) {
			return fmt.Errorf("there is no key %s", key)
		}
	}
	return brief(s.compiled.Validate(file))
}

// brief puts what the validator says into one line, each thing once: of a value
// that may be of several types it says each.
func brief(err error) error {
	var invalid *jsonschema.ValidationError
	if !errors.As(err, &invalid) {
		return err
	}
	var said []string
	for _, line := range strings.Split(invalid.Error(), "\n")[1:] {
		_, what, ok := strings.Cut(line, "': ")
		if !ok || strings.Contains(what, "failed") || slices.Contains(said, what) {
			continue
		}
		said = append(said, what)
	}
	// null is how Axolotl spells "not set": nothing to advise.
	said = slices.DeleteFunc(said, func(s string) bool { return strings.HasSuffix(s, ", want null") })
	if len(said) == 0 {
		return errors.New("it is no value of this key")
	}
	return errors.New(strings.Join(said, ", "))
}

// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"sync"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/gpu/sku"
)

// Types of arguments.
const (
	TypeFlag   = "flag"   // present or, as --no-NAME, absent
	TypeSwitch = "switch" // present or left out
	TypeInt    = "int"
	TypeFloat  = "float"
	TypeText   = "text"
	TypeSize   = "size"   // a whole number, or one such as 8k
	TypeLength = "length" // a size, or auto
	TypeJSON   = "json"
	TypeObject = "object" // a JSON object with known keys
	TypeAny    = "any"    // text, or a JSON object
)

// Argument is one command-line argument that a version of a runtime takes.
type Argument struct {
	// Name without the leading dashes.
	Name string `json:"name"`
	// Type is one of the Type constants.
	Type string `json:"type"`
	// None says that the text None is a value too.
	None bool `json:"none,omitempty"`
	// List says that it takes one or more values of its type.
	List bool `json:"list,omitempty"`
	// Choices are the only values; empty: all of the type.
	Choices []string `json:"choices,omitempty"`
	// Keys are the only keys of an object.
	Keys []string `json:"keys,omitempty"`
	// Deprecated says that a later version will not have it.
	Deprecated bool `json:"deprecated,omitempty"`
}

// Arguments are what a version of a runtime takes, by name.
type Arguments map[string]Argument

// Nearest is the known name closest to one that is not there, "" when none is.
func (a Arguments) Nearest(name string) string {
	names := make([]string, 0, len(a))
	for n := range a {
		names = append(names, n)
	}
	return nearest(name, names)
}

// Key is the known key of an object closest to one that is not there.
func (a Argument) Key(name string) string { return nearest(name, a.Keys) }

// Choice is the value closest to one that the argument does not take.
func (a Argument) Choice(text string) string { return nearest(text, a.Choices) }

// nearest allows a third of the letters to be wrong: more is another name.
func nearest(name string, known []string) string {
	best, distance := "", max(2, len(name)/3)+1
	for _, k := range slices.Sorted(slices.Values(known)) {
		if d := sku.Distance(name, k); d < distance {
			best, distance = k, d
		}
	}
	return best
}

// Arguments returns what a version takes; nil where this release does not know
// it: a version that only status.resolved of a running Workspace names.
func (r Runtime) Arguments() Arguments { return commands()[r.Name+"-"+r.Version].arguments }

// Pipelines says whether a version can spread a model of an architecture over
// several nodes, each with a part of the layers.
func (r Runtime) Pipelines(architecture string) bool {
	return slices.Contains(commands()[r.Name+"-"+r.Version].pipelines, architecture)
}

// Serves says whether a version knows a model of an architecture; of those whose
// architectures are not listed, whether is not known, and it is true.
func (r Runtime) Serves(architecture string) bool {
	known := commands()[r.Name+"-"+r.Version].architectures
	return len(known) == 0 || architecture == "" || slices.Contains(known, architecture)
}

// command is what is known of the command line of a version.
type command struct {
	arguments Arguments
	pipelines []string
	// architectures that the version knows; empty: not listed.
	architectures []string
}

// commands panics on a malformed file: they are part of the binary and a test
// loads them.
var commands = sync.OnceValue(func() map[string]command {
	all := map[string]command{}
	for _, r := range append(All(), unpinned...) {
		c, err := loadCommand(r)
		if err != nil {
			panic("presets/runtimes: " + err.Error())
		}
		all[r.Name+"-"+r.Version] = c
	}
	return all
})

func loadCommand(r Runtime) (command, error) {
	text, err := files.ReadFile("arguments/" + r.Name + "-" + r.Version + ".yaml")
	if errors.Is(err, fs.ErrNotExist) {
		return command{}, nil
	}
	if err != nil {
		return command{}, fmt.Errorf("reading the arguments of %s: %w", r.Name, err)
	}
	return decodeCommand(text)
}

func decodeCommand(text []byte) (command, error) {
	var doc struct {
		Arguments []Argument `json:"arguments"`
		Pipelines []string   `json:"pipelines"`
		// Architectures is what the version knows, where it is not the one that the
		// presets were written for.
		Architectures []string `json:"architectures,omitempty"`
	}
	if err := yaml.UnmarshalStrict(text, &doc); err != nil {
		return command{}, fmt.Errorf("parsing arguments: %w", err)
	}
	all := Arguments{}
	for _, a := range doc.Arguments {
		if _, twice := all[a.Name]; twice || a.Name == "" {
			return command{}, fmt.Errorf("argument %q is there twice, or has no name", a.Name)
		}
		if !slices.Contains(argumentTypes, a.Type) {
			return command{}, fmt.Errorf("argument %s has type %q", a.Name, a.Type)
		}
		all[a.Name] = a
	}
	return command{all, doc.Pipelines, doc.Architectures}, nil
}

var argumentTypes = []string{
	TypeFlag, TypeSwitch, TypeInt, TypeFloat, TypeText, TypeSize, TypeLength, TypeJSON, TypeObject, TypeAny,
}

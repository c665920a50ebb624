// SPDX-License-Identifier: Apache-2.0

// Package settings reads the configuration that a Workspace names in a
// ConfigMap, in KAITO's form: engine arguments of vLLM (inference_config.yaml)
// and training parameters (training_config.yaml), and turns it into what the
// runtimes are told.
//
// A key that would be ignored, that runs code, reads files of the pod or
// belongs to another field of the Workspace is a problem with its remedy; none
// is dropped in silence. The package never looks at a cluster.
package settings

import (
	"errors"
	"fmt"
	"slices"
	"strconv"
	"strings"

	yamlnode "go.yaml.in/yaml/v3"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Keys of the ConfigMaps.
const (
	ServingKey  = "inference_config.yaml"
	TrainingKey = "training_config.yaml"
)

// Codes of problems.
const (
	ConfigInvalid = "ConfigInvalid" // a key that is not there, wrong or refused
	ConfigIgnored = "ConfigIgnored" // warning: a key without effect here
)

// maxExpansion bounds the aliases of a configuration: there is no use for them.
const maxExpansion = 64 << 10

// decoded is one key of a ConfigMap as a mapping, and as nodes that know their
// lines.
type decoded struct {
	tree map[string]any
	root *yamlnode.Node
}

// document decodes one key of a ConfigMap into a mapping.
func document(data map[string]string, key, field string) (decoded, []finding.Problem) {
	text, ok := data[key]
	if !ok {
		return decoded{}, []finding.Problem{finding.Errorf(ConfigInvalid, field, "the ConfigMap has no key %s", key)}
	}
	refused := func(line int, message string) (decoded, []finding.Problem) {
		return decoded{}, []finding.Problem{finding.Errorf(ConfigInvalid, field, "%s", message).In(finding.Entry{Key: key, Line: line})}
	}
	docs, err := yamltext.Parse([]byte(text), maxExpansion)
	if err != nil {
		var bad *yamltext.Error
		line := 0
		if errors.As(err, &bad) {
			line = bad.Line
		}
		return refused(line, err.Error())
	}
	var tree map[string]any
	if err := yaml.UnmarshalStrict([]byte(text), &tree); err != nil {
		return refused(0, oneLine(err))
	}
	out := decoded{tree: tree}
	if len(docs) > 0 {
		out.root = docs[0]
	}
	return out, nil
}

func oneLine(err error) string { return strings.Join(strings.Fields(err.Error()), " ") }

// section is a mapping of a document, read key by key. What no reader has asked
// for is a problem.
type section struct {
	// field of the Workspace that names the ConfigMap, entry of that, and the path
	// of the section in it.
	field, entry string
	path         []string
	root         *yamlnode.Node
	values       map[string]any
	problems     *[]finding.Problem
}

func (s section) refuse(key, format string, args ...any) {
	*s.problems = append(*s.problems, finding.Errorf(ConfigInvalid, s.field, "%s.%s: %s", s.name(), key, fmt.Sprintf(format, args...)).
		In(finding.Entry{Key: s.entry, Line: s.line(key)}))
}

func (s section) name() string { return s.path[len(s.path)-1] }

// line of a key within the entry.
func (s section) line(key string) int { return keyLine(s.root, append(slices.Clone(s.path), key)) }

// said says that a key has a value that is no empty text.
func (s section) said(key string) bool { return s.values[key] != nil && s.values[key] != "" }

// number reads an integer or a number; text that holds one counts.
func (s section) number(key string, low, high float64) (float64, bool) {
	v, ok := s.values[key]
	if !ok || v == nil {
		return 0, false
	}
	n, ok := toNumber(v)
	switch {
	case !ok:
		s.refuse(key, "%v is no number", v)
	case n < low || n > high:
		s.refuse(key, "%v is not between %v and %v", v, low, high)
	default:
		return n, true
	}
	return 0, false
}

func toNumber(v any) (float64, bool) {
	switch n := v.(type) {
	case float64:
		return n, n == n
	case int64:
		return float64(n), true
	case string:
		f, err := strconv.ParseFloat(n, 64)
		return f, err == nil && f == f
	}
	return 0, false
}

func (s section) whole(key string, low, high float64) (int, bool) {
	n, ok := s.number(key, low, high)
	if ok && n != float64(int(n)) {
		s.refuse(key, "%v is no whole number", n)
		return 0, false
	}
	return int(n), ok
}

func (s section) yes(key string) (value, ok bool) {
	v, there := s.values[key]
	if !there || v == nil {
		return false, false
	}
	b, isBool := v.(bool)
	if !isBool {
		s.refuse(key, "%v is neither true nor false", v)
	}
	return b, isBool
}

func (s section) text(key string, allowed ...string) (string, bool) {
	v, there := s.values[key]
	if !there || v == nil {
		return "", false
	}
	t, isText := v.(string)
	switch {
	case !isText:
		s.refuse(key, "%v is no text", v)
	case len(allowed) > 0 && !slices.Contains(allowed, t):
		s.refuse(key, "%.60q is none of %s", t, strings.Join(allowed, ", "))
	default:
		return t, true
	}
	return "", false
}

func (s section) list(key string) ([]string, bool) {
	v, there := s.values[key]
	if !there || v == nil {
		return nil, false
	}
	items, isList := v.([]any)
	if !isList {
		s.refuse(key, "%v is no list", v)
		return nil, false
	}
	var list []string
	for _, item := range items {
		t, isText := item.(string)
		if !isText || t == "" {
			s.refuse(key, "%v is no name", item)
			return nil, false
		}
		list = append(list, t)
	}
	return list, len(list) > 0
}

// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"reflect"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Into checks tree against the type of out, field by field, and fills out when
// nothing is wrong. Values never appear in a message: a Secret is checked here
// as well. hints add a remedy to whatever is wrong with a field.
func Into(tree map[string]any, out any, hints map[string]string) []finding.Problem {
	c := checker{}
	c.value(reflect.TypeOf(out).Elem(), tree, "")
	for i, p := range c.problems {
		if hint := hints[p.Field]; hint != "" {
			c.problems[i].Message += "; " + hint
		}
	}
	if len(c.problems) > 0 {
		return c.problems
	}
	raw, err := json.Marshal(tree)
	if err == nil {
		err = json.Unmarshal(raw, out)
	}
	if err != nil {
		return []finding.Problem{finding.Errorf(finding.WrongType, "", "the document does not decode; check the types of its fields")}
	}
	return nil
}

type checker struct{ problems []finding.Problem }

var unmarshaler = reflect.TypeFor[json.Unmarshaler]()

func (c *checker) value(t reflect.Type, v any, path string) {
	if v == nil { // null is the same as absent
		return
	}
	if t.Kind() != reflect.Pointer && reflect.PointerTo(t).Implements(unmarshaler) {
		c.opaque(t, v, path)
		return
	}
	switch t.Kind() {
	case reflect.Pointer:
		c.value(t.Elem(), v, path)
	case reflect.Struct:
		if m, ok := v.(map[string]any); ok {
			c.object(t, m, path)
			return
		}
		c.wrong(path, v, "a mapping")
	case reflect.Map:
		m, ok := v.(map[string]any)
		if !ok {
			c.wrong(path, v, "a mapping")
			return
		}
		for _, k := range slices.Sorted(maps.Keys(m)) {
			c.value(t.Elem(), m[k], finding.Key(path, k))
		}
	case reflect.Slice:
		c.list(t, v, path)
	default:
		c.plain(t, v, path)
	}
}

func (c *checker) object(t reflect.Type, m map[string]any, path string) {
	fields := map[string]reflect.Type{}
	collect(t, fields)
	for _, k := range slices.Sorted(maps.Keys(m)) {
		if ft, known := fields[k]; known {
			c.value(ft, m[k], finding.Key(path, k))
			continue
		}
		names := slices.Collect(maps.Keys(fields))
		p := finding.Errorf(finding.UnknownField, finding.Key(path, k), "no such field; %s", Advice(k, names))
		if meant := Meant(k, names); meant != "" && takes(fields[meant], m, k, meant) {
			p = p.Renamed(k, meant)
		}
		c.problems = append(c.problems, p)
	}
}

// takes says whether a field that is not there yet can have what is written under
// another name.
func takes(t reflect.Type, m map[string]any, written, meant string) bool {
	if _, there := m[meant]; there {
		return false
	}
	trial := checker{}
	trial.value(t, m[written], "")
	return len(trial.problems) == 0
}

// collect lists the JSON fields of a struct, embedded ones included.
func collect(t reflect.Type, into map[string]reflect.Type) {
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-":
		case name == "" && f.Anonymous:
			collect(f.Type, into)
		case name != "":
			into[name] = f.Type
		}
	}
}

func (c *checker) list(t reflect.Type, v any, path string) {
	if t.Elem().Kind() == reflect.Uint8 {
		s, ok := v.(string)
		if !ok {
			c.wrong(path, v, "text in base64")
		} else if _, err := base64.StdEncoding.DecodeString(strings.NewReplacer("\n", "", "\r", "").Replace(s)); err != nil {
			c.problems = append(c.problems, finding.Errorf(finding.WrongType, path, "want text in base64; a Secret takes plain text under stringData"))
		}
		return
	}
	items, ok := v.([]any)
	if !ok {
		c.wrong(path, v, "a list")
		return
	}
	for i, item := range items {
		c.value(t.Elem(), item, finding.Index(path, i))
	}
}

func (c *checker) plain(t reflect.Type, v any, path string) {
	switch t.Kind() {
	case reflect.String:
		if _, ok := v.(string); !ok {
			c.wrong(path, v, "text")
		}
	case reflect.Bool:
		if _, ok := v.(bool); !ok {
			c.wrong(path, v, "true or false")
		}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Int64:
		n, ok := v.(int64)
		if !ok {
			c.wrong(path, v, "a whole number")
		} else if reflect.Zero(t).OverflowInt(n) {
			c.problems = append(c.problems, finding.Errorf(finding.OutOfRange, path, "want a whole number of at most %d", int64(math.MaxInt32)))
		}
	case reflect.Float32, reflect.Float64:
		switch v.(type) {
		case int64, float64:
		default:
			c.wrong(path, v, "a number")
		}
	}
}

// opaque asks a type that reads itself, such as a duration.
func (c *checker) opaque(t reflect.Type, v any, path string) {
	raw, err := json.Marshal(v)
	if err == nil {
		err = json.Unmarshal(raw, reflect.New(t).Interface())
	}
	if err == nil {
		return
	}
	switch t.Name() {
	case "Duration":
		c.wrong(path, v, "a duration such as 90s, 20m or 1h30m")
	case "Quantity":
		c.wrong(path, v, "a quantity such as 500m, 2 or 16Gi")
	case "Time", "MicroTime":
		c.wrong(path, v, "a time such as 2026-01-31T12:00:00Z")
	case "IntOrString":
		c.wrong(path, v, "a whole number or text")
	default:
		c.wrong(path, v, "another form")
	}
}

func (c *checker) wrong(path string, v any, want string) {
	if text, ok := v.(string); ok {
		if message := Placeholder(text); message != "" {
			c.problems = append(c.problems, finding.Errorf(finding.Placeholder, path, "%s", message))
			return
		}
	}
	found := "text"
	quote := false
	switch v.(type) {
	case map[string]any:
		found = "a mapping"
	case []any:
		found = "a list"
	case bool:
		found, quote = "true or false", true
	case int64, float64:
		found, quote = "a number", true
	}
	remedy := ""
	switch {
	case want == "text" && quote:
		remedy = "; put it in quotes"
	case want == "a list" && found == "text":
		remedy = "; begin the line with a dash"
	}
	message := fmt.Sprintf("want %s, found %s%s", want, found, remedy)
	if want == found {
		message = fmt.Sprintf("want %s", want)
	}
	c.problems = append(c.problems, finding.Errorf(finding.WrongType, path, "%s", message))
}

// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"encoding/json"
	"errors"
	"fmt"
	"math"
	"regexp"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// argument matches names of engine arguments; vLLM takes nested settings with dots.
var argument = regexp.MustCompile(`^[a-z][a-z0-9-]*(\.[A-Za-z0-9_-]+)*$`)

// add takes one key of the configuration.
func (s *serving) add(key string, value any) error {
	// vLLM takes dashes and underscores alike; what comes after a dot is a key
	// within a JSON value and stays as it is.
	base, rest, nested := strings.Cut(strings.TrimLeft(key, "-"), ".")
	base = strings.ReplaceAll(base, "_", "-")
	name := base
	if nested {
		name += "." + rest
	}
	if !argument.MatchString(name) {
		return errors.New("no name of an engine argument")
	}
	if full, why := forbidden(strings.TrimPrefix(base, "no-"), s.known); full != "" {
		return fmt.Errorf("%s is not taken from the configuration: %s", full, why)
	}
	if s.given(name) {
		return errors.New("given twice")
	}
	a, err := s.lookup(base)
	if err != nil {
		return err
	}
	if nested {
		return s.nested(a, name, value)
	}
	return s.set(a, name, value)
}

func (s *serving) given(name string) bool {
	for _, n := range []string{name, "no-" + name, strings.TrimPrefix(name, "no-")} {
		if _, ok := s.Args[n]; ok {
			return true
		}
		if _, ok := s.Lists[n]; ok {
			return true
		}
	}
	return false
}

// lookup finds what a name stands for. Where the version is not known, anything
// of any type is: a flag by its value, else text.
func (s *serving) lookup(name string) (runtimes.Argument, error) {
	if s.known == nil {
		return runtimes.Argument{Name: name}, nil
	}
	if a, ok := s.known[name]; ok {
		return a, nil
	}
	if a, ok := s.known[strings.TrimPrefix(name, "no-")]; ok && a.Type == runtimes.TypeFlag {
		return a, nil
	}
	if near := s.known.Nearest(name); near != "" {
		return runtimes.Argument{}, fmt.Errorf("vLLM %s has no such argument; did you mean %s?", s.version, near)
	}
	return runtimes.Argument{}, fmt.Errorf("vLLM %s has no such argument", s.version)
}

// nested takes a key within an object, written with a dot.
func (s *serving) nested(a runtimes.Argument, name string, value any) error {
	switch a.Type {
	case runtimes.TypeObject, runtimes.TypeJSON, runtimes.TypeAny, "":
	default:
		return fmt.Errorf("%s takes no keys: it is %s", a.Name, described(a))
	}
	_, rest, _ := strings.Cut(name, ".")
	key, _, _ := strings.Cut(rest, ".")
	if err := objectKeys(a, map[string]any{key: nil}); err != nil {
		return err
	}
	text, isText := value.(string)
	if !isText {
		encoded, err := json.Marshal(value)
		if err != nil || value == nil {
			return errors.New("it has no value")
		}
		text = string(encoded)
	}
	if err := oneLineText(text); err != nil {
		return err
	}
	s.Args[name] = text
	return nil
}

// objectKeys sees that an object has only keys that it may have.
func objectKeys(a runtimes.Argument, object map[string]any) error {
	for key := range object {
		if why, ok := refusedKeys[a.Name+"."+key]; ok {
			return fmt.Errorf("%s.%s is not taken from the configuration: %s", a.Name, key, why)
		}
		if a.Type != runtimes.TypeObject || slices.Contains(a.Keys, key) {
			continue
		}
		if near := a.Key(key); near != "" {
			return fmt.Errorf("it has no key %.60s; did you mean %s?", key, near)
		}
		return fmt.Errorf("it has no key %.60s; it has %s", key, listed(a.Keys))
	}
	return nil
}

// set takes the value of an argument.
func (s *serving) set(a runtimes.Argument, name string, value any) error {
	on, isBool := value.(bool)
	switch {
	case a.Type == runtimes.TypeFlag, a.Type == "" && isBool:
		return s.flag(name, value)
	case a.Type == runtimes.TypeSwitch:
		if !isBool {
			return errors.New("it is a flag: write true or false")
		}
		if on {
			s.Args[name] = ""
		}
		return nil
	case a.List:
		return s.list(a, name, value)
	}
	text, err := argumentText(a, value)
	if err == nil {
		s.Args[name] = text
	}
	return err
}

func (s *serving) flag(name string, value any) error {
	on, ok := value.(bool)
	negated := strings.HasPrefix(name, "no-")
	switch {
	case !ok:
		return errors.New("it is a flag: write true or false")
	case negated && !on:
		return fmt.Errorf("no and false: write %s: true", strings.TrimPrefix(name, "no-"))
	case !on:
		name = "no-" + name
	}
	s.Args[name] = ""
	return nil
}

func (s *serving) list(a runtimes.Argument, name string, value any) error {
	items, ok := value.([]any)
	if !ok {
		items = []any{value}
	}
	if len(items) == 0 {
		return errors.New("the list is empty: leave it out")
	}
	var list []string
	for _, item := range items {
		text, err := argumentText(a, item)
		if err != nil {
			return err
		}
		if strings.HasPrefix(text, "-") {
			return fmt.Errorf("%.60q would be read as another argument", text)
		}
		list = append(list, text)
	}
	if s.Lists == nil {
		s.Lists = map[string][]string{}
	}
	s.Lists[name] = list
	return nil
}

// argumentText writes one value as the command line takes it.
func argumentText(a runtimes.Argument, value any) (string, error) {
	var text string
	switch v := value.(type) {
	case nil:
		return "", errors.New("it has no value")
	case string:
		text = v
	case float64:
		text = strconv.FormatFloat(v, 'f', -1, 64)
	case bool:
		if a.Type != runtimes.TypeJSON {
			return "", fmt.Errorf("%v is not %s", v, described(a))
		}
		text = strconv.FormatBool(v)
	default:
		if a.Type != runtimes.TypeJSON && a.Type != runtimes.TypeObject && a.Type != runtimes.TypeAny && a.Type != "" {
			return "", fmt.Errorf("a mapping or a list is not %s", described(a))
		}
		encoded, err := json.Marshal(v)
		if err != nil {
			return "", fmt.Errorf("it cannot be written as JSON: %w", err)
		}
		text = string(encoded)
	}
	if err := oneLineText(text); err != nil {
		return "", err
	}
	return text, fits(a, text)
}

// oneLineText refuses what no argument of a command can hold.
func oneLineText(text string) error {
	if text == "" || strings.ContainsAny(text, "\x00\n") {
		return fmt.Errorf("%.60q is no value", text)
	}
	return nil
}

// fits says why a text is no value of an argument.
func fits(a runtimes.Argument, text string) error {
	switch {
	case a.None && text == "None":
		return nil
	case a.Type == runtimes.TypeObject:
		return objectText(a, text)
	case !ofType(a.Type, text):
		return fmt.Errorf("%.60q is not %s", text, described(a))
	case len(a.Choices) == 0 || slices.Contains(a.Choices, text):
		return nil
	}
	if near := a.Choice(text); near != "" {
		return fmt.Errorf("%.60q is no value of it; did you mean %s?", text, near)
	}
	return fmt.Errorf("%.60q is not %s", text, described(a))
}

// ofType says whether a text is a value of a type.
func ofType(kind, text string) bool {
	var err error
	switch kind {
	case runtimes.TypeInt:
		_, err = strconv.ParseInt(text, 10, 64)
	case runtimes.TypeFloat:
		_, err = strconv.ParseFloat(text, 64)
	case runtimes.TypeSize:
		return whole64(text)
	case runtimes.TypeLength:
		return text == "auto" || text == "-1" || whole64(text)
	case runtimes.TypeJSON:
		return json.Valid([]byte(text))
	}
	return err == nil
}

func objectText(a runtimes.Argument, text string) error {
	var object map[string]any
	if err := json.Unmarshal([]byte(text), &object); err != nil {
		return fmt.Errorf("%.60q is not %s", text, described(a))
	}
	return objectKeys(a, object)
}

// described says what an argument takes.
func described(a runtimes.Argument) string {
	if len(a.Choices) > 0 {
		return "one of " + listed(a.Choices)
	}
	switch a.Type {
	case runtimes.TypeInt:
		return "a whole number"
	case runtimes.TypeFloat:
		return "a number"
	case runtimes.TypeSize:
		return "a whole number such as 8192 or 8k"
	case runtimes.TypeLength:
		return "a whole number such as 8192 or 8k, or auto"
	case runtimes.TypeJSON:
		return "JSON"
	case runtimes.TypeObject:
		return "a mapping of " + listed(a.Keys)
	case runtimes.TypeFlag, runtimes.TypeSwitch:
		return "a flag"
	}
	return "text"
}

// listed names the first of a list, for a message.
func listed(names []string) string {
	const most = 16
	if len(names) <= most {
		return strings.Join(names, ", ")
	}
	return fmt.Sprintf("%s and %d more", strings.Join(names[:most], ", "), len(names)-most)
}

// factors of sizes as vLLM reads them: small letters are decimal.
var factors = map[byte]float64{
	'k': 1e3, 'm': 1e6, 'g': 1e9, 't': 1e12, 'K': 1 << 10, 'M': 1 << 20, 'G': 1 << 30, 'T': 1 << 40,
}

// whole64 says whether a text stands for a whole number that is not negative.
func whole64(text string) bool {
	n, ok := sizeOf(text)
	return ok && n >= 0 && n == math.Trunc(n)
}

// sizeOf reads a number such as 8192, 0.9 or 8k.
func sizeOf(text string) (float64, bool) {
	factor := 1.0
	if text != "" {
		if f, ok := factors[text[len(text)-1]]; ok {
			factor, text = f, text[:len(text)-1]
		}
	}
	n, err := strconv.ParseFloat(text, 64)
	return n * factor, err == nil && n == n
}

// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"encoding/json"
	"maps"
	"slices"
	"strings"
)

// others names the fields that differ and have no words of their own.
func (w *words) others(a, b any, said ...string) {
	before, after := fieldsOf(a), fieldsOf(b)
	for _, name := range union(before, after) {
		if before[name] != after[name] && !slices.Contains(said, name) {
			w.add("%s", name)
		}
	}
}

// fieldsOf is the JSON of each field of a part of a spec.
func fieldsOf(part any) map[string]string {
	text, err := json.Marshal(part)
	if err != nil {
		return nil // a decoded spec can be written
	}
	var raw map[string]json.RawMessage
	if json.Unmarshal(text, &raw) != nil {
		return nil
	}
	fields := map[string]string{}
	for name, value := range raw {
		fields[name] = string(value)
	}
	return fields
}

// keyed says what became of one entry of a map.
func (w *words) keyed(what, name string, before, after map[string]string) {
	old, was := before[name]
	now, is := after[name]
	switch {
	case !was && now == "":
		w.add("%s %s added", what, name)
	case !was:
		w.add("%s %s added (%s)", what, name, brief(now))
	case !is:
		w.add("%s %s removed", what, name)
	case old != now:
		w.add("%s %s %s → %s", what, name, brief(old), brief(now))
	}
}

// brief bounds a value in a sentence, in bytes.
func brief(s string) string {
	const most = 80
	if s == "" {
		return "without a value"
	}
	if len(s) > most {
		return strings.ToValidUTF8(s[:most], "") + "…"
	}
	return s
}

func union[V any](a, b map[string]V) []string {
	keys := slices.Sorted(maps.Keys(a))
	for k := range b {
		if _, ok := a[k]; !ok {
			keys = append(keys, k)
		}
	}
	slices.Sort(keys)
	return keys
}

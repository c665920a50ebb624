// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"

	"sigs.k8s.io/yaml"
)

// ourSchemas are made from the CRDs, and so say what the API server says.
func ourSchemas(root string) (map[kind]object, error) {
	files, err := filepath.Glob(filepath.Join(root, "deploy/crd/*.yaml"))
	if err != nil || len(files) == 0 {
		return nil, fmt.Errorf("reading deploy/crd: no CRDs: %w", err)
	}
	made := map[kind]object{}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, err
		}
		var crd struct {
			Spec struct {
				Group string `json:"group"`
				Names struct {
					Kind string `json:"kind"`
				} `json:"names"`
				Versions []struct {
					Name   string `json:"name"`
					Schema struct {
						Open object `json:"openAPIV3Schema"`
					} `json:"schema"`
				} `json:"versions"`
			} `json:"spec"`
		}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		for _, v := range crd.Spec.Versions {
			translate(v.Schema.Open)
			made[kind{crd.Spec.Group + "/" + v.Name, crd.Spec.Names.Kind}] = v.Schema.Open
		}
	}
	return made, nil
}

// translate makes JSON schema of an OpenAPI v3 schema, in place. Fields that are
// not there are refused, so that an editor underlines a typo.
func translate(s object) {
	validations, _ := s["x-kubernetes-validations"].([]any)
	for _, v := range validations {
		rule, _ := v.(object)
		cel(s, fmt.Sprint(rule["rule"]))
	}
	if s["x-kubernetes-int-or-string"] == true {
		delete(s, "anyOf")
		s["type"] = []string{"integer", "string"}
	}
	for key := range s {
		if strings.HasPrefix(key, "x-kubernetes-") || key == "format" {
			delete(s, key)
		}
	}
	translateBelow(s)
}

// translateBelow translates the schemas within one.
func translateBelow(s object) {
	properties, _ := s["properties"].(object)
	for _, p := range properties {
		if child, ok := p.(object); ok {
			translate(child)
		}
	}
	if properties != nil && s["additionalProperties"] == nil {
		s["additionalProperties"] = false
	}
	for _, key := range []string{"items", "additionalProperties"} {
		if child, ok := s[key].(object); ok {
			translate(child)
		}
	}
}

var (
	oneOfTwo  = regexp.MustCompile(`^has\(self\.(\w+)\) != has\(self\.(\w+)\)$`)
	oneOfMany = regexp.MustCompile(`^\[((?:has\(self\.\w+\)(?:, )?)+)\]\.filter\(x, x\)\.size\(\) == 1$`)
	needs     = regexp.MustCompile(`^!has\(self\.(\w+)\) \|\| has\(self\.(\w+)\)$`)
	// One field far below needs the one beside it, or one up here.
	needsOr = regexp.MustCompile(`^!has\(self\.(\w+)\) \|\| !has\(self\.(\w+)\.(\w+)\.(\w+)\) \|\| has\(self\.\w+\.\w+\.(\w+)\) \|\| has\(self\.(\w+)\)$`)
	field   = regexp.MustCompile(`self\.(\w+)`)
)

// cel says in JSON schema what rules on the presence of fields say. Rules on
// values are left to the API server and to validate.
func cel(s object, rule string) {
	switch {
	case oneOfTwo.MatchString(rule), oneOfMany.MatchString(rule):
		var choices []object
		for _, m := range field.FindAllStringSubmatch(rule, -1) {
			choices = append(choices, object{"required": []string{m[1]}})
		}
		s["oneOf"] = choices
	case needs.MatchString(rule):
		m := needs.FindStringSubmatch(rule)
		dependencies, ok := s["dependencies"].(object)
		if !ok {
			dependencies = object{}
			s["dependencies"] = dependencies
		}
		dependencies[m[1]] = []string{m[2]}
	case needsOr.MatchString(rule):
		m := needsOr.FindStringSubmatch(rule)
		below := object{"dependencies": object{m[4]: []string{m[5]}}}
		for _, parent := range []string{m[3], m[2]} {
			below = object{"properties": object{parent: below}}
		}
		s["anyOf"] = []object{{"required": []string{m[6]}}, below}
	}
}

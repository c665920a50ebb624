// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/schema"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// draft is the version of JSON schema that editors know best.
const draft = "http://json-schema.org/draft-07/schema#"

// object is a JSON schema, or a part of one.
type object = map[string]any

// kind is what a schema describes.
type kind struct{ apiVersion, kind string }

func schemas(root string) (map[string][]byte, error) {
	made, err := ourSchemas(root)
	if err != nil {
		return nil, err
	}
	theirs, err := kaitoSchemas(root)
	if err != nil {
		return nil, err
	}
	maps.Copy(made, theirs)
	files := map[string][]byte{}
	for k, s := range made {
		finish(k, s)
		if err := put(files, schema.Name(k.apiVersion, k.kind), s); err != nil {
			return nil, err
		}
	}
	return files, put(files, schema.All, anyOf(made))
}

func put(files map[string][]byte, name string, s object) error {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	files["repo-layout/schema/"+name] = append(text, '\n')
	return nil
}

// finish makes the schema of a kind whole: what apiVersion and kind are, and
// what of metadata belongs into Git.
func finish(k kind, s object) {
	s["$schema"], s["title"] = draft, k.apiVersion+" "+k.kind
	properties := s["properties"].(object)
	delete(properties, "status")
	properties["apiVersion"] = object{"const": k.apiVersion, "description": "APIVersion of the document."}
	properties["kind"] = object{"const": k.kind, "description": "Kind of the document."}
	properties["metadata"] = metadata(k)
	required := []string{"apiVersion", "kind", "metadata"}
	for _, name := range []string{"spec", "resource"} {
		if properties[name] != nil {
			required = append(required, name)
		}
	}
	s["required"], s["additionalProperties"] = required, false
	if properties["inference"] != nil { // a Workspace of KAITO
		s["oneOf"] = []object{{"required": []string{"inference"}}, {"required": []string{"tuning"}}}
	}
}

func metadata(k kind) object {
	text := object{"type": "string"}
	name := object{"type": "string", "description": "Name of the object.", "minLength": 1}
	if k.kind == v1alpha1.WorkspaceKind || k.kind == "InferenceSet" {
		name["maxLength"], name["pattern"] = 48, "^[a-z0-9]([-a-z0-9]*[a-z0-9])?$"
	}
	annotations := object{"type": "object", "description": "Annotations of the object.", "additionalProperties": text}
	if strings.HasPrefix(k.apiVersion, "kaito.sh/") {
		annotations["properties"] = kaitoAnnotations()
	} else if k.kind == v1alpha1.WorkspaceKind {
		annotations["properties"] = ourAnnotations()
	}
	return object{
		"type": "object", "required": []string{"name"}, "additionalProperties": false,
		"description": "Metadata of the object, as far as it belongs into Git.",
		"properties": object{
			"name":        name,
			"namespace":   object{"type": "string", "description": "Namespace; mostly left to the RepoSync.", "maxLength": 63},
			"labels":      object{"type": "object", "description": "Labels of the object.", "additionalProperties": text},
			"annotations": annotations,
		},
	}
}

func ourAnnotations() object {
	return object{
		repolayout.AnnotationForceConflicts: object{"type": "string", "description": "Takes over fields that another manager owns."},
		repolayout.AnnotationRetry:          object{"type": "string", "description": "The UID of a Job that gave up: runs the same inputs once more."},
		repolayout.AnnotationPrune:          object{"enum": []string{"disabled"}, "description": "Keeps the object when Git drops it."},
	}
}

// anyOf picks the schema by apiVersion and kind, so that one line of an editor's
// settings covers a repository. Other kinds are let through.
func anyOf(made map[kind]object) object {
	kinds := slices.SortedFunc(maps.Keys(made), func(a, b kind) int {
		return strings.Compare(a.apiVersion+a.kind, b.apiVersion+b.kind)
	})
	known := map[string][]string{}
	var rules []object
	for _, k := range kinds {
		known[k.apiVersion] = append(known[k.apiVersion], k.kind)
		rules = append(rules, object{
			"if": object{
				"properties": object{"apiVersion": object{"const": k.apiVersion}, "kind": object{"const": k.kind}},
				"required":   []string{"apiVersion", "kind"},
			},
			"then": object{"$ref": schema.Name(k.apiVersion, k.kind)},
		})
	}
	for _, version := range slices.Sorted(maps.Keys(known)) {
		rules = append(rules, object{
			"if":   object{"properties": object{"apiVersion": object{"const": version}}, "required": []string{"apiVersion"}},
			"then": object{"properties": object{"kind": object{"enum": known[version]}}},
		})
	}
	return object{"$schema": draft, "title": "Documents of an Espalier repository", "type": "object", "allOf": rules}
}

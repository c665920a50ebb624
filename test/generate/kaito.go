// SPDX-License-Identifier: Apache-2.0

package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"reflect"
	"strings"

	"github.com/invopop/jsonschema"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// kaitoSchemas are made from the types that read KAITO's documents, with their
// comments as descriptions.
func kaitoSchemas(root string) (map[kind]object, error) {
	reflector := &jsonschema.Reflector{
		Anonymous: true, DoNotReference: true, ExpandedStruct: true, RequiredFromJSONSchemaTags: true, Mapper: foreign,
	}
	if err := reflector.AddGoComments("github.com/espalier-dev/espalier", filepath.Join(root, "repo-layout/kaito"), jsonschema.WithFullComment()); err != nil {
		return nil, fmt.Errorf("reading comments: %w", err)
	}
	reflector.CommentMap = belowRoot(reflector.CommentMap)
	made := map[kind]object{}
	for _, t := range []reflect.Type{reflect.TypeFor[kaito.Workspace](), reflect.TypeFor[kaito.InferenceSet]()} {
		for _, version := range []string{"v1alpha1", "v1beta1"} {
			text, err := json.Marshal(reflector.ReflectFromType(t))
			if err != nil {
				return nil, err
			}
			var s object
			if err := json.Unmarshal(text, &s); err != nil {
				return nil, err
			}
			ofVersion(t, s, version, t.Name())
			made[kind{kaito.Group + "/" + version, t.Name()}] = s
		}
	}
	return made, nil
}

// belowRoot mends the keys of comments, which the library makes of the path as
// it was given.
func belowRoot(comments map[string]string) map[string]string {
	mended := map[string]string{}
	for key, text := range comments {
		if i := strings.Index(key, "repo-layout/kaito."); i >= 0 {
			mended["github.com/espalier-dev/espalier/"+key[i:]] = strings.Join(strings.Fields(text), " ")
		}
	}
	return mended
}

// ofVersion drops what only the other version has, and turns marks into JSON. A
// set of v1alpha1 embeds the inference of v1beta1.
func ofVersion(t reflect.Type, s object, version, kindName string) {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		if t.Kind() == reflect.Slice {
			s, _ = s["items"].(object)
		}
		t = t.Elem()
	}
	properties, _ := s["properties"].(object)
	if t.Kind() != reflect.Struct || properties == nil {
		return
	}
	for i := range t.NumField() {
		f := t.Field(i)
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		child, ok := properties[name].(object)
		if !ok {
			continue
		}
		embedded := kindName == "InferenceSet" && t == reflect.TypeFor[kaito.PresetOptions]()
		if since := f.Tag.Get("since"); since > version && !embedded {
			delete(properties, name)
			continue
		}
		if child["deprecated"] != nil {
			child["deprecated"] = true
		}
		ofVersion(f.Type, child, version, kindName)
	}
}

// foreign are types of Kubernetes, as far as documents of KAITO use them.
func foreign(t reflect.Type) *jsonschema.Schema {
	switch t {
	case reflect.TypeFor[metav1.ObjectMeta]():
		return parsed(`{"type": "object", "additionalProperties": false, "properties": {
			"labels": {"type": "object", "additionalProperties": {"type": "string"}},
			"annotations": {"type": "object", "additionalProperties": {"type": "string"}}}}`)
	case reflect.TypeFor[metav1.Duration]():
		return parsed(`{"type": "string"}`)
	case reflect.TypeFor[metav1.LabelSelector]():
		return parsed(`{"type": "object", "additionalProperties": false, "properties": {
			"matchLabels": {"type": "object", "additionalProperties": {"type": "string"}},
			"matchExpressions": {"type": "array", "description": "A key In a single value says the same as matchLabels; others are refused.",
				"items": {"type": "object", "additionalProperties": false, "required": ["key", "operator", "values"], "properties": {
					"key": {"type": "string"}, "operator": {"const": "In"}, "values": {"type": "array", "maxItems": 1, "items": {"type": "string"}}}}}}}`)
	case reflect.TypeFor[corev1.VolumeSource]():
		return volumeSource()
	case reflect.TypeFor[map[string]any]():
		return parsed(`{"type": "object"}`)
	}
	return nil
}

// volumeSource knows every kind of volume, and details the one that is taken.
func volumeSource() *jsonschema.Schema {
	properties := object{}
	t := reflect.TypeFor[corev1.VolumeSource]()
	for i := range t.NumField() {
		name, _, _ := strings.Cut(t.Field(i).Tag.Get("json"), ",")
		properties[name] = object{"type": "object", "deprecated": true, "description": "Espalier refuses it: declare a claim and name it in persistentVolumeClaim."}
	}
	properties["persistentVolumeClaim"] = object{
		"type": "object", "additionalProperties": false, "required": []string{"claimName"},
		"description": "A claim of the namespace.",
		"properties":  object{"claimName": object{"type": "string", "minLength": 1}, "readOnly": object{"type": "boolean"}},
	}
	text, err := json.Marshal(object{"type": "object", "additionalProperties": false, "properties": properties})
	if err != nil {
		panic(err) // of strings and maps only
	}
	return parsed(string(text))
}

// parsed reads a schema that is written in this file.
func parsed(text string) *jsonschema.Schema {
	s := &jsonschema.Schema{}
	if err := json.Unmarshal([]byte(text), s); err != nil {
		panic(err)
	}
	return s
}

// kaitoAnnotations are those with a set of values.
func kaitoAnnotations() object {
	of := func(description string, values ...string) object {
		return object{"type": "string", "enum": values, "description": description}
	}
	return object{
		"kaito.sh/enablelb":          of("Makes the Service a load balancer; the model asks for no key.", "True"),
		"kaito.sh/runtime":           of("What serves: vLLM, or KAITO's transformers engine, whose image spec.defaults.kaitoImage of the RepoSync names.", "vllm", "transformers"),
		"kaito.sh/node-image-family": of("Without effect in Espalier.", "ubuntu", "azurelinux"),
		"kaito.sh/performance-mode":  of("What vLLM is tuned for.", "balanced", "interactivity", "throughput"),
		"kaito.sh/use-local-weights": of("Weights are read from a folder of the node, where the controller allows it.", "true", "false"),
		"kaito.sh/model-streaming":   of("Nothing is streamed.", "disabled"),
		"kaito.sh/disable-benchmark": of("No benchmark is run.", "true", "false"),
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package api tests the CustomResourceDefinitions of deploy/crd where they
// count: in a real API server. Every rule that is written in CEL is broken once
// and its message read, and what kubectl prints is compared.
package api

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/cluster"
)

var shared = cluster.Shared{Options: cluster.Options{Parts: cluster.APIServer}}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

func TestRules(t *testing.T) {
	c, err := client.New(shared.Get(t).Config, client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, tc := range all() {
		t.Run(name, func(t *testing.T) {
			object := merged(t, parse(t, tc.base), tc.set)
			if tc.update == "" {
				judge(t, c.Create(t.Context(), object, client.DryRunAll), tc.want, tc.reason)
				return
			}
			if err := c.Create(t.Context(), object); err != nil {
				t.Fatalf("creating the object to update: %v", err)
			}
			t.Cleanup(func() { _ = c.Delete(context.Background(), object) }) // judged cases say if it is still there
			judge(t, c.Update(t.Context(), merged(t, object.DeepCopy(), tc.update), client.DryRunAll), tc.want, tc.reason)
		})
	}
}

func judge(t *testing.T, err error, want, reason string) {
	t.Helper()
	switch {
	case want == "" && err != nil:
		t.Errorf("%s\nrefused: %v", reason, err)
	case want != "" && (err == nil || !strings.Contains(err.Error(), want)):
		t.Errorf("%s\ngot  %v\nwant %s", reason, err, want)
	}
}

// TestEveryRuleIsBrokenOnce: a rule without a case would be found wrong by a user.
func TestEveryRuleIsBrokenOnce(t *testing.T) {
	files, err := filepath.Glob("../../deploy/crd/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs found: %v", err)
	}
	for _, file := range files {
		data, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.Unmarshal(data, &crd); err != nil {
			t.Fatal(err)
		}
		for _, version := range crd.Spec.Versions {
			for _, message := range messages(version.Schema.OpenAPIV3Schema) {
				if !slices.ContainsFunc(wanted(), func(want string) bool { return want != "" && strings.Contains(message, want) }) {
					t.Errorf("%s: no case breaks the rule that says %q", filepath.Base(file), message)
				}
			}
		}
	}
}

func wanted() []string {
	var list []string
	for _, tc := range all() {
		list = append(list, tc.want)
	}
	return list
}

// messages of all CEL rules in a schema.
func messages(s *apiextensionsv1.JSONSchemaProps) []string {
	if s == nil {
		return nil
	}
	var list []string
	for _, rule := range s.XValidations {
		list = append(list, rule.Message)
	}
	for _, property := range s.Properties {
		list = append(list, messages(&property)...)
	}
	if s.Items != nil {
		list = append(list, messages(s.Items.Schema)...)
	}
	if s.AdditionalProperties != nil {
		list = append(list, messages(s.AdditionalProperties.Schema)...)
	}
	return list
}

func parse(t *testing.T, text string) *unstructured.Unstructured {
	t.Helper()
	object := &unstructured.Unstructured{}
	if err := yaml.UnmarshalStrict([]byte(text), &object.Object); err != nil {
		t.Fatal(err)
	}
	return object
}

// merged lays the YAML change over the object: maps merge, null removes,
// anything else replaces.
func merged(t *testing.T, object *unstructured.Unstructured, change string) *unstructured.Unstructured {
	t.Helper()
	var over map[string]any
	if err := yaml.Unmarshal([]byte(change), &over); err != nil {
		t.Fatal(err)
	}
	merge(object.Object, over)
	return object
}

func merge(into, over map[string]any) {
	for key, value := range over {
		child, isMap := value.(map[string]any)
		existing, hasMap := into[key].(map[string]any)
		switch {
		case value == nil:
			delete(into, key)
		case isMap && hasMap:
			merge(existing, child)
		default:
			into[key] = value
		}
	}
}

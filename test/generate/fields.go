// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"
)

const fieldsHead = `# Fields

Every field of every kind of Espalier, as the API server knows them. ` + "`espalier validate`" + ` refuses the same without a cluster, with file
and line, and [editors](editors.md) complete them. What a field of a Workspace does is told by task: [Serve a model](serving.md),
[Tune a model](tuning.md), [Queues](queues.md). **Bold** fields are required.

This page is generated from ` + "`deploy/crd`" + ` by ` + "`make generate`" + `.
`

// fieldsPage is the reference of all fields, kind by kind.
func fieldsPage(root string) ([]byte, error) {
	files, err := filepath.Glob(filepath.Join(root, "deploy/crd/*.yaml"))
	if err != nil {
		return nil, fmt.Errorf("reading deploy/crd: %w", err)
	}
	var page bytes.Buffer
	page.WriteString(fieldsHead)
	for _, file := range slices.Backward(files) { // what people write first comes first
		text, err := os.ReadFile(file)
		if err != nil {
			return nil, fmt.Errorf("reading the fields of a kind: %w", err)
		}
		crd := apiextensionsv1.CustomResourceDefinition{}
		if err := yaml.Unmarshal(text, &crd); err != nil {
			return nil, fmt.Errorf("reading %s: %w", file, err)
		}
		version := crd.Spec.Versions[0]
		fmt.Fprintf(&page, "\n## %s\n\n%s\n", crd.Spec.Names.Kind, sentence(version.Schema.OpenAPIV3Schema.Description))
		for _, part := range []string{"spec", "status"} {
			fmt.Fprintf(&page, "\n| %s | type | default | |\n|---|---|---|---|\n", part)
			schema := version.Schema.OpenAPIV3Schema.Properties[part]
			fields(&page, "", &schema)
		}
	}
	return page.Bytes(), nil
}

// fields writes a row for each field below one, and then those below it.
func fields(page *bytes.Buffer, path string, s *apiextensionsv1.JSONSchemaProps) {
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		at := strings.TrimPrefix(path+"."+name, ".")
		shown := "`" + at + "`"
		if slices.Contains(s.Required, name) {
			shown = "**" + shown + "**"
		}
		fmt.Fprintf(page, "| %s | %s | %s | %s |\n", shown, cell(typeOf(&p)), cell(byDefault(&p)), cell(sentence(p.Description)))
		below(page, at, &p)
	}
}

// below goes into objects, lists and maps of them. What Kubernetes has documented is
// not repeated here.
func below(page *bytes.Buffer, at string, p *apiextensionsv1.JSONSchemaProps) {
	switch {
	case at == "conditions" || strings.HasSuffix(at, "Selector"):
	case p.Items != nil && p.Items.Schema != nil:
		fields(page, at+"[]", p.Items.Schema)
	default:
		fields(page, at, p)
	}
}

// typeOf is the type of a field, with the values that there are.
func typeOf(p *apiextensionsv1.JSONSchemaProps) string {
	switch {
	case len(p.Enum) > 0:
		var values []string
		for _, v := range p.Enum {
			values = append(values, "`"+strings.Trim(string(v.Raw), `"`)+"`")
		}
		return strings.Join(values, ", ")
	case p.Items != nil && p.Items.Schema != nil:
		return "list of " + typeOf(p.Items.Schema)
	case p.AdditionalProperties != nil && p.AdditionalProperties.Schema != nil:
		return "map of " + typeOf(p.AdditionalProperties.Schema)
	case p.XIntOrString:
		return "integer or string"
	case p.Format == "date-time":
		return "time"
	}
	return p.Type
}

// byDefault is the default of a field, "" where it has none.
func byDefault(p *apiextensionsv1.JSONSchemaProps) string {
	if p.Default == nil {
		return ""
	}
	var plain any
	if err := json.Unmarshal(p.Default.Raw, &plain); err != nil {
		return "`" + string(p.Default.Raw) + "`"
	}
	if text, ok := plain.(string); ok {
		return "`" + text + "`"
	}
	return "`" + string(p.Default.Raw) + "`"
}

// sentence is a description on one line.
func sentence(text string) string { return strings.Join(strings.Fields(text), " ") }

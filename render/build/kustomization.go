// SPDX-License-Identifier: Apache-2.0

package build

import (
	"reflect"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"

	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// fields are the keys of a kustomization. Kustomize takes them in any case;
// here only the documented spelling counts, so that what a reviewer reads is
// what is built.
var fields = fieldsOf(reflect.TypeFor[types.Kustomization]())

func fieldsOf(t reflect.Type) map[string]bool {
	names := map[string]bool{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		if name == "" { // inline
			for inner := range fieldsOf(f.Type) {
				names[inner] = true
			}
			continue
		}
		names[name] = true
	}
	return names
}

// parse decodes a kustomization exactly as Kustomize will.
func (s *scan) parse(file string, node *yaml.Node) (types.Kustomization, error) {
	var k types.Kustomization
	seen := map[string]bool{}
	for i := 0; i+1 < len(node.Content); i += 2 {
		key := node.Content[i]
		switch at := (place{file, key.Line}); {
		case key.Kind != yaml.ScalarNode || key.Value == "<<":
			return k, &refusal{UnknownField, at, "anchors and merge keys are not read as fields of a kustomization"}
		case !fields[key.Value]:
			return k, &refusal{UnknownField, at, "a kustomization has no field \"" + cut(key.Value, 60) + "\""}
		case seen[key.Value]:
			return k, &refusal{finding.InvalidYAML, at, key.Value + " is written twice"}
		}
		seen[key.Value] = true
	}
	if err := k.Unmarshal(s.files[file]); err != nil {
		return k, &refusal{BuildFailed, place{file, 0}, oneLine(err.Error())}
	}
	// Moves the deprecated fields; bases go to the end of resources.
	k.FixKustomization()
	return k, nil
}

// reader walks one kustomization.
type reader struct {
	*scan
	dir, file     string
	node          *yaml.Node
	kustomization types.Kustomization
}

func (r reader) at(path ...any) place {
	return place{r.file, yamltext.Line(r.node, path...)}
}

// unsafe fields, and what to do instead.
var unsafe = []struct{ field, code, message string }{
	{"generators", PluginRefused, "generator plugins are not run; use configMapGenerator, secretGenerator or files"},
	{"transformers", PluginRefused, "transformer plugins are not run; use the fields of the kustomization: patches, labels, namePrefix, replacements and so on"},
	{"validators", PluginRefused, "validator plugins are not run; use espalier validate in the pull request"},
	{"helmCharts", PluginRefused, "helm charts are not inflated; commit the rendered objects"},
	{"helmGlobals", PluginRefused, "helm charts are not inflated; commit the rendered objects"},
	{"helmChartInflationGenerator", PluginRefused, "helm charts are not inflated; commit the rendered objects"},
	{"crds", FieldRefused, "types may refer to each other without end, and Kustomize would follow them; say where names are written by configurations"},
	{"vars", FieldRefused, "vars is deprecated, and could write a large value into a text thousands of times; use replacements"},
}

func (r reader) refuseUnsafe() {
	for _, u := range unsafe {
		if yamltext.Field(r.node, u.field) != nil {
			r.refused(refuse(u.code, "%s: %s", u.field, u.message), r.at(u.field))
		}
	}
}

// schema takes the built-in schema, and no other, out of a kustomization: it is
// there for kubectl and Flux. Kustomize would make it the process's, and read it
// again in every build.
func (r reader) schema() {
	if yamltext.Field(r.node, "openapi") == nil {
		return
	}
	if p := r.kustomization.OpenAPI["path"]; len(r.kustomization.OpenAPI) != 1 || !r.builtIn(r.dir, p, config.IsSchema) {
		r.refused(refuse(FieldRefused, "openapi: a schema would change how other repositories are built; those of Kubernetes and of Espalier are built in, "+
			"and the only one that may be named is a copy of the latter"), r.at("openapi"))
		return
	}
	text, err := without(r.node, "openapi")
	if err != nil {
		r.refused(err, r.at("openapi"))
		return
	}
	r.files[r.file] = text
}

// plainly notes a kustomization that only lists and generates. What is built in
// has no other effect.
func (r reader) plainly() {
	k := r.kustomization
	k.OpenAPI = nil // refused, or taken out
	if list := yamltext.Field(r.node, "configurations"); list != nil && r.builtInNames(r.dir, list) {
		k.Configurations = nil
	}
	if onlyListsAndGenerates(k) {
		r.plain[r.dir] = lister{k, r.file}
	}
}

// without is a mapping without one of its keys, as text.
func without(mapping *yaml.Node, key string) ([]byte, error) {
	rest := *mapping
	rest.Content = nil
	for i := 0; i+1 < len(mapping.Content); i += 2 {
		if mapping.Content[i].Value != key {
			rest.Content = append(rest.Content, mapping.Content[i], mapping.Content[i+1])
		}
	}
	return yaml.Marshal(&rest)
}

// visit resolves one reference and goes there.
func (r reader) visit(reference string, from place, visit func(p string, from place) cost) cost {
	p, err := resolve(r.dir, reference)
	if err != nil {
		r.refused(err, from)
		return cost{}
	}
	return visit(p, from)
}

func (r reader) visitAll(field string, references []string, visit func(p string, from place) cost) cost {
	var total cost
	for i, reference := range references {
		total = total.plus(r.visit(reference, r.at(field, i), visit))
	}
	return total
}

// parsed and opaque take a file into the build.
func (r reader) parsed(p string, from place) cost { return r.scan.file(p, true, from) }
func (r reader) opaque(p string, from place) cost { return r.scan.file(p, false, from) }

// readable takes one that everybody may read.
func (r reader) readable(p string, from place) cost {
	c := r.opaque(p, from)
	if _, isSecret := r.secret.files[p]; isSecret {
		r.refused(refuse(finding.EncryptedField, "SOPS encrypted %s, and a ConfigMap may not hold it: plans, statuses and reports quote what it says; use secretGenerator, or the file in plain text", p), from)
	}
	return c
}

// resource is a file or the folder of another kustomization.
func (r reader) resource(p string, from place) cost {
	if k, err := r.look(p); err == nil && k == folder {
		return r.scan.kustomization(p, from)
	}
	return r.parsed(p, from)
}

func (r reader) resources() cost { return r.listed(r.resource, r.scan.kustomization) }

// listed visits what a kustomization takes in: files and folders, and components.
func (r reader) listed(resource, component func(p string, from place) cost) cost {
	all := r.kustomization.Resources
	bases := 0
	if n := yamltext.Field(r.node, "bases"); n != nil {
		bases = len(n.Content)
	}
	own := max(len(all)-bases, 0)
	c := r.visitAll("resources", all[:own], resource)
	c = c.plus(r.visitAll("bases", all[own:], resource))
	return c.plus(r.visitAll("components", r.kustomization.Components, component))
}

// settings are files that change how the build works and are no objects.
func (r reader) settings() cost {
	c := r.visitAll("configurations", r.kustomization.Configurations, r.parsed)
	c.objects = 0
	return c
}

// generated reads the files of ConfigMaps and Secrets, whose content Kustomize
// copies without parsing.
func (r reader) generated() cost {
	var c cost
	one := func(field string, i int, sources types.KvPairSources, take func(string, place) cost) {
		c.objects++
		for j, entry := range sources.FileSources {
			_, file, ok := strings.Cut(entry, "=")
			if !ok {
				file = entry
			}
			c = c.plus(r.visit(file, r.at(field, i, "files", j), take))
		}
		for j, file := range sources.EnvSources {
			c = c.plus(r.visit(file, r.at(field, i, "envs", j), take))
		}
	}
	for i, g := range r.kustomization.ConfigMapGenerator {
		one("configMapGenerator", i, g.KvPairSources, r.readable)
	}
	for i, g := range r.kustomization.SecretGenerator {
		one("secretGenerator", i, g.KvPairSources, r.opaque)
	}
	return c
}

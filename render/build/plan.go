// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// plan is a unit that is to be built.
type plan struct {
	path string
	file bool // a single file; else a folder with a kustomization
	root bool // the unit is the root kustomization, whose buildMetadata counts
	from place
	// problems found while splitting, instead of a build.
	problems []v1alpha1.Finding
}

// plan splits a root into units.
func (v *view) plan(root string) ([]plan, error) {
	file, err := v.kustomizationFile(root)
	if err != nil {
		return onlyRefusal(err, root)
	}
	if file == "" {
		return v.planFiles(root)
	}
	references, ok := v.listsOnlyFolders(root, file)
	if !ok {
		return []plan{{path: root, root: true, from: place{file, 0}}}, nil
	}
	return v.planFolders(root, file, references), nil
}

// onlyRefusal makes a plan of a refusal; any other error is the reader's.
func onlyRefusal(err error, root string) ([]plan, error) {
	var r *refusal
	if !errors.As(err, &r) {
		return nil, err
	}
	return []plan{{path: root, problems: []v1alpha1.Finding{asFinding(err, place{root, 0})}}}, nil
}

// reference is an entry of the resources of a root kustomization.
type reference struct {
	text string
	line int
}

// listsOnlyFolders says whether a kustomization does nothing but list folders:
// then building them one by one gives what building it gives.
func (v *view) listsOnlyFolders(dir, file string) ([]reference, bool) {
	list := v.folderList(dir, file)
	if list == nil {
		return nil, false
	}
	var references []reference
	for _, entry := range list.Content {
		if entry.Kind != yaml.ScalarNode {
			return nil, false
		}
		p, err := resolve(dir, entry.Value)
		if err == nil {
			// A file of its own needs the whole build; what is not there or is
			// refused fails alone.
			if k, lookErr := v.look(p); lookErr == nil && k == regular {
				return nil, false
			}
		}
		references = append(references, reference{entry.Value, entry.Line})
	}
	return references, true
}

// folderList is the list of a kustomization that has nothing else, nil for any
// other.
func (v *view) folderList(dir, file string) *yaml.Node {
	docs, err := v.documents(file)
	if err != nil || len(docs) != 1 || docs[0].Kind != yaml.MappingNode || !v.onlyLists(dir, docs[0]) {
		return nil
	}
	list := yamltext.Field(docs[0], "resources")
	if list == nil || list.Kind != yaml.SequenceNode || len(list.Content) == 0 {
		return nil
	}
	return list
}

// onlyLists says whether a kustomization has no field with an effect but
// resources: what is built in has none.
func (v *view) onlyLists(dir string, kustomization *yaml.Node) bool {
	seen := map[string]bool{}
	for i := 0; i+1 < len(kustomization.Content); i += 2 {
		key, value := kustomization.Content[i].Value, kustomization.Content[i+1]
		if seen[key] || !v.withoutEffect(dir, key, value) {
			return false
		}
		seen[key] = true
	}
	return true
}

// withoutEffect says whether a field leaves what is listed as it is.
func (v *view) withoutEffect(dir, key string, value *yaml.Node) bool {
	switch key {
	case "metadata", "resources":
		return true
	case "apiVersion":
		return value.Value == types.KustomizationVersion
	case "kind":
		return value.Value == types.KustomizationKind
	case "configurations":
		return v.builtInNames(dir, value)
	case "openapi":
		p := yamltext.Field(value, "path")
		return len(value.Content) == 2 && p != nil && v.builtInSchema(dir, p.Value)
	}
	return false
}

// builtInNames says whether configurations are the one that is built in.
func (v *view) builtInNames(dir string, list *yaml.Node) bool {
	return list.Kind == yaml.SequenceNode && len(list.Content) == 1 &&
		v.builtIn(dir, list.Content[0].Value, config.IsNames)
}

// builtInSchema says the same of the file of a schema.
func (v *view) builtInSchema(dir, reference string) bool {
	return v.builtIn(dir, reference, config.IsSchema)
}

func (v *view) builtIn(dir, reference string, is func([]byte) bool) bool {
	p, err := resolve(dir, reference)
	if err != nil {
		return false
	}
	if k, err := v.look(p); err != nil || k != regular {
		return false
	}
	text, err := v.text(p)
	return err == nil && is(text)
}

func (v *view) planFolders(root, file string, references []reference) []plan {
	plans := make([]plan, 0, len(references))
	seen := make(map[string]bool, len(references))
	for _, r := range references {
		from := place{file, r.line}
		p, err := resolve(root, r.text)
		switch {
		case err != nil:
			p = root
		case seen[p]:
			err = refuse(DuplicateObject, "%s is listed twice", p)
		case p == root || strings.HasPrefix(root+"/", p+"/") || p == ".":
			err = refuse(Cycle, "%s contains this kustomization", p)
		}
		seen[p] = true
		next := plan{path: p, from: from}
		if err != nil {
			next.problems = []v1alpha1.Finding{asFinding(err, from)}
		}
		plans = append(plans, next)
	}
	return plans
}

// planFiles makes a unit of every YAML file and of every folder that has a
// kustomization. Names that begin with a dot are not looked at: they belong to
// tools (.git, .github, .sops.yaml).
func (v *view) planFiles(dir string) ([]plan, error) {
	names, err := v.names(dir)
	if err != nil {
		return nil, err
	}
	var plans []plan
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		p := path.Join(dir, name)
		k, err := v.look(p)
		switch {
		case err != nil:
			f := asFinding(err, place{p, 0})
			if !isYAML(name) {
				f.Severity = finding.Warning // nothing says that it should be built
			}
			plans = append(plans, plan{path: p, problems: []v1alpha1.Finding{f}})
		case k == folder:
			below, err := v.planFolder(p)
			if err != nil {
				return nil, err
			}
			plans = append(plans, below...)
		case isYAML(name):
			plans = append(plans, plan{path: p, file: true, from: place{p, 0}})
		}
	}
	return plans, nil
}

func (v *view) planFolder(dir string) ([]plan, error) {
	file, err := v.kustomizationFile(dir)
	switch {
	case err != nil:
		return onlyRefusal(err, dir)
	case file != "":
		return []plan{{path: dir, from: place{file, 0}}}, nil
	}
	return v.planFiles(dir)
}

func isYAML(name string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, path.Ext(name))
}

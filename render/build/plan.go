// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
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
func (s *source) plan(root string) ([]plan, error) {
	file, err := s.kustomizationFile(root)
	if err != nil {
		return onlyRefusal(err, root)
	}
	if file == "" {
		return s.planFiles(root)
	}
	references, ok := s.listsOnlyFolders(root, file)
	if !ok {
		return []plan{{path: root, root: true, from: place{file, 0}}}, nil
	}
	return s.planFolders(root, file, references), nil
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
func (s *source) listsOnlyFolders(dir, file string) ([]reference, bool) {
	docs, err := s.documents(file)
	if err != nil || len(docs) != 1 || !s.onlyLists(dir, docs[0]) {
		return nil, false
	}
	list := yamltext.Field(docs[0], "resources")
	if list == nil || len(list.Content) == 0 {
		return nil, false
	}
	var references []reference
	for _, entry := range list.Content {
		p, err := resolve(dir, entry.Value)
		if err == nil {
			// A file of its own needs the whole build; what is not there or is
			// refused fails alone.
			if k, lookErr := s.look(p); lookErr == nil && k == regular {
				return nil, false
			}
		}
		references = append(references, reference{entry.Value, entry.Line})
	}
	return references, true
}

// onlyLists says whether a kustomization has no field but resources, and the
// merge keys that every unit is built with.
func (s *source) onlyLists(dir string, kustomization *yaml.Node) bool {
	for i := 0; i+1 < len(kustomization.Content); i += 2 {
		switch kustomization.Content[i].Value {
		case "apiVersion", "metadata", "resources":
		case "openapi":
			if !s.onlyMergeKeys(dir, kustomization.Content[i+1]) {
				return false
			}
		case "kind":
			if kustomization.Content[i+1].Value != "Kustomization" {
				return false
			}
		default:
			return false
		}
	}
	return true
}

func (s *source) planFolders(root, file string, references []reference) []plan {
	var plans []plan
	seen := map[string]bool{}
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
func (s *source) planFiles(dir string) ([]plan, error) {
	names, err := s.names(dir)
	if err != nil {
		return nil, err
	}
	var plans []plan
	for _, name := range names {
		if strings.HasPrefix(name, ".") {
			continue
		}
		p := path.Join(dir, name)
		k, err := s.look(p)
		switch {
		case err != nil:
			f := asFinding(err, place{p, 0})
			if !isYAML(name) {
				f.Severity = finding.Warning // nothing says that it should be built
			}
			plans = append(plans, plan{path: p, problems: []v1alpha1.Finding{f}})
		case k == folder:
			below, err := s.planFolder(p)
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

func (s *source) planFolder(dir string) ([]plan, error) {
	file, err := s.kustomizationFile(dir)
	switch {
	case err != nil:
		return onlyRefusal(err, dir)
	case file != "":
		return []plan{{path: dir, from: place{file, 0}}}, nil
	}
	return s.planFiles(dir)
}

func isYAML(name string) bool {
	return slices.Contains([]string{".yaml", ".yml"}, path.Ext(name))
}

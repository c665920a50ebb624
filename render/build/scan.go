// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// scan reads everything that a build of one unit would read, before Kustomize
// does, and refuses what is not built. What it does not list in files, Kustomize
// cannot read.
type scan struct {
	*view
	files    map[string][]byte
	trees    map[string][]*yaml.Node // the YAML files among them
	foreign  bool                    // a file with no object in it
	problems []v1alpha1.Finding
	costs    map[string]cost   // by folder of a kustomization
	plain    map[string]lister // kustomizations that only list and generate, by folder
	stack    []string          // folders being read
	secret   *secrets
}

func newScan(s *source) *scan {
	return &scan{
		view: newView(s), files: map[string][]byte{}, trees: map[string][]*yaml.Node{}, costs: map[string]cost{},
		plain: map[string]lister{}, secret: &secrets{files: map[string]bool{}},
	}
}

func (s *scan) refused(err error, from place) {
	f := asFinding(err, from)
	if !slices.Contains(s.problems, f) { // a base that several list is read once
		s.problems = append(s.problems, f)
	}
}

// file takes a regular file into the build. Its documents are checked when
// Kustomize parses it.
func (s *scan) file(p string, parsed bool, from place) cost {
	k, err := s.look(p)
	switch {
	case err != nil:
		s.refused(err, from)
		return cost{}
	case k != regular:
		s.refused(refuse(FileMissing, "%s is not a file of the repository", p), from)
		return cost{}
	}
	text, err := s.text(p)
	if err != nil {
		s.refused(err, from)
		return cost{}
	}
	s.noteSecret(p, text)
	c := cost{bytes: size(len(text)), largest: size(len(text))}
	if parsed {
		docs, err := s.documents(p)
		if err != nil {
			s.refused(s.secret.hush(err, p), from)
			return cost{}
		}
		c.objects = size(len(docs))
		s.trees[p] = docs
	}
	s.files[p] = text
	return c
}

// kustomization reads the kustomization of a folder and what it leads to.
func (s *scan) kustomization(dir string, from place) cost {
	if slices.Contains(s.stack, dir) {
		s.refused(refuse(Cycle, "%s leads back to itself: %s", dir, strings.Join(append(s.stack, dir), " → ")), from)
		return cost{}
	}
	if c, ok := s.costs[dir]; ok {
		return c
	}
	s.stack = append(s.stack, dir)
	c := s.read(dir, from)
	s.stack = s.stack[:len(s.stack)-1]
	s.costs[dir] = c
	return c
}

func (s *scan) read(dir string, from place) cost {
	file := ""
	k, err := s.look(dir) // before anything is listed: it may be a link
	switch {
	case err == nil && k != folder:
		err = refuse(FileMissing, "there is no folder %s", dir)
	case err == nil:
		file, err = s.kustomizationFile(dir)
		if err == nil && file == "" {
			err = refuse(FileMissing, "folder %s has no kustomization.yaml", dir)
		}
	}
	if err != nil {
		s.refused(err, from)
		return cost{}
	}
	r, own, ok := s.open(dir, file, from)
	if !ok {
		return cost{}
	}
	r.refuseUnsafe()
	r.schema()
	r.plainly()
	total := cost{kustomizations: 1, largest: own.largest}
	total = total.plus(r.resources()).plus(r.generated()).plus(r.settings())
	total.compared = total.compared.plus(total.objects.times(total.objects))
	changes := r.changes()
	total.patched = total.patched.plus(total.objects.times(changes.bytes.plus(own.bytes)))
	total.copies = total.copies.plus(changes.copies)
	return total
}

// open decodes the kustomization of a folder. False: it is refused.
func (s *scan) open(dir, file string, from place) (reader, cost, bool) {
	own := s.file(file, true, from)
	docs := s.trees[file]
	if len(docs) != 1 || docs[0].Kind != yaml.MappingNode {
		if s.files[file] != nil {
			s.refused(refuse(NotAnObject, "a kustomization is one YAML mapping"), place{file, 1})
		}
		return reader{}, cost{}, false
	}
	decoded, err := s.parse(file, docs[0])
	if err != nil {
		s.refused(err, place{file, 0})
		return reader{}, cost{}, false
	}
	return reader{scan: s, dir: dir, file: file, node: docs[0], kustomization: decoded}, own, true
}

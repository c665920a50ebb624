// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"regexp"
	"strings"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// hashed is the name of an object that Kustomize generates: a hash of what it holds ends it.
var hashed = regexp.MustCompile(`^(.+)-[bcdfghkmt2456789]{10}$`)

// Stem is what a generated object is called, whatever it holds; the name itself of another.
func Stem(name string) string {
	if generated := hashed.FindStringSubmatch(name); generated != nil {
		return generated[1]
	}
	return name
}

// maxSpelt bounds the names of a State for which a near one is looked for, since each
// is compared with every ConfigMap.
const maxSpelt = 100

// spelling finds the names that were meant. It is of one State: what is near to a name
// changes with documents that the Workspace does not name.
type spelling struct {
	known inputs
	names []string // of ConfigMaps
	found map[string]string
}

// near is the ConfigMap of the tree whose name is most like one that is not in it; ""
// for none.
func (s *spelling) near(name string) string {
	if s.found == nil {
		s.found = map[string]string{}
		for object := range s.known.there {
			if n, is := strings.CutPrefix(object, "ConfigMap/"); is {
				s.names = append(s.names, Stem(n))
			}
		}
	}
	near, looked := s.found[name]
	if !looked && len(s.found) < maxSpelt {
		near = repolayout.Nearest(name, s.names)
		s.found[name] = near
	}
	return near
}

// notInGit warns of a configuration that the tree does not hold; nil where it does, or
// none is named.
func (w Workspace) notInGit(s *spelling) *v1alpha1.Finding {
	name := w.Workspace.Spec.ConfigName()
	if name == "" || w.ConfigMaps[name] != nil {
		return nil
	}
	field := "spec.inference.config"
	if w.Workspace.Spec.Tuning != nil {
		field = "spec.tuning.config"
	}
	meant := ""
	if near := s.near(name); near != "" {
		meant = "; did you mean " + near + "?"
	}
	p := finding.Warningf(InputNotInGit, kaito.Spelling(w.Workspace, field), "ConfigMap %s is not in this tree: judged with the defaults%s", name, meant)
	f := p.At(w.Position, v1alpha1.WorkspaceKind+"/"+w.Workspace.Namespace+"/"+w.Workspace.Name)
	return &f
}

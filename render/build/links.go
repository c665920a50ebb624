// SPDX-License-Identifier: Apache-2.0

package build

import (
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// links are the names that a unit would share with others if all were built as
// one: there Kustomize follows a name into another folder, here it cannot.
type links struct {
	renamed []rename
	// open are names that fields refer to and that no object of the unit has.
	open []open
}

// rename is an object that is called otherwise than it is written.
type rename struct{ kind, namespace, written, name string }

// open is a field that names an object by the name it is written with.
type open struct {
	kind, namespace, name string
	object                int // of the unit, that has the field
	field                 string
}

// linksOf finds them in a unit that was built.
func linksOf(objects []builtObject) links {
	var l links
	own := map[[2]string]bool{} // kind and name
	for _, o := range objects {
		own[[2]string{o.kind, o.name}] = true
		if written := o.written(); written != "" && written != o.name {
			l.renamed = append(l.renamed, rename{o.kind, o.namespace, written, o.name})
		}
	}
	for i, o := range objects {
		for _, named := range o.open(own) {
			named.object = i
			l.open = append(l.open, named)
		}
	}
	return l
}

// open are the names in an object that are none of its unit.
func (o builtObject) open(own map[[2]string]bool) []open {
	var list []open
	for _, f := range nameFields() {
		if f.group != o.group || f.kind != o.kind {
			continue
		}
		for _, name := range textsAt(o.tree, f.path) {
			if !own[[2]string{f.names, name}] {
				list = append(list, open{kind: f.names, namespace: o.namespace, name: name, field: strings.Join(f.path, ".")})
			}
		}
	}
	return list
}

// written is the name that an object has in its file.
func (o *item) written() string {
	switch p := o.position.(type) {
	case *written:
		return p.name
	case fixed:
		return p.name
	}
	return ""
}

// tree is an object's fields, where one of them may name another object.
func (o *item) tree() (tree map[string]any) {
	named := slices.ContainsFunc(nameFields(), func(f field) bool { return f.group == o.group && f.kind == o.kind })
	if !named || yaml.Unmarshal([]byte(o.text), &tree) != nil {
		return nil
	}
	return tree
}

// textsAt are the texts at a path; lists on the way are gone through.
func textsAt(v any, path []string) []string {
	switch v := v.(type) {
	case []any:
		var all []string
		for _, item := range v {
			all = append(all, textsAt(item, path)...)
		}
		return all
	case map[string]any:
		if len(path) > 0 {
			return textsAt(v[path[0]], path[1:])
		}
	case string:
		if len(path) == 0 && v != "" {
			return []string{v}
		}
	}
	return nil
}

// linked refuses a unit that names an object of another unit by a name that
// this one has changed. A build of the whole would follow it, and tie the two
// together: one that fails would hold up the other. It says whether there is none.
func linked(units []Unit) (none bool) {
	none = true
	var renamed map[target]renamedIn
	for i := range units {
		u := &units[i]
		opens := u.links().open
		if len(opens) == 0 || len(units) == 1 {
			continue
		}
		if renamed == nil {
			renamed = renames(units)
		}
		before := len(u.Findings)
		for _, o := range opens {
			if at, ok := renamed[target{o.kind, o.namespace, o.name}]; ok && at.unit != i {
				u.add(o.elsewhere(u.content.objects()[o.object], units[at.unit].Path, at.name))
			}
		}
		if len(u.Findings) > before {
			none = false
			finding.Sort(u.Findings)
			u.drop()
		}
	}
	return none
}

// target is a name that may be referred to.
type target struct{ kind, namespace, written string }

// renamedIn is the unit that changes a name, and to what.
type renamedIn struct {
	unit int
	name string
}

func renames(units []Unit) map[target]renamedIn {
	all := map[target]renamedIn{}
	for i, u := range units {
		for _, r := range u.links().renamed {
			all[target{r.kind, r.namespace, r.written}] = renamedIn{i, r.name}
		}
	}
	return all
}

func (o open) elsewhere(object Object, unit, name string) v1alpha1.Finding {
	file, line := object.At(o.field)
	return v1alpha1.Finding{
		Severity: finding.Error, Code: NameElsewhere, File: file, Line: line, Object: object.String(),
		Message: o.kind + " " + o.name + " is in folder " + unit + ", which calls it " + name + ": folders are built on their own, so the name is not followed; " +
			"put both into one folder, or keep the name (disableNameSuffixHash, no namePrefix)",
	}
}

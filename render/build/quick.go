// SPDX-License-Identifier: Apache-2.0

package build

import (
	"maps"
	"reflect"
	"strings"

	"go.yaml.in/yaml/v2"
	"sigs.k8s.io/kustomize/api/types"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// plainUnit builds a unit whose kustomizations do nothing but list and generate,
// as most do: what Kustomize would make of it is known without running it, in a
// twentieth of the time. Nine tenths of that are Kustomize reading and merging
// its own settings.
//
// Whatever is in the least unusual is left to Kustomize, and so is every mistake:
// its message is the one that people know. TestQuickIsKustomize compares the two.
type plainUnit struct {
	work work
	made []madeObject
	// renamed are the names of generated objects, by kind and name as written.
	renamed map[[2]string]string
}

// madeObject is an object of a plain unit.
type madeObject struct {
	tree map[string]any
	file string
	line int
	// entry is the name of the generator's entry, "" for an object of a file.
	entry   string
	entries []entryAt // of a generated ConfigMap
}

// lister is a kustomization that does nothing but list and generate.
type lister struct {
	types.Kustomization
	file string
}

// onlyListsAndGenerates is false for a kustomization that does more, or does so
// in an unusual way.
func onlyListsAndGenerates(k types.Kustomization) bool {
	for _, g := range k.ConfigMapGenerator {
		if g.Behavior != "" {
			return false
		}
	}
	for _, g := range k.SecretGenerator {
		if g.Behavior != "" {
			return false
		}
	}
	rest := k
	rest.TypeMeta, rest.MetaData, rest.Resources = types.TypeMeta{}, nil, nil
	rest.ConfigMapGenerator, rest.SecretGenerator = nil, nil
	return k.APIVersion == types.KustomizationVersion && k.Kind == types.KustomizationKind &&
		reflect.DeepEqual(rest, types.Kustomization{})
}

// builtObject is an object with its fields, for what is found out while it is built.
type builtObject struct {
	*item
	tree map[string]any
	// sealed: it came of what may be encrypted, and is a Secret or nothing.
	sealed bool
}

// quick returns the objects of a plain unit; false where Kustomize must build it.
func (w work) quick() ([]builtObject, bool) {
	u := plainUnit{work: w, renamed: map[[2]string]string{}}
	switch {
	case w.plan.file && !u.file(w.plan.path):
		return nil, false
	case !w.plan.file && !u.folder(w.plan.path):
		return nil, false
	case len(u.made) == 0, !u.alone():
		return nil, false
	}
	return u.write()
}

// folder takes what a kustomization lists and generates, in Kustomize's order.
func (u *plainUnit) folder(dir string) bool {
	l, ok := u.work.plain[dir]
	if !ok {
		return false
	}
	for _, reference := range l.Resources {
		p, err := resolve(dir, reference)
		if err != nil {
			return false
		}
		taken := u.folder
		if _, isFile := u.work.docs[p]; isFile {
			taken = u.file
		}
		if !taken(p) {
			return false
		}
	}
	return u.generate(dir, l)
}

func (u *plainUnit) file(p string) bool {
	if !sameDocuments(u.work.files[p]) {
		return false
	}
	for _, d := range u.work.docs[p] {
		tree, ok := plainObject(d)
		if !ok {
			return false
		}
		u.made = append(u.made, madeObject{tree: tree, file: p, line: d.Line})
	}
	return true
}

// alone says whether every name is that of one object only, and all are in one
// namespace: then a name cannot be taken for that of another.
func (u *plainUnit) alone() bool {
	seen := make(map[[2]string]bool, len(u.made))
	for i, m := range u.made {
		kind, name, namespace := identity(m.tree)
		if m.entry != "" {
			name = m.entry
		}
		key := [2]string{kind, name}
		if _, _, first := identity(u.made[0].tree); seen[key] || i > 0 && namespace != first {
			return false
		}
		seen[key] = true
	}
	return true
}

// groupOf is the API group of an object, "" for that of v1.
func groupOf(tree map[string]any) string {
	version, _ := tree["apiVersion"].(string)
	group, _, hasGroup := strings.Cut(version, "/")
	if !hasGroup {
		return ""
	}
	return group
}

func identity(tree map[string]any) (kind, name, namespace string) {
	kind, _ = tree["kind"].(string)
	meta, _ := tree["metadata"].(map[string]any)
	name, _ = meta["name"].(string)
	namespace, _ = meta["namespace"].(string)
	return kind, name, namespace
}

// write writes the objects as Kustomize does.
func (u *plainUnit) write() ([]builtObject, bool) {
	list := make([]builtObject, 0, len(u.made))
	texts := newTexts(u.work.files, u.work.docs)
	var total int64
	for _, m := range u.made {
		if !u.rename(m.tree) {
			return nil, false
		}
		text, err := yaml.Marshal(m.tree)
		if total += int64(len(text)); err != nil || total > u.work.limits.OutputBytes {
			return nil, false
		}
		kind, name, namespace := identity(m.tree)
		o := &item{id: id{groupOf(m.tree), kind, namespace, name}, text: string(text)}
		o.position = m.position(texts, &o.id)
		list = append(list, builtObject{o, m.tree, u.work.secret.holds(m.file)})
	}
	return list, true
}

func (m madeObject) position(t texts, object *id) repolayout.Position {
	if m.entry != "" {
		return fixed{m.file, m.line, m.entry, m.entries}
	}
	return &written{texts: t, id: object, file: t.path(m.file), name: object.name, line: m.line}
}

// rename writes the names of generated objects where an object names them; false
// where Kustomize would refuse the field.
func (u *plainUnit) rename(tree map[string]any) bool {
	kind, _, _ := identity(tree)
	group := groupOf(tree)
	for _, f := range nameFields() {
		if f.group != group || f.kind != kind {
			continue
		}
		to := func(name string) string {
			if now, renamed := u.renamed[[2]string{f.names, name}]; renamed {
				return now
			}
			return name
		}
		if !replaceIn(tree, f.path, to) {
			return false
		}
	}
	return true
}

// replaceIn replaces the texts at a path, going through lists; false where there
// is something else.
func replaceIn(m map[string]any, path []string, to func(string) string) bool {
	v, there := m[path[0]]
	if !there || v == nil {
		return true
	}
	rest := path[1:]
	switch v := v.(type) {
	case string:
		if len(rest) > 0 {
			return false
		}
		m[path[0]] = to(v)
		return true
	case map[string]any:
		return len(rest) > 0 && replaceIn(v, rest, to)
	case []any:
		return replaceItems(v, rest, to)
	}
	return false
}

func replaceItems(list []any, path []string, to func(string) string) bool {
	for i, item := range list {
		switch item := item.(type) {
		case string:
			if len(path) > 0 {
				return false
			}
			list[i] = to(item)
		case map[string]any:
			if len(path) == 0 || !replaceIn(item, path, to) {
				return false
			}
		default:
			return false
		}
	}
	return true
}

// plainKinds are those whose names no other rule of Kustomize touches, by group.
var plainKinds = map[string]map[string]bool{
	v1alpha1.Group: {v1alpha1.WorkspaceKind: true, v1alpha1.GPUNodePoolKind: true},
	kaito.Group:    {"Workspace": true, "InferenceSet": true},
	"":             {"ConfigMap": true, "Secret": true, "PersistentVolumeClaim": true},
}

// plainIdentity says whether an object has all that Kustomize asks for, and
// nothing in its metadata that Kustomize acts on or rewrites.
func plainIdentity(tree map[string]any) bool {
	kind, name, _ := identity(tree)
	group := groupOf(tree)
	meta, _ := tree["metadata"].(map[string]any)
	if !plainKinds[group][kind] || group == "" && tree["apiVersion"] != "v1" || name == "" {
		return false
	}
	if namespace, there := meta["namespace"]; there {
		if text, _ := namespace.(string); text == "" {
			return false
		}
	}
	return plainMarks(meta, "labels") && plainMarks(meta, "annotations")
}

// plainMarks says whether labels or annotations are texts, and none Kustomize's.
func plainMarks(meta map[string]any, field string) bool {
	v, there := meta[field]
	if !there {
		return true
	}
	marks, _ := v.(map[string]any)
	for key := range maps.Keys(marks) {
		if _, isText := marks[key].(string); !isText || strings.Contains(key, "config.k") {
			return false
		}
	}
	return len(marks) > 0
}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"maps"
	"path"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/api/types"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/kaito"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Object is one object of a unit's build.
type Object struct {
	// YAML is the object as built: keys sorted, so equal input gives equal bytes.
	YAML []byte

	group, kind, namespace, name string
	position                     repolayout.Position
}

// At returns the file and line that a field was written at: in the document
// that the object comes from, or in the patch that gave the field its value.
// It implements repolayout.Position.
func (o Object) At(field string) (file string, line int) {
	if o.position == nil {
		return "", 0
	}
	return o.position.At(field)
}

// String is kind/namespace/name, kind/name without a namespace.
func (o Object) String() string {
	if o.namespace == "" {
		return o.kind + "/" + o.name
	}
	return o.kind + "/" + o.namespace + "/" + o.name
}

// origins finds where objects of a unit were written.
type origins struct {
	*source
	files map[string][]byte // of the unit
}

// metadata returns the buildMetadata of a kustomization.
func (o origins) metadata(file string) []string {
	var k types.Kustomization
	if err := k.Unmarshal(o.files[file]); err != nil {
		return nil // a single file, or decoded before
	}
	return k.BuildMetadata
}

// position of an object, from the origin that Kustomize tracked.
func (o origins) position(origin *resource.Origin, object Object) repolayout.Position {
	if origin == nil {
		return nil
	}
	if origin.ConfiguredIn != "" {
		return o.generator(inTree(origin.ConfiguredIn), object)
	}
	file := inTree(origin.Path)
	text, ok := o.files[file]
	if !ok {
		return nil
	}
	return &written{
		origins: o, object: object,
		origin: repolayout.FilePosition(file, text, object.kind, o.nameIn(file, object)),
	}
}

// inTree strips the folder that the tree has in our file system from the path
// that Kustomize gives relative to the wrapper.
func inTree(p string) string {
	return strings.TrimPrefix(path.Join(wrapperFolder, p), treeFolder+"/")
}

// nameIn is the name that an object has in its file: prefixes and suffixes of
// kustomizations are not there yet.
func (o origins) nameIn(file string, object Object) string {
	best := ""
	for _, d := range o.docs[file] {
		name := scalar(d, "metadata", "name")
		if scalar(d, "kind") != object.kind || !strings.Contains(object.name, name) {
			continue
		}
		if len(name) > len(best) {
			best = name
		}
	}
	return best
}

// generator is the line of the entry that generates an object.
func (o origins) generator(file string, object Object) repolayout.Position {
	field := map[string]string{"ConfigMap": "configMapGenerator", "Secret": "secretGenerator"}[object.kind]
	best := fixed{file: file}
	docs := o.docs[file]
	if len(docs) == 0 {
		return best
	}
	list := yamltext.Field(docs[0], field)
	if list == nil {
		return best
	}
	length := -1
	for _, entry := range list.Content {
		name := scalar(entry, "name")
		if len(name) > length && strings.Contains(object.name, name) {
			best.line, length = entry.Line, len(name)
		}
	}
	return best
}

// fixed is one place for every field.
type fixed struct {
	file string
	line int
}

func (f fixed) At(string) (string, int) { return f.file, f.line }

// written looks fields up in the document of an object, and in patches.
type written struct {
	origins
	object Object
	origin repolayout.Position
}

// At prefers the place that holds the value the object has: a patch may have
// replaced what its document says.
func (w *written) At(field string) (string, int) {
	file, line := w.origin.At(field)
	if field == "" {
		return file, line
	}
	var built yaml.Node
	if err := yaml.Unmarshal(w.object.YAML, &built); err != nil || len(built.Content) == 0 {
		return file, line
	}
	want := w.value(built.Content[0], field)
	if want == nil || want.Kind != yaml.ScalarNode || w.says(file, line, field, want.Value) {
		return file, line
	}
	if other, at := w.elsewhere(file, field, want.Value); other != "" {
		return other, at
	}
	return file, line
}

// elsewhere finds the value in another file of the unit: a patch.
func (w *written) elsewhere(file, field, value string) (string, int) {
	for _, other := range slices.Sorted(maps.Keys(w.files)) {
		if other == file {
			continue
		}
		for _, d := range w.docs[other] {
			if v := w.value(d, field); v != nil && v.Value == value && w.same(d) {
				return other, v.Line
			}
		}
	}
	return "", 0
}

// says whether a document of the file has the value at the field and line.
func (w *written) says(file string, line int, field, value string) bool {
	return slices.ContainsFunc(w.docs[file], func(d *yaml.Node) bool {
		v := w.value(d, field)
		return v != nil && v.Value == value && (v.Line == line || w.same(d))
	})
}

// same says whether a document may be a patch of the object: of its kind, and
// of a name that the object's name contains or that a target selects.
func (w *written) same(d *yaml.Node) bool {
	kind, name := scalar(d, "kind"), scalar(d, "metadata", "name")
	return (kind == "" || kind == w.object.kind) && strings.Contains(w.object.name, name)
}

// value follows a field path; documents of kaito.sh have some fields elsewhere.
func (w *written) value(d *yaml.Node, field string) *yaml.Node {
	if v := follow(d, field); v != nil {
		return v
	}
	if w.object.group == kaito.Group {
		return follow(d, kaito.Field(w.object.kind, field))
	}
	return nil
}

func follow(n *yaml.Node, field string) *yaml.Node {
	for step := range strings.FieldsFuncSeq(field, func(r rune) bool { return r == '.' || r == '[' || r == ']' }) {
		if n == nil {
			return nil
		}
		if n.Kind == yaml.SequenceNode {
			n = element(n, step)
			continue
		}
		n = yamltext.Field(n, step)
	}
	return n
}

func element(n *yaml.Node, step string) *yaml.Node {
	i := 0
	for _, r := range step {
		if r < '0' || r > '9' || i > len(n.Content) {
			return nil
		}
		i = i*10 + int(r-'0')
	}
	if i >= len(n.Content) {
		return nil
	}
	return n.Content[i]
}

func scalar(n *yaml.Node, path ...string) string {
	for _, key := range path {
		n = yamltext.Field(n, key)
	}
	if n == nil || n.Kind != yaml.ScalarNode {
		return ""
	}
	return n.Value
}

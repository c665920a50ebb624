// SPDX-License-Identifier: Apache-2.0

package build

import (
	"strings"
	"sync"
	"weak"

	"sigs.k8s.io/kustomize/api/resource"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// id is what tells objects apart.
type id struct{ group, kind, namespace, name string }

// Object is one object of a unit's build.
type Object struct{ *object }

// object is what an Object is called, and where the rest of it is.
type object struct {
	id
	of *content
	at int
}

func (o Object) item() *item { return &o.of.spread().items[o.at] }

// YAML is the object as built: keys sorted, so equal input gives equal bytes.
func (o Object) YAML() []byte { return []byte(o.item().text) }

// Decode is repolayout.Decode of the object, once for all who build the same at a time.
// What it returns is shared: copy before changing it.
func (o Object) Decode() (repolayout.Decoded, []v1alpha1.Finding) { return o.item().decode() }

// At returns the file and line that a field was written at: in the document
// that the object comes from, or in the patch that gave the field its value.
// It implements repolayout.Position.
func (o Object) At(field string) (file string, line int) { return o.item().At(field) }

// Entry returns where a place in an entry of a ConfigMap was written: in its
// document, or in the file that a generator takes. False where that is not known.
func (o Object) Entry(e finding.Entry) (file string, line int, ok bool) { return o.item().Entry(e) }

// Fix is of the line of a file of the unit. It implements finding.Fixer.
func (o Object) Fix(file string, line int, word v1alpha1.Fix) v1alpha1.Fix {
	return o.item().Fix(file, line, word)
}

// String is kind/namespace/name, kind/name without a namespace.
func (o Object) String() string {
	if o.namespace == "" {
		return o.kind + "/" + o.name
	}
	return o.kind + "/" + o.namespace + "/" + o.name
}

// item is an object at hand: while its unit is built, and for who asks for it.
type item struct {
	id
	text     string
	position repolayout.Position
	decoding decoding
	opened   bool // it is of a unit in which something was decrypted
}

// decoding is the document that an object is, while somebody who has asked holds it, and
// no longer than until the next collection of garbage: the text is a third of it.
type decoding struct {
	mutex sync.Mutex
	last  weak.Pointer[document]
}

type document struct {
	decoded  repolayout.Decoded
	findings []v1alpha1.Finding
}

// decode is for all who hold what it returned, and until the next collection of garbage.
func (o *item) decode() (repolayout.Decoded, []v1alpha1.Finding) {
	decode := repolayout.Decode
	if o.opened {
		decode = repolayout.DecodeOpened
	}
	o.decoding.mutex.Lock()
	defer o.decoding.mutex.Unlock()
	last := o.decoding.last.Value()
	if last == nil {
		last = &document{}
		last.decoded, last.findings = decode([]byte(o.text), o)
		o.decoding.last = weak.Make(last)
	}
	return last.decoded, last.findings
}

// At is that of Object.
func (o *item) At(field string) (file string, line int) {
	if o.position == nil {
		return "", 0
	}
	return o.position.At(field)
}

// Entry is that of Object.
func (o *item) Entry(e finding.Entry) (file string, line int, ok bool) {
	if p, knows := o.position.(entryPosition); knows {
		return p.Entry(e)
	}
	return "", 0, false
}

// Fix is that of Object.
func (o *item) Fix(file string, line int, word v1alpha1.Fix) v1alpha1.Fix {
	if p, reads := o.position.(finding.Fixer); reads {
		return p.Fix(file, line, word)
	}
	return v1alpha1.Fix{}
}

type entryPosition interface {
	Entry(e finding.Entry) (file string, line int, ok bool)
}

// origins finds where objects of a unit were written.
type origins struct {
	work
	made  built
	texts texts
}

func newOrigins(w work, made built) origins {
	return origins{work: w, made: made, texts: newTexts(w.files, w.docs)}
}

// position of an object, from the origin that Kustomize tracked.
func (o origins) position(origin *resource.Origin, object *item) repolayout.Position {
	if origin == nil {
		return nil
	}
	if origin.ConfiguredIn != "" {
		return o.generator(o.made.inTree(origin.ConfiguredIn), object)
	}
	file := o.made.inTree(origin.Path)
	if _, ok := o.docs[file]; !ok {
		return nil
	}
	name := o.nameIn(file, object.id)
	return &written{
		texts: o.texts, id: &object.id, built: object, file: file, name: name,
		line: o.line(file, id{kind: object.kind, name: name}),
	}
}

// line of the document of a file that has a kind and name; else of its only
// document, else 0.
func (o origins) line(file string, document id) int {
	_, line := (&documents{file, o.docs[file]}).find(document).At("")
	return line
}

// nameIn is the name that an object has in its file: prefixes and suffixes of
// kustomizations are not there yet.
func (o origins) nameIn(file string, object id) string {
	best := ""
	for _, d := range o.docs[file] {
		name := scalar(d, "metadata", "name")
		if len(name) <= len(best) || scalar(d, "kind") != object.kind || !strings.Contains(object.name, name) {
			continue
		}
		if best = name; name == object.name {
			break
		}
	}
	return best
}

// generator is the line of the entry that generates an object.
func (o origins) generator(file string, object *item) repolayout.Position {
	best := fixed{file: file}
	docs := o.docs[file]
	if len(docs) == 0 {
		return best
	}
	list := yamltext.Field(docs[0], generators[object.kind])
	if list == nil {
		return best
	}
	length := -1
	for _, entry := range list.Content {
		name := scalar(entry, "name")
		if len(name) > length && strings.Contains(object.name, name) {
			best.line, best.name, length = entry.Line, name, len(name)
			if object.kind == "ConfigMap" {
				best.entries = entriesOf(entry, file)
			}
		}
	}
	best.entries = best.keep(o.files, object)
	return best
}

// generators are the fields that generate objects of a kind.
var generators = map[string]string{"ConfigMap": "configMapGenerator", "Secret": "secretGenerator"}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"strings"
	"sync"
	"weak"

	"sigs.k8s.io/kustomize/api/resource"

	"github.com/espalier-dev/espalier/render/alike"
	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// id is what tells objects apart.
type id struct{ group, kind, namespace, name string }

// Object is one object of a unit's build.
type Object struct{ *object }

// object is what is known of an Object beside its text.
type object struct {
	id
	text     alike.Text
	position repolayout.Position
	decoding decoding
	opened   bool // it is of a unit in which something was decrypted
}

// held are what objects and files are told by, which are held for as long as their units. What
// was decrypted, and what a Secret holds, tells nothing of others.
var held alike.Texts

// keep holds a text of a kind.
func keep(kind string, text []byte, sealed bool) alike.Text {
	if sealed || kind == "Secret" {
		return alike.Whole(text)
	}
	return held.Keep(kind, text)
}

// newObject is one as built: with words that all objects share.
func newObject(text []byte, of id, sealed bool) Object {
	of.group, of.kind = shared(of.group), shared(of.kind)
	return Object{&object{id: of, text: keep(of.kind, text, sealed)}}
}

// YAML is the object as built: keys sorted, so equal input gives equal bytes.
func (o Object) YAML() []byte { return o.text.Bytes() }

// shared is the same word as others hold, for those that most objects have.
func shared(word string) string {
	for group, kinds := range plainKinds {
		if group == word {
			return group
		}
		for kind := range kinds {
			if kind == word {
				return kind
			}
		}
	}
	return word
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

// Decode is repolayout.Decode of the object, once for all who build the same at a time.
// What it returns is shared: copy before changing it.
func (o Object) Decode() (repolayout.Decoded, []v1alpha1.Finding) {
	decode := repolayout.Decode
	if o.opened {
		decode = repolayout.DecodeOpened
	}
	o.decoding.mutex.Lock()
	defer o.decoding.mutex.Unlock()
	last := o.decoding.last.Value()
	if last == nil {
		last = &document{}
		last.decoded, last.findings = decode(o.YAML(), o)
		o.decoding.last = weak.Make(last)
	}
	return last.decoded, last.findings
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

// Entry returns where a place in an entry of a ConfigMap was written: in its
// document, or in the file that a generator takes. False where that is not known.
func (o Object) Entry(e finding.Entry) (file string, line int, ok bool) {
	if p, knows := o.position.(entryPosition); knows {
		return p.Entry(e)
	}
	return "", 0, false
}

// Fix is of the line of a file of the unit. It implements finding.Fixer.
func (o Object) Fix(file string, line int, word v1alpha1.Fix) v1alpha1.Fix {
	if p, reads := o.position.(finding.Fixer); reads {
		return p.Fix(file, line, word)
	}
	return v1alpha1.Fix{}
}

type entryPosition interface {
	Entry(e finding.Entry) (file string, line int, ok bool)
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
	work
	made  built
	texts texts
}

func newOrigins(w work, made built) origins {
	return origins{work: w, made: made, texts: newTexts(w.files, w.docs, w.secret.decrypted())}
}

// position of an object, from the origin that Kustomize tracked.
func (o origins) position(origin *resource.Origin, object *Object) repolayout.Position {
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
		texts: o.texts, id: &object.id, built: object.object, file: file, name: name,
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
func (o origins) generator(file string, object *Object) repolayout.Position {
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

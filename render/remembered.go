// SPDX-License-Identifier: Apache-2.0

package render

import (
	"bytes"
	"crypto/sha256"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/alike"
	"github.com/espalier-dev/espalier/render/lru"
)

// rememberedBytes bounds what is held of the layers that were built, and rememberedEntry is
// what one takes beside its text, about.
const (
	rememberedBytes = 8 << 20
	rememberedEntry = 120
)

// remembered is what layers were built to, by all that they are built from. A Workspace is
// rendered in each of its passes until it is at rest, and seldom to something else: building
// it anew was a third of all that a controller allocates.
type remembered struct {
	mutex sync.Mutex
	known map[uint64]*rendered // by how the key begins: another that begins so takes its place
	order lru.Order[*rendered]
	bytes int
	texts alike.Texts
}

// rendered is what one layer was built to.
type rendered struct {
	key  [sha256.Size]byte
	text alike.Text // its objects, each in a line
	lru.Links[*rendered]
}

// layers are those of this process.
var layers = newRemembered()

func newRemembered() *remembered { return &remembered{known: map[uint64]*rendered{}} }

func (l *rendered) begins() uint64 { return binary.NativeEndian.Uint64(l.key[:]) }

func (l *rendered) size() int { return rememberedEntry + l.text.Held() }

// of is what is known by a key, nil where that is nothing.
func (r *remembered) of(key [sha256.Size]byte) *rendered {
	l := r.known[(&rendered{key: key}).begins()]
	if l == nil || l.key != key {
		return nil
	}
	return l
}

// add adds one as the newest.
func (r *remembered) add(l *rendered) {
	r.known[l.begins()] = l
	r.bytes += l.size()
	r.order.Add(l)
}

func (r *remembered) remove(l *rendered) {
	delete(r.known, l.begins())
	r.bytes -= l.size()
	r.order.Remove(l)
}

// key of all that a layer is built from; its base is known by its id.
func (l layer) key() ([sha256.Size]byte, error) {
	type by struct {
		Kind, Name string
		Body       object
		Operations []object
	}
	patches := make([]by, len(l.patches))
	for i, p := range l.patches {
		patches[i] = by{p.kind, p.name, p.body, p.operations}
	}
	text, err := json.Marshal([]any{l.id, l.folder, l.components, l.name, l.namespace, l.labels, l.objects, patches})
	if err != nil {
		return [sha256.Size]byte{}, fmt.Errorf("reading what is generated for %s: %w", l.name, err)
	}
	return sha256.Sum256(text), nil
}

// get is what was built, the caller's to change; nil where it is not known.
func (r *remembered) get(key [sha256.Size]byte) ([]*unstructured.Unstructured, error) {
	var text alike.Text
	r.mutex.Lock()
	if l := r.of(key); l != nil {
		text = l.text
		r.order.Touch(l)
	}
	r.mutex.Unlock()
	var objects []*unstructured.Unstructured
	for line := range bytes.Lines(text.Bytes()) {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(line); err != nil {
			return nil, fmt.Errorf("reading what was built: %w", err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// put notes what was built of a base.
func (r *remembered) put(key [sha256.Size]byte, base string, objects []*unstructured.Unstructured) error {
	var lines []byte
	for _, o := range objects {
		text, err := o.MarshalJSON()
		if err != nil {
			return fmt.Errorf("noting what was built: %w", err)
		}
		base += " " + o.GetKind()
		lines = append(append(lines, bytes.TrimSuffix(text, []byte("\n"))...), '\n')
	}
	now := &rendered{key: key, text: r.texts.Keep(base, lines)}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	switch other := r.known[now.begins()]; {
	case other == nil:
	case other.key == key:
		return nil // another pass has come first
	default:
		r.remove(other)
	}
	for r.add(now); r.bytes > rememberedBytes; {
		r.remove(r.order.Oldest())
	}
	return nil
}

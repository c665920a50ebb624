// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"sync"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/alike"
)

// rememberedBytes bounds what is held of the layers that were built, and rememberedEntry is
// what one takes beside its texts, about.
const (
	rememberedBytes = 8 << 20
	rememberedEntry = 300
)

// remembered is what layers were built to, by all that they are built from. A Workspace is
// rendered in each of its passes until it is at rest, and seldom to something else: building
// it anew was a third of all that a controller allocates.
type remembered struct {
	mutex sync.Mutex
	known *simplelru.LRU[[sha256.Size]byte, []alike.Text]
	bytes int
	texts alike.Texts
}

// layers are those of this process.
var layers = newRemembered()

func newRemembered() *remembered {
	r := &remembered{}
	r.known, _ = simplelru.NewLRU(rememberedBytes/rememberedEntry, func(_ [sha256.Size]byte, texts []alike.Text) { // the size is above zero
		r.bytes -= size(texts)
	})
	return r
}

func size(texts []alike.Text) int {
	sum := rememberedEntry
	for _, t := range texts {
		sum += t.Held()
	}
	return sum
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
	r.mutex.Lock()
	texts, _ := r.known.Get(key)
	r.mutex.Unlock()
	var objects []*unstructured.Unstructured
	for _, t := range texts {
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(t.Bytes()); err != nil {
			return nil, fmt.Errorf("reading what was built: %w", err)
		}
		objects = append(objects, o)
	}
	return objects, nil
}

// put notes what was built of a base.
func (r *remembered) put(key [sha256.Size]byte, base string, objects []*unstructured.Unstructured) error {
	texts := make([]alike.Text, len(objects))
	for i, o := range objects {
		text, err := o.MarshalJSON()
		if err != nil {
			return fmt.Errorf("noting what was built: %w", err)
		}
		texts[i] = r.texts.Keep(base+" "+o.GetKind(), text)
	}
	r.mutex.Lock()
	defer r.mutex.Unlock()
	if r.known.Contains(key) {
		return nil // another pass has come first
	}
	r.known.Add(key, texts)
	for r.bytes += size(texts); r.bytes > rememberedBytes; {
		r.known.RemoveOldest()
	}
	return nil
}

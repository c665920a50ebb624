// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"cmp"
	"encoding/binary"
	"maps"
	"slices"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/apply"
)

const (
	heldBytes = 8 << 20 // of inputs that are held
	heldEach  = 120     // what holding an input takes beside its content
)

// inputKey is the name of an input.
type inputKey struct{ kind, namespace, name string }

func (k inputKey) sum() uint64 { return apply.Sum(k.kind + "/" + k.namespace + "/" + k.name) }

// readInput is an input as it was read past the cache. There are thousands.
type readInput struct {
	uid     uint64 // apply.Sum
	version uint64
	at      int64  // in Unix seconds
	used    uint64 // grows with each use
	content string // packed; empty of one of which the version is all that matters
}

// inputOf is an input that was read now.
func inputOf(o metav1.Object, now time.Time) readInput {
	return readInput{uid: apply.Sum(string(o.GetUID())), version: apply.Version(o), at: now.Unix()}
}

// is says that an input is of the version that was read.
func (i readInput) is(live metav1.Object) bool {
	return i.version == apply.Version(live) && i.uid == apply.Sum(string(live.GetUID()))
}

// behind says that another was read of a later state, and not long before.
func (i readInput) behind(other readInput) bool {
	return i.version < other.version && ahead(other.at, i.at)
}

// stillAs says that the watch knows of nothing later than what was read.
func (i readInput) stillAs(watched metav1.Object, now time.Time) bool {
	version := apply.Version(watched)
	return i.uid == apply.Sum(string(watched.GetUID())) && version > 0 && (version == i.version || version < i.version && ahead(i.at, now.Unix()))
}

// ahead says that what was read then may be later than what somebody else has now.
func ahead(then, now int64) bool { return time.Duration(now-then)*time.Second < heldAhead }

func (i readInput) size() int { return heldEach + len(i.content) }

// readInputs are inputs as they were read last, those that were used last as far as they
// have room.
type readInputs struct {
	mu    sync.Mutex
	of    map[uint64]readInput // by the sum of the key
	bytes int
	uses  uint64
}

func (h *readInputs) get(key inputKey) (readInput, bool) {
	sum := key.sum()
	h.mu.Lock()
	defer h.mu.Unlock()
	in, ok := h.of[sum]
	if ok {
		h.hold(sum, in)
	}
	return in, ok
}

// put holds an input, unless another pass has read a later one meanwhile: versions grow
// with every write of the cluster.
func (h *readInputs) put(key inputKey, in readInput) {
	sum := key.sum()
	h.mu.Lock()
	defer h.mu.Unlock()
	if held, ok := h.of[sum]; ok && in.behind(held) {
		return
	}
	h.remove(sum)
	if in.version == 0 || in.size() > heldBytes/4 {
		return
	}
	if h.bytes += in.size(); h.bytes > heldBytes {
		h.makeRoom()
	}
	h.hold(sum, in)
}

// hold notes that an input is used now.
func (h *readInputs) hold(sum uint64, in readInput) {
	if h.of == nil {
		h.of = map[uint64]readInput{}
	}
	h.uses++
	in.used = h.uses
	h.of[sum] = in
}

// makeRoom drops what was not used for longest, a quarter of all, so that looking for it is
// rare.
func (h *readInputs) makeRoom() {
	oldest := slices.SortedFunc(maps.Keys(h.of), func(a, b uint64) int { return cmp.Compare(h.of[a].used, h.of[b].used) })
	for _, sum := range oldest {
		if h.bytes <= heldBytes/4*3 {
			return
		}
		h.remove(sum)
	}
}

func (h *readInputs) remove(sum uint64) {
	if in, ok := h.of[sum]; ok {
		h.bytes -= in.size()
		delete(h.of, sum)
	}
}

func (h *readInputs) drop(key inputKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.remove(key.sum())
}

// pack is the content of a ConfigMap in one text: how many keys of each kind there are, and
// keys and values with their lengths.
func pack(data map[string]string, raw map[string][]byte) string {
	var text []byte
	word := func(s string) { text = append(binary.AppendUvarint(text, uint64(len(s))), s...) }
	text = binary.AppendUvarint(text, uint64(len(data)))
	for key, value := range data {
		word(key)
		word(value)
	}
	text = binary.AppendUvarint(text, uint64(len(raw)))
	for key, value := range raw {
		word(key)
		word(string(value))
	}
	return string(text)
}

// unpack is what was packed.
func unpack(text string) (data map[string]string, raw map[string][]byte) {
	number := func() int {
		n, length := binary.Uvarint([]byte(text[:min(len(text), binary.MaxVarintLen64)]))
		text = text[length:]
		return int(n) //nolint:gosec // G115: it was the length of what is in memory
	}
	word := func() string {
		n := number()
		s := text[:n]
		text = text[n:]
		return s
	}
	data, raw = map[string]string{}, map[string][]byte{}
	for range number() {
		key := word()
		data[key] = word()
	}
	for range number() {
		key := word()
		raw[key] = []byte(word())
	}
	return data, raw
}

// SPDX-License-Identifier: Apache-2.0

// Package alike holds texts that are much alike, such as the documents of one kind, in a few
// bytes each: what a text has in common with an earlier one of its kind is not held again.
//
// It decides nothing about what a text says, and never cuts one short.
package alike

import (
	"bytes"
	"compress/flate"
	"encoding/binary"
	"fmt"
	"io"
	"strings"
	"sync"
	"sync/atomic"
)

// Bounds of what is held for telling texts by: bytes of a text, as far as DEFLATE looks back,
// kinds, and how many texts in a row that are like none bring another in its place.
const (
	longest = 32 << 10
	most    = 64
	unlike  = 16
)

// Texts keeps texts. The zero value is ready, and may be used by several at once.
type Texts struct {
	mutex  sync.Mutex
	models map[string]*model
}

// model is the text that others of its kind are told by.
type model struct {
	text   []byte
	unlike atomic.Int32 // texts in a row that were not like it
}

// Text is a text that is kept. The zero value is the empty text.
type Text struct {
	by     *model // nil: it is held as it is
	packed string // where a model tells it, how long it is before what is packed
}

// Whole is a text that is held as it is.
func Whole(text []byte) Text { return Text{packed: string(text)} }

// Keep keeps a text of a kind, whatever tells kinds apart.
func (t *Texts) Keep(kind string, text []byte) Text {
	m := t.model(kind)
	if m != nil {
		packed := pack(m.text, text)
		if len(packed) < len(text)/2 {
			m.unlike.Store(0)
			return Text{m, string(packed)}
		}
		if m.unlike.Add(1) < unlike {
			return Whole(text)
		}
	}
	t.learn(kind, m, text)
	return Whole(text)
}

func (t *Texts) model(kind string) *model {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	return t.models[kind]
}

// learn has texts of the kind told by this one in the place of the former.
func (t *Texts) learn(kind string, former *model, text []byte) {
	t.mutex.Lock()
	defer t.mutex.Unlock()
	if t.models[kind] != former || former == nil && len(t.models) == most {
		return // another has come first, or there are too many kinds
	}
	if t.models == nil {
		t.models = map[string]*model{}
	}
	t.models[kind] = &model{text: bytes.Clone(text[:min(len(text), longest)])}
}

// writers are of flate, readers too.
var writers, readers sync.Pool

// pack is how long a text is, and what DEFLATE says of it after another, which is what its
// reader begins with.
func pack(after, text []byte) []byte {
	var into bytes.Buffer
	w, _ := writers.Get().(*flate.Writer)
	if w == nil {
		w, _ = flate.NewWriter(nil, flate.BestSpeed) // the level is one that there is
	}
	defer writers.Put(w)
	w.Reset(&into)
	_, _ = w.Write(after) // a buffer takes all
	_ = w.Flush()
	into.Reset()
	_, _ = into.Write(binary.AppendUvarint(nil, uint64(len(text))))
	_, _ = w.Write(text)
	_ = w.Close()
	return into.Bytes()
}

// Bytes is the text, the caller's to change.
func (t Text) Bytes() []byte {
	if t.by == nil {
		return []byte(t.packed)
	}
	from := strings.NewReader(t.packed)
	length, _ := binary.ReadUvarint(from)
	r, _ := readers.Get().(io.ReadCloser)
	if r == nil {
		r = flate.NewReader(nil)
	}
	defer readers.Put(r)
	_ = r.(flate.Resetter).Reset(from, t.by.text) // it never fails
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		panic(fmt.Sprintf("unpacking a text: %v", err)) // it was packed by us
	}
	return text
}

// Len is how long the text is, in bytes.
func (t Text) Len() int {
	if t.by == nil {
		return len(t.packed)
	}
	length, _ := binary.ReadUvarint(strings.NewReader(t.packed))
	return int(length) //nolint:gosec // it was the length of a text
}

// Held is how many bytes it takes.
func (t Text) Held() int { return len(t.packed) }

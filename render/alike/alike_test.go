// SPDX-License-Identifier: Apache-2.0

package alike

import (
	"bytes"
	"fmt"
	"strings"
	"testing"
)

func document(i int) []byte {
	return fmt.Appendf(nil, `{"apiVersion":"espalier.dev/v1alpha1","kind":"Workspace","metadata":{"labels":{"espalier.dev/sync-name":"fleet"},"name":"w%05d","namespace":"fleet"},`+
		`"spec":{"inference":{"config":{"name":"w%05d-config"},"preset":{"name":"phi-4-mini-instruct"}},"resource":{"instanceType":"Standard_NC24ads_A100_v4","count":1}}}`, i, i)
}

// TestKeep: a text comes back as it was, whatever came before it.
func TestKeep(t *testing.T) {
	long := bytes.Repeat([]byte("a line that is not short\n"), 4000)
	for name, c := range map[string]struct {
		reason string
		texts  [][]byte
		held   int // of the last, at most
	}{
		"Alike":      {"What the first says is not held of the second.", [][]byte{document(1), document(2)}, 32},
		"Same":       {"Nothing is left of what is the same.", [][]byte{document(1), document(1)}, 26},
		"First":      {"Nobody was there before.", [][]byte{document(1)}, len(document(1))},
		"Unlike":     {"What would not be shorter is held as it is.", [][]byte{document(1), []byte("no document")}, len("no document")},
		"Empty":      {"There is nothing to say.", [][]byte{document(1), nil}, 0},
		"AfterEmpty": {"Nothing can be told by it.", [][]byte{nil, document(1)}, len(document(1))},
		"Long":       {"Of a long one its beginning is what others are told by.", [][]byte{long, append(long, "end"...)}, 1000},
	} {
		t.Run(name, func(t *testing.T) {
			var texts Texts
			var last Text
			for _, text := range c.texts {
				last = texts.Keep("Workspace", text)
				if got := last.Bytes(); !bytes.Equal(got, text) {
					t.Fatalf("%s\ngot  %q\nwant %q", c.reason, got, text)
				}
				if last.Len() != len(text) {
					t.Errorf("%s\nit is %d bytes long, want %d", c.reason, last.Len(), len(text))
				}
			}
			if last.Held() > c.held {
				t.Errorf("%s\n%d bytes are held, want %d at most", c.reason, last.Held(), c.held)
			}
		})
	}
}

// TestKeepFollows: where a kind comes to be written in another way, texts are told by one of those.
func TestKeepFollows(t *testing.T) {
	var texts Texts
	texts.Keep("Workspace", []byte(strings.Repeat("something else altogether\n", 20)))
	for i := range unlike {
		texts.Keep("Workspace", document(i))
	}
	if held := texts.Keep("Workspace", document(unlike)).Held(); held > 32 {
		t.Errorf("%d bytes are held after %d that were alike, want 32 at most", held, unlike)
	}
}

// TestKindsAreBounded: whoever invents kinds gets no more held.
func TestKindsAreBounded(t *testing.T) {
	var texts Texts
	for i := range 2 * most {
		kind := fmt.Sprint("Kind", i)
		texts.Keep(kind, document(1))
		if got := texts.Keep(kind, document(2)).Bytes(); !bytes.Equal(got, document(2)) {
			t.Fatalf("got %q of kind %d", got, i)
		}
	}
	if len(texts.models) > most {
		t.Errorf("%d texts are held to tell others by, want %d at most", len(texts.models), most)
	}
}

func FuzzKeep(f *testing.F) {
	f.Add(document(1), document(2))
	f.Add([]byte(nil), document(2))
	f.Fuzz(func(t *testing.T, first, second []byte) {
		var texts Texts
		for _, text := range [][]byte{first, second, first} {
			if got := texts.Keep("", text).Bytes(); !bytes.Equal(got, text) {
				t.Fatalf("got %q, want %q", got, text)
			}
		}
	})
}

func BenchmarkKeep(b *testing.B) {
	var texts Texts
	b.ReportAllocs()
	for i := range b.N {
		texts.Keep("Workspace", document(i))
	}
}

func BenchmarkBytes(b *testing.B) {
	var texts Texts
	texts.Keep("Workspace", document(1))
	text := texts.Keep("Workspace", document(2))
	b.ReportAllocs()
	for b.Loop() {
		text.Bytes()
	}
}

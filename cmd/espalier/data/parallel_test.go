// SPDX-License-Identifier: Apache-2.0

package data

import (
	"bytes"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// together answers nobody before some requests are there at the same time, and counts how
// many there are at most.
type together struct {
	want      int32
	now, most atomic.Int32
	once      sync.Once
	met       chan struct{}
}

func (g *together) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	n := g.now.Add(1)
	defer g.now.Add(-1)
	for most := g.most.Load(); n > most && !g.most.CompareAndSwap(most, n); most = g.most.Load() {
	}
	if n == g.want {
		g.once.Do(func() { close(g.met) })
	}
	select {
	case <-g.met:
		_, _ = w.Write(content)
	case <-r.Context().Done():
	}
}

// TestParallel: files are downloaded at the same time, as many as are asked for and no
// more, and each says how far it is.
func TestParallel(t *testing.T) {
	for name, parallel := range map[string]int{"One": 1, "Three": 3, "Default": 0} {
		t.Run(name, func(t *testing.T) {
			want := int32(parallel)
			if parallel == 0 {
				want = DefaultParallel
			}
			meet := &together{want: want, met: make(chan struct{})}
			server := httptest.NewServer(meet)
			defer server.Close()
			o := options(t)
			var log bytes.Buffer
			o.Parallel, o.Progress, o.Stall = parallel, &log, 10*time.Second // fewer would never meet, and stall
			var urls []string
			for n := range 3 * want {
				urls = append(urls, fmt.Sprintf("%s/part-%d.jsonl", server.URL, n))
			}
			files, err := Fetch(t.Context(), urls, o)
			if err != nil {
				t.Fatal(err)
			}
			if most := meet.most.Load(); most != want {
				t.Errorf("%d files at a time, want %d", most, want)
			}
			for n, f := range files {
				if f.SHA256 != sumOf(content) {
					t.Errorf("file %d has the sum %s", n, f.SHA256)
				}
				for _, line := range []string{"part-%d.jsonl: downloading ", "part-%d.jsonl: done, "} {
					if line := fmt.Sprintf(line, n); strings.Count(log.String(), line) != 1 {
						t.Errorf("%q is not in the log once:\n%s", line, log.String())
					}
				}
			}
		})
	}
}

// TestProgressLines: a long download says now and then how far it is, and not at each
// write.
func TestProgressLines(t *testing.T) {
	var log bytes.Buffer
	o := options(t)
	o.Progress = &log
	f, err := newFetcher(o)
	if err != nil {
		t.Fatal(err)
	}
	m := &meter{f: f, name: "chats.jsonl", out: &bytes.Buffer{}, total: 4 << 20, alive: func() {}, printed: time.Now().Add(-lineInterval)}
	part := make([]byte, 1<<20)
	for range 2 {
		if _, err := m.Write(part); err != nil {
			t.Fatal(err)
		}
	}
	m.printed = time.Now().Add(-lineInterval)
	if _, err := m.Write(part); err != nil {
		t.Fatal(err)
	}
	const want = "chats.jsonl: 1.0 MiB of 4.0 MiB (25 %)\nchats.jsonl: 3.0 MiB of 4.0 MiB (75 %)\n"
	if log.String() != want {
		t.Errorf("the log is %q, want %q", log.String(), want)
	}
}

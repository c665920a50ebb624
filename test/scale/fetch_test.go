// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// counted is the address of a server whose answers are counted, in bytes.
func counted(b *testing.B, server *gitserver.Server) (address string, bytes *atomic.Int64) {
	b.Helper()
	to, err := url.Parse(server.URL(repo))
	if err != nil {
		b.Fatal(err)
	}
	bytes = &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		proxy.ServeHTTP(&counter{ResponseWriter: w, bytes: bytes}, r)
	}))
	b.Cleanup(front.Close)
	return front.URL + to.Path, bytes
}

type counter struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counter) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// BenchmarkFetch measures what the source costs: a repository that is read for the
// first time, a push that touches one file of it, and a look at what has not changed.
func BenchmarkFetch(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		server := gitserver.Serve(b, gitserver.Options{}, repo)
		files := Fleet(n)
		if _, err := server.Push(repo, "main", files, "first"); err != nil {
			b.Fatal(err)
		}
		at, bytes := counted(b, server)
		req := source.Request{URL: at}
		measured := func(name string, before func(i int), store func() *source.Store) {
			b.Run(fmt.Sprint(n, "/", name), func(b *testing.B) {
				i, sent, used, passed := 0, int64(0), time.Duration(0), time.Duration(0)
				for b.Loop() {
					i++
					before(i)
					s, start, cpu := store(), time.Now(), processor(b)
					bytes.Store(0)
					if _, err := s.Fetch(b.Context(), req); err != nil {
						b.Fatal(err)
					}
					sent, used, passed = sent+bytes.Load(), used+processor(b)-cpu, passed+time.Since(start)
				}
				b.ReportMetric(0, "ns/op")
				b.ReportMetric(passed.Seconds()*1000/float64(i), "ms/op")
				b.ReportMetric(used.Seconds()*1000/float64(i), "cpu-ms/op")
				b.ReportMetric(float64(sent)/1024/float64(i), "KiB/op")
			})
		}
		measured("first", func(int) {}, func() *source.Store { return source.NewStore(source.Options{}) })
		store := source.NewStore(source.Options{})
		if _, err := store.Fetch(b.Context(), req); err != nil {
			b.Fatal(err)
		}
		measured("push", func(i int) {
			files["workspaces/w00000/inference_config.yaml"] = "vllm:\n  max-num-seqs: " + strconv.Itoa(i) + "\n" + strings.Repeat("#", i%7)
			if _, err := server.Push(repo, "main", files, "one"); err != nil {
				b.Fatal(err)
			}
		}, func() *source.Store { return store })
		measured("unchanged", func(int) {}, func() *source.Store { return store })
	}
}

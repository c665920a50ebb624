// SPDX-License-Identifier: Apache-2.0

package git

import (
	"fmt"
	"io/fs"
	"math/rand/v2"
	"runtime"
	"runtime/metrics"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
	"github.com/espalier-dev/espalier/test/scale"
)

// BenchmarkHeld prints what is held of each Workspace once its repository was read for
// the first time and every file of it was looked at; how much the heap grew meanwhile,
// with what the collector had not got to; and what one push later is held.
func BenchmarkHeld(b *testing.B) {
	for _, n := range []int{1_000, 10_000} {
		b.Run(fmt.Sprint(n), func(b *testing.B) {
			server := gitserver.Serve(b, gitserver.Options{}, repo)
			files := scale.Fleet(n)
			for b.Loop() {
				files["workspaces/w00000/inference_config.yaml"] = "vllm:\n  max-num-seqs: 1\n"
				if _, err := server.Push(repo, "main", files, "first"); err != nil {
					b.Fatal(err)
				}
				r, stock := Remote{URL: server.URL(repo)}, NewStock()
				before := scale.InUse()
				peak := watchHeap()
				first := keptFetch(b, r, stock, nil)
				b.ReportMetric(float64(peak()-before)/float64(n), "B-peak/Workspace")
				fetched := scale.InUse()
				readAll(b, first.Tree)
				looked := scale.InUse()
				files["workspaces/w00000/inference_config.yaml"] = "vllm:\n  max-num-seqs: 2\n"
				if _, err := server.Push(repo, "main", files, "second"); err != nil {
					b.Fatal(err)
				}
				second := keptFetch(b, r, stock, first)
				first = nil
				readAll(b, second.Tree)
				pushed := scale.InUse()
				b.ReportMetric(float64(fetched-before)/float64(n), "B-fetched/Workspace")
				b.ReportMetric(float64(looked-before)/float64(n), "B-held/Workspace")
				b.ReportMetric(float64(pushed-before)/float64(n), "B-pushed/Workspace")
				b.ReportMetric(float64(stock.Bytes())/float64(n), "B-counted/Workspace")
				runtime.KeepAlive(second)
			}
		})
	}
}

// A pinned commit comes with the history of its branch, which is of no use afterwards.
func TestPinnedHoldsNoHistory(t *testing.T) {
	server := serve(t, gitserver.Options{})
	noise, hash := rand.New(rand.NewPCG(1, 1)), ""
	const each = 1 << 20
	for range 8 {
		content := make([]byte, each)
		for i := range content {
			content[i] = byte(noise.Uint32())
		}
		hash = push(t, server, map[string]string{"a": string(content)})
	}
	stock, before := NewStock(), scale.InUse()
	s, err := Remote{URL: server.URL(repo)}.Fetch(t.Context(), v1alpha1.GitRef{Commit: hash}, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	stock.Keep(s)
	if grown := scale.InUse() - before; grown > 2*each {
		t.Errorf("%d bytes are held of one commit of %d", grown, each)
	}
	runtime.KeepAlive(s)
}

// keptFetch reads the newest commit of main and keeps no other.
func keptFetch(b *testing.B, r Remote, stock *Stock, last *Snapshot) *Snapshot {
	b.Helper()
	s, err := r.Fetch(b.Context(), v1alpha1.GitRef{}, stock, last)
	if err != nil {
		b.Fatal(err)
	}
	stock.Keep(s)
	return s
}

func readAll(b *testing.B, tree *Tree) {
	b.Helper()
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err == nil && d.Type().IsRegular() {
			_, err = tree.ReadFile(name)
		}
		return err
	})
	if err != nil {
		b.Fatal(err)
	}
}

// watchHeap looks at the heap again and again until the function it returns is called,
// which says how large it was.
func watchHeap() (stop func() int64) {
	sample := []metrics.Sample{{Name: "/memory/classes/heap/objects:bytes"}}
	done, most := make(chan struct{}), make(chan int64)
	go func() {
		peak := int64(0)
		for tick := time.NewTicker(time.Millisecond); ; {
			metrics.Read(sample)
			peak = max(peak, int64(sample[0].Value.Uint64()))
			select {
			case <-done:
				tick.Stop()
				most <- peak
				return
			case <-tick.C:
			}
		}
	}()
	return func() int64 {
		close(done)
		return <-most
	}
}

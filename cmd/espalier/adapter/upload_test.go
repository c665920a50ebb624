// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"

	"github.com/espalier-dev/espalier/test/cluster"
)

var pushSeed = flag.Uint64("push.seed", 0, "Seed of where TestCutOff cuts connections; 0: another one each time")

// cutter stands between a client and a registry, and cuts the connection after certain
// numbers of bytes that the client has sent.
type cutter struct {
	to   string
	then func() // after each cut

	mu   sync.Mutex
	cuts []int64 // ascending, of all that was sent
	sent int64
	made int
}

// serve returns the address that the client calls.
func (c *cutter) serve(t *testing.T) string {
	t.Helper()
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	var open sync.WaitGroup
	t.Cleanup(func() { listener.Close(); open.Wait() })
	open.Go(func() {
		for {
			client, err := listener.Accept()
			if err != nil {
				return
			}
			open.Go(func() { c.carry(t.Context(), client) })
		}
	})
	return listener.Addr().String()
}

func (c *cutter) carry(ctx context.Context, client net.Conn) {
	defer client.Close()
	server, err := (&net.Dialer{}).DialContext(ctx, "tcp", c.to)
	if err != nil {
		return
	}
	defer server.Close()
	stop := context.AfterFunc(ctx, func() { client.Close(); server.Close() })
	defer stop()
	go func() { _, _ = io.Copy(client, server); client.Close() }()
	buffer := make([]byte, 8<<10)
	for {
		n, err := client.Read(buffer)
		if n > 0 {
			pass, cut := c.count(n)
			if _, err := server.Write(buffer[:pass]); err != nil {
				return
			}
			if cut {
				client.Close()
				server.Close()
				c.then()
				return
			}
		}
		if err != nil {
			return
		}
	}
}

// count says how many of n bytes pass, and whether the connection is cut then.
func (c *cutter) count(n int) (int, bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if len(c.cuts) > 0 && c.sent+int64(n) >= c.cuts[0] {
		n = int(c.cuts[0] - c.sent)
		c.sent, c.cuts, c.made = c.cuts[0], c.cuts[1:], c.made+1
		return n, true
	}
	c.sent += int64(n)
	return n, false
}

// distribution starts the real registry, where it is built.
func distribution(t *testing.T) string {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	program := filepath.Join(bin, "registry")
	if _, err := os.Stat(program); err != nil {
		t.Skip("make e2e-node builds the registry")
	}
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	host := listener.Addr().String()
	listener.Close()
	dir := t.TempDir()
	config := filepath.Join(dir, "registry.yaml")
	text := fmt.Sprintf("version: 0.1\nlog: {level: error}\nstorage: {filesystem: {rootdirectory: %q}}\nhttp: {addr: %q, relativeurls: true}\n", filepath.Join(dir, "data"), host)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	var said bytes.Buffer
	command := exec.CommandContext(t.Context(), program, "serve", config)
	command.Stdout, command.Stderr = &said, &said
	if err := command.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = command.Process.Kill(); _ = command.Wait() })
	ctx, cancel := context.WithTimeout(t.Context(), 30*time.Second)
	defer cancel()
	for ticker := time.NewTicker(20 * time.Millisecond); ; {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+host+"/v2/", nil)
		if err != nil {
			t.Fatal(err)
		}
		if answer, err := http.DefaultClient.Do(r); err == nil {
			answer.Body.Close()
			return host
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the registry does not answer: %s", &said)
		case <-ticker.C:
		}
	}
}

// TestCutOff: a push whose connection is cut at seeded places sends no more of the layer
// again than the chunk that was under way, arrives as the same bytes, and gets its tag last.
func TestCutOff(t *testing.T) {
	const size, chunk, cuts = 8 << 20, 256 << 10, 10
	seed := *pushSeed
	if seed == 0 {
		seed = rand.Uint64()
	}
	t.Logf("to cut at the same places: go test ./cmd/espalier/adapter -run TestCutOff -args -push.seed=%d", seed)
	host := distribution(t)
	want, err := Push(t.Context(), options(trained(t, map[string][]byte{weightsFile: safetensors(size)}), host))
	if err != nil {
		t.Fatal(err)
	}

	c := &cutter{to: host}
	random := rand.New(rand.NewPCG(seed, 0))
	for range cuts {
		c.cuts = append(c.cuts, 1+random.Int64N(size))
	}
	slices.Sort(c.cuts)
	c.cuts = slices.Compact(c.cuts)
	n := len(c.cuts)
	tag, err := name.NewTag(host + "/models/cut:1")
	if err != nil {
		t.Fatal(err)
	}
	c.then = func() {
		if _, err := remote.Head(tag); err == nil {
			t.Error("the tag is there before the adapter is")
		}
	}
	o := options(trained(t, map[string][]byte{weightsFile: safetensors(size)}), c.serve(t))
	o.To, o.Chunk, o.Attempts = strings.Replace(o.To, "phi-3-dolly:0.0.1", "cut:1", 1), chunk, cuts+1 // some may be within one chunk
	var said bytes.Buffer
	o.Progress = &said
	got, err := Push(t.Context(), o)
	t.Cleanup(func() {
		if t.Failed() {
			t.Log(&said)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.made != n {
		t.Errorf("%d connections were cut, want %d", c.made, n)
	}
	// Beside the layer: headers, the two configurations and three manifests, in each attempt.
	if bound := int64(size + n*chunk + (n+1)*(64<<10)); c.sent > bound {
		t.Errorf("%d bytes were sent for a layer of %d that was cut %d times, want %d at most", c.sent, size, n, bound)
	}
	if cut, whole := digestOf(got), digestOf(want); cut != whole {
		t.Errorf("the digest is %s, want %s as without a cut", cut, whole)
	}
	pushed, err := name.NewDigest(strings.Replace(got, o.To[:strings.Index(o.To, "/")], host, 1))
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, pushed)
	if at, err := remote.Head(tag); err != nil || at.Digest.String() != digestOf(got) {
		t.Errorf("the tag carries %v (%v), want %s", at, err, digestOf(got))
	}
}

func digestOf(ref string) string { return ref[strings.Index(ref, "@")+1:] }

// uploads is a registry whose uploads go wrong.
type uploads struct {
	next http.Handler
	mu   sync.Mutex
	// requests of a method, by number from 1, that are answered otherwise
	patches int
	answer  func(n int, w http.ResponseWriter, r *http.Request) bool
}

func (u *uploads) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	u.mu.Lock()
	if r.Method == http.MethodPatch {
		u.patches++
	}
	n := u.patches
	u.mu.Unlock()
	if !u.answer(n, w, r) {
		u.next.ServeHTTP(w, r)
	}
}

// TestFollow: a session is where the registry is, and a token goes nowhere else.
func TestFollow(t *testing.T) {
	from, err := url.Parse("https://registry.example.com/v2/a/blobs/uploads/")
	if err != nil {
		t.Fatal(err)
	}
	for location, followed := range map[string]bool{
		"/v2/a/blobs/uploads/1":                             true,
		"https://registry.example.com/v2/a/blobs/uploads/1": true,
		"http://registry.example.com/v2/a/blobs/uploads/1":  false, // in the clear
		"https://storage.example.com/v2/a/blobs/uploads/1":  false,
		"//storage.example.com/1":                           false,
		"":                                                  false,
	} {
		u := &upload{}
		err := u.follow(&reply{header: http.Header{"Location": {location}}, from: from})
		if (err == nil) != followed || (u.session != nil) != followed {
			t.Errorf("%q: followed to %v (%v)", location, u.session, err)
		}
	}
}

// TestFarther: a registry that says it holds a byte more each time makes no progress.
func TestFarther(t *testing.T) {
	u := &upload{layer: &layer{size: 25}, chunk: 10}
	for _, step := range []struct {
		held int64
		want bool
	}{{1, false}, {2, false}, {10, true}, {11, false}, {20, true}, {24, false}, {25, true}, {25, false}} {
		u.held = step.held
		if got := u.farther(); got != step.want {
			t.Errorf("at %d bytes: %v, want %v", step.held, got, step.want)
		}
	}
}

// TestUploadTrouble: whatever a registry makes of chunks, the adapter arrives whole.
func TestUploadTrouble(t *testing.T) {
	upload := func(r *http.Request) bool {
		return strings.Contains(r.URL.Path, "/uploads/") && r.Method != http.MethodPost
	}
	refuse := func(code int) func(int, http.ResponseWriter, *http.Request) bool {
		return func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPatch || r.Header.Get("Content-Range") == "" {
				return false
			}
			_, _ = io.Copy(io.Discard, r.Body)
			w.WriteHeader(code)
			return true
		}
	}
	const busy = `{"errors":[{"code":"DENIED","message":"slow down"}]}`
	var forgotten, slowed sync.Map
	slow := func(what string, w http.ResponseWriter) bool { // once each
		if _, was := slowed.LoadOrStore(what, true); was {
			return false
		}
		w.WriteHeader(http.StatusTooManyRequests)
		_, _ = io.WriteString(w, busy)
		return true
	}
	var atEnd atomic.Bool
	for title, tc := range map[string]struct {
		reason string
		answer func(n int, w http.ResponseWriter, r *http.Request) bool
	}{
		"Forgotten": {"The registry was restarted, and knows the session no more: another is begun.", func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 3 && r.Method == http.MethodPatch {
				forgotten.Store(r.URL.Path, true)
				panic(http.ErrAbortHandler)
			}
			if _, gone := forgotten.Load(r.URL.Path); gone && upload(r) {
				w.WriteHeader(http.StatusNotFound)
				return true
			}
			return false
		}},
		"ForgottenAtTheEnd": {"It is gone when the digest is to be compared.", func(_ int, w http.ResponseWriter, r *http.Request) bool {
			if r.Method != http.MethodPut || !upload(r) || !atEnd.CompareAndSwap(false, true) {
				return false
			}
			w.WriteHeader(http.StatusNotFound)
			return true
		}},
		"BusyAtAChunk": {"A registry that wants time says so by 429, whatever code is in its body, and not that it takes no chunks.", func(n int, w http.ResponseWriter, r *http.Request) bool {
			return n == 3 && r.Method == http.MethodPatch && slow("chunk", w)
		}},
		"BusyWhenAsked": {"And not that it has forgotten what it holds.", func(n int, w http.ResponseWriter, r *http.Request) bool {
			if n == 3 && r.Method == http.MethodPatch {
				panic(http.ErrAbortHandler)
			}
			return r.Method == http.MethodGet && upload(r) && slow("session", w)
		}},
		"NoChunks307": {"Or send each to another place.", refuse(http.StatusTemporaryRedirect)},
		"NoChunks400": {"Registries that take layers as a whole answer so.", refuse(http.StatusBadRequest)},
		"NoChunks405": {"Or so.", refuse(http.StatusMethodNotAllowed)},
		"NoChunks416": {"Or so, to the first.", refuse(http.StatusRequestedRangeNotSatisfiable)},
		"NoChunks501": {"Or so.", refuse(http.StatusNotImplemented)},
	} {
		t.Run(title, func(t *testing.T) {
			host := serve(t, func(next http.Handler) http.Handler { return &uploads{next: next, answer: tc.answer} })
			o := options(trained(t, nil), host)
			o.Chunk = 9_000 // of 102,400 bytes
			var said bytes.Buffer
			o.Progress = &said
			pushed, err := Push(t.Context(), o)
			if err != nil {
				t.Fatalf("%s\n%v", tc.reason, err)
			}
			if strings.Contains(said.String(), "(429)") {
				t.Errorf("%s\nit said:\n%s", tc.reason, &said)
			}
			ref, err := name.NewDigest(pushed)
			if err != nil {
				t.Fatal(err)
			}
			wantWhole(t, ref)
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package git

import (
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/go-git/go-git/v5/plumbing/transport"
	"github.com/go-git/go-git/v5/plumbing/transport/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// withoutEnd is so much that it is noticed where it is kept.
const withoutEnd = 128 << 20

// flood answers with some bytes, and then one line over and over.
type flood struct{ head, line string }

func (f flood) write(w io.Writer) {
	if _, err := io.WriteString(w, f.head); err != nil {
		return
	}
	lines := []byte(strings.Repeat(f.line, 64))
	for sent := 0; len(lines) > 0 && sent < withoutEnd; sent += len(lines) {
		if _, err := w.Write(lines); err != nil {
			return
		}
	}
}

func pktLine(format string, args ...any) string {
	text := fmt.Sprintf(format, args...)
	return fmt.Sprintf("%04x%s", len(text)+4, text)
}

// A server may send what it likes: what is kept of it is bounded.
func TestFlood(t *testing.T) {
	hash := strings.Repeat("1", 40)
	refs := flood{head: pktLine("# service=git-upload-pack\n") + "0000" + pktLine("%s refs/heads/main\x00shallow\n", hash)}
	few := refs
	few.head += "0000"
	pack := flood{head: "0000" + pktLine("NAK\n") + "PACK", line: strings.Repeat("\x00", 1<<10)}
	refs.line = pktLine("%s refs/heads/%s\n", hash, strings.Repeat("x", 900))
	for name, tc := range map[string]struct {
		reason     string
		refs, pack flood
		packed     bool
	}{
		"Pack":       {reason: "A pack without end is read up to the limit.", refs: few, pack: pack},
		"PackedPack": {reason: "What is small on the wire is as large once it is inflated.", refs: few, pack: pack, packed: true},
		"PackedRefs": {reason: "So are references.", refs: refs, packed: true},
	} {
		t.Run(name, func(t *testing.T) {
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
				_, _ = io.Copy(io.Discard, r.Body)
				answer := tc.pack
				if strings.HasSuffix(r.URL.Path, "/info/refs") {
					answer = tc.refs
				}
				if !tc.packed || answer.line == "" {
					answer.write(w)
					return
				}
				w.Header().Set("Content-Encoding", "gzip")
				z := gzip.NewWriter(w)
				answer.write(z)
				_ = z.Close()
			}))
			t.Cleanup(server.Close)
			var before, after runtime.MemStats
			runtime.ReadMemStats(&before)
			_, err := Remote{URL: server.URL + "/x.git", MaxBytes: 1 << 20}.Clone(context.Background(), v1alpha1.GitRef{})
			runtime.ReadMemStats(&after)
			t.Log(err)
			if took := after.TotalAlloc - before.TotalAlloc; err == nil || took > withoutEnd/4 {
				t.Errorf("%s\ngot %v, and %d MiB were taken", tc.reason, err, took>>20)
			}
		})
	}
}

// panics is a transport with a mistake in it.
type panics struct{ transport.Transport }

func (panics) NewUploadPackSession(*transport.Endpoint, transport.AuthMethod) (transport.UploadPackSession, error) {
	panic("index out of range")
}

// Whatever go-git stumbles over, one repository must not end the process of all.
func TestPanicBeforeThePack(t *testing.T) {
	before := client.Protocols["http"]
	t.Cleanup(func() { client.InstallProtocol("http", before) })
	client.InstallProtocol("http", panics{})
	_, err := Remote{URL: "http://127.0.0.1:1/x.git"}.Clone(context.Background(), v1alpha1.GitRef{})
	if err == nil || !strings.Contains(err.Error(), "panicked") {
		t.Errorf("got %v", err)
	}
}

// A server, or what stands before it, that never answers who names what it has: the
// whole commit is asked for while there is time.
func TestServerThatHangs(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"a": "1"})
	r, stock := Remote{URL: server.URL(repo), Timeout: 6 * time.Second}, NewStock()
	last, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, nil)
	if err != nil {
		t.Fatal(err)
	}
	stock.Keep(last)
	newest := push(t, server, map[string]string{"a": "2"})
	server.Break(gitserver.Fault{Service: gitserver.Fetch, Times: 1, Hang: true})
	now, err := r.Fetch(context.Background(), v1alpha1.GitRef{}, stock, last)
	if err != nil || now.Hash != newest {
		t.Fatalf("got %v, %v", now, err)
	}
	if stock.givenUp != 1 {
		t.Errorf("it stumbled %d times, want 1", stock.givenUp)
	}
}

// A server that goes silent between the look and the push holds nobody for ever.
func TestPushOverSSHEnds(t *testing.T) {
	server := serve(t, gitserver.Options{})
	push(t, server, map[string]string{"a": "1"})
	ssh, err := server.StartSSH()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = ssh.Close() })
	to, err := url.Parse(ssh.URL(repo))
	if err != nil {
		t.Fatal(err)
	}
	var mute atomic.Bool
	front, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = front.Close() })
	go func() {
		for {
			near, err := front.Accept()
			if err != nil {
				return
			}
			t.Cleanup(func() { _ = near.Close() })
			if !mute.Load() {
				go forward(near, to.Host, &atomic.Int64{})
			}
		}
	}()
	at := strings.Replace(ssh.URL(repo), to.Host, front.Addr().String(), 1)
	known := strings.ReplaceAll(string(ssh.KnownHosts()), hostOf(t, ssh.URL(repo)), hostOf(t, at))
	r := Remote{URL: at, Auth: map[string][]byte{"identity": ssh.Identity(), "known_hosts": []byte(known)}, Timeout: 5 * time.Second}
	b, err := r.Branch(context.Background(), "main", nil)
	if err != nil {
		t.Fatal(err)
	}
	change := Change{Files: map[string]func() []byte{"a": Text([]byte("x"))}, Message: "m", Name: "n", Email: "e", When: time.Unix(1, 0)}
	if _, _, err := b.Commit(change); err != nil {
		t.Fatal(err)
	}
	mute.Store(true)
	pushed := make(chan error, 1)
	go func() { pushed <- b.Push(context.Background()) }()
	select {
	case err := <-pushed:
		var failure *Error
		if !errors.As(err, &failure) || !strings.Contains(err.Error(), "No answer") {
			t.Errorf("got %v", err)
		}
	case <-time.After(30 * time.Second):
		t.Error("it is still waiting")
	}
}

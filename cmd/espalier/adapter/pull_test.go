// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"archive/tar"
	"bytes"
	"errors"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/tarball"
)

// cutShort drops what comes after some bytes.
type cutShort struct {
	http.ResponseWriter
	room int
}

func (c *cutShort) Write(b []byte) (int, error) {
	n, err := c.ResponseWriter.Write(b[:min(len(b), c.room)])
	c.room -= n
	return len(b), err
}

// What was pushed comes back byte for byte, over an interrupted connection too.
func TestPulledIsPushed(t *testing.T) {
	var seen sync.Map
	var cut atomic.Int32
	host := serve(t, func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			_, again := seen.LoadOrStore(r.Method+r.URL.Path, true)
			if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/blobs/") && !again {
				cut.Add(1)
				next.ServeHTTP(&cutShort{ResponseWriter: w, room: 1000}, r)
				panic(http.ErrAbortHandler)
			}
			next.ServeHTTP(w, r)
		})
	})
	from := trained(t, nil)
	pushed, err := Push(t.Context(), options(from, host))
	if err != nil {
		t.Fatal(err)
	}
	to := t.TempDir()
	if _, err := Pull(t.Context(), PullOptions{Image: pushed, To: to, Tries: Tries{Backoff: time.Millisecond}}); err != nil {
		t.Fatal(err)
	}
	if cut.Load() == 0 {
		t.Error("no connection was cut")
	}
	for _, file := range []string{configFile, weightsFile} {
		want, err := os.ReadFile(filepath.Join(from, file))
		if err != nil {
			t.Fatal(err)
		}
		if got, err := os.ReadFile(filepath.Join(to, file)); err != nil || !bytes.Equal(got, want) {
			t.Errorf("%s: %d bytes, %v; want %d", file, len(got), err, len(want))
		}
	}
}

// imageOf pushes an image of one layer with these entries.
func imageOf(t *testing.T, host string, entries ...tar.Header) string {
	t.Helper()
	var text bytes.Buffer
	archive := tar.NewWriter(&text)
	for _, e := range entries {
		if err := archive.WriteHeader(&e); err != nil {
			t.Fatal(err)
		}
		if _, err := archive.Write(bytes.Repeat([]byte("x"), int(e.Size))); err != nil {
			t.Fatal(err)
		}
	}
	layer, err := tarball.LayerFromOpener(func() (io.ReadCloser, error) { return io.NopCloser(bytes.NewReader(text.Bytes())), nil })
	if err != nil {
		t.Fatal(err)
	}
	image, err := mutate.ConfigFile(empty.Image, &v1.ConfigFile{OS: "linux"})
	if err != nil {
		t.Fatal(err)
	}
	if image, err = mutate.AppendLayers(image, layer); err != nil {
		t.Fatal(err)
	}
	tag, err := name.NewTag(host + "/data/rows:1")
	if err != nil {
		t.Fatal(err)
	}
	if err := remote.Write(tag, image); err != nil {
		t.Fatal(err)
	}
	return tag.String()
}

func TestPulledFiles(t *testing.T) {
	reg := func(name string, size int64) tar.Header {
		return tar.Header{Typeflag: tar.TypeReg, Name: name, Size: size, Mode: 0o4777}
	}
	for name, tc := range map[string]struct {
		reason  string
		entries []tar.Header
		want    []string // what is in the folder then
		refused string
	}{
		"Data":    {"A folder of files.", []tar.Header{reg("data/a.parquet", 3), reg("b.jsonl", 2)}, []string{"b.jsonl", "data/a.parquet"}, ""},
		"Outside": {"No name leads out of the folder.", []tar.Header{reg("../../a", 1)}, nil, "unsafe tar path"},
		"Links": {
			"A link could lead out, and what lies behind it too.",
			[]tar.Header{{Typeflag: tar.TypeSymlink, Name: "out", Linkname: "/tmp"}, reg("out/a", 1), reg("b", 1)}, []string{"b"}, "",
		},
		"Devices":  {"A device is no data.", []tar.Header{{Typeflag: tar.TypeChar, Name: "null", Devmajor: 1, Devminor: 3}, reg("a", 1)}, []string{"a"}, ""},
		"TooLarge": {"A small image may hold much.", []tar.Header{reg("a", 5), reg("b", 6)}, []string{"a"}, "--max-size"},
	} {
		t.Run(name, func(t *testing.T) {
			image, to := imageOf(t, serve(t, nil), tc.entries...), t.TempDir()
			_, err := Pull(t.Context(), PullOptions{Image: image, To: to, MaxBytes: 10, Tries: Tries{Backoff: time.Millisecond}})
			if (tc.refused != "") != (err != nil) || err != nil && !strings.Contains(err.Error(), tc.refused) {
				t.Errorf("%s\ngot %v, want %q", tc.reason, err, tc.refused)
			}
			if diff := cmp.Diff(tc.want, regular(t, to)); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

// regular lists the files below a folder; anything else is a mistake, and so is one
// that runs as somebody.
func regular(t *testing.T, dir string) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		if mode := info.Mode(); !mode.IsRegular() || mode&0o7133 != 0 || mode&os.ModeSetuid != 0 {
			t.Errorf("%s is %s", path, mode)
		}
		rel, err := filepath.Rel(dir, path)
		files = append(files, rel)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// TestNoRoom: a disk that is full ends the copy, and what else goes wrong does not.
func TestNoRoom(t *testing.T) {
	var no *RefusedError
	err := noRoom(&os.PathError{Op: "write", Path: "adapter_model.safetensors", Err: syscall.ENOSPC}, "/adapters/a")
	if !errors.As(err, &no) || !strings.Contains(err.Error(), "no space left on device: the volume of /adapters/a has no room") {
		t.Errorf("a full disk: %v", err)
	}
	if err := noRoom(io.ErrUnexpectedEOF, "/adapters/a"); !errors.Is(err, io.ErrUnexpectedEOF) {
		t.Errorf("a connection that was cut: %v", err)
	}
}

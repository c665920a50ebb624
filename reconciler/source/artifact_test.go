// SPDX-License-Identifier: Apache-2.0

package source

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"path"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// tarball packs files as source-controller does.
func tarball(t *testing.T, files map[string]string) (content []byte, digest string) {
	t.Helper()
	var b bytes.Buffer
	zip := gzip.NewWriter(&b)
	out := tar.NewWriter(zip)
	for name, text := range files {
		header := &tar.Header{Name: name, Mode: 0o644, Size: int64(len(text)), Typeflag: tar.TypeReg}
		if target, isLink := strings.CutPrefix(text, "-> "); isLink {
			header.Typeflag, header.Linkname, header.Size, text = tar.TypeSymlink, target, 0, ""
		}
		if err := out.WriteHeader(header); err != nil {
			t.Fatal(err)
		}
		if _, err := out.Write([]byte(text)); err != nil {
			t.Fatal(err)
		}
	}
	if err := errors.Join(out.Close(), zip.Close()); err != nil {
		t.Fatal(err)
	}
	sum := sha256.Sum256(b.Bytes())
	return b.Bytes(), "sha256:" + hex.EncodeToString(sum[:])
}

func TestFetchArtifact(t *testing.T) {
	const revision = "main@sha1:0123456789012345678901234567890123456789"
	content, digest := tarball(t, map[string]string{
		"models/kustomization.yaml": "resources: []\n",
		"models/escape":             "-> /etc/passwd",
	})
	var requests atomic.Int32
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		requests.Add(1)
		if r.URL.Path != "/a.tar.gz" {
			http.NotFound(w, r)
			return
		}
		_, _ = w.Write(content)
	}))
	t.Cleanup(server.Close)
	store := NewStore(Options{})

	commit, err := store.FetchArtifact(t.Context(), Artifact{URL: server.URL + "/a.tar.gz", Revision: revision, Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	if commit.Revision != revision || commit.Hash != strings.TrimPrefix(revision, "main@sha1:") {
		t.Errorf("revision %s, hash %s", commit.Revision, commit.Hash)
	}
	if text, err := fs.ReadFile(commit.Tree, "models/kustomization.yaml"); err != nil || string(text) != "resources: []\n" {
		t.Errorf("reading a file of the artifact: %q, %v", text, err)
	}
	if _, err := fs.Stat(commit.Tree, "models/escape"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a symbolic link must not get into the tree: %v", err)
	}
	again, err := store.FetchArtifact(t.Context(), Artifact{URL: server.URL + "/a.tar.gz", Revision: revision, Digest: digest})
	if err != nil || again != commit || requests.Load() != 1 {
		t.Errorf("an artifact that is held must cost no request: %d requests, %v", requests.Load(), err)
	}

	for name, c := range map[string]struct {
		reason string
		path   string
		digest string
		want   string
	}{
		"Tampered": {"What does not have the digest is never unpacked.", "/a.tar.gz", "sha256:" + strings.Repeat("0", 64), "digest"},
		"Replaced": {"source-controller drops old artifacts; the next look finds the new one.", "/old.tar.gz", digest, "gone"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := NewStore(Options{}).FetchArtifact(t.Context(), Artifact{URL: server.URL + c.path, Revision: revision, Digest: c.digest})
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != v1alpha1.ReasonSourceUnreachable || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngot %v, want a %s with %q", c.reason, err, v1alpha1.ReasonSourceUnreachable, c.want)
			}
		})
	}
}

// TestArtifactOfNothing: empty files take no byte of an archive, and memory.
func TestArtifactOfNothing(t *testing.T) {
	const most = 20
	for name, c := range map[string]struct {
		reason string
		files  int
		held   bool
	}{
		"AsMany": {"So many are read, and counted as what they take.", most, true},
		"More":   {"One more is refused, whatever its size.", most + 1, false},
	} {
		t.Run(name, func(t *testing.T) {
			files := map[string]string{}
			for i := range c.files {
				files[fmt.Sprintf("f%03d", i)] = ""
			}
			content, digest := tarball(t, files)
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
			defer server.Close()
			store := NewStore(Options{MaxEntries: most})
			_, err := store.FetchArtifact(t.Context(), Artifact{URL: server.URL + "/a.tar.gz", Revision: "main@sha1:0", Digest: digest})
			var failure *Error
			if c.held && err != nil || !c.held && (!errors.As(err, &failure) || !strings.Contains(err.Error(), "spec.ignore")) {
				t.Errorf("%s\ngot %v", c.reason, err)
			}
			if c.held && store.kept[0].bytes < most*entryBytes {
				t.Errorf("%s\n%d bytes are counted", c.reason, store.kept[0].bytes)
			}
		})
	}
}

// TestArtifactHashes: what a later artifact has not changed keeps its hashes, and
// a change of a file is seen in every folder above it.
func TestArtifactHashes(t *testing.T) {
	fetch := func(files map[string]string) build.Hashed {
		t.Helper()
		content, digest := tarball(t, files)
		server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
		t.Cleanup(server.Close)
		commit, err := NewStore(Options{}).FetchArtifact(t.Context(), Artifact{URL: server.URL, Revision: "main@sha1:1", Digest: digest})
		if err != nil {
			t.Fatal(err)
		}
		return commit.Tree.(build.Hashed)
	}
	before := fetch(map[string]string{"a/x.yaml": "x", "a/deep/y.yaml": "y", "b/z.yaml": "z"})
	after := fetch(map[string]string{"a/x.yaml": "x", "a/deep/y.yaml": "changed", "b/z.yaml": "z"})
	for name, same := range map[string]bool{".": false, "a": false, "a/deep": false, "a/deep/y.yaml": false, "a/x.yaml": true, "b": true, "b/z.yaml": true} {
		was, err := before.Hash(name)
		if err != nil {
			t.Errorf("%s: %v", name, err)
		}
		if is, err := after.Hash(name); err != nil || (is == was) != same {
			t.Errorf("%s: hash %s, then %s, %v; want the same: %t", name, was, is, err, same)
		}
	}
	y, _ := before.Hash("a/deep/y.yaml")
	if !before.Has(y) || after.Has(y) {
		t.Error("only the tree with the content has it")
	}
	if _, err := before.Hash("none"); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("hash of nothing: %v", err)
	}
}

// TestTreesListWhatTheyHold: what a tree says of a folder at once is what it says of
// each entry, and a Build over it gives what one over plain files does.
func TestTreesListWhatTheyHold(t *testing.T) {
	files := map[string]string{"a/x.yaml": "x", "a/deep/y.yaml": "y", "b/z.yaml": "z", "top": "t"}
	server := serve(t, gitserver.Options{})
	push(t, server, "main", files)
	content, digest := tarball(t, files)
	web := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = w.Write(content) }))
	t.Cleanup(web.Close)
	artifact, err := NewStore(Options{}).FetchArtifact(t.Context(), Artifact{URL: web.URL, Revision: "main@sha1:1", Digest: digest})
	if err != nil {
		t.Fatal(err)
	}
	for name, commit := range map[string]*Commit{"Git": fetch(t, NewStore(Options{}), Request{URL: server.URL(repo)}), "artifact": artifact} {
		tree := commit.Tree.(build.Listing)
		if !tree.Whole() {
			t.Errorf("%s: all of it came", name)
		}
		forms := map[string]string{} // of hashes: one for each
		for dir, want := range map[string][]string{".": {"a", "b", "top"}, "a": {"deep", "x.yaml"}, "a/deep": {"y.yaml"}} {
			var got []string
			err := tree.Each(dir, func(entry string, kind fs.FileMode, hash []byte) {
				got = append(got, entry)
				info, err := tree.Lstat(path.Join(dir, entry))
				if err != nil || info.Mode().Type() != kind {
					t.Errorf("%s: %s is %v, and listed as %v: %v", name, path.Join(dir, entry), info, kind, err)
				}
				of, err := tree.Hash(path.Join(dir, entry))
				if other, known := forms[string(hash)]; err != nil || known && other != of {
					t.Errorf("%s: %s has hash %s, and another with the same in the list %s: %v", name, entry, of, other, err)
				}
				forms[string(hash)] = of
			})
			slices.Sort(got)
			if err != nil || !slices.Equal(got, want) {
				t.Errorf("%s: %s holds %v, want %v: %v", name, dir, got, want, err)
			}
		}
		if len(forms) != 6 {
			t.Errorf("%s: %d hashes of six entries", name, len(forms))
		}
		if err := tree.Each("top", func(string, fs.FileMode, []byte) {}); err == nil {
			t.Errorf("%s: a file was listed", name)
		}
		if _, err := tree.Lstat("none"); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("%s: what is not there: %v", name, err)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitea"
)

// counted counts the bytes that a server answers with.
type counted struct {
	http.ResponseWriter
	bytes *atomic.Int64
}

func (c *counted) Write(p []byte) (int, error) {
	c.bytes.Add(int64(len(p)))
	return c.ResponseWriter.Write(p)
}

// TestFetch: Gitea sends what is new, whatever a person does with the branch, and
// what is built on what was held is what a clone is.
func TestFetch(t *testing.T) {
	server, err := gitea.Start(t.Context())
	if errors.Is(err, gitea.ErrNotBuilt) {
		t.Skip(err)
	}
	must(t, err)
	t.Cleanup(func() { _ = server.Stop() })
	dev, err := server.NewUser("dev", "all")
	must(t, err)
	must(t, second(dev.CreateRepo(sdk.CreateRepoOption{Name: "models", DefaultBranch: "main"})))
	p := &project{world: &world{gitea: server, dev: dev}, t: t, name: "models", folder: filepath.Join(t.TempDir(), "models")}
	p.git("", "init", "--quiet", "--initial-branch=main", p.folder)
	clone := server.CloneURL(dev, dev.Name+"/models")
	p.git(p.folder, "remote", "add", "origin", clone)
	for i := range 1000 {
		p.write(fmt.Sprintf("workspaces/w%04d/workspace.yaml", i), fmt.Sprintf("name: %d\nsecond: %d\n", i, i*7919))
	}
	p.push("main", "models: a thousand")

	to, err := url.Parse(clone)
	must(t, err)
	bytes := &atomic.Int64{}
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: to.Scheme, Host: to.Host})
	front := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) { proxy.ServeHTTP(&counted{w, bytes}, r) }))
	t.Cleanup(front.Close)
	password, _ := to.User.Password()
	r := source.Request{URL: front.URL + to.Path, Auth: map[string][]byte{"username": []byte(to.User.Username()), "password": []byte(password)}}
	store := source.NewStore(source.Options{})
	_, err = store.Fetch(t.Context(), r)
	must(t, err)
	whole := bytes.Load()

	write := func(text string) func() {
		return func() {
			p.write("workspaces/w0000/workspace.yaml", text)
			p.push("main", "models: "+text)
		}
	}
	for _, step := range []struct {
		name   string
		happen func()
	}{
		{"a push", write("one\n")},
		{"a push that takes it back", func() {
			p.git(p.folder, "revert", "--no-edit", "HEAD")
			p.git(p.folder, "push", "-q", "origin", "main")
		}},
		{"a merge", func() {
			p.git(p.folder, "checkout", "-q", "-b", "side", "HEAD~1")
			p.write("side/file", "x")
			p.git(p.folder, "add", "-A")
			p.git(p.folder, "commit", "-q", "-m", "side: add")
			p.git(p.folder, "checkout", "-q", "main")
			p.git(p.folder, "merge", "-q", "--no-edit", "side")
			p.git(p.folder, "push", "-q", "origin", "main")
		}},
		{"a rewritten history", func() {
			p.git(p.folder, "checkout", "-q", "--orphan", "fresh")
			p.git(p.folder, "commit", "-q", "-m", "all: anew")
			p.git(p.folder, "branch", "-q", "-M", "main")
			p.git(p.folder, "push", "-q", "--force", "origin", "main")
		}},
	} {
		step.happen()
		bytes.Store(0)
		got, err := store.Fetch(t.Context(), r)
		must(t, err)
		sent := bytes.Load()
		want, err := git.Remote{URL: r.URL, Auth: r.Auth}.Clone(context.Background(), v1alpha1.GitRef{})
		must(t, err)
		if d := cmp.Diff(contentOf(t, want.Tree), contentOf(t, got.Tree)); d != "" || got.Hash != want.Hash {
			t.Errorf("%s: %s, want %s (-clone +fetch):\n%s", step.name, got.Hash, want.Hash, d)
		}
		t.Logf("%s: %d bytes of %d", step.name, sent, whole)
		if sent > whole/10 {
			t.Errorf("%s: Gitea sent %d bytes, and %d are everything", step.name, sent, whole)
		}
	}
}

// contentOf is every file of a tree.
func contentOf(t *testing.T, tree fs.FS) map[string]string {
	t.Helper()
	files := map[string]string{}
	must(t, fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		content, err := fs.ReadFile(tree, name)
		files[name] = strings.TrimSpace(string(content))
		return err
	}))
	return files
}

// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"crypto/sha256"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"path"
	"slices"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/render/build"
)

// hashed is a tree that knows its hashes, as one of Git does.
type hashed struct {
	fstest.MapFS
	hashes map[string]string
	blobs  map[string]bool
}

func newHashed(files fstest.MapFS) *hashed {
	h := &hashed{MapFS: files, hashes: map[string]string{}, blobs: map[string]bool{}}
	h.add(".")
	return h
}

func (h *hashed) add(p string) string {
	info, err := fs.Lstat(h.MapFS, p)
	if err != nil {
		panic(err)
	}
	text := ""
	if info.IsDir() {
		entries, err := fs.ReadDir(h.MapFS, p)
		if err != nil {
			panic(err)
		}
		for _, e := range entries {
			text += fmt.Sprintf("%s %s %s\n", e.Type(), e.Name(), h.add(path.Join(p, e.Name())))
		}
	} else {
		text = string(h.MapFS[p].Data)
	}
	hash := fmt.Sprintf("%x", sha256.Sum256([]byte(info.Mode().Type().String()+text)))
	h.hashes[p] = hash
	if info.Mode().IsRegular() {
		h.blobs[hash] = true
	}
	return hash
}

func (h *hashed) Hash(name string) (string, error) {
	hash, ok := h.hashes[name]
	if !ok {
		return "", &fs.PathError{Op: "hash", Path: name, Err: fs.ErrNotExist}
	}
	return hash, nil
}

func (h *hashed) Has(hash string) bool { return h.blobs[hash] }

// listing is a tree that lists its hashes, as one of Git does that is whole.
type listing struct{ *hashed }

func (l listing) Whole() bool { return true }

func (l listing) Each(dir string, yield func(name string, kind fs.FileMode, hash []byte)) error {
	entries, err := fs.ReadDir(l.MapFS, dir)
	for _, e := range entries {
		yield(e.Name(), e.Type(), []byte(l.hashes[path.Join(dir, e.Name())]))
	}
	return err
}

// repository is a working tree that a history changes step by step.
type repository struct {
	rand  *rand.Rand
	files map[string]string // a link's content begins with an arrow
	calm  bool              // nothing is wrong by intention
}

const arrow = "→"

func (r *repository) tree() fstest.MapFS {
	tree := fstest.MapFS{}
	for name, text := range r.files {
		if target, ok := strings.CutPrefix(text, arrow); ok {
			tree[name] = &fstest.MapFile{Data: []byte(target), Mode: fs.ModeSymlink}
			continue
		}
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	return tree
}

func (r *repository) pick(from ...string) string { return from[r.rand.IntN(len(from))] }

func (r *repository) some(from ...string) []string {
	var list []string
	for _, i := range r.rand.Perm(len(from)) {
		if r.rand.IntN(3) > 0 {
			list = append(list, from[i])
		}
	}
	return list
}

// put writes a file; what stands in the way is removed.
func (r *repository) put(name, text string) {
	for other := range r.files {
		if strings.HasPrefix(other, name+"/") || strings.HasPrefix(name, other+"/") {
			delete(r.files, other)
		}
	}
	r.files[name] = text
}

var unitFolders = []string{"a", "b", "c", "deep/d"}

// commit changes a few things.
func (r *repository) commit() {
	for range 1 + r.rand.IntN(3) {
		unit := r.pick(unitFolders...)
		switch r.rand.IntN(14) {
		case 0:
			r.root()
		case 1, 2:
			r.unit(unit)
		case 3, 4:
			r.put(unit+"/workspace.yaml", r.workspace(unit))
		case 5:
			r.put(unit+"/data.txt", r.pick("x=1\n", "x=2\n", "x=1\ny=3\n"))
		case 6:
			r.put("base/kustomization.yaml", "resources: ["+strings.Join(r.some("c.yaml", "extra.yaml"), ", ")+"]\n")
		case 7:
			r.put(r.pick("base/c.yaml", "base/extra.yaml"), r.configMap())
		case 8:
			r.put("part/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {part: \""+r.pick("one", "two")+"\"}}]\n")
		case 9:
			r.put(unit+"/patch.yaml", "- {op: add, path: /metadata/annotations, value: {p: "+r.pick("q", "r")+"}}\n")
		case 10:
			r.remove()
		case 11:
			r.rename()
		case 12:
			r.put(r.file(), arrow+r.pick("../../etc/passwd", "a", "workspace.yaml"))
		case 13:
			r.put(unit+"/README.md", r.pick("one", "two"))
		}
	}
}

func (r *repository) file() string {
	names := slices.Sorted(maps.Keys(r.files))
	return names[r.rand.IntN(len(names))]
}

func (r *repository) remove() {
	if len(r.files) > 3 {
		delete(r.files, r.file())
	}
}

func (r *repository) rename() {
	from, to := r.file(), r.file()
	if r.rand.IntN(3) == 0 {
		to = r.pick("a/kustomization.yml", "b/Kustomization", "kustomization.yml", "new.yaml", "deep/d")
	}
	text := r.files[from]
	delete(r.files, from)
	r.put(to, text)
}

func (r *repository) root() {
	text := r.pick("", "# moved by a line\n", "namespace: all\n", "kind: Kustomization\n")
	r.put("kustomization.yaml", text+"resources:\n- "+strings.Join(append(r.some(unitFolders...), r.pick("a", "b", "missing", "base")), "\n- ")+"\n")
	if r.rand.IntN(5) == 0 {
		delete(r.files, "kustomization.yaml")
	}
}

func (r *repository) unit(unit string) {
	up := "../"
	if strings.Contains(unit, "/") {
		up = "../../"
	}
	resources := append([]string{"workspace.yaml"}, r.some(up+"base")...)
	text := "resources: [" + strings.Join(resources, ", ") + "]\n"
	text += strings.Join(r.some(
		"namePrefix: "+path.Base(unit)+"-\n", "namespace: "+r.pick("team-x", "team-y")+"\n", "components: ["+up+"part]\n",
		"configMapGenerator: [{name: config, files: [data.txt], envs: [data.txt]}]\n",
		"patches: [{path: patch.yaml, target: {kind: Workspace}}]\n",
	), "")
	if r.rand.IntN(8) == 0 && !r.calm {
		text += r.pick("helmCharts: [{name: x}]\n", "unknown: 1\n", "resources: [z]\n")
	}
	r.put(unit+"/kustomization.yaml", text)
}

func (r *repository) workspace(unit string) string {
	end, config := r.pick("", "", "", "# more\n", "  - broken\n"), r.pick("config", "c", "elsewhere")
	if r.calm {
		end = ""
		if !strings.Contains(r.files[unit+"/kustomization.yaml"], "namePrefix") {
			config = "config" // c is in base, and may keep its name: see OwnName
		}
	}
	return "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: " + r.pick("w-"+path.Base(unit), "same") + "}\nspec:\n  resource: {instanceType: Standard_NC24ads_A100_v4}\n" +
		"  inference: {preset: " + r.pick("phi-4-mini-instruct", "none") + ", config: " + config + "}\n" + end
}

func (r *repository) configMap() string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: " + r.pick("c", "config", "e") + "}\ndata: {k: v" + r.pick("1", "2") + "}\n"
}

func newRepository(seed uint64, calm bool) *repository {
	r := &repository{rand: rand.New(rand.NewPCG(seed, 5)), files: map[string]string{}, calm: calm}
	r.root()
	for _, u := range unitFolders {
		r.unit(u)
		r.put(u+"/workspace.yaml", r.workspace(u))
		r.put(u+"/data.txt", "x=1\n")
		r.put(u+"/patch.yaml", "- {op: add, path: /metadata/annotations, value: {p: q}}\n")
	}
	r.put("part/kustomization.yaml", "apiVersion: kustomize.config.k8s.io/v1alpha1\nkind: Component\nlabels: [{pairs: {part: one}}]\n")
	r.put("base/kustomization.yaml", "resources: [c.yaml]\n")
	r.put("base/c.yaml", r.configMap())
	return r
}

// everything is all that a unit says, to compare.
func everything(units []build.Unit) string {
	var b strings.Builder
	for _, u := range units {
		fmt.Fprintf(&b, "unit %s reads %v\n", u.Path, u.Reads())
		for _, f := range u.Findings {
			fmt.Fprintf(&b, "  %+v\n", f)
		}
		for _, o := range u.Objects() {
			fmt.Fprintf(&b, "  %s\n%s", o, o.YAML())
			for _, field := range []string{"", "metadata.name", "spec.inference.config", "metadata.annotations.p"} {
				file, line := o.At(field)
				fmt.Fprintf(&b, "  %q at %s:%d\n", field, file, line)
			}
			decoded, findings := o.Decode()
			fmt.Fprintf(&b, "  decodes: %v %v\n", decoded.Workspace != nil, findings)
		}
	}
	return b.String()
}

// TestCacheIsExact: over random histories a result from the cache is what a
// fresh build gives, whatever was edited, added, deleted, renamed, linked or
// moved, and one cache serves trees of Git and folders, limits small and large.
func TestCacheIsExact(t *testing.T) {
	seeds, commits := uint64(12), 50
	if testing.Short() {
		seeds = 3
	}
	var asked, built int64
	for seed := range seeds {
		limits := build.Limits{}
		if seed%3 == 1 {
			limits = build.Limits{Files: 9, TreeBytes: 1600} // the order of reading decides who is refused
		}
		kept := build.CacheLimits{}
		if seed%4 == 2 {
			kept = build.CacheLimits{Units: 3}
		}
		cache, r := build.NewCache(kept), newRepository(seed, false)
		for commit := range commits {
			tree := r.tree()
			fresh, freshErr := build.Build(t.Context(), tree, ".", limits)
			want := everything(fresh)
			for name, tree := range map[string]fs.FS{"artifact": newHashed(tree), "Git": listing{newHashed(tree)}, "folder": tree} {
				units, err := cache.Build(t.Context(), tree, ".", limits)
				if (err == nil) != (freshErr == nil) {
					t.Fatalf("seed %d, commit %d: from the cache %v, fresh %v", seed, commit, err, freshErr)
				}
				if diff := cmp.Diff(want, everything(units)); diff != "" {
					t.Fatalf("seed %d, commit %d: a %s from the cache is not what is built (-fresh +cache):\n%s\nfiles: %v", seed, commit, name, diff, r.files)
				}
			}
			r.commit()
		}
		stats := cache.Stats()
		asked, built = asked+stats.Hits+stats.Misses, built+stats.Misses
	}
	t.Logf("%d of %d units were built", built, asked)
	if built*4 > asked*3 {
		t.Errorf("%d of %d units were built: the cache is of no use", built, asked)
	}
}

// TestPassIsExact: units that the Build before had are taken over without a look. Over
// random histories, of several repositories of one layout whose Builds take turns, the
// result is what a fresh build gives.
func TestPassIsExact(t *testing.T) {
	seeds, commits := uint64(10), 60
	if testing.Short() {
		seeds = 3
	}
	var followed, asked int64
	for seed := range seeds {
		cache := build.NewCache(build.CacheLimits{})
		repositories := []*repository{newRepository(100+seed, true), newRepository(200+seed, seed%2 == 0)}
		for commit := range commits {
			r := repositories[commit%3%2]
			tree := r.tree()
			fresh, freshErr := build.Build(t.Context(), tree, ".", build.Limits{})
			units, err := cache.Build(t.Context(), listing{newHashed(tree)}, ".", build.Limits{})
			if (err == nil) != (freshErr == nil) {
				t.Fatalf("seed %d, commit %d: from the cache %v, fresh %v", seed, commit, err, freshErr)
			}
			if diff := cmp.Diff(everything(fresh), everything(units)); diff != "" {
				t.Fatalf("seed %d, commit %d (-fresh +cache):\n%s\nfiles: %v", seed, commit, diff, r.files)
			}
			r.commit()
		}
		stats := cache.Stats()
		followed, asked = followed+stats.Followed, asked+stats.Hits+stats.Misses
	}
	t.Logf("%d of %d units were taken over", followed, asked)
	if followed*8 < asked {
		t.Errorf("%d of %d units were taken over: that is of no use", followed, asked)
	}
}

// naming is a tree that names content that it does not have.
type naming struct{ *hashed }

func (naming) Has(string) bool { return false }

// TestCacheAsksForContent: hashes are no secret. Whoever serves a tree that names
// another tenant's files by hash must not get what was built of them.
func TestCacheAsksForContent(t *testing.T) {
	files := tree(rootOfTwo + unitA + unitB)
	cache := build.NewCache(build.CacheLimits{})
	if _, err := cache.Build(t.Context(), newHashed(files), "", build.Limits{}); err != nil {
		t.Fatal(err)
	}
	misses := cache.Stats().Misses
	theirs := tree(rootOfTwo + unitA + unitB)
	h := newHashed(theirs)
	for name := range theirs {
		if path.Base(name) != "kustomization.yaml" {
			theirs[name] = &fstest.MapFile{Data: []byte("what the attacker really has\n")}
		}
	}
	units, err := cache.Build(t.Context(), naming{h}, "", build.Limits{})
	if err != nil {
		t.Fatal(err)
	}
	if got := cache.Stats().Misses - misses; got != 2 {
		t.Errorf("%d units were built, want 2: the others came from the cache", got)
	}
	if text := bytesOf(units); strings.Contains(text, "push-") {
		t.Errorf("a Secret of another tenant came out:\n%s", text)
	}
}

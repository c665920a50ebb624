// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path"
	"path/filepath"
	"runtime"
	"slices"

	"golang.org/x/sync/errgroup"

	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// foundSync is the RepoSync whose substitutions and namespace apply.
type foundSync struct {
	sync *v1alpha1.RepoSync // nil: none was given or found
	file string             // that holds it, from the root of the target; "": not known
	// broken are the errors of RepoSyncs in the tree that cannot be used.
	broken []v1alpha1.Finding
}

// errSeveralSyncs says that the tree does not tell which RepoSync to go by.
var errSeveralSyncs = errors.New("several RepoSyncs are in the tree")

// syncOf returns the RepoSync of --sync, else the one of the tree that syncs the
// target, else none. Files outside of a repository have no tree around them.
func syncOf(t target, syncFile string) (foundSync, error) {
	if syncFile == "" && t.root == "" {
		return foundSync{}, nil
	}
	if syncFile != "" {
		sync, err := readSync(syncFile)
		return foundSync{sync: sync, file: t.name(syncFile)}, err
	}
	return findSync(os.DirFS(t.root), t.rel())
}

// findSync returns the one RepoSync of a tree that syncs a path in it, or none.
func findSync(tree fs.FS, rel string) (foundSync, error) {
	found, broken, err := syncsFor(tree, rel)
	switch {
	case err != nil:
		return foundSync{}, fmt.Errorf("looking for a RepoSync: %w", err)
	case len(found) == 0:
		return foundSync{broken: broken}, nil
	case len(found) == 1:
		return foundSync{sync: found[0].RepoSync, file: found[0].file}, nil
	}
	return foundSync{}, fmt.Errorf("%w, which follow %s: give a path within one of these, or name a RepoSync with --sync FILE: %s",
		errSeveralSyncs, listed(pathsOf(found), 5), listed(filesOf(found), 5))
}

// pathsOf are the paths that RepoSyncs follow, each once.
func pathsOf(syncs []syncFile) []string {
	var paths []string
	for _, s := range syncs {
		paths = append(paths, path.Join(s.Spec.Path, ".")) // "" is the root, "."
	}
	slices.Sort(paths)
	return slices.Compact(paths)
}

// filesOf are the files of RepoSyncs, from the root of the repository.
func filesOf(syncs []syncFile) []string {
	var files []string
	for _, s := range syncs {
		files = append(files, s.file)
	}
	return files
}

// readSync reads the file that --sync names.
func readSync(file string) (*v1alpha1.RepoSync, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading --sync: %w", err)
	}
	sync, broken := syncIn(file, content)
	switch {
	case sync != nil:
		return sync, nil
	case len(broken) > 0:
		f := broken[0]
		return nil, fmt.Errorf("--sync %s: %s (%s)", finding.Location(f.File, f.Line), f.Message, f.Code)
	}
	return nil, fmt.Errorf("--sync %s holds no RepoSync", file)
}

// syncFile is a RepoSync and the file of a tree that holds it.
type syncFile struct {
	*v1alpha1.RepoSync
	file string
}

// syncsFor lists the RepoSyncs of a tree that sync a path in it, and what is
// wrong with those that do not decode.
func syncsFor(tree fs.FS, rel string) (found []syncFile, broken []v1alpha1.Finding, err error) {
	files := map[string]fs.DirEntry{}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || (d.IsDir() && d.Name() == ".git") {
			return fs.SkipDir
		}
		if ext := filepath.Ext(name); d.Type().IsRegular() && (ext == ".yaml" || ext == ".yml") {
			files[name] = d
		}
		return nil
	})
	names := slices.Sorted(maps.Keys(files))
	syncs, problems := make([]*v1alpha1.RepoSync, len(names)), make([][]v1alpha1.Finding, len(names))
	var reads errgroup.Group // a repository of many files is read on all processors
	reads.SetLimit(runtime.GOMAXPROCS(0))
	for i, name := range names {
		reads.Go(func() error {
			syncs[i], problems[i] = syncIn(name, readable(tree, name, files[name]))
			return nil
		})
	}
	_ = reads.Wait() // what cannot be read, the build reports
	for i, sync := range syncs {
		broken = append(broken, problems[i]...)
		if sync != nil && covers(sync, rel) {
			found = append(found, syncFile{sync, names[i]})
		}
	}
	return found, broken, err
}

// readable is the content of a file; nothing where it is too large or cannot be
// read, which the build says where it reads it.
func readable(tree fs.FS, name string, d fs.DirEntry) []byte {
	info, err := d.Info()
	if err != nil || info.Size() > build.DefaultLimits().FileBytes {
		return nil
	}
	content, err := fs.ReadFile(tree, name)
	if err != nil {
		return nil
	}
	return content
}

// syncIn returns the first RepoSync of a YAML file, nil when it holds none, and
// the errors of those that do not decode.
func syncIn(name string, content []byte) (*v1alpha1.RepoSync, []v1alpha1.Finding) {
	if !bytes.Contains(content, []byte(v1alpha1.RepoSyncKind)) {
		return nil, nil
	}
	var broken []v1alpha1.Finding
	for _, document := range repolayout.Split(name, content) {
		if !bytes.Contains(document.Text, []byte(v1alpha1.RepoSyncKind)) || document.Kind() != v1alpha1.RepoSyncKind {
			continue
		}
		sync, findings := repolayout.DecodeSync(document.Text, document)
		if sync != nil {
			return sync, nil
		}
		for _, f := range findings {
			if f.Severity == finding.Error {
				broken = append(broken, f)
			}
		}
	}
	return nil, broken
}

// covers says whether a RepoSync applies what lies at a path: one of the two is
// within the other.
func covers(sync *v1alpha1.RepoSync, rel string) bool {
	if rel == "." || sync.Spec.Path == "" {
		return true
	}
	within := func(outer, inner string) bool {
		r, err := filepath.Rel(outer, inner)
		return err == nil && filepath.IsLocal(r)
	}
	return within(sync.Spec.Path, rel) || within(rel, sync.Spec.Path)
}

// saySync tells the reader which RepoSync the findings rest on.
func saySync(w io.Writer, s foundSync) {
	switch {
	case s.sync != nil:
		fmt.Fprintln(w, "with RepoSync", path.Join(s.sync.Namespace, s.sync.Name))
	case len(s.broken) > 0:
		for _, f := range s.broken {
			fmt.Fprintf(w, "%s: this RepoSync is not used: %s (%s)\n", finding.Location(f.File, f.Line), f.Message, f.Code)
		}
	default:
		fmt.Fprintln(w, "no RepoSync found: no substitutions apply")
	}
}

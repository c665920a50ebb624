// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// loaded is what a path on disk holds.
type loaded struct {
	sync       *v1alpha1.RepoSync // nil: none was given or found
	findings   []v1alpha1.Finding
	workspaces []desired.Workspace
}

// loadOptions are the flags of every command that reads a tree.
type loadOptions struct {
	syncFile string
	region   string
	render   render.Options
}

// defaultRender are the settings of an installation that nobody described. The
// name of the helper image is a placeholder.
func defaultRender() render.Options {
	return render.Options{Provider: v1alpha1.ProviderAKS, HelperImage: "espalier"}
}

// load builds, decodes and judges everything that target holds, as the
// controllers would after a push. Target is a folder, a kustomization, a YAML
// file, or - for stdin.
func load(ctx context.Context, stdin io.Reader, target string, o loadOptions) (loaded, error) {
	l := loaded{}
	texts, err := l.texts(ctx, stdin, target, o.syncFile)
	if err != nil {
		return loaded{}, err
	}
	documents, findings := desired.Assemble(l.sync, texts)
	judge := desired.Judge{Region: o.region, Render: o.render}
	state := judge.State(documents, append(l.findings, findings...))
	l.findings, l.workspaces = state.All(), state.Workspaces
	return l, nil
}

// texts reads what target holds, and finds the RepoSync that applies to it.
func (l *loaded) texts(ctx context.Context, stdin io.Reader, target, syncFile string) ([]desired.Text, error) {
	if info, err := os.Stat(target); target == "-" || err == nil && !info.IsDir() && !isKustomization(target) {
		return l.textsOfFile(stdin, target, syncFile)
	}
	root, rel, err := treeRoot(target)
	if err != nil {
		return nil, err
	}
	tree := os.DirFS(root)
	if l.sync, err = findSync(tree, rel, syncFile); err != nil {
		return nil, err
	}
	units, err := build.Build(ctx, tree, rel, build.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", target, err)
	}
	texts, findings := desired.Texts(units)
	l.findings = findings
	return texts, nil
}

// textsOfFile reads one file, or stdin, which has no tree around it to find a
// RepoSync in.
func (l *loaded) textsOfFile(stdin io.Reader, file, syncFile string) ([]desired.Text, error) {
	content, err := readFileOrStdin(stdin, file)
	if err != nil {
		return nil, err
	}
	var texts []desired.Text
	for _, d := range repolayout.Split(file, content) {
		texts = append(texts, desired.Text{YAML: d.Text, Position: d})
	}
	if syncFile != "" {
		l.sync, err = readSync(syncFile)
	}
	return texts, err
}

func isKustomization(file string) bool {
	return slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, filepath.Base(file))
}

// treeRoot finds the repository around target, so that ../base of an overlay is
// within the tree, and target's path in it.
func treeRoot(target string) (root, rel string, err error) {
	absolute, err := filepath.Abs(target)
	if err != nil {
		return "", "", fmt.Errorf("resolving %s: %w", target, err)
	}
	if _, err := os.Stat(absolute); err != nil {
		return "", "", fmt.Errorf("%s does not exist", target)
	}
	if isKustomization(absolute) {
		absolute = filepath.Dir(absolute)
	}
	for dir := absolute; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			rel, err = filepath.Rel(dir, absolute)
			return dir, filepath.ToSlash(rel), err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	return absolute, ".", nil
}

// errSeveralSyncs says that the tree does not tell which RepoSync to go by.
var errSeveralSyncs = errors.New("several RepoSyncs are in the tree: name one with --sync FILE")

// findSync returns the RepoSync of a file, else the one of the tree that syncs
// the path, else nil.
func findSync(tree fs.FS, rel, file string) (*v1alpha1.RepoSync, error) {
	if file != "" {
		return readSync(file)
	}
	found, err := syncsFor(tree, rel)
	if err != nil {
		return nil, fmt.Errorf("looking for a RepoSync: %w", err)
	}
	switch len(found) {
	case 0:
		return nil, nil
	case 1:
		return found[0], nil
	}
	return nil, errSeveralSyncs
}

// readSync reads the file that --sync names.
func readSync(file string) (*v1alpha1.RepoSync, error) {
	content, err := os.ReadFile(file)
	if err != nil {
		return nil, fmt.Errorf("reading --sync: %w", err)
	}
	sync := syncIn(file, content)
	if sync == nil {
		return nil, fmt.Errorf("--sync %s holds no RepoSync", file)
	}
	return sync, nil
}

// syncsFor lists the RepoSyncs of a tree that sync a path in it.
func syncsFor(tree fs.FS, rel string) ([]*v1alpha1.RepoSync, error) {
	var found []*v1alpha1.RepoSync
	err := fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || (d.IsDir() && d.Name() == ".git") {
			return fs.SkipDir
		}
		if ext := filepath.Ext(name); !d.Type().IsRegular() || (ext != ".yaml" && ext != ".yml") {
			return nil
		}
		content, err := fs.ReadFile(tree, name)
		if err == nil {
			if sync := syncIn(name, content); sync != nil && covers(sync, rel) {
				found = append(found, sync)
			}
		}
		return nil
	})
	return found, err
}

// syncIn returns the first RepoSync of a YAML file, nil when it holds none.
func syncIn(name string, content []byte) *v1alpha1.RepoSync {
	if !bytes.Contains(content, []byte(v1alpha1.RepoSyncKind)) {
		return nil // most files: parsing thousands takes its time
	}
	for _, document := range repolayout.Split(name, content) {
		if sync, _ := repolayout.DecodeSync(document.Text, document); sync != nil {
			return sync
		}
	}
	return nil
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

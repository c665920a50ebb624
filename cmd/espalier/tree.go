// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/reconciler/reposync"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// workspaceDoc is a Workspace of a folder, decoded and judged as the controller
// would.
type workspaceDoc struct {
	workspace  *v1alpha1.Workspace
	config     map[string]string
	assessment check.Assessment
}

// loaded is what a path on disk holds.
type loaded struct {
	sync       *v1alpha1.RepoSync // nil: none was given or found
	findings   []v1alpha1.Finding
	workspaces []workspaceDoc
}

// loadOptions are the flags of every command that reads a tree.
type loadOptions struct {
	syncFile string
	region   string
}

// document is one object of a path, with the lines it was written at.
type document struct {
	text     []byte
	position repolayout.Position
}

// load builds, decodes and judges everything that target holds, as the
// controllers would after a push. Target is a folder, a kustomization, a YAML
// file, or - for stdin.
func load(ctx context.Context, stdin io.Reader, target string, o loadOptions) (loaded, error) {
	l := loaded{}
	documents, err := l.documents(ctx, stdin, target, o.syncFile)
	if err != nil {
		return loaded{}, err
	}
	known := inputs{configs: map[string]map[string]string{}, pools: map[string]*v1alpha1.GPUNodePoolSpec{}}
	var entries []repolayout.Entry
	for _, d := range documents {
		decoded, findings := repolayout.Decode(d.text, d.position)
		l.findings = append(l.findings, findings...)
		entries = append(entries, repolayout.Entry{Decoded: decoded, Position: d.position})
		known.add(decoded)
	}
	l.findings = append(l.findings, repolayout.Collisions(entries)...)
	for _, e := range entries {
		if !l.misplaced(e) && e.Workspace != nil {
			l.judge(e, known, o.region)
		}
	}
	return l, nil
}

// documents reads what target holds, and finds the RepoSync that applies to it.
func (l *loaded) documents(ctx context.Context, stdin io.Reader, target, syncFile string) ([]document, error) {
	if info, err := os.Stat(target); target == "-" || err == nil && !info.IsDir() && !isKustomization(target) {
		return l.documentsOfFile(stdin, target, syncFile)
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
	var documents []document
	for _, u := range units {
		l.findings = append(l.findings, u.Findings...)
		for _, object := range u.Objects {
			documents = append(documents, document{object.YAML, object})
		}
	}
	return documents, nil
}

// documentsOfFile reads one file, or stdin, which has no tree around it to find a
// RepoSync in.
func (l *loaded) documentsOfFile(stdin io.Reader, file, syncFile string) ([]document, error) {
	content, err := readFileOrStdin(stdin, file)
	if err != nil {
		return nil, err
	}
	var documents []document
	for _, d := range repolayout.Split(file, content) {
		documents = append(documents, document{d.Text, d})
	}
	if syncFile != "" {
		l.sync, err = readSync(syncFile)
	}
	return documents, err
}

func isKustomization(file string) bool {
	return slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, filepath.Base(file))
}

// inputs are what Workspaces may refer to, by name.
type inputs struct {
	configs map[string]map[string]string
	pools   map[string]*v1alpha1.GPUNodePoolSpec
}

func (i inputs) add(d repolayout.Decoded) {
	switch {
	case d.Pool != nil:
		i.pools[d.Pool.Name] = &d.Pool.Spec
	case d.Input != nil && d.Input.GetKind() == "ConfigMap":
		data, _, err := unstructured.NestedStringMap(d.Input.Object, "data")
		if data == nil || err != nil {
			data = map[string]string{}
		}
		i.configs[d.Input.GetName()] = data
	}
}

// misplaced reports a document that the RepoSync would not apply, because it
// names another namespace.
func (l *loaded) misplaced(e repolayout.Entry) bool {
	if l.sync == nil {
		return false
	}
	refusal := reposync.CheckNamespace(l.sync, e.Namespace(), e.Position)
	if refusal != nil {
		l.findings = append(l.findings, *refusal)
	}
	return refusal != nil
}

// judge substitutes and sizes one Workspace.
func (l *loaded) judge(e repolayout.Entry, known inputs, region string) {
	w := e.Workspace
	if l.sync != nil {
		reposync.Substitute(w, l.sync.Spec.Substitutions)
	}
	if w.Namespace == "" && l.sync != nil {
		w.Namespace = reposync.Target(l.sync)
	}
	if w.Namespace == "" {
		w.Namespace = "default"
	}
	d := workspaceDoc{workspace: w, config: known.configs[w.Spec.ConfigMap()]}
	if name := w.Spec.ConfigMap(); name != "" && d.config == nil {
		file, line := e.Position.At("")
		l.findings = append(l.findings, v1alpha1.Finding{
			Severity: finding.Warning, Code: "InputNotInGit", File: file, Line: line,
			Message: fmt.Sprintf("ConfigMap %s is not in this tree: judged with the defaults", name),
		})
	}
	d.assessment = check.Workspace(w, check.Facts{Config: d.config, Region: region, Pool: known.pools[w.Spec.Resource.NodePool]}, e.Position)
	l.findings = append(l.findings, d.assessment.Findings...)
	l.workspaces = append(l.workspaces, d)
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

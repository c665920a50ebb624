// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/reconciler/reposync"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
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

// load builds, decodes and judges everything below target, as the controllers
// would after a push.
func load(ctx context.Context, target string, o loadOptions) (loaded, error) {
	root, rel, err := treeRoot(target)
	if err != nil {
		return loaded{}, err
	}
	tree := os.DirFS(root)
	sync, err := findSync(tree, rel, o.syncFile)
	if err != nil {
		return loaded{}, err
	}
	units, err := build.Build(ctx, tree, rel, build.DefaultLimits())
	if err != nil {
		return loaded{}, fmt.Errorf("building %s: %w", target, err)
	}
	l := loaded{sync: sync}
	configs := map[string]map[string]string{}
	positions := map[*v1alpha1.Workspace]repolayout.Position{}
	for _, u := range units {
		l.findings = append(l.findings, u.Findings...)
		for _, object := range u.Objects {
			decoded, findings := repolayout.Decode(object.YAML, object)
			l.findings = append(l.findings, findings...)
			switch {
			case decoded.Workspace != nil:
				l.workspaces = append(l.workspaces, workspaceDoc{workspace: decoded.Workspace})
				positions[decoded.Workspace] = object
			case decoded.Input != nil && decoded.Input.GetKind() == "ConfigMap":
				cm := &corev1.ConfigMap{}
				if err := runtime.DefaultUnstructuredConverter.FromUnstructured(decoded.Input.Object, cm); err == nil {
					configs[cm.Name] = cm.Data
				}
			}
		}
	}
	l.judge(configs, positions, o.region)
	return l, nil
}

// judge substitutes and sizes every Workspace.
func (l *loaded) judge(configs map[string]map[string]string, positions map[*v1alpha1.Workspace]repolayout.Position, region string) {
	for i := range l.workspaces {
		d := &l.workspaces[i]
		if l.sync != nil {
			reposync.Substitute(d.workspace, l.sync.Spec.Substitutions)
		}
		if d.workspace.Namespace == "" {
			d.workspace.Namespace = "default"
			if l.sync != nil {
				d.workspace.Namespace = l.sync.Namespace
			}
		}
		name := d.workspace.Spec.ConfigMap()
		d.config = configs[name]
		if name != "" && d.config == nil {
			file, line := positions[d.workspace].At("")
			l.findings = append(l.findings, v1alpha1.Finding{Severity: "warning", Code: "InputNotInGit", File: file, Line: line,
				Message: fmt.Sprintf("ConfigMap %s is not in this tree: judged with the defaults", name)})
		}
		d.assessment = check.Workspace(d.workspace, check.Facts{Config: d.config, Region: region}, positions[d.workspace])
		l.findings = append(l.findings, d.assessment.Findings...)
		for _, c := range d.assessment.Candidates {
			l.findings = append(l.findings, c.Findings...)
		}
	}
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
	for dir := absolute; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			rel, err = filepath.Rel(dir, absolute)
			return dir, filepath.ToSlash(rel), err
		}
		if dir == filepath.Dir(dir) {
			break
		}
	}
	info, err := os.Stat(absolute)
	if err == nil && !info.IsDir() {
		return filepath.Dir(absolute), filepath.Base(absolute), nil
	}
	return absolute, ".", err
}

// errSeveralSyncs says that the tree does not tell which RepoSync to go by.
var errSeveralSyncs = errors.New("several RepoSyncs are in the tree: name one with --sync FILE")

// findSync returns the RepoSync of a file, else the one of the tree that syncs
// the path, else nil.
func findSync(tree fs.FS, rel, file string) (*v1alpha1.RepoSync, error) {
	if file != "" {
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

// syncIn returns the first RepoSync of a YAML file, nil when it holds none.
func syncIn(name string, content []byte) *v1alpha1.RepoSync {
	for _, document := range repolayout.Split(name, content) {
		if sync, _ := repolayout.DecodeSync(document.Text, document); sync != nil {
			if sync.Namespace == "" {
				sync.Namespace = "default"
			}
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

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// loaded is what a target holds.
type loaded struct {
	target
	syncs      foundSync
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
// name of the helper image is a placeholder, and what the controller has to allow is
// taken to be allowed.
func defaultRender() render.Options {
	return render.Options{
		Provider: v1alpha1.ProviderAKS, HelperImage: "espalier",
		LocalWeights: "/opt/kaito/models", WeightsAccounts: []string{render.AnyAccount}, RegistryAccounts: []string{render.AnyAccount},
	}
}

// bindProvider adds --provider to a command that judges a tree without a cluster.
func bindProvider(fs *pflag.FlagSet, into *v1alpha1.Provider) {
	fs.Var((*providerValue)(into), "provider", "Where the nodes come from that neither a Workspace nor its RepoSync says, as given to the controller: "+v1alpha1.Providers)
}

// providerValue implements pflag.Value.
type providerValue v1alpha1.Provider

// String implements pflag.Value.
func (v *providerValue) String() string { return string(*v) }

// Type implements pflag.Value.
func (v *providerValue) Type() string { return "string" }

// Set implements pflag.Value.
func (v *providerValue) Set(name string) error {
	if checkProvider(name) != nil {
		return errors.New(v1alpha1.Providers) // the flag is named already
	}
	*v = providerValue(name)
	return nil
}

// target is what is judged together: a folder with its kustomizations, or files.
type target struct {
	// root is the repository around it, "" for files outside of one: findings
	// name their file relative to it.
	root string
	// folder within root; "" for files.
	folder string
	// alone says that no repository is around the folder, which is then the root.
	alone bool
	// files as they were named; - is stdin.
	files []string
}

// targets groups what was named on the command line: files of one repository
// are judged together, so that a Workspace finds the ConfigMap beside it.
func targets(paths []string) ([]target, error) {
	var list []target
	for _, p := range paths {
		t, err := targetOf(p)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(list, func(other target) bool { return other.files != nil && other.root == t.root })
		if t.files == nil || i < 0 {
			list = append(list, t)
			continue
		}
		list[i].files = append(list[i].files, t.files...)
	}
	return list, nil
}

func targetOf(p string) (target, error) {
	if p == "-" {
		return target{files: []string{p}}, nil
	}
	info, err := os.Stat(p)
	if err != nil {
		return target{}, fmt.Errorf("%s does not exist", p)
	}
	if info.IsDir() || isKustomization(p) {
		return folderTarget(p)
	}
	root, _, err := repository(filepath.Dir(p))
	return target{root: root, files: []string{p}}, err
}

func isKustomization(file string) bool {
	return slices.Contains([]string{"kustomization.yaml", "kustomization.yml", "Kustomization"}, filepath.Base(file))
}

// folderTarget finds the repository around a folder, so that ../base of an
// overlay is within the tree. Without a repository the tree is the folder.
func folderTarget(folder string) (target, error) {
	if isKustomization(folder) {
		folder = filepath.Dir(folder)
	}
	root, rel, err := repository(folder)
	if err != nil || root != "" {
		return target{root: root, folder: rel}, err
	}
	root, err = filepath.Abs(folder)
	return target{root: root, folder: ".", alone: true}, err
}

// explain tells, where a path leaves a folder that is in no repository, how to
// say where one begins.
func (t target) explain(findings []v1alpha1.Finding) {
	if !t.alone {
		return
	}
	for i, f := range findings {
		if f.Code == build.PathOutsideTree {
			findings[i].Message += "; no .git is around this folder, so that it is the whole of what may be read: run git init where the repository begins"
		}
	}
}

// repository is the working tree that a folder is in, and the folder's path in
// it; "" when it is in none.
func repository(folder string) (root, rel string, err error) {
	absolute, err := filepath.Abs(folder)
	if err != nil {
		return "", "", fmt.Errorf("resolving %s: %w", folder, err)
	}
	for dir := absolute; ; dir = filepath.Dir(dir) {
		if _, err := os.Stat(filepath.Join(dir, ".git")); err == nil {
			rel, err = filepath.Rel(dir, absolute)
			return dir, filepath.ToSlash(rel), err
		}
		if dir == filepath.Dir(dir) {
			return "", "", nil
		}
	}
}

// name is how findings name a file that was named on the command line: relative
// to the repository, as it was typed outside of one.
func (t target) name(file string) string {
	absolute, err := filepath.Abs(file)
	if t.root == "" || err != nil {
		return filepath.ToSlash(file)
	}
	rel, err := filepath.Rel(t.root, absolute)
	if err != nil {
		return filepath.ToSlash(file)
	}
	return filepath.ToSlash(rel)
}

// shown is the path of a finding's file for a reader at their prompt: relative
// to the current folder, where it is below.
func (t target) shown(file string) string {
	if t.root == "" || file == "" {
		return file
	}
	absolute := filepath.Join(t.root, filepath.FromSlash(file))
	here, err := os.Getwd()
	if err != nil {
		return absolute
	}
	rel, err := filepath.Rel(here, absolute)
	if err != nil || strings.Count(filepath.ToSlash(rel), "../") > 2 {
		return absolute
	}
	return filepath.ToSlash(rel)
}

// load builds, decodes and judges everything that one path holds, as the
// controllers would after a push.
func load(ctx context.Context, stdin io.Reader, p string, o loadOptions) (loaded, error) {
	t, err := targetOf(p)
	if err != nil {
		return loaded{}, err
	}
	return loadTarget(ctx, stdin, t, o)
}

func loadTarget(ctx context.Context, stdin io.Reader, t target, o loadOptions) (loaded, error) {
	l := loaded{target: t}
	var err error
	if l.syncs, err = syncOf(t, o.syncFile); err != nil {
		return l, err
	}
	texts, err := l.texts(ctx, stdin)
	if err != nil {
		return l, err
	}
	documents, findings := desired.Assemble(l.syncs.sync, texts)
	judge := desired.Judge{Region: o.region, Render: o.render}
	state := judge.State(documents, append(l.findings, findings...))
	l.findings, l.workspaces = append(state.All(), l.ofSync()...), state.Workspaces
	return l, nil
}

// texts reads what the target holds.
func (l *loaded) texts(ctx context.Context, stdin io.Reader) ([]desired.Text, error) {
	if l.files != nil {
		return l.textsOfFiles(stdin)
	}
	units, err := build.Build(ctx, os.DirFS(l.root), l.folder, build.DefaultLimits())
	if err != nil {
		return nil, fmt.Errorf("building %s: %w", l.shown(l.folder), err)
	}
	texts, findings := desired.Texts(units)
	l.explain(findings)
	l.findings = findings
	return texts, nil
}

// textsOfFiles reads files that were named. A RepoSync among them is judged
// here: it is applied by people and Flux, and by no RepoSync.
func (l *loaded) textsOfFiles(stdin io.Reader) ([]desired.Text, error) {
	var texts []desired.Text
	for _, file := range l.files {
		content, err := readFileOrStdin(stdin, file)
		if err != nil {
			return nil, err
		}
		documents, refusal := split(l.name(file), content)
		if refusal != nil {
			l.findings = append(l.findings, *refusal)
			continue
		}
		for _, d := range documents {
			if bytes.Contains(d.Text, []byte(v1alpha1.RepoSyncKind)) && d.Kind() == v1alpha1.RepoSyncKind {
				_, findings := repolayout.DecodeSync(d.Text, d)
				l.findings = append(l.findings, findings...)
				continue
			}
			texts = append(texts, desired.Text{YAML: d.Text, Position: d})
		}
	}
	return texts, nil
}

// maxFile bounds what is read of one file or of stdin, in bytes: 20,000 large
// Workspaces.
const maxFile = 64 << 20

// split cuts a file into its documents, or says that it holds too much.
func split(file string, content []byte) ([]*repolayout.Document, *v1alpha1.Finding) {
	refuse := func(code, format string, args ...any) *v1alpha1.Finding {
		return &v1alpha1.Finding{Severity: finding.Error, Code: code, File: file, Line: 1, Message: fmt.Sprintf(format, args...)}
	}
	if len(content) > maxFile {
		return nil, refuse(finding.DocumentTooLarge, "more than %d MiB: split the file", maxFile>>20)
	}
	documents := repolayout.Split(file, content)
	if len(documents) > repolayout.MaxDocuments {
		return nil, refuse(finding.TooManyDocuments, "%d documents in one file; at most %d are read: split it", len(documents), repolayout.MaxDocuments)
	}
	return documents, nil
}

// readFileOrStdin reads a little more than maxFile at most.
func readFileOrStdin(stdin io.Reader, name string) ([]byte, error) {
	from := stdin
	if name != "-" {
		file, err := os.Open(name)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", name, err)
		}
		defer file.Close()
		from = file
	}
	content, err := io.ReadAll(io.LimitReader(from, maxFile+1))
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", path.Base(name), err)
	}
	return content, nil
}

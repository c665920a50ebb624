// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
)

func newInitCommand() *cobra.Command {
	var forge string
	var flux bool
	command := &cobra.Command{
		Use:   "init DIR",
		Short: "Write a repository in the recommended layout",
		Long: "Writes a sample repository into DIR: models, what they share, two clusters that run them, and what judges a pull\n" +
			"request. It overwrites nothing, and writes everything or nothing. Where DIR is a folder of a larger repository, the\n" +
			"paths in the files count from the root of that. The files' names are printed on stdout, what to do next on stderr.",
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			dir, err := filepath.Abs(args[0])
			if err != nil {
				return fmt.Errorf("resolving %s: %w", args[0], err)
			}
			return initRepository(c, initPlan{shown: args[0], dir: dir, forge: example.Forge(forge), flux: flux})
		},
	}
	command.Flags().StringVar(&forge, "forge", "", "Forge whose code owners and workflow are written too: github, gitlab, gitea, azuredevops, bitbucket (the Cloud) or none; empty: by the host of the remote origin, where that tells")
	command.Flags().BoolVar(&flux, "flux", false, "Let Flux fetch the repository and apply the RepoSyncs")
	return command
}

// initPlan is what `espalier init` is about to write, and where.
type initPlan struct {
	shown string // DIR as it was given
	dir   string // the same, absolute
	forge example.Forge
	flux  bool

	root   string // of the repository around DIR; "": there is none
	folder string // DIR relative to root, "." when it is the root or there is none
}

func initRepository(c *cobra.Command, p initPlan) error {
	if err := p.look(c.ErrOrStderr()); err != nil {
		return err
	}
	files, err := example.Files(example.Options{Forge: p.forge, Flux: p.flux, Folder: p.folder})
	if err != nil {
		return err
	}
	names := slices.Sorted(maps.Keys(files))
	if err := p.nothingThere(names); err != nil {
		return err
	}
	if err := writeAll(p.dir, names, files); err != nil {
		return err
	}
	for _, name := range names {
		fmt.Fprintln(c.OutOrStdout(), name)
	}
	p.next(c.ErrOrStderr())
	return nil
}

// look finds the repository around DIR, and the forge where none is given.
func (p *initPlan) look(talk io.Writer) error {
	p.folder = "."
	if root, ok := repositoryAround(p.dir); ok {
		folder, err := filepath.Rel(root, p.dir)
		if err != nil {
			return fmt.Errorf("resolving %s: %w", p.shown, err)
		}
		p.root, p.folder = root, filepath.ToSlash(folder)
	}
	if p.folder != "." {
		return p.withinLarger(talk)
	}
	if p.forge != "" {
		return nil
	}
	p.forge = example.NoForge
	if host := originHost(p.root); host != "" {
		if forge, known := forgeOf(host); known {
			p.forge = forge
			fmt.Fprintf(talk, "origin is on %s: with the files for %s (--forge none leaves them out)\n", host, forge)
		} else {
			fmt.Fprintf(talk, "origin is on %s, which does not tell what forge it is: no workflow and no code owners are written (--forge names one)\n", host)
		}
	}
	return nil
}

// withinLarger refuses a forge: its files count in the root of a repository only,
// which has its own.
func (p *initPlan) withinLarger(talk io.Writer) error {
	script := p.folder + "/" + repolayout.PathCIScript
	if p.forge != "" && p.forge != example.NoForge {
		return fmt.Errorf("--forge %s: %s is a folder of the repository %s, and a forge reads its files in the root only: leave --forge out, "+
			"and let the workflow that is there call `bash %s`; espalier init --forge %s in an empty folder shows one", p.forge, p.shown, p.root, script, p.forge)
	}
	p.forge = example.NoForge
	fmt.Fprintf(talk, "%s is a folder of the repository %s: paths count from its root, and no files of a forge are written\n", p.shown, p.root)
	return nil
}

// nothingThere refuses when a file is there, or when what should be a folder is
// none, before anything is written.
func (p *initPlan) nothingThere(names []string) error {
	var taken []string
	for _, name := range names {
		for at := name; at != "."; at = filepath.Dir(at) {
			info, err := os.Lstat(filepath.Join(p.dir, at))
			if err == nil && (at == name || !info.IsDir()) && !slices.Contains(taken, at) {
				taken = append(taken, at)
			}
		}
	}
	if info, err := os.Stat(p.dir); err == nil && !info.IsDir() {
		return fmt.Errorf("%s is a file: give a folder, or the name of one that is to be made", p.shown)
	}
	if len(taken) == 0 {
		return nil
	}
	return fmt.Errorf("nothing is written to %s, because it would be over %s: move it away, or give another folder", p.shown, listed(taken, 5))
}

// listed names the first few of a list.
func listed(names []string, limit int) string {
	if more := len(names) - limit; more > 0 {
		return strings.Join(names[:limit], ", ") + fmt.Sprintf(" and %d more", more)
	}
	return strings.Join(names, ", ")
}

// writeAll writes files below dir. What it has made is removed again when it
// cannot make the rest.
func writeAll(dir string, names []string, files map[string]string) (err error) {
	var made []string
	defer func() {
		if err == nil {
			return
		}
		for _, path := range slices.Backward(made) {
			err = errors.Join(err, os.Remove(path))
		}
	}()
	for _, name := range names {
		to := filepath.Join(dir, filepath.FromSlash(name))
		folders, err := makeFolders(filepath.Dir(to))
		made = append(made, folders...)
		if err != nil {
			return fmt.Errorf("making %s: %w", filepath.Dir(to), err)
		}
		// Exclusively: what has come there meanwhile is not overwritten, nor is
		// what a link leads to.
		f, err := os.OpenFile(to, os.O_WRONLY|os.O_CREATE|os.O_EXCL, 0o644)
		if err != nil {
			return fmt.Errorf("writing %s: %w", to, err)
		}
		made = append(made, to)
		_, err = f.WriteString(files[name])
		if err = errors.Join(err, f.Close()); err != nil {
			return fmt.Errorf("writing %s: %w", to, err)
		}
	}
	return nil
}

// makeFolders makes a folder and those above it, and returns the ones that were
// not there, from the top.
func makeFolders(dir string) ([]string, error) {
	var missing []string
	for at := dir; ; at = filepath.Dir(at) {
		_, err := os.Stat(at)
		if err == nil {
			break
		}
		if !errors.Is(err, fs.ErrNotExist) {
			return nil, err
		}
		missing = append(missing, at)
	}
	slices.Reverse(missing)
	for i, at := range missing {
		if err := os.Mkdir(at, 0o755); err != nil {
			return missing[:i], err
		}
	}
	return missing, nil
}

// next says what to do now.
func (p *initPlan) next(w io.Writer) {
	fmt.Fprintf(w, "\nNext, in %s:\n", p.shown)
	if p.root == "" {
		fmt.Fprintf(w, "  git init -b %s\n", repolayout.BranchDefault)
	}
	for _, cluster := range []string{example.Staging, example.Production} {
		fmt.Fprintf(w, "  espalier validate %s --sync %s\n", repolayout.PathRoot(cluster), repolayout.PathSync(cluster))
	}
	fmt.Fprintf(w, "  put your clone address in the place of %s in %s\n", example.CloneAddress, strings.Join(p.addresses(), ", "))
	fmt.Fprintf(w, "  read README.md, then %s/README.md (what judges a pull request) and %s/README.md (connecting a cluster)\n", repolayout.PathCI, repolayout.PathClusters)
}

// addresses are the files that hold the clone address.
func (p *initPlan) addresses() []string {
	var names []string
	for _, cluster := range []string{example.Staging, example.Production} {
		names = append(names, repolayout.PathSync(cluster))
		if p.flux {
			names = append(names, repolayout.PathFluxFile(cluster))
		}
	}
	return names
}

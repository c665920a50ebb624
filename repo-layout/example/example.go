// SPDX-License-Identifier: Apache-2.0

// Package example is a complete sample repository: the one that `espalier init`
// writes, that the demo pushes, and that tests read as golden input.
//
// It holds files only. The repository as it stands without a forge and without
// Flux is this folder; a folder of variants has what is added or replaced for
// one forge, or for Flux. What the files mean is decided by repolayout.Decode,
// and tests keep them valid.
package example

import (
	"embed"
	"fmt"
	"io/fs"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

//go:embed README.md models components clusters ci all:variants
var embedded embed.FS

// Staging and Production are the clusters of the sample.
const (
	Staging    = "staging"
	Production = "production"
)

// CloneAddress stands where a team puts that of its repository.
const CloneAddress = "https://git.example.com/team/models.git"

const variants = "variants"

// Forge is where a repository is hosted.
type Forge string

// Values of Forge.
const (
	NoForge     Forge = "none"
	GitHub      Forge = "github"
	GitLab      Forge = "gitlab"
	Gitea       Forge = "gitea"
	AzureDevOps Forge = "azuredevops"
	Bitbucket   Forge = "bitbucket" // Bitbucket Cloud
)

// Forges are all values of Forge.
func Forges() []Forge { return []Forge{NoForge, GitHub, GitLab, Gitea, AzureDevOps, Bitbucket} }

// Options choose among the variants of the sample.
type Options struct {
	// Forge whose code owners and workflow are among the files; "" is NoForge.
	Forge Forge
	// Flux lets Flux fetch the repository and apply the RepoSyncs.
	Flux bool
	// Folder of a larger repository that the files are for, relative to its
	// root; "" or "." is the root itself.
	Folder string
}

// folderName is what a path may consist of, so that YAML and a shell read it as
// it stands.
var folderName = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

// Files returns the sample, by path.
func Files(o Options) (map[string]string, error) {
	if o.Forge == "" {
		o.Forge = NoForge
	}
	if !slices.Contains(Forges(), o.Forge) {
		return nil, fmt.Errorf("no forge %q: want one of %s", o.Forge, forgeNames())
	}
	files, err := read(".")
	if err != nil {
		return nil, err
	}
	for _, name := range o.variants() {
		more, err := read(path.Join(variants, name))
		if err != nil {
			return nil, err
		}
		maps.Copy(files, more)
	}
	return files, moveTo(files, path.Clean(o.Folder))
}

func (o Options) variants() []string {
	var names []string
	if o.Forge != NoForge {
		names = append(names, string(o.Forge))
	}
	if o.Flux {
		names = append(names, "flux")
	}
	return names
}

func forgeNames() string {
	var names []string
	for _, f := range Forges() {
		names = append(names, string(f))
	}
	return strings.Join(names, ", ")
}

// read returns the files below a folder, by their path within it.
func read(dir string) (map[string]string, error) {
	files := map[string]string{}
	tree, err := fs.Sub(embedded, dir)
	if err != nil {
		return nil, fmt.Errorf("reading the sample repository: %w", err)
	}
	err = fs.WalkDir(tree, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return err
		case d.IsDir() && name == variants:
			return fs.SkipDir
		case d.IsDir():
			return nil
		}
		content, err := fs.ReadFile(tree, name)
		files[name] = string(content)
		return err
	})
	if err != nil {
		return nil, fmt.Errorf("reading the sample repository: %w", err)
	}
	return files, nil
}

// moveTo writes the paths that count from the root of the repository for a folder
// of it.
func moveTo(files map[string]string, folder string) error {
	if folder == "." {
		return nil
	}
	if !folderName.MatchString(folder) {
		return fmt.Errorf("folder %q: letters, digits, dots, dashes and underscores only, because paths of the files name it", folder)
	}
	for _, cluster := range []string{Staging, Production} {
		at := path.Join(repolayout.PathClusters, cluster)
		for _, name := range []string{repolayout.PathSync(cluster), repolayout.PathFluxFile(cluster)} {
			if text, ok := files[name]; ok {
				text = strings.ReplaceAll(text, " path: "+at, " path: "+path.Join(folder, at))
				files[name] = strings.ReplaceAll(text, " path: ./"+at, " path: ./"+path.Join(folder, at))
			}
		}
	}
	return nil
}

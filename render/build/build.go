// SPDX-License-Identifier: Apache-2.0

// Package build turns a tree of files into objects, with Kustomize where the
// tree has kustomizations: the first of the two stages of rendering, over what
// users write.
//
// Input is hostile: everything a build would read is read here first, and what
// leads out of the tree, runs something or grows without bound is refused with
// its file and line before Kustomize starts. Kustomize then sees a file system
// in memory that holds just those files. The package never touches a network, a
// disk or a cluster, and does not know what the objects mean.
package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ErrNoPath is the cause of Build's error when root is not in the tree.
var ErrNoPath = errors.New("no such folder in the repository")

// Limits bound what a Build reads and makes; a zero field is its default.
type Limits struct {
	// Files and TreeBytes bound what one Build reads, FileBytes one file.
	Files                int
	FileBytes, TreeBytes int64
	// AliasBytes bounds what the aliases of one YAML file expand to.
	AliasBytes int
	// Kustomizations bounds how many one unit's build reads, each counted as
	// often as it is listed.
	Kustomizations int
	// OutputBytes bounds the objects of one unit.
	OutputBytes int64
}

// DefaultLimits are far above what people write and well below what hurts: a
// Workspace is about 1 KB, and etcd takes no object above 1.5 MiB.
func DefaultLimits() Limits {
	return Limits{
		Files: 50_000, FileBytes: 2 << 20, TreeBytes: 256 << 20,
		AliasBytes: 1 << 20, Kustomizations: 20_000, OutputBytes: 64 << 20,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	fill(&l.Files, d.Files)
	fill(&l.FileBytes, d.FileBytes)
	fill(&l.TreeBytes, d.TreeBytes)
	fill(&l.AliasBytes, d.AliasBytes)
	fill(&l.Kustomizations, d.Kustomizations)
	fill(&l.OutputBytes, d.OutputBytes)
	return l
}

func fill[T int | int64](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Unit is what is built and judged on its own: a folder that the root
// kustomization lists, a root that does more than list folders, or a file where
// there is no kustomization.
type Unit struct {
	// Path is the folder or file, relative to the root of the tree.
	Path string
	// Objects in the order of the build; none when there is an error finding.
	Objects []Object
	// Findings; with one of severity error the unit has failed.
	Findings []v1alpha1.Finding
	// Reads are the files the build consulted, in order.
	Reads []string
}

// Build builds what is below the folder root of tree, "" or "." being the tree
// itself. What is wrong with the content is a finding of its unit; the error is
// for a root that is not there (ErrNoPath), a tree that cannot be read, or ctx.
func Build(ctx context.Context, tree fs.FS, root string, limits Limits) ([]Unit, error) {
	root = path.Clean(strings.TrimSuffix("./"+root, "/"))
	if !fs.ValidPath(root) {
		return nil, fmt.Errorf("path %q: %w", root, ErrNoPath)
	}
	s := newSource(tree, limits.withDefaults())
	k, err := s.look(root)
	switch {
	case err != nil:
		return nil, fmt.Errorf("path %q: %w", root, err)
	case k != folder:
		return nil, fmt.Errorf("path %q: %w", root, ErrNoPath)
	}
	plans, err := s.plan(root)
	if err != nil {
		return nil, err
	}
	units := make([]Unit, 0, len(plans))
	for _, p := range plans {
		u := s.unit(ctx, p)
		if err := ctx.Err(); err != nil {
			return nil, fmt.Errorf("building %s: %w", p.path, err)
		}
		units = append(units, u)
	}
	collisions(units)
	return units, nil
}

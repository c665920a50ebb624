// SPDX-License-Identifier: Apache-2.0

// Package build turns a tree of files into objects, with Kustomize where the
// tree has kustomizations: the first of the two stages of rendering, over what
// users write.
//
// Input is hostile: everything a build would read is read here first, and what
// leads out of the tree, runs something or grows without bound is refused with
// its file and line before Kustomize starts. Kustomize then sees a file system
// in memory that holds just those files. The package never touches a network, a
// disk or a cluster, and what the objects mean is for repolayout.Decode to say.
package build

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sync/errgroup"
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
	// Objects bounds what one unit's build takes together, each base counted as
	// often as it is listed: Kustomize compares every object with every other.
	Objects int
	// OutputBytes bounds the objects of one unit.
	OutputBytes int64
	// Time bounds the build of one unit, once its turn has come; one that is refused may
	// be built a second time, for the message.
	Time time.Duration
}

// DefaultLimits are far above what people write and well below what hurts: a
// Workspace is about 1 KB, and etcd takes no object above 1.5 MiB.
func DefaultLimits() Limits {
	return Limits{
		Files: 50_000, FileBytes: 2 << 20, TreeBytes: 256 << 20,
		AliasBytes: 1 << 20, Kustomizations: 20_000, Objects: 2_000, OutputBytes: 64 << 20,
		Time: 2 * time.Minute,
	}
}

func (l Limits) withDefaults() Limits {
	d := DefaultLimits()
	fill(&l.Files, d.Files)
	fill(&l.FileBytes, d.FileBytes)
	fill(&l.TreeBytes, d.TreeBytes)
	fill(&l.AliasBytes, d.AliasBytes)
	fill(&l.Kustomizations, d.Kustomizations)
	fill(&l.Objects, d.Objects)
	fill(&l.OutputBytes, d.OutputBytes)
	fill(&l.Time, d.Time)
	return l
}

func fill[T int | int64 | time.Duration](field *T, value T) {
	if *field == 0 {
		*field = value
	}
}

// Build builds what is below the folder root of tree, "" or "." being the tree
// itself. What is wrong with the content is a finding of its unit; the error is
// for a root that is not there (ErrNoPath), a tree that cannot be read, or ctx.
func Build(ctx context.Context, tree fs.FS, root string, limits Limits) ([]Unit, error) {
	return buildAll(ctx, nil, tree, root, limits)
}

// Build is the function Build, which takes what the cache has kept.
func (c *Cache) Build(ctx context.Context, tree fs.FS, root string, limits Limits) ([]Unit, error) {
	return buildAll(ctx, c, tree, root, limits)
}

func buildAll(ctx context.Context, c *Cache, tree fs.FS, root string, limits Limits) ([]Unit, error) {
	root = path.Clean(strings.TrimSuffix("./"+root, "/"))
	if !fs.ValidPath(root) {
		return nil, fmt.Errorf("path %q: %w", root, ErrNoPath)
	}
	s := newSource(tree, limits.withDefaults(), c != nil)
	s.gone = ctx.Err
	found, err := s.look(root)
	switch {
	case err != nil:
		return nil, fmt.Errorf("path %q: %w", root, err)
	case found.kind == refused:
		return nil, fmt.Errorf("path %q: %w", root, refuse(Symlink, "%s", found.why))
	case found.kind != folder:
		return nil, fmt.Errorf("path %q: %w", root, ErrNoPath)
	}
	plans, err := c.plan(s, root)
	if err != nil {
		return nil, err
	}
	key := planKey{root, s.limits}
	p, before := c.begin(s, key, plans)
	followed := len(s.taken) > 0
	fresh, err := c.build(ctx, s, p)
	if err == nil && followed && s.exact {
		// Near a limit the order of reading decides who is refused: all of it anew.
		again := newSource(tree, s.limits, true)
		again.gone = ctx.Err
		p, fresh, err = c.inOrder(ctx, again, root)
		before = nil
	}
	if err != nil {
		return nil, err
	}
	units := p.units
	if p.compare(fresh, before) {
		c.leave(key, p)
	}
	return units, nil
}

// inOrder builds with no look at the Build before.
func (c *Cache) inOrder(ctx context.Context, s *source, root string) (p *pass, fresh []int, err error) {
	plans, err := c.plan(s, root)
	if err != nil {
		return nil, nil, err
	}
	p = newPass(s, plans)
	fresh, err = c.build(ctx, s, p)
	return p, fresh, err
}

// build builds every unit of a pass that is not there yet and not kept: one after the
// other is read, and built beside those read before. It returns which these are, with
// those that were kept.
func (c *Cache) build(ctx context.Context, s *source, p *pass) (fresh []int, err error) {
	var builds errgroup.Group
	builds.SetLimit(runtime.GOMAXPROCS(0))
	for i, plan := range p.plans {
		if p.entries[i] != nil {
			continue
		}
		fresh = append(fresh, i)
		if e := c.find(s, plan); e != nil {
			p.entries[i], p.units[i] = e, e.unit()
			continue
		}
		if ctx.Err() != nil {
			break
		}
		t := s.prepare(plan)
		builds.Go(func() error {
			p.units[i] = t.build(ctx)
			if ctx.Err() == nil {
				p.entries[i] = c.keep(t, &p.units[i])
			}
			return nil
		})
	}
	_ = builds.Wait() // what is wrong is said by the units
	if err := ctx.Err(); err != nil {
		return nil, fmt.Errorf("building: %w", err)
	}
	c.followed(len(p.plans) - len(fresh))
	return fresh, nil
}

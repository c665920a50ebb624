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

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// worktree is the head that stands for the files on disk.
const worktree = "worktree"

// revisions are the two that are compared.
type revisions struct {
	repository *git.Local
	base, head tree
}

// tree is the files of one revision.
type tree struct {
	name, commit string
	files        fs.FS
}

// openRevisions finds the repository and the two revisions.
func openRevisions(o planOptions) (*revisions, error) {
	repository, err := git.OpenLocal(o.repo)
	if err != nil {
		return nil, err
	}
	r := &revisions{repository: repository}
	if err := r.resolve(o); err != nil {
		_ = repository.Close()
		return nil, err
	}
	return r, nil
}

func (r *revisions) resolve(o planOptions) error {
	if o.base == "" {
		if o.base = r.repository.FirstOf("origin/HEAD", "origin/main", "origin/master", "main", "master"); o.base == "" {
			return errors.New("--base: this repository has neither origin's main branch, nor main, nor master: name the revision that the change goes to")
		}
	}
	at := o.head // a commit, also where the files on disk are compared
	if o.head == worktree {
		at = "HEAD"
		r.head = tree{name: worktree, files: os.DirFS(r.repository.Root())}
	} else {
		head, err := r.repository.Commit(o.head)
		if err != nil {
			return fmt.Errorf("--head: %w", err)
		}
		r.head = tree{o.head, head.Hash, head.Tree}
	}
	if o.direct {
		base, err := r.repository.Commit(o.base)
		if err != nil {
			return fmt.Errorf("--base: %w", err)
		}
		r.base = tree{o.base, base.Hash, base.Tree}
		return nil
	}
	base, err := r.repository.MergeBase(o.base, at)
	if err != nil {
		return fmt.Errorf("--base: %w", err)
	}
	r.base = tree{o.base, base.Hash, base.Tree}
	return nil
}

// say tells which commits are compared, and what is not.
func (r *revisions) say(w io.Writer) {
	fmt.Fprintf(w, "comparing %s with %s\n", r.base, r.head)
	same := r.base.commit == r.head.commit
	switch {
	case r.edited():
		fmt.Fprintln(w, "note: the work tree has changes that are not committed: --head worktree plans them")
	case same && r.of(r.base.name) == r.head.commit:
		fmt.Fprintln(w, "both are the same commit: commit the change on a branch of its own, or plan the files on disk with --head worktree")
	case same:
		fmt.Fprintln(w, "both are the same commit: head holds nothing that base does not; --direct compares with base itself")
	}
}

// edited says whether the work tree is of head and holds something else.
func (r *revisions) edited() bool {
	if r.head.commit == "" || r.of("HEAD") != r.head.commit {
		return false
	}
	if _, err := os.Stat(filepath.Join(r.repository.Root(), ".git")); err != nil {
		return false // a bare repository
	}
	return uncommitted(r.head.files, r.repository.Root())
}

// of is the commit that a revision names, "" for none.
func (r *revisions) of(revision string) string {
	commit, err := r.repository.Commit(revision)
	if err != nil {
		return ""
	}
	return commit.Hash
}

// String names a revision.
func (t tree) String() string {
	switch t.commit {
	case "":
		return t.name
	case t.name:
		return t.commit[:7]
	}
	return t.name + " (" + t.commit[:7] + ")"
}

// kept is what the two revisions share: what is the same in both is built, judged
// and rendered once.
type kept struct {
	judge  *desired.Judge
	builds *build.Cache
}

// sides builds and judges both revisions.
func (r *revisions) sides(ctx context.Context, o planOptions) (base, head plan.Side, notes []plan.Note, err error) {
	syncs, err := r.syncs(o)
	if err != nil {
		return base, head, nil, err
	}
	k := kept{judge: &desired.Judge{Region: o.region, Render: o.render}, builds: build.NewCache(build.CacheLimits{})}
	base, baseGone, err := r.base.side(ctx, k, syncs.base, o.path)
	if err != nil {
		return base, head, nil, err
	}
	head, headGone, err := r.head.side(ctx, k, syncs.head, o.path)
	if err != nil {
		return base, head, nil, err
	}
	if baseGone && headGone {
		folder := pathOf(syncs.head, o.path)
		return base, head, nil, fmt.Errorf("neither revision holds the folder %q%s", folder, didYouMean(r.head.files, folder))
	}
	if syncs.newCluster {
		base.State = desired.State{}
	}
	base.State.Verdicts = append(base.State.Verdicts, syncs.brokenBase...)
	head.State.Verdicts = append(head.State.Verdicts, syncs.broken...)
	if headGone && o.path == "" {
		head.State.Verdicts = append(head.State.Verdicts, r.pathMissing(syncs)...)
	}
	head.SyncGone, head.SyncElse = syncs.gone, syncs.others()
	if syncs.base != nil {
		inBase, _ := syncNamed(r.base.files, syncs.base)
		inHead, _ := syncNamed(r.head.files, syncs.base)
		head.SyncUnlisted = r.unlisted(inBase, inHead)
	}
	return base, head, syncs.notes, nil
}

// pathMissing is the error on the RepoSync of head whose path is no folder, and was none in
// base: one that head removes is no mistake.
func (r *revisions) pathMissing(syncs foundSyncs) []v1alpha1.Finding {
	if syncs.head == nil || syncs.file == "" || isFolder(r.base.files, syncs.head.Spec.Path) {
		return nil
	}
	s := placedSync{syncs.head, r.head.files, syncs.file}
	return s.at(s.pathMissing())
}

func pathOf(sync *v1alpha1.RepoSync, given string) string {
	if given == "" && sync != nil {
		return sync.Spec.Path
	}
	return given
}

// side builds and judges one revision. A folder that is not there holds nothing,
// which is how it begins, or how it ends.
func (t tree) side(ctx context.Context, k kept, sync *v1alpha1.RepoSync, folder string) (side plan.Side, gone bool, err error) {
	side = plan.Side{Name: t.name, Commit: t.commit, Sync: sync}
	units, err := k.builds.Build(ctx, t.files, pathOf(sync, folder), build.DefaultLimits())
	if errors.Is(err, build.ErrNoPath) {
		units, gone, err = nil, true, nil
	}
	if err != nil {
		return side, gone, fmt.Errorf("building %s: %w", t, err)
	}
	documents, findings := desired.Units(sync, units)
	side.State = k.judge.State(documents, findings)
	return side, gone, nil
}

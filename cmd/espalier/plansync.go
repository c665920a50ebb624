// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io/fs"
	"path"
	"path/filepath"
	"slices"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// foundSyncs are the RepoSyncs that apply to the two revisions.
type foundSyncs struct {
	base, head *v1alpha1.RepoSync // nil: none
	brokenBase []v1alpha1.Finding // why that of base cannot be used
	broken     []v1alpha1.Finding // why that of head cannot be used
	file       string             // of head that holds its RepoSync; "": none does, or none that was named
	newCluster bool               // base holds no such RepoSync: all of head is new
	gone       bool               // base holds a RepoSync that head does not
	notes      []plan.Note
}

// syncs finds the RepoSync of both revisions: --sync, else the one that each holds.
func (r *revisions) syncs(o planOptions) (foundSyncs, error) {
	if o.syncFile == "" {
		return r.searchSyncs(o.path)
	}
	for _, name := range r.inRepository(o) {
		inBase, inHead := exists(r.base.files, name), exists(r.head.files, name)
		if inBase || inHead {
			return r.namedSyncs(name, inBase, inHead)
		}
	}
	sync, err := readSync(o.syncFile)
	return foundSyncs{base: sync, head: sync}, err
}

func exists(files fs.FS, name string) bool {
	_, err := fs.Stat(files, name)
	return err == nil
}

// inRepository is what --sync may mean as a path of the repository: relative to
// where one stands, to --repo, or to the root.
func (r *revisions) inRepository(o planOptions) []string {
	var names []string
	for _, file := range []string{o.syncFile, filepath.Join(o.repo, o.syncFile), filepath.Join(r.repository.Root(), o.syncFile)} {
		absolute, err := filepath.Abs(file)
		if err != nil {
			continue
		}
		rel, err := filepath.Rel(r.repository.Root(), absolute)
		if name := filepath.ToSlash(rel); err == nil && fs.ValidPath(name) {
			names = append(names, name)
		}
	}
	return names
}

// namedSyncs reads one file at both revisions.
func (r *revisions) namedSyncs(name string, inBase, inHead bool) (foundSyncs, error) {
	var s foundSyncs
	var err error
	if inBase {
		s.base, s.brokenBase, err = syncAt(r.base, name)
	}
	if err == nil && inHead {
		s.file = name
		s.head, s.broken, err = syncAt(r.head, name)
	}
	switch {
	case err != nil:
		return s, err
	case !inHead && s.base != nil:
		s.head = elsewhere(r.head, s.base)
		s.gone = s.head == nil
	}
	switch {
	case s.head == nil:
		s.head = s.base
	case !inBase:
		s.base = elsewhere(r.base, s.head)
		s.newCluster = s.base == nil
	}
	if s.base == nil {
		s.base = s.head
	}
	if s.newCluster {
		s.note("RepoSync %s/%s is new: everything that it applies counts as new.", s.head.Namespace, s.head.Name)
	}
	return s, nil
}

func (s *foundSyncs) note(format string, args ...any) {
	s.notes = append(s.notes, plan.Note{Code: plan.RepoSyncChanged, Message: fmt.Sprintf(format, args...)})
}

// plannedFields are the fields of a RepoSync that a plan follows from either revision.
var plannedFields = []string{"path", "targetNamespace", "substitutions", "prune", "postBuild", "defaults", "mode"}

// others are the fields that head changes and a plan does not follow.
func (s *foundSyncs) others() []string {
	if s.base == nil || s.head == nil || s.base.Namespace != s.head.Namespace || s.base.Name != s.head.Name {
		return nil
	}
	return slices.DeleteFunc(changedFields(s.base.Spec, s.head.Spec), func(f string) bool { return slices.Contains(plannedFields, f) })
}

// syncAt reads the RepoSync of a file of a revision. One that does not decode is
// nil, with the findings that say why.
func syncAt(t tree, name string) (*v1alpha1.RepoSync, []v1alpha1.Finding, error) {
	content, err := fs.ReadFile(t.files, name)
	if err != nil {
		return nil, nil, fmt.Errorf("reading --sync: %w", err)
	}
	sync, broken := syncIn(name, content)
	if sync == nil && len(broken) == 0 {
		return nil, nil, fmt.Errorf("--sync: %s of %s holds no RepoSync", name, t)
	}
	return sync, broken, nil
}

// elsewhere finds a RepoSync in a tree, in whichever file; nil: it is not there.
func elsewhere(t tree, sync *v1alpha1.RepoSync) *v1alpha1.RepoSync {
	found, _ := syncNamed(t.files, sync)
	if len(found) == 0 {
		return nil
	}
	return found[0].RepoSync
}

// searchSyncs takes the one RepoSync of each revision that syncs a folder.
func (r *revisions) searchSyncs(folder string) (foundSyncs, error) {
	folder = path.Clean(folder) // "" is "."
	head, err := findSync(r.head.files, folder)
	if err != nil {
		return foundSyncs{}, fmt.Errorf("%s: %w", r.head, err)
	}
	base, err := findSync(r.base.files, folder)
	if err != nil {
		return foundSyncs{}, fmt.Errorf("%s: %w", r.base, err)
	}
	s := foundSyncs{base: base.sync, head: head.sync, brokenBase: base.broken, broken: head.broken, file: head.file}
	s.gone = s.base != nil && len(s.broken) == 0 && elsewhere(r.head, s.base) == nil
	if s.head == nil {
		s.head = s.base
	}
	if s.base == nil {
		s.base = s.head
	}
	return s, nil
}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"cmp"
	"io/fs"
	"maps"
	"path"
	"slices"

	"sigs.k8s.io/kustomize/api/konfig"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Holding is a tree and the files of it that hold one object.
type Holding struct {
	Tree  fs.FS
	Files []string
}

// Unlisted says where in base kustomizations list the files of an object, as file:line, where
// none of head takes it in any more: what applies those, and prunes, deletes the object. None
// where base lists it nowhere, as what is applied by hand, and where head cannot be built:
// nothing is pruned then.
func Unlisted(base, head Holding) []string {
	was, is := listingsOf(base.Tree), listingsOf(head.Tree)
	if was.stillIn(is) && !slices.ContainsFunc(base.Files, func(f string) bool { return !slices.Contains(head.Files, f) }) {
		return nil // as most changes leave it
	}
	was.read()
	before := was.reach(base.Files)
	tops := slices.DeleteFunc(slices.Collect(maps.Keys(before)), func(dir string) bool { return len(was.by[dir]) > 0 })
	if len(tops) == 0 {
		return nil
	}
	is.read()
	for dir := range is.reach(head.Files) {
		if !before[dir] {
			return nil // it has moved there
		}
	}
	still := is.reach(append(slices.Clone(head.Files), is.broken...))
	for _, dir := range tops { // which somebody is told to apply, since no other lists them
		if still[dir] || slices.Contains(is.broken, dir) || is.generated(dir, head.Files) {
			return nil
		}
	}
	return was.without(is, before, base.Files)
}

// listings are what the kustomizations of a tree list, whoever builds them.
type listings struct {
	*source
	own    map[string][]string // the kustomizations of a folder; Kustomize wants one
	by     map[string][]listed // by the file or folder that is listed
	broken []string            // folders whose kustomization no build gets past
}

// listed is an entry of the kustomization of a folder.
type listed struct {
	dir string
	at  place
}

// listingsOf finds the kustomizations, and reads none.
func listingsOf(tree fs.FS) *listings {
	l := &listings{source: newSource(tree, DefaultLimits(), false), own: map[string][]string{}, by: map[string][]listed{}}
	_ = fs.WalkDir(tree, ".", func(p string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() && d.Name() == ".git" {
			return fs.SkipDir
		}
		if d.Type().IsRegular() && slices.Contains(konfig.RecognizedKustomizationFileNames(), d.Name()) {
			l.own[path.Dir(p)] = append(l.own[path.Dir(p)], p)
		}
		return nil
	})
	return l
}

// stillIn says whether another tree has all kustomizations of this one, as they are.
func (l *listings) stillIn(other *listings) bool {
	for _, files := range l.own {
		for _, f := range files {
			a, err := l.hash(f)
			b, otherErr := other.hash(f)
			if err != nil || otherErr != nil || a != b {
				return false
			}
		}
	}
	return true
}

func (l *listings) read() {
	for dir, files := range l.own {
		if len(files) != 1 || !l.readOne(dir, files[0]) {
			l.broken = append(l.broken, dir)
		}
	}
}

// readOne notes what a kustomization lists. False: it, or something that it names, cannot be
// read.
func (l *listings) readOne(dir, file string) bool {
	s := newScan(l.source)
	defer l.forget(s.view, dir)
	r, _, ok := s.open(dir, file, place{file, 0})
	if !ok {
		return false
	}
	note := func(p string, from place) cost {
		k, err := s.look(p)
		ok = ok && err == nil && (k == regular || l.own[p] != nil)
		l.by[p] = append(l.by[p], listed{dir, from})
		return cost{}
	}
	r.listed(note, note)
	return ok
}

// reach are the folders whose kustomizations list one of these, or a folder that does.
func (l *listings) reach(paths []string) map[string]bool {
	reached := map[string]bool{}
	for queue := slices.Clone(paths); len(queue) > 0; queue = queue[1:] {
		for _, e := range l.by[queue[0]] {
			if !reached[e.dir] {
				reached[e.dir] = true
				queue = append(queue, e.dir)
			}
		}
	}
	return reached
}

// generated says whether Flux would list a file itself: it does where a folder has no
// kustomization.
func (l *listings) generated(dir string, files []string) bool {
	return l.own[dir] == nil && slices.ContainsFunc(files, func(f string) bool { return below(f, dir) })
}

// without are the entries on the way to files that another tree has no more.
func (l *listings) without(other *listings, reached map[string]bool, files []string) []string {
	var gone []place
	for p, entries := range l.by {
		if !reached[p] && !slices.Contains(files, p) {
			continue
		}
		for _, e := range entries {
			if !slices.ContainsFunc(other.by[p], func(o listed) bool { return o.dir == e.dir }) {
				gone = append(gone, e.at)
			}
		}
	}
	slices.SortFunc(gone, func(a, b place) int { return cmp.Or(cmp.Compare(a.file, b.file), cmp.Compare(a.line, b.line)) })
	texts := make([]string, 0, len(gone))
	for _, at := range gone {
		texts = append(texts, finding.Location(at.file, at.line))
	}
	return texts
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"io"
	"io/fs"
	"os"
	"path"
	"strings"

	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxFolders bounds the folders among which the one that was meant is looked for.
const maxFolders = 10000

// isFolder says whether a path is a folder of a tree; "" is its root.
func isFolder(files fs.FS, name string) bool {
	info, err := fs.Stat(files, path.Join(name, "."))
	return err == nil && info.IsDir()
}

// nearestFolder is the folder of a tree that is as deep as a path and whose name is most
// like it; "" for none.
func nearestFolder(files fs.FS, name string) string {
	name = path.Join(name, ".")
	var folders []string
	seen := 0
	_ = fs.WalkDir(files, ".", func(p string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case !d.IsDir():
			return nil
		case d.Name() == ".git":
			return fs.SkipDir
		case seen == maxFolders:
			return fs.SkipAll
		}
		if seen++; p != "." && strings.Count(p, "/") == strings.Count(name, "/") {
			folders = append(folders, p)
		}
		return nil
	})
	return repolayout.Nearest(name, folders)
}

// didYouMean ends a message on a folder that is not there.
func didYouMean(files fs.FS, name string) string {
	if near := nearestFolder(files, name); near != "" {
		return "; did you mean " + near + "?"
	}
	return ""
}

// placedSync is a RepoSync and the file of a tree that holds it.
type placedSync struct {
	*v1alpha1.RepoSync
	files fs.FS
	file  string
}

// at places problems in the file.
func (s placedSync) at(problems ...finding.Problem) []v1alpha1.Finding {
	content, err := fs.ReadFile(s.files, s.file)
	if err != nil {
		return nil
	}
	position := repolayout.FilePosition(s.file, content, v1alpha1.RepoSyncKind, s.Name)
	var findings []v1alpha1.Finding
	for _, p := range problems {
		findings = append(findings, p.At(position, v1alpha1.RepoSyncKind+"/"+path.Join(s.Namespace, s.Name)))
	}
	return findings
}

// pathMissing is what is wrong with a path that is no folder of the tree.
func (s placedSync) pathMissing() finding.Problem {
	return finding.Errorf(finding.PathMissing, "spec.path", "there is no folder %.200s in this repository%s", s.Spec.Path, didYouMean(s.files, s.Spec.Path))
}

// ofSync is what is wrong with the RepoSync that the target is judged with, where the
// repository around the target holds its file. The RepoSync may be of another repository
// all the same, unless the target is the folder that was meant.
func (l *loaded) ofSync() []v1alpha1.Finding {
	if l.syncs.sync == nil || l.alone || l.root == "" || !fs.ValidPath(l.syncs.file) {
		return nil
	}
	s := placedSync{l.syncs.sync, os.DirFS(l.root), l.syncs.file}
	problems := check.Substitutions(s.Spec.Substitutions)
	if !isFolder(s.files, s.Spec.Path) {
		p := s.pathMissing()
		if near := nearestFolder(s.files, s.Spec.Path); near == "" || near != l.rel() {
			p.Severity = finding.Warning
		}
		problems = append(problems, p)
	}
	return s.at(problems...)
}

// rel is the folder of a target within its root.
func (t target) rel() string {
	if len(t.files) > 0 {
		return path.Dir(t.name(t.files[0]))
	}
	return t.folder
}

// saySync tells the reader which RepoSync the findings rest on, and where that follows
// another folder than the one that was named.
func (l *loaded) saySync(w io.Writer) {
	saySync(w, l.syncs)
	if s := l.syncs.sync; s != nil && l.root != "" && !l.alone && !covers(s, l.rel()) {
		fmt.Fprintf(w, "note: RepoSync %s follows %s, and %s is another folder\n", path.Join(s.Namespace, s.Name), s.Spec.Path, l.rel())
	}
}

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"errors"
	"fmt"
	"io/fs"
	"path"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/git"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// difference between a report and what the branch holds of the last.
type difference struct {
	stays map[string]bool // paths of the branch that hold what they are to hold
	new   []string        // files of the report that it has not, or not so
	gone  []string        // files of the last report that say something else, or nothing, now
}

// compare compares the report with the hashes of the last: of a fleet few have changed,
// and only they are rendered and read.
func (w *writer) compare(old map[string]git.Hash) difference {
	d := difference{stays: make(map[string]bool, len(old))}
	for name, file := range w.files {
		if hash, there := old[name]; there && hash == file.Hash {
			d.stays[w.at(name)] = true
			continue
		}
		d.new = append(d.new, name)
	}
	for name := range old {
		if !d.stays[w.at(name)] {
			d.gone = append(d.gone, name)
		}
	}
	return d
}

// last says what a document of the last report says.
func (w *writer) last(branch *git.Branch) func(name string) (*said, error) {
	if branch.Known {
		return func(name string) (*said, error) { return w.book.docs[name], nil }
	}
	return func(name string) (*said, error) {
		content, err := branch.Tree.ReadFile(w.at(name))
		if err != nil {
			return nil, fmt.Errorf("reading the last report: %w", err)
		}
		return parse(content), nil
	}
}

// statusFiles are the hashes of what an earlier report left.
func (w *writer) statusFiles(branch *git.Branch) (map[string]git.Hash, error) {
	files := map[string]git.Hash{}
	if branch.Hash == "" {
		return files, nil
	}
	root := path.Join(".", w.Folder)
	if _, err := branch.Tree.Stat(root); errors.Is(err, fs.ErrNotExist) {
		return files, nil
	}
	if err := w.hashes(branch.Tree, root, files); err != nil {
		return nil, fmt.Errorf("reading the last report: %w", err)
	}
	return files, nil
}

// hashes adds those of the report's files in a folder.
func (w *writer) hashes(tree *git.Tree, folder string, files map[string]git.Hash) error {
	var folders []string
	var foreign string
	err := tree.Each(folder, func(base string, kind fs.FileMode, hash []byte) {
		name := path.Join(folder, base)
		switch {
		case kind.IsDir():
			folders = append(folders, name)
		case !kind.IsRegular() || !w.owns(name):
		case base == repolayout.StatusOwnerFile && name != w.at(repolayout.StatusOwnerFile):
			foreign = folder
		default:
			files[strings.TrimPrefix(name, w.Folder+"/")] = git.Hash(hash)
		}
	})
	if err != nil {
		return err
	}
	if foreign != "" {
		return w.remote.Errorf(v1alpha1.ReasonReportConflict, "%s holds the report %s of somebody else, which would be deleted: give each a folder of its own", w.where(), foreign)
	}
	for _, sub := range folders {
		if err := w.hashes(tree, sub, files); err != nil {
			return err
		}
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"cmp"
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
	new  map[string]File // that the branch has not, or not so, by path
	gone []string        // paths of the last report that are not of this one

	// was says what documents said that are new and were there before, or are gone.
	was map[string]func() (*said, error)
}

func newDifference() difference {
	return difference{new: map[string]File{}, was: map[string]func() (*said, error){}}
}

// compare compares the report with the last: of a fleet few have changed, and only they
// are rendered and read.
func (w *writer) compare(branch *git.Branch) (difference, error) {
	if branch.Known {
		return w.book.compare(w.report), nil
	}
	old, err := w.statusFiles(branch)
	if err != nil {
		return difference{}, err
	}
	d := newDifference()
	for name, file := range w.report.files() {
		if hash, there := old[name]; !there || hash != file.Hash {
			d.new[name] = file
		} else {
			delete(old, name)
		}
	}
	for name, hash := range old {
		if _, again := d.new[name]; !again {
			d.gone = append(d.gone, name)
		}
		if isDocument(name) && hash != noFile {
			d.was[name] = w.reading(branch, name)
		}
	}
	return d, nil
}

// reading reads what a document of the last report says.
func (w *writer) reading(branch *git.Branch, name string) func() (*said, error) {
	return func() (*said, error) {
		content, err := branch.Tree.ReadFile(w.at(name))
		if err != nil {
			return nil, fmt.Errorf("reading the last report: %w", err)
		}
		return parse(content), nil
	}
}

// compare compares a report with the one that the branch has. Both have their rows in
// the same order, and a row that has not changed is the same one.
func (b *Book) compare(with Report) difference {
	d, old, i := newDifference(), b.rows, 0
	for i < len(with.rows) || len(old) > 0 {
		switch order := with.order(i, old); {
		case order < 0:
			d.put(with, i, nil)
			i++
		case order > 0:
			d.drop(old[0])
			old = old[1:]
		default:
			if old[0] != with.rows[i] {
				d.put(with, i, old[0])
			}
			old, i = old[1:], i+1
		}
	}
	for path, file := range with.others {
		if hash, there := b.others[path]; !there || hash != file.Hash {
			d.new[path] = file
		}
	}
	for path := range b.others {
		if _, there := with.others[path]; !there {
			d.gone = append(d.gone, path)
		}
	}
	return d
}

// order says which comes first: the row at i, less than 0, or the first of old, more.
func (r Report) order(i int, old []*remembered) int {
	switch {
	case i == len(r.rows):
		return 1
	case len(old) == 0:
		return -1
	case old[0] == r.rows[i]:
		return 0
	}
	a, b := r.rows[i].key, old[0].key
	return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
}

// put notes the files of a Workspace that are not as they were; was is nil where there
// were none.
func (d *difference) put(of Report, i int, was *remembered) {
	row := of.rows[i]
	if was == nil || was.text != row.text {
		d.new[row.document()] = of.document(i)
		if was != nil {
			d.was[row.document()] = was.said
		}
	}
	if was == nil || was.badge != row.badge {
		d.new[row.picture()] = of.picture(i)
	}
}

// drop notes the files of a Workspace that is told of no more.
func (d *difference) drop(was *remembered) {
	d.gone = append(d.gone, was.document(), was.picture())
	d.was[was.document()] = was.said
}

func (k *remembered) said() (*said, error) { return &k.says, nil }

// noFile stands for what is in the place of a file and is none.
var noFile git.Hash

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
		case !w.owns(name):
		case !kind.IsRegular():
			files[strings.TrimPrefix(name, w.Folder+"/")] = noFile
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

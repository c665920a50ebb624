// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"io/fs"
	"os"
	"path/filepath"
)

// maxCompared bounds the files of the work tree that are compared with a commit.
const maxCompared = 5000

// uncommitted says whether a YAML file that the commit holds is another one in the work
// tree. What git ignores, what is new and what a sparse clone lacks is not looked at, and
// the ends of lines are git's business.
func uncommitted(files fs.FS, root string) bool {
	compared, differs := 0, false
	_ = fs.WalkDir(files, ".", func(name string, d fs.DirEntry, err error) error {
		switch {
		case err != nil:
			return fs.SkipDir
		case compared == maxCompared:
			return fs.SkipAll
		case !d.Type().IsRegular() || filepath.Ext(name) != ".yaml" && filepath.Ext(name) != ".yml":
			return nil
		}
		compared++
		disk := os.DirFS(root)
		now, err := fs.Lstat(disk, name)
		if err != nil || !now.Mode().IsRegular() || now.Size() > maxFile {
			return nil
		}
		if differs = !sameText(readable(files, name, d), readable(disk, name, fs.FileInfoToDirEntry(now))); differs {
			return fs.SkipAll
		}
		return nil
	})
	return differs
}

func sameText(a, b []byte) bool {
	if bytes.Equal(a, b) {
		return true
	}
	unix := func(text []byte) []byte { return bytes.ReplaceAll(text, []byte("\r\n"), []byte("\n")) }
	return bytes.Equal(unix(a), unix(b))
}

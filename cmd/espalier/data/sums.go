// SPDX-License-Identifier: Apache-2.0

package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// Bounds of Sums: a GPU may wait for it.
const (
	maxSummedBytes = 64 << 30
	maxSummedFiles = 10_000
)

// ErrTooMuch says that a folder holds more than Sums reads.
var ErrTooMuch = fmt.Errorf("it holds more than %s, or more than %d files", size(maxSummedBytes), maxSummedFiles)

// Sums are the SHA-256 of the files of a folder, in hex, by their path in there. A file
// that Fetch completed has the sum that it was found to have then, and is not read again.
// Hidden files are no data, and links that lead out of the folder are not followed.
func Sums(ctx context.Context, dir string) (map[string]string, error) {
	root, err := os.OpenRoot(dir)
	if err != nil {
		return nil, fmt.Errorf("opening the data folder: %w", err)
	}
	defer root.Close()
	s := summer{dir: dir, root: root, sums: map[string]string{}}
	err = fs.WalkDir(root.FS(), ".", func(name string, entry fs.DirEntry, err error) error {
		if err != nil {
			return err
		}
		return s.visit(ctx, name, entry)
	})
	if err != nil {
		return nil, fmt.Errorf("reading the data: %w", err)
	}
	return s.sums, nil
}

type summer struct {
	dir  string
	root *os.Root
	sums map[string]string
	read int64 // bytes
}

func (s *summer) visit(ctx context.Context, name string, entry fs.DirEntry) error {
	switch {
	case name != "." && strings.HasPrefix(entry.Name(), "."):
		if entry.IsDir() {
			return fs.SkipDir
		}
		return nil
	case entry.IsDir():
		return nil
	}
	bytes, regular := s.regular(name)
	if !regular {
		return nil
	}
	if len(s.sums) == maxSummedFiles {
		return ErrTooMuch
	}
	known := s.recorded(name, bytes)
	if known == "" {
		if s.read += bytes; s.read > maxSummedBytes {
			return ErrTooMuch
		}
		var err error
		if known, err = s.sum(ctx, name); err != nil {
			return err
		}
	}
	s.sums[name] = known
	return nil
}

// regular says whether a name leads to a file of the folder, and how large that is. One
// that leads nowhere, or out of the folder, is no data.
func (s *summer) regular(name string) (bytes int64, regular bool) {
	info, err := s.root.Stat(name)
	if err != nil {
		return 0, false
	}
	return info.Size(), info.Mode().IsRegular()
}

// recorded is what Fetch has noted of a file, "" for nothing.
func (s *summer) recorded(name string, bytes int64) string {
	r, there := readRecord(filepath.Join(recordFolder(s.dir), name+".json"))
	if !there || r.Total != bytes {
		return ""
	}
	return r.SHA256
}

func (s *summer) sum(ctx context.Context, name string) (string, error) {
	file, err := s.root.Open(name)
	if err != nil {
		return "", err
	}
	defer file.Close()
	hash := sha256.New()
	if _, err := io.Copy(hash, whileAsked{ctx.Err, file}); err != nil {
		return "", err
	}
	return hex.EncodeToString(hash.Sum(nil)), nil
}

// whileAsked ends a read when nobody waits for it.
type whileAsked struct {
	over func() error
	from io.Reader
}

func (w whileAsked) Read(b []byte) (int, error) {
	if err := w.over(); err != nil {
		return 0, err
	}
	return w.from.Read(b)
}

// SPDX-License-Identifier: Apache-2.0

package data

import (
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
)

// record is what is known of a file on disk, complete or partial. It names the
// URL by its digest only, since a query may hold a token.
type record struct {
	Key string `json:"key"` // target.key
	// Validator is the strong ETag or else the Last-Modified of the content: it
	// vouches that the rest belongs to the beginning.
	Validator string `json:"validator,omitempty"`
	// Total is the whole size in bytes, -1 when the server did not say.
	Total int64 `json:"total"`
	// SHA256 is set once the file is complete.
	SHA256 string `json:"sha256,omitempty"`
}

// recordFolder holds records and partial files apart from the data, because a
// trainer may read every file of the data folder.
func recordFolder(dir string) string { return filepath.Join(dir, ".espalier") }

func (f *fetcher) finalPath(t target) string { return filepath.Join(f.Dir, t.name) }
func (f *fetcher) partPath(t target) string {
	return filepath.Join(recordFolder(f.Dir), t.name+".part")
}
func (f *fetcher) recordPath(t target) string {
	return filepath.Join(recordFolder(f.Dir), t.name+".json")
}

// load reads the record of a target; the zero record when there is none for
// this URL. A damaged record is none: the download begins anew.
func (f *fetcher) load(t target) record {
	r, there := readRecord(f.recordPath(t))
	if !there || r.Key != t.key() {
		return record{}
	}
	return r
}

func readRecord(path string) (r record, there bool) {
	raw, err := os.ReadFile(path)
	if err != nil || json.Unmarshal(raw, &r) != nil {
		return record{}, false
	}
	return r, true
}

// save replaces the record at once: a crash leaves the old one or the new one.
func (f *fetcher) save(t target, r record) error {
	r.Key = t.key()
	raw, err := json.Marshal(r)
	if err != nil {
		return fmt.Errorf("encoding the record of %s: %w", t.name, err)
	}
	next := f.recordPath(t) + ".new"
	if err := os.WriteFile(next, raw, 0o644); err != nil {
		return fmt.Errorf("recording the download: %w", err)
	}
	if err := os.Rename(next, f.recordPath(t)); err != nil {
		return fmt.Errorf("recording the download: %w", err)
	}
	return nil
}

// complete returns the file when an earlier run finished it.
func (f *fetcher) complete(t target) (File, bool) {
	r := f.load(t)
	info, err := os.Stat(f.finalPath(t))
	if err != nil || r.SHA256 == "" || info.Size() != r.Total || (t.sum != "" && t.sum != r.SHA256) {
		return File{}, false
	}
	return File{Path: f.finalPath(t), SHA256: r.SHA256, Bytes: r.Total, Kept: true}, true
}

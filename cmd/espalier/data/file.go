// SPDX-License-Identifier: Apache-2.0

package data

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"time"
)

// diskError is a write that went wrong on this side: asking the server again
// is no cure.
type diskError struct{ err error }

func (e *diskError) Error() string { return "writing the file: " + e.err.Error() }
func (e *diskError) Unwrap() error { return e.err }

// file downloads one target, in as many attempts as bring it forward.
func (f *fetcher) file(ctx context.Context, t target) (File, error) {
	if done, ok := f.complete(t); ok {
		if f.total.Add(done.Bytes) > f.MaxBytes {
			return File{}, f.tooLarge()
		}
		f.lines.printf("%s: complete since an earlier run, %s", t.name, size(done.Bytes))
		return done, nil
	}
	begun, err := f.resumePoint(t)
	if err != nil {
		return File{}, err
	}
	if err := f.download(ctx, t); err != nil {
		return File{}, err
	}
	file, err := f.finish(t)
	var no *RefusedError
	if begun > 0 && errors.As(err, &no) && no.wrongSum {
		// The beginning came from an earlier run, perhaps of other content.
		f.lines.printf("%s: the resumed file has another checksum; downloading it anew", t.name)
		if err := f.download(ctx, t); err != nil {
			return File{}, err
		}
		file, err = f.finish(t)
	}
	if err != nil {
		return File{}, err
	}
	f.lines.printf("%s: done, %s", t.name, size(file.Bytes))
	return file, nil
}

// resumePoint counts the bytes that an earlier run left and that may be kept,
// and forgets those that may not.
func (f *fetcher) resumePoint(t target) (int64, error) {
	info, err := os.Stat(f.partPath(t))
	if errors.Is(err, os.ErrNotExist) {
		return 0, nil
	}
	if err != nil {
		return 0, fmt.Errorf("looking at the partial file: %w", err)
	}
	r := f.load(t)
	if r.Key == "" || !resumable(t, r) {
		return 0, f.discard(t)
	}
	f.total.Add(info.Size())
	return info.Size(), nil
}

// resumable says whether something vouches that the rest belongs to the
// beginning: the server's validator or the checksum of the whole.
func resumable(t target, r record) bool { return r.Validator != "" || t.sum != "" }

// download runs attempts until one ends at the end of the content.
func (f *fetcher) download(ctx context.Context, t target) error {
	p, farthest := newPatience(f.Options), int64(0)
	for {
		reached, err := f.attempt(ctx, t)
		var again *retryError
		if err == nil || !errors.As(err, &again) || ctx.Err() != nil {
			return err
		}
		if reached > farthest {
			farthest = reached
			p.further()
		}
		pause, err := p.pause(again)
		if err != nil {
			return err
		}
		f.lines.printf("%s: %v; trying again in %s", t.name, again.err, pause.Round(time.Millisecond))
		if err := Sleep(ctx, pause); err != nil {
			return err
		}
	}
}

// discard removes the partial file.
func (f *fetcher) discard(t target) error {
	if err := os.Remove(f.partPath(t)); err != nil && !errors.Is(err, os.ErrNotExist) {
		return fmt.Errorf("removing the partial file: %w", err)
	}
	return nil
}

// finish verifies the partial file and gives it its name, after its bytes are
// on disk: a name that exists is a whole file.
func (f *fetcher) finish(t target) (File, error) {
	part, err := os.OpenFile(f.partPath(t), os.O_RDWR, 0)
	if err != nil {
		return File{}, fmt.Errorf("opening the downloaded file: %w", err)
	}
	defer part.Close()
	hash := sha256.New()
	n, err := io.Copy(hash, part)
	if err != nil {
		return File{}, fmt.Errorf("reading the downloaded file: %w", err)
	}
	sum := hex.EncodeToString(hash.Sum(nil))
	if t.sum != "" && t.sum != sum {
		f.total.Add(-n)
		if err := f.discard(t); err != nil {
			return File{}, err
		}
		return File{}, &RefusedError{wrongSum: true,
			Message: fmt.Sprintf("the content has sha256 %s, the URL demands %s", sum, t.sum)}
	}
	if err := part.Sync(); err != nil {
		return File{}, &diskError{err}
	}
	if err := os.Rename(f.partPath(t), f.finalPath(t)); err != nil {
		return File{}, fmt.Errorf("naming the downloaded file: %w", err)
	}
	if err := syncFolder(f.Dir); err != nil {
		return File{}, err
	}
	// A crash before the record is written costs a second download, not a wrong file.
	if err := f.save(t, record{Total: n, SHA256: sum}); err != nil {
		return File{}, err
	}
	return File{Path: f.finalPath(t), SHA256: sum, Bytes: n}, nil
}

func syncFolder(dir string) error {
	d, err := os.Open(filepath.Clean(dir))
	if err != nil {
		return fmt.Errorf("opening the data folder: %w", err)
	}
	defer d.Close()
	if err := d.Sync(); err != nil {
		return fmt.Errorf("syncing the data folder: %w", err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

// Package data brings training data into the pod of a tuning Job: it downloads
// URLs into a folder, each file whole or not at all.
//
// It decides which bytes a resumed download may keep (only those that the
// server or a checksum vouches for) and which addresses a tenant's URL may
// reach: never the node's metadata service, a link-local or a loopback address,
// whatever a name resolves to or a server redirects to. It never unpacks or
// interprets what it downloads, and no URL's query reaches a log or an error.
package data

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"golang.org/x/sync/errgroup"
)

// Defaults of Options.
const (
	DefaultMaxBytes = 256 << 30 // bytes, all files together
	DefaultParallel = 4         // files at a time
	DefaultAttempts = 8         // tries in a row that bring no new byte: two minutes of pauses
	DefaultBackoff  = time.Second
	DefaultStall    = time.Minute
	DefaultWithin   = 5 * time.Minute
)

// maxBackoff bounds the wait between two attempts, also where a server asks for more.
const maxBackoff = 2 * time.Minute

// Options are the settings of a fetch. A zero value stands for its default.
type Options struct {
	// Dir is where the files go; it is created. Records of what is complete are
	// kept in the folder .espalier below it.
	Dir string
	// MaxBytes bounds all files together.
	MaxBytes int64
	// Parallel is how many files are downloaded at a time.
	Parallel int
	// Attempts is how many tries in a row may bring no new byte.
	Attempts int
	// Backoff is the wait after the first such try; it doubles with each.
	Backoff time.Duration
	// Within is how long attempts that bring no new byte begin; two are made whatever they take.
	Within time.Duration
	// Stall is how long a connection may bring nothing before it is given up.
	Stall time.Duration
	// Progress receives a line now and then; nil: none.
	Progress io.Writer
	// Permit refuses addresses to connect to. Nil: Permitted. Tests, whose
	// servers are on loopback, set it; no flag does.
	Permit func(netip.Addr) error
}

// File is one downloaded file.
type File struct {
	// Path is the file's path below Options.Dir, joined with it.
	Path string
	// SHA256 of the content, in hex.
	SHA256 string
	// Bytes is the size of the content.
	Bytes int64
	// Kept says that an earlier run had downloaded it.
	Kept bool
}

// RefusedError is a download that no retry can bring about: the URL, the
// server's answer or the content is wrong.
type RefusedError struct {
	Message string
	// wrongSum: the content is not what the URL's checksum says.
	wrongSum bool
}

func (e *RefusedError) Error() string { return e.Message }

func refused(format string, a ...any) error { return &RefusedError{Message: fmt.Sprintf(format, a...)} }

// Fetch downloads urls into o.Dir and returns the files in the order of urls.
// A file that an earlier run completed is not downloaded again.
func Fetch(ctx context.Context, urls []string, o Options) ([]File, error) {
	targets, err := parseTargets(urls)
	if err != nil {
		return nil, err
	}
	return fetch(ctx, targets, o)
}

func fetch(ctx context.Context, targets []target, o Options) ([]File, error) {
	f, err := newFetcher(o)
	if err != nil {
		return nil, err
	}
	defer f.client.CloseIdleConnections()

	files := make([]File, len(targets))
	group, ctx := errgroup.WithContext(ctx)
	group.SetLimit(f.Parallel)
	for i, t := range targets {
		group.Go(func() error {
			file, err := f.file(ctx, t)
			if err != nil {
				return fmt.Errorf("downloading %s: %w", t.shown, err)
			}
			files[i] = file
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		return nil, f.full(err)
	}
	return files, nil
}

// full makes a refusal of a disk that is full: the next try would fill it alike.
func (f *fetcher) full(err error) error {
	if !errors.Is(err, syscall.ENOSPC) {
		return err
	}
	return refused("%v: the volume of %s holds %s of the files and not the rest; give it more room, by a node with a larger disk or, for training data, by a claim that has them (spec.tuning.input.claim)",
		err, f.Dir, size(f.total.Load()))
}

// fetcher is what the downloads of one Fetch share.
type fetcher struct {
	Options
	client *http.Client
	lines  *progress
	total  atomic.Int64 // bytes of all files so far
}

func newFetcher(o Options) (*fetcher, error) {
	o.defaults()
	if err := os.MkdirAll(recordFolder(o.Dir), 0o755); err != nil { // the trainer reads below it, as another user
		return nil, fmt.Errorf("creating the data folder: %w", err)
	}
	return &fetcher{Options: o, client: newClient(o.Permit), lines: &progress{out: o.Progress}}, nil
}

func (o *Options) defaults() {
	setDefault(&o.MaxBytes, DefaultMaxBytes)
	setDefault(&o.Parallel, DefaultParallel)
	setDefault(&o.Attempts, DefaultAttempts)
	setDefault(&o.Backoff, DefaultBackoff)
	setDefault(&o.Stall, DefaultStall)
	setDefault(&o.Within, DefaultWithin)
	if o.Permit == nil {
		o.Permit = Permitted
	}
	if o.Progress == nil {
		o.Progress = io.Discard
	}
}

func setDefault[T int | int64 | time.Duration](v *T, def T) {
	if *v <= 0 {
		*v = def
	}
}

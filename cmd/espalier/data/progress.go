// SPDX-License-Identifier: Apache-2.0

package data

import (
	"fmt"
	"io"
	"sync"
	"time"
)

// lineInterval is the time between two lines on one file: a pod's log is kept,
// so it is not a terminal's bar.
const lineInterval = 10 * time.Second

// progress writes lines for all downloads, one at a time.
type progress struct {
	mu  sync.Mutex
	out io.Writer
}

func (p *progress) printf(format string, a ...any) {
	p.mu.Lock()
	defer p.mu.Unlock()
	fmt.Fprintf(p.out, format+"\n", a...)
}

// meter writes the body of one download to its file, counts it against the
// limit of all files, feeds the stall watch and says how far it is.
type meter struct {
	f       *fetcher
	name    string
	out     io.Writer
	size    int64 // of the file so far, bytes
	total   int64 // of the file, -1 unknown
	alive   func()
	printed time.Time
}

func (m *meter) Write(b []byte) (int, error) {
	n, err := m.out.Write(b)
	m.size += int64(n)
	all := m.f.total.Add(int64(n))
	if err != nil {
		return n, &diskError{err}
	}
	m.alive()
	if all > m.f.MaxBytes {
		return n, m.f.tooLarge()
	}
	if now := time.Now(); now.Sub(m.printed) >= lineInterval {
		m.printed = now
		m.f.lines.printf("%s: %s", m.name, share(m.size, m.total))
	}
	return n, nil
}

func (f *fetcher) tooLarge() error {
	return refused("the training data is larger than the limit of %s", size(f.MaxBytes))
}

// share is "12.0 MiB of 40.1 MiB (29 %)".
func share(done, total int64) string {
	if total <= 0 {
		return size(done)
	}
	return fmt.Sprintf("%s of %s (%d %%)", size(done), size(total), done*100/total)
}

// size is a number of bytes as a person reads it.
func size(n int64) string {
	if n < 1024 {
		return fmt.Sprintf("%d B", n)
	}
	v := float64(n)
	for _, unit := range []string{"KiB", "MiB", "GiB"} {
		if v /= 1024; v < 1024 {
			return fmt.Sprintf("%.1f %s", v, unit)
		}
	}
	return fmt.Sprintf("%.1f TiB", v/1024)
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"io"
	"os"
	"strings"
	"sync"
	"time"
	"unicode/utf8"

	"golang.org/x/term"
)

// width is where text is wrapped; what is narrower than a screen can be read on
// every one, and in a log.
const width = 120

// nameWidth is the column of names; the middle of a longer one is left out.
const nameWidth = 31

// screen prints the demo: several goroutines tell what they see, and a table
// must not be torn apart.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	started time.Time
	bold    bool
	blank   bool // the last line is empty
}

func newScreen(out io.Writer) *screen {
	f, ok := out.(*os.File)
	terminal := ok && term.IsTerminal(int(f.Fd())) && os.Getenv("NO_COLOR") == ""
	return &screen{out: out, started: time.Now(), bold: terminal}
}

// Write passes through the output of a build.
func (s *screen) Write(b []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.out.Write(b)
}

// close ends the output: a watch may still be telling when the demo is over.
func (s *screen) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.out = io.Discard
}

// restartClock makes elapsed times count from now.
func (s *screen) restartClock() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.started = time.Now()
}

// heading begins an act.
func (s *screen) heading(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.bold {
		text = "\x1b[1m" + text + "\x1b[0m"
	}
	s.gap()
	fmt.Fprintln(s.out, text)
	s.blank = false
}

// say prints a paragraph.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, wrap(text, "", width))
	s.blank = false
}

// gap leaves a line empty, once. The caller holds mu.
func (s *screen) gap() {
	if !s.blank {
		fmt.Fprintln(s.out)
	}
	s.blank = true
}

// event prints a line of the timeline: when, what kind, which, and what of it.
func (s *screen) event(kind, name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := fmt.Sprintf("%6.1fs  %-9s  %-*s  ", time.Since(s.started).Seconds(), kind, nameWidth, elide(name, nameWidth))
	s.blank = false
	fmt.Fprintln(s.out, head+wrap(text, strings.Repeat(" ", utf8.RuneCountInString(head)), width))
}

// command prints a command and what it answered, in one piece.
func (s *screen) command(command, output string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "    $ %s\n", command)
	for _, line := range strings.Split(strings.TrimRight(output, "\n"), "\n") {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.gap()
	fmt.Fprint(s.out, b.String())
	s.blank = false
	s.gap()
}

// elide leaves out the middle of a name that is too long for its column.
func elide(name string, limit int) string {
	if len(name) <= limit {
		return name
	}
	head := (limit - 1) / 2
	return name[:head] + "…" + name[len(name)-(limit-1-head):]
}

// wrap breaks text between words so that no line passes the limit, if words
// allow; lines after the first begin with the indent, which the first is taken
// to have before it.
func wrap(text, indent string, limit int) string {
	var b strings.Builder
	column := utf8.RuneCountInString(indent)
	start := column
	for _, word := range strings.Fields(text) {
		size := utf8.RuneCountInString(word)
		switch {
		case column == start:
		case column+1+size > limit:
			b.WriteString("\n" + indent)
			column = start
		default:
			b.WriteByte(' ')
			column++
		}
		b.WriteString(word)
		column += size
	}
	return b.String()
}

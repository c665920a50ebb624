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
const width = 110

// screen prints the demo: several goroutines tell what they see, and a table
// must not be torn apart.
type screen struct {
	mu      sync.Mutex
	out     io.Writer
	started time.Time
	bold    bool
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
	fmt.Fprintf(s.out, "\n%s\n", text)
}

// say prints a paragraph.
func (s *screen) say(text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintln(s.out, wrap(text, "", width))
}

// event prints a line of the timeline: when, what kind, which, and what of it.
func (s *screen) event(kind, name, text string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	head := fmt.Sprintf("%6.1fs  %-9s  %-23s  ", time.Since(s.started).Seconds(), kind, name)
	fmt.Fprintln(s.out, head+wrap(text, strings.Repeat(" ", utf8.RuneCountInString(head)), width))
}

// command prints a command and what it answered, in one piece.
func (s *screen) command(command, output string) {
	var b bytes.Buffer
	fmt.Fprintf(&b, "\n    $ %s\n", command)
	for _, line := range strings.Split(strings.TrimRight(output, "\n"), "\n") {
		fmt.Fprintf(&b, "    %s\n", line)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	fmt.Fprintf(s.out, "%s\n", b.String())
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

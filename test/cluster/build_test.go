// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bytes"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// TestBuild: a program is built when it is missing or its module has changed,
// and only then.
func TestBuild(t *testing.T) {
	module, bin := t.TempDir(), t.TempDir()
	write := func(name, content string) {
		t.Helper()
		if err := os.WriteFile(filepath.Join(module, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	write("go.mod", "module example.com/hello\n\ngo 1.26\n")
	write("go.sum", "")
	hello := program{name: "hello", pkg: ".", links: []string{"alias"}, what: "a test", minutes: "seconds"}
	build := func() (talk string, err error) {
		var out bytes.Buffer
		err = hello.build(t.Context(), module, bin, &out)
		return out.String(), err
	}
	says := func(want string) {
		t.Helper()
		out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "alias")).CombinedOutput()
		if err != nil || string(out) != want {
			t.Errorf("the program says %q (%v), want %q", out, err, want)
		}
	}

	write("main.go", "package main\n\nfunc main() { print(\"one\") }\n")
	talk, err := build()
	if err != nil || !strings.Contains(talk, "Building hello (a test)") || !strings.Contains(talk, "Built hello in ") {
		t.Fatalf("first build said %q, error %v", talk, err)
	}
	says("one")

	if talk, err := build(); err != nil || talk != "" {
		t.Errorf("nothing has changed, but the build said %q, error %v", talk, err)
	}

	write("main.go", "package main\n\nfunc main() { print(\"two\") }\n")
	if talk, err := build(); err != nil || talk == "" {
		t.Errorf("main.go has changed, but the build said %q, error %v", talk, err)
	}
	says("two")

	write("main.go", "package main\n\nfunc main() { undefined() }\n")
	if _, err := build(); err == nil || !strings.Contains(err.Error(), "undefined: undefined") {
		t.Errorf("a broken program: got %v, want the compiler's words", err)
	}
	says("two")
}

// TestLock: a second build waits for the first and says so.
func TestLock(t *testing.T) {
	file := filepath.Join(t.TempDir(), "lock")
	var said bytes.Buffer
	unlock, err := lock(t.Context(), file, &said)
	if err != nil {
		t.Fatal(err)
	}
	second := make(chan error)
	var waiting bytes.Buffer
	go func() {
		_, err := lock(t.Context(), file, &writer{&waiting, unlock})
		second <- err
	}()
	if err := <-second; err != nil {
		t.Fatal(err)
	}
	if said.Len() > 0 || waiting.Len() == 0 {
		t.Errorf("the first said %q, the second %q", said.String(), waiting.String())
	}
}

// writer calls then after each write.
type writer struct {
	to   *bytes.Buffer
	then func()
}

func (w *writer) Write(b []byte) (int, error) {
	defer w.then()
	return w.to.Write(b)
}

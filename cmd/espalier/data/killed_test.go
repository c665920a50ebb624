// SPDX-License-Identifier: Apache-2.0

package data

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// fetchEnv turns this test into the process that downloads a URL, into a folder: the
// command itself refuses the loopback address of a test's server.
const fetchEnv = "ESPALIER_TEST_FETCH"

func TestMain(m *testing.M) {
	url, dir, asked := strings.Cut(os.Getenv(fetchEnv), " ")
	if !asked {
		os.Exit(m.Run())
	}
	files, err := Fetch(context.Background(), []string{url}, Options{Dir: dir, Permit: loopback, Progress: os.Stderr})
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	fmt.Println(files[0].SHA256)
}

// trickle serves the content as far as a mark, and then nothing more for as long as
// somebody listens.
type trickle struct {
	mu     sync.Mutex
	mark   int
	ranges []string
	sent   int // bytes of all answers
}

func (s *trickle) upTo(mark int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.mark = mark
}

func (s *trickle) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	from := 0
	if asked := r.Header.Get("Range"); asked != "" {
		from, _ = strconv.Atoi(strings.TrimSuffix(strings.TrimPrefix(asked, "bytes="), "-")) // what is no number shows in ranges
		w.Header().Set("Content-Range", fmt.Sprintf("bytes %d-%d/%d", from, len(content)-1, len(content)))
	}
	s.mu.Lock()
	mark := max(s.mark, from)
	s.ranges = append(s.ranges, r.Header.Get("Range"))
	s.sent += mark - from
	s.mu.Unlock()
	w.Header().Set("ETag", `"a"`)
	w.Header().Set("Content-Length", strconv.Itoa(len(content)-from))
	if from > 0 {
		w.WriteHeader(http.StatusPartialContent)
	}
	_, _ = w.Write(content[from:mark])
	_ = http.NewResponseController(w).Flush()
	if mark < len(content) {
		<-r.Context().Done()
	}
}

// TestKilled: a process that is killed by SIGKILL in the middle of a download, twice, has
// lost nothing: each next one asks for the rest alone, and the last one has the content
// that was served, whole. No file of the name is there before.
func TestKilled(t *testing.T) {
	s := &trickle{}
	server := httptest.NewServer(s)
	defer server.Close()
	dir := t.TempDir()
	target := filepath.Join(dir, "train.jsonl")
	start := func() (*exec.Cmd, *bytes.Buffer) {
		cmd, said := exec.CommandContext(t.Context(), os.Args[0]), &bytes.Buffer{}
		cmd.Env = append(os.Environ(), fetchEnv+"="+server.URL+"/train.jsonl "+dir)
		cmd.Stdout, cmd.Stderr = said, said
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, said
	}
	want := []string{""}
	for _, mark := range []int{len(content) / 3, len(content) / 2} {
		s.upTo(mark)
		cmd, said := start()
		if !partial(t, dir, int64(mark)) {
			t.Fatalf("the download never came as far as byte %d:\n%s", mark, said)
		}
		if err := cmd.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		if err := cmd.Wait(); err == nil || cmd.ProcessState.ExitCode() != -1 {
			t.Fatalf("it ended by itself with %v, before it was killed:\n%s", err, said)
		}
		if _, err := os.Stat(target); err == nil {
			t.Errorf("killed at byte %d of %d, the file is there", mark, len(content))
		}
		want = append(want, fmt.Sprintf("bytes=%d-", mark))
	}
	s.upTo(len(content))
	cmd, said := start()
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), sumOf(content)) || !strings.Contains(said.String(), "resuming at") {
		t.Fatalf("the last one: %v\n%s", err, said)
	}
	wantContent(t, target)
	if !slices.Equal(s.ranges, want) {
		t.Errorf("asked for %q, want %q", s.ranges, want)
	}
	if s.sent != len(content) {
		t.Errorf("%d bytes were sent for a file of %d: none twice", s.sent, len(content))
	}
}

// partial waits until a partial file below a folder has a size.
func partial(t *testing.T, dir string, size int64) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	for {
		found, err := filepath.Glob(filepath.Join(recordFolder(dir), "*"))
		if err != nil {
			t.Fatal(err)
		}
		for _, path := range found {
			if info, err := os.Stat(path); err == nil && info.Size() == size {
				return true
			}
		}
		select {
		case <-ctx.Done():
			return false
		case <-time.After(5 * time.Millisecond):
		}
	}
}

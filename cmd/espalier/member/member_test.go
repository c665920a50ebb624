// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/test/port"
)

// TestMain is the command of the members as well: a server that is healthy at
// once, writes what becomes of it to a file, and ends with a request in hand.
func TestMain(m *testing.M) {
	if file := os.Getenv("MEMBER_TEST_FILE"); file != "" {
		os.Exit(serve(file, os.Args[1:]))
	}
	os.Exit(m.Run())
}

// serve notes its arguments in the file, and its end.
func serve(file string, args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGTERM)
	defer stop()
	note := func(text string) {
		f, err := os.OpenFile(file, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o600)
		if err == nil {
			_, _ = fmt.Fprintln(f, text)
			_ = f.Close()
		}
	}
	note("started " + strings.Join(args, " "))
	crash := make(chan struct{})
	mux := http.NewServeMux()
	mux.HandleFunc("/health", func(http.ResponseWriter, *http.Request) {})
	mux.HandleFunc("/crash", func(http.ResponseWriter, *http.Request) { close(crash) })
	server := &http.Server{Addr: args[0], Handler: mux, ReadHeaderTimeout: time.Second}
	go func() { _ = server.ListenAndServe() }()
	select {
	case <-ctx.Done():
		note("ended in order")
		return 0
	case <-crash:
		return 3
	}
}

// group is several members on loopback.
type group struct {
	t    *testing.T
	base int // port of member 0; the command of member n is at base+10+n
	dir  string
	size int
}

// newGroup finds free ports that differ in their last digit.
func newGroup(t *testing.T, size int) *group {
	t.Helper()
	t.Setenv("MEMBER_TEST_FILE", "")
	for range 50 {
		n, err := port.Free()
		if err != nil {
			t.Fatal(err)
		}
		if base := n / 100 * 100; free(base, base+10, size) {
			return &group{t: t, base: base, dir: t.TempDir(), size: size}
		}
	}
	t.Fatal("no free ports")
	return nil
}

func free(a, b, size int) bool {
	for n := range size {
		for _, port := range []int{a + n, b + n} {
			l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
			if err != nil {
				return false
			}
			_ = l.Close()
		}
	}
	return true
}

// end is how a member ended.
type end struct {
	code int
	err  error
}

// start starts a member; cancel is what SIGTERM is to a container.
func (g *group) start(rank int, digest string) (cancel context.CancelFunc, ended <-chan end) {
	ctx, cancel := context.WithCancel(context.Background())
	done, gone := make(chan end, 1), make(chan struct{})
	g.t.Cleanup(func() { cancel(); <-gone })
	command := fmt.Sprintf("127.0.0.1:%d", g.base+10+rank)
	o := Options{
		Rank: rank, Size: g.size, Group: digest, Peer: fmt.Sprintf("127.0.0.1:%d%%d", g.base/10),
		Listen: fmt.Sprintf("127.0.0.1:%d", g.base+rank), Server: "http://" + command + "/health",
		Command: []string{"/usr/bin/env", "MEMBER_TEST_FILE=" + g.file(rank), os.Args[0], command}, WorkerArgs: []string{"--headless"},
		StartWithin: 20 * time.Second, Patience: 2 * time.Second, Poll: 20 * time.Millisecond, Drain: 2 * time.Second,
		Output: os.Stderr, Log: logOf(g.t),
	}
	go func() {
		code, err := Run(ctx, o)
		done <- end{code, err}
		close(gone)
	}()
	return cancel, done
}

func (g *group) file(rank int) string { return filepath.Join(g.dir, fmt.Sprint(rank)) }

// noted waits until the command of a member has written a line so often.
func (g *group) noted(rank int, line string, times int) string {
	g.t.Helper()
	var text []byte
	wait(g.t, fmt.Sprintf("member %d to note %q", rank, line), func() bool {
		text, _ = os.ReadFile(g.file(rank))
		return strings.Count(string(text), line) >= times
	})
	return string(text)
}

func (g *group) get(rank int, path string) int {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d%s", g.base+rank, path))
	if err != nil {
		return 0
	}
	defer func() { _ = response.Body.Close() }()
	return response.StatusCode
}

func wait(t *testing.T, what string, done func() bool) {
	t.Helper()
	tick := time.NewTicker(10 * time.Millisecond)
	defer tick.Stop()
	for deadline := time.Now().Add(30 * time.Second); time.Now().Before(deadline); <-tick.C {
		if done() {
			return
		}
	}
	t.Fatalf("timed out waiting for %s", what)
}

func ends(t *testing.T, ended <-chan end) end {
	t.Helper()
	select {
	case e := <-ended:
		return e
	case <-time.After(30 * time.Second):
		t.Fatal("a member does not end")
	}
	return end{}
}

// logger writes to the test, until it has ended.
type logger struct {
	mu sync.Mutex
	t  *testing.T
}

func logOf(t *testing.T) *logger {
	l := &logger{t: t}
	t.Cleanup(func() { l.mu.Lock(); defer l.mu.Unlock(); l.t = nil })
	return l
}

func (l *logger) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.t != nil {
		l.t.Log(strings.TrimSpace(string(p)))
	}
	return len(p), nil
}

// TestTogether: nobody starts before all are there, and when one crashes all of
// them end, with their processes, and start together once more.
func TestTogether(t *testing.T) {
	g := newGroup(t, 3)
	_, leader := g.start(0, "v1")
	_, first := g.start(1, "v1")
	wait(t, "the leader to listen", func() bool { return g.get(0, "/member") == http.StatusOK })
	if code := g.get(0, "/live"); code != http.StatusOK {
		t.Errorf("a leader that waits is alive: %d", code)
	}
	if code := g.get(0, "/ready"); code != http.StatusServiceUnavailable {
		t.Errorf("and not ready: %d", code)
	}
	if _, err := os.Stat(g.file(0)); err == nil {
		t.Fatal("the leader has started alone")
	}
	_, second := g.start(2, "v1")
	if text := g.noted(1, "started", 1); !strings.Contains(text, "--headless") {
		t.Errorf("a worker is told so: %s", text)
	}
	if text := g.noted(0, "started", 1); strings.Contains(text, "--headless") {
		t.Errorf("the leader serves: %s", text)
	}
	wait(t, "the leader to be ready", func() bool { return g.get(0, "/ready") == http.StatusOK })

	wait(t, "the command to listen", func() bool { return g.get(12, "/health") == http.StatusOK })
	g.get(12, "/crash")
	if e := ends(t, second); e.code != 3 {
		t.Errorf("the exit code of the command is the container's: %+v", e)
	}
	_, second = g.start(2, "v1") // as the kubelet does
	if e := ends(t, leader); !errors.Is(e.err, ErrLost) {
		t.Errorf("the leader ends: %+v", e)
	}
	_, leader = g.start(0, "v1")
	if e := ends(t, first); !errors.Is(e.err, ErrLost) {
		t.Errorf("the other worker ends: %+v", e)
	}
	g.start(1, "v1")
	for rank := range 3 {
		g.noted(rank, "started", 2)
	}
	wait(t, "the leader to be ready again", func() bool { return g.get(0, "/ready") == http.StatusOK })
	select {
	case e := <-leader:
		t.Errorf("the new group stays: %+v", e)
	case e := <-second:
		t.Errorf("the new group stays: %+v", e)
	default:
	}
}

// TestVersions: during a rollout old and new members wait and do not mix.
func TestVersions(t *testing.T) {
	g := newGroup(t, 2)
	stop, old := g.start(0, "v1")
	g.start(1, "v2")
	wait(t, "the worker to listen", func() bool { return g.get(1, "/ready") == http.StatusOK })
	stop()
	if e := ends(t, old); e.code != 0 || e.err != nil {
		t.Errorf("a member that waits ends in order: %+v", e)
	}
	if _, err := os.Stat(g.file(1)); err == nil {
		t.Error("two versions have started together")
	}
	g.start(0, "v2")
	g.noted(0, "started", 1)
	g.noted(1, "started", 1)
}

// TestInOrder: when all are asked to end, workers let the leader end its
// requests; when only a worker is, the leader ends as well.
func TestInOrder(t *testing.T) {
	g := newGroup(t, 2)
	_, leader := g.start(0, "v1")
	stop, worker := g.start(1, "v1")
	wait(t, "the leader to be ready", func() bool { return g.get(0, "/ready") == http.StatusOK })
	g.noted(1, "started", 1)
	stop()
	if e := ends(t, leader); e.code != 0 || e.err != nil {
		t.Errorf("the leader ends its requests: %d %v", e.code, e.err)
	}
	if e := ends(t, worker); e.err != nil {
		t.Errorf("and then the worker: %+v", e)
	}
	g.noted(0, "ended in order", 1)
	g.noted(1, "ended in order", 1)
}

func TestOptions(t *testing.T) {
	good := Options{Rank: 1, Size: 2, Peer: "w-%d.w:1", Command: []string{"a"}, Poll: time.Second, Patience: time.Minute}
	for reason, change := range map[string]func(*Options){
		"one member is no group": func(o *Options) { o.Size = 1 },
		"a rank of nobody":       func(o *Options) { o.Rank = 2 },
		"an address of one":      func(o *Options) { o.Peer = "w:1" },
		"another verb":           func(o *Options) { o.Peer = "%d%s" },
		"nothing to run":         func(o *Options) { o.Command = nil },
		"no patience":            func(o *Options) { o.Patience = 0 },
	} {
		o := good
		change(&o)
		if o.Validate() == nil {
			t.Errorf("%s is accepted", reason)
		}
	}
	if err := good.Validate(); err != nil {
		t.Error(err)
	}
}

func TestInstall(t *testing.T) {
	dir := t.TempDir()
	if err := Install(dir); err != nil {
		t.Fatal(err)
	}
	info, err := os.Stat(filepath.Join(dir, "espalier"))
	if err != nil || info.Mode().Perm()&0o111 == 0 {
		t.Errorf("the copy cannot be run: %v %v", info, err)
	}
	if err := Install(filepath.Join(dir, "missing")); err == nil {
		t.Error("a folder that is not there is an error")
	}
}

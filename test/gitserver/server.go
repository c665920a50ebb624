// SPDX-License-Identifier: Apache-2.0

// Package gitserver is a Git server for tests and the demo, that real git
// clones from and pushes to over HTTP.
//
// It is git http-backend behind net/http/cgi, over bare repositories in a
// folder of its own. It counts requests by service, can ask for a user name and
// password, and breaks on demand in the ways real servers do (see Fault). It
// needs the git command and is no server for anybody's real repositories: whoever
// may connect may push.
package gitserver

import (
	"bytes"
	"context"
	"crypto/subtle"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/cgi"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"sync"
	"time"
)

// maxRequestBytes bounds a pushed pack: net/http/cgi takes no chunked bodies, as
// git sends them for packs over 1 MiB, so each is read whole first.
const maxRequestBytes = 256 << 20

// Options are the settings of a Server. The zero value serves everybody, on a
// free port of the loopback interface, out of a temporary folder.
type Options struct {
	// Dir holds the repositories. Empty: a temporary folder, removed by Close.
	Dir string
	// Addr to listen on. Empty: 127.0.0.1 and a free port.
	Addr string
	// User and Password that every request must present. Empty: none.
	User, Password string
	// Token that every request must present as bearer token. Empty: none.
	Token string
	// TLS serves HTTPS with a certificate made at start; see CA.
	TLS bool
}

// Server is a running Git server.
type Server struct {
	opts    Options
	dir     string
	ownsDir bool
	git     string
	addr    string
	backend *cgi.Handler
	cert    *tls.Certificate
	ca      []byte

	mu     sync.Mutex
	http   *http.Server // nil while paused
	faults []*Fault
	counts Counts
	closed chan struct{}
}

// T is what Serve needs of a test or a benchmark.
type T interface {
	Helper()
	Fatal(...any)
	Cleanup(func())
}

// Serve starts a server with an empty repository, for as long as a test takes.
func Serve(t T, opts Options, repo string) *Server {
	t.Helper()
	s, err := Start(opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = s.Close() })
	if err := s.Create(repo); err != nil {
		t.Fatal(err)
	}
	return s
}

// Start starts a server. It fails with a clear message where the git command,
// or its http-backend, is not installed.
func Start(opts Options) (*Server, error) {
	git, backend, err := findGit()
	if err != nil {
		return nil, err
	}
	s := &Server{opts: opts, dir: opts.Dir, git: git, closed: make(chan struct{})}
	if s.dir == "" {
		if s.dir, err = os.MkdirTemp("", "espalier-gitserver-"); err != nil {
			return nil, fmt.Errorf("making a folder for repositories: %w", err)
		}
		s.ownsDir = true
	}
	if err := s.prepare(backend); err != nil {
		s.removeDir()
		return nil, err
	}
	return s, nil
}

func (s *Server) prepare(backend string) error {
	dir, err := filepath.Abs(s.dir)
	if err != nil {
		return fmt.Errorf("resolving %s: %w", s.dir, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return fmt.Errorf("making the folder of repositories: %w", err)
	}
	s.dir = dir
	s.backend = &cgi.Handler{
		Path:   backend,
		Dir:    dir,
		Env:    append(gitEnv(), "GIT_PROJECT_ROOT="+dir, "GIT_HTTP_EXPORT_ALL=1"),
		Stderr: io.Discard,
	}
	if s.opts.TLS {
		if err := s.makeCertificate(); err != nil {
			return err
		}
	}
	return s.listen(s.opts.Addr)
}

func findGit() (git, backend string, err error) {
	if git, err = exec.LookPath("git"); err != nil {
		return "", "", errors.New("the git command is not installed: the Git server of tests and demo needs it")
	}
	out, err := exec.Command(git, "--exec-path").Output()
	if err != nil {
		return "", "", fmt.Errorf("asking git for its exec-path: %w", err)
	}
	backend = filepath.Join(strings.TrimSpace(string(out)), "git-http-backend")
	if _, err := os.Stat(backend); err != nil {
		return "", "", fmt.Errorf("git is installed without http-backend (%s is missing): install the full git package", backend)
	}
	return git, backend, nil
}

// gitEnv keeps the machine's own Git configuration out.
func gitEnv() []string {
	return []string{
		"PATH=" + os.Getenv("PATH"), "HOME=/nonexistent", "LC_ALL=C", "TZ=UTC",
		"GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Test Author", "GIT_AUTHOR_EMAIL=author@example.com",
		"GIT_COMMITTER_NAME=Test Author", "GIT_COMMITTER_EMAIL=author@example.com",
	}
}

func (s *Server) listen(addr string) error {
	if addr == "" {
		addr = "127.0.0.1:0"
	}
	l, err := net.Listen("tcp", addr)
	if err != nil {
		return fmt.Errorf("listening for Git: %w", err)
	}
	s.addr = l.Addr().String()
	if s.cert != nil {
		l = tls.NewListener(l, &tls.Config{Certificates: []tls.Certificate{*s.cert}, MinVersion: tls.VersionTLS12})
	}
	server := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: 30 * time.Second, ErrorLog: discardLog()}
	s.http = server
	go func() { _ = server.Serve(l) }()
	return nil
}

// Pause closes the port, as when a server is down; Resume opens it again.
func (s *Server) Pause() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http == nil {
		return nil
	}
	err := s.http.Close()
	s.http = nil
	return err
}

// Resume opens the port that Pause closed.
func (s *Server) Resume() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.http != nil {
		return nil
	}
	return s.listen(s.addr)
}

// Close stops the server and removes its temporary folder.
func (s *Server) Close() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	select {
	case <-s.closed:
		return nil
	default:
		close(s.closed)
	}
	var err error
	if s.http != nil {
		err = s.http.Close()
	}
	s.removeDir()
	return err
}

func (s *Server) removeDir() {
	if s.ownsDir {
		_ = os.RemoveAll(s.dir)
	}
}

// URL is the clone address of a repository.
func (s *Server) URL(repo string) string {
	scheme := "http"
	if s.cert != nil {
		scheme = "https"
	}
	return scheme + "://" + s.addr + "/" + repo + ".git"
}

// CA is the certificate, in PEM, that clients of a TLS server must trust.
func (s *Server) CA() []byte { return s.ca }

// Dir is the folder of a bare repository, for what the helpers do not do.
func (s *Server) Dir(repo string) string { return filepath.Join(s.dir, repo+".git") }

var repoName = regexp.MustCompile(`^[A-Za-z0-9._-]+(/[A-Za-z0-9._-]+)*$`)

// Create makes an empty bare repository, without any commit.
func (s *Server) Create(repo string) error {
	if !repoName.MatchString(repo) || strings.Contains(repo, "..") {
		return fmt.Errorf("repository %q: letters, digits, dots, dashes and slashes only", repo)
	}
	ctx := context.Background()
	if _, err := s.run(ctx, command{args: []string{"init", "--quiet", "--bare", "-b", "main", s.Dir(repo)}}); err != nil {
		return err
	}
	for _, kv := range [][2]string{{"http.receivepack", "true"}, {"core.logAllRefUpdates", "true"}, {"gc.auto", "0"}} {
		if _, err := s.git1(ctx, repo, "config", kv[0], kv[1]); err != nil {
			return err
		}
	}
	return nil
}

func (s *Server) serve(w http.ResponseWriter, r *http.Request) {
	service := serviceOf(r)
	s.count(service)
	if f := s.faultFor(service); f != nil && s.play(f, w, r) {
		return
	}
	s.answer(w, r)
}

// answer is what a server in good health does.
func (s *Server) answer(w http.ResponseWriter, r *http.Request) {
	if !s.authorized(r) {
		w.Header().Set("WWW-Authenticate", `Basic realm="git"`)
		http.Error(w, "Unauthorized", http.StatusUnauthorized)
		return
	}
	if r.Body != nil {
		body, err := io.ReadAll(http.MaxBytesReader(w, r.Body, maxRequestBytes))
		if err != nil {
			http.Error(w, "request too large", http.StatusRequestEntityTooLarge)
			return
		}
		r.Body, r.ContentLength, r.TransferEncoding = io.NopCloser(bytes.NewReader(body)), int64(len(body)), nil
	}
	s.backend.ServeHTTP(w, r)
}

func (s *Server) authorized(r *http.Request) bool {
	same := func(a, b string) bool { return subtle.ConstantTimeCompare([]byte(a), []byte(b)) == 1 }
	switch {
	case s.opts.Token != "":
		return same(r.Header.Get("Authorization"), "Bearer "+s.opts.Token)
	case s.opts.User != "" || s.opts.Password != "":
		user, password, ok := r.BasicAuth()
		return ok && same(user, s.opts.User) && same(password, s.opts.Password)
	}
	return true
}

// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"context"
	"fmt"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
)

// worktree is a clone of the demo's repository, worked in with the git command
// as a person would.
type worktree struct {
	dir     string
	address string // with user name and password
}

// clone clones an empty repository over HTTP.
func clone(ctx context.Context, dir, address string) (*worktree, error) {
	w := &worktree{dir: dir, address: address}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	_, err := w.git(ctx, "clone", "--quiet", address, ".")
	return w, err
}

// withCredentials puts user name and password into a clone address.
func withCredentials(address, user, password string) (string, error) {
	u, err := url.Parse(address)
	if err != nil {
		return "", fmt.Errorf("parsing the clone address: %w", err)
	}
	u.User = url.UserPassword(user, password)
	return u.String(), nil
}

// git runs git in the clone, undisturbed by the settings of whoever runs the
// demo, and returns what it said on both streams.
func (w *worktree) git(ctx context.Context, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, "git", args...)
	cmd.Dir = w.dir
	cmd.Env = append(os.Environ(),
		"GIT_CONFIG_GLOBAL="+os.DevNull, "GIT_CONFIG_NOSYSTEM=1", "GIT_TERMINAL_PROMPT=0", "GIT_PAGER=cat",
		"GIT_CONFIG_COUNT=2", "GIT_CONFIG_KEY_0=init.defaultBranch", "GIT_CONFIG_VALUE_0=main",
		"GIT_CONFIG_KEY_1=advice.detachedHead", "GIT_CONFIG_VALUE_1=false",
		"GIT_AUTHOR_NAME=Demo", "GIT_AUTHOR_EMAIL=demo@example.com",
		"GIT_COMMITTER_NAME=Demo", "GIT_COMMITTER_EMAIL=demo@example.com",
	)
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("git %s: %w: %s", args[0], err, w.clean(out.String()))
	}
	return w.clean(out.String()), nil
}

// clean takes the password out of what git prints.
func (w *worktree) clean(text string) string {
	u, err := url.Parse(w.address)
	if err != nil {
		return text
	}
	return strings.ReplaceAll(text, u.User.String()+"@", "")
}

// write writes a file of the clone.
func (w *worktree) write(name, content string) error {
	file := filepath.Join(w.dir, name)
	if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
		return err
	}
	return os.WriteFile(file, []byte(content), 0o644)
}

// edit replaces a text that a file of the clone holds once.
func (w *worktree) edit(name, from, to string) error {
	data, err := os.ReadFile(filepath.Join(w.dir, name))
	if err != nil {
		return err
	}
	if n := strings.Count(string(data), from); n != 1 {
		return fmt.Errorf("editing %s: %q is there %d times", name, from, n)
	}
	return w.write(name, strings.Replace(string(data), from, to, 1))
}

// commit commits everything and returns the short hash.
func (w *worktree) commit(ctx context.Context, message string) (string, error) {
	for _, args := range [][]string{{"add", "--all"}, {"commit", "--quiet", "--message", message}} {
		if _, err := w.git(ctx, args...); err != nil {
			return "", err
		}
	}
	hash, err := w.git(ctx, "rev-parse", "HEAD")
	return strings.TrimSpace(hash), err
}

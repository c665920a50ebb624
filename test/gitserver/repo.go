// SPDX-License-Identifier: Apache-2.0

package gitserver

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"sort"
	"strings"
	"time"
)

// Contents of Push that are no ordinary files: see Symlink, Submodule and Executable.
const (
	symlinkMark    = "\x00symlink\x00"
	submoduleMark  = "\x00submodule\x00"
	executableMark = "\x00executable\x00"
)

// Symlink is the content of a symbolic link for Push.
func Symlink(target string) string { return symlinkMark + target }

// Submodule is the content of a submodule entry for Push, at a commit of 40 hex digits.
func Submodule(commit string) string { return submoduleMark + commit }

// Executable is the content of an executable file for Push.
func Executable(content string) string { return executableMark + content }

// Push makes a commit on a branch whose whole tree is files, path by content, and
// returns its hash. The branch is made when it is not there.
//
// It writes with git fast-import in the repository itself, so that neither
// faults nor hooks nor counts see it. To push as a user does, use git and URL.
func (s *Server) Push(repo, branch string, files map[string]string, message string) (string, error) {
	ref := "refs/heads/" + branch
	var in bytes.Buffer
	who := fmt.Sprintf("Test Author <author@example.com> %d +0000", time.Now().Unix())
	fmt.Fprintf(&in, "commit %s\nauthor %s\ncommitter %s\ndata %d\n%s\n", ref, who, who, len(message), message)
	if parent, err := s.Head(repo, branch); err == nil {
		fmt.Fprintf(&in, "from %s\n", parent)
	}
	in.WriteString("deleteall\n")
	for _, path := range sortedKeys(files) {
		writeEntry(&in, path, files[path])
	}
	in.WriteString("\ndone\n")
	ctx := context.Background()
	cmd := command{args: []string{"-C", s.Dir(repo), "fast-import", "--quiet", "--done"}, stdin: in.Bytes()}
	if _, err := s.run(ctx, cmd); err != nil {
		return "", err
	}
	return s.Head(repo, branch)
}

func writeEntry(in *bytes.Buffer, path, content string) {
	mode := "100644"
	switch {
	case strings.HasPrefix(content, submoduleMark):
		fmt.Fprintf(in, "M 160000 %s %s\n", strings.TrimPrefix(content, submoduleMark), path)
		return
	case strings.HasPrefix(content, symlinkMark):
		mode, content = "120000", strings.TrimPrefix(content, symlinkMark)
	case strings.HasPrefix(content, executableMark):
		mode, content = "100755", strings.TrimPrefix(content, executableMark)
	}
	fmt.Fprintf(in, "M %s inline %s\ndata %d\n%s\n", mode, path, len(content), content)
}

// Tag makes a tag at the head of a branch: annotated when message is not empty.
func (s *Server) Tag(repo, tag, branch, message string) error {
	args := []string{"tag", "-f", tag, "refs/heads/" + branch}
	if message != "" {
		args = []string{"tag", "-f", "-a", "-m", message, tag, "refs/heads/" + branch}
	}
	_, err := s.git1(context.Background(), repo, args...)
	return err
}

// Head is the hash of the newest commit of a branch.
func (s *Server) Head(repo, branch string) (string, error) {
	out, err := s.git1(context.Background(), repo, "rev-parse", "--verify", "--quiet", "refs/heads/"+branch+"^{commit}")
	return strings.TrimSpace(out), err
}

// Branches lists the branches of a repository.
func (s *Server) Branches(repo string) ([]string, error) {
	out, err := s.git1(context.Background(), repo, "for-each-ref", "--format=%(refname:short)", "refs/heads")
	return strings.Fields(out), err
}

// ReadFile reads a file at the head of a branch, with git show.
func (s *Server) ReadFile(repo, branch, path string) (string, error) {
	return s.git1(context.Background(), repo, "show", "refs/heads/"+branch+":"+path)
}

// Files reads the whole tree at the head of a branch, path by content.
func (s *Server) Files(repo, branch string) (map[string]string, error) {
	out, err := s.git1(context.Background(), repo, "ls-tree", "-r", "-z", "--name-only", "refs/heads/"+branch)
	if err != nil {
		return nil, err
	}
	files := map[string]string{}
	for _, path := range strings.Split(strings.TrimSuffix(out, "\x00"), "\x00") {
		if path == "" {
			continue
		}
		if files[path], err = s.ReadFile(repo, branch, path); err != nil {
			return nil, err
		}
	}
	return files, nil
}

// Commit is one commit as git log shows it: Hash of the commit, Tree of its files.
type Commit struct {
	Hash, Tree, Author, Email, Committer, Message string
	Parents                                       []string
}

// Subject is the first line of the message.
func (c Commit) Subject() string {
	subject, _, _ := strings.Cut(c.Message, "\n")
	return subject
}

// Log lists the commits of a branch, newest first.
func (s *Server) Log(repo, branch string) ([]Commit, error) {
	const format = "%H%x00%T%x00%an%x00%ae%x00%cn%x00%P%x00%B%x01"
	out, err := s.git1(context.Background(), repo, "log", "--format="+format, "refs/heads/"+branch, "--")
	if err != nil {
		return nil, err
	}
	var log []Commit
	for _, entry := range strings.Split(out, "\x01") {
		f := strings.Split(strings.TrimPrefix(entry, "\n"), "\x00")
		if len(f) != 7 {
			continue
		}
		log = append(log, Commit{
			Hash: f[0], Tree: f[1], Author: f[2], Email: f[3], Committer: f[4],
			Parents: strings.Fields(f[5]), Message: strings.TrimRight(f[6], "\n"),
		})
	}
	return log, nil
}

// DeleteBranch removes a branch.
func (s *Server) DeleteBranch(repo, branch string) error {
	_, err := s.git1(context.Background(), repo, "update-ref", "-d", "refs/heads/"+branch)
	return err
}

// RejectPushes installs a hook that refuses pushes to the branches a shell
// pattern matches, as a forge does for protected branches. An empty pattern
// takes the hook away.
func (s *Server) RejectPushes(repo, pattern, message string) error {
	hook := filepath.Join(s.Dir(repo), "hooks", "pre-receive")
	if pattern == "" {
		return os.RemoveAll(hook)
	}
	quoted := "'" + strings.ReplaceAll(message, "'", `'\''`) + "'"
	script := "#!/bin/sh\nwhile read -r old new ref; do\n  case \"$ref\" in\n  refs/heads/" + pattern +
		") echo " + quoted + " >&2; exit 1 ;;\n  esac\ndone\nexit 0\n"
	if err := os.MkdirAll(filepath.Dir(hook), 0o755); err != nil {
		return fmt.Errorf("making the folder of hooks: %w", err)
	}
	return os.WriteFile(hook, []byte(script), 0o755)
}

type command struct {
	args  []string
	stdin []byte
}

// git1 runs git in a repository.
func (s *Server) git1(ctx context.Context, repo string, args ...string) (string, error) {
	return s.run(ctx, command{args: append([]string{"-C", s.Dir(repo)}, args...)})
}

func (s *Server) run(ctx context.Context, c command) (string, error) {
	cmd := exec.CommandContext(ctx, s.git, c.args...)
	cmd.Env = gitEnv()
	var stdout, stderr bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(c.stdin), &stdout, &stderr
	if err := cmd.Run(); err != nil {
		return "", fmt.Errorf("running git %s: %w: %s", strings.Join(c.args, " "), err, strings.TrimSpace(stderr.String()))
	}
	return stdout.String(), nil
}

func sortedKeys(m map[string]string) []string {
	keys := make([]string, 0, len(m))
	for k := range m {
		keys = append(keys, k)
	}
	sort.Strings(keys)
	return keys
}

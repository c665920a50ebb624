// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// goneTimeout bounds the wait for processes that were killed: a process in the
// kernel's hands goes when the kernel lets it.
const goneTimeout = 10 * time.Second

// hierarchies are the folders of the machine's cgroups: one for each controller in
// version 1, a single one in version 2.
func hierarchies() ([]string, error) {
	const root = "/sys/fs/cgroup"
	if _, err := os.Stat(filepath.Join(root, "cgroup.controllers")); err == nil {
		return []string{root}, nil
	}
	entries, err := os.ReadDir(root)
	if err != nil {
		return nil, fmt.Errorf("looking for cgroups: %w", err)
	}
	var found []string
	for _, e := range entries {
		if e.IsDir() {
			found = append(found, filepath.Join(root, e.Name()))
		}
	}
	return found, nil
}

// cgroups makes the cgroup that the kubelet puts its pods below.
func (r remains) cgroups() error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		if err := os.Mkdir(filepath.Join(h, r.id), 0o755); err != nil && !errors.Is(err, fs.ErrExist) {
			return fmt.Errorf("making a cgroup for the pods: %w", err)
		}
	}
	return nil
}

// killShims kills the shims of the node's containerd, which name its socket.
func (r remains) killShims() error {
	shims, err := filepath.Glob("/proc/[0-9]*/cmdline")
	if err != nil {
		return err
	}
	for _, file := range shims {
		line, err := os.ReadFile(file)
		words := strings.Split(string(line), "\x00")
		if err != nil || filepath.Base(words[0]) != shim.name || !slices.Contains(words, filepath.Join(r.dir, "containerd.sock")) {
			continue
		}
		pid, err := strconv.Atoi(filepath.Base(filepath.Dir(file)))
		if err == nil {
			kill(pid)
		}
	}
	return nil
}

// killContained kills every process in the node's cgroups until there is none.
func (r remains) killContained() error {
	deadline := time.Now().Add(goneTimeout)
	ticker := time.NewTicker(20 * time.Millisecond)
	defer ticker.Stop()
	for {
		left, err := r.contained()
		if err != nil || len(left) == 0 {
			return err
		}
		for _, pid := range left {
			kill(pid)
		}
		if time.Now().After(deadline) {
			return fmt.Errorf("processes %v of %s do not end", left, r.id)
		}
		<-ticker.C
	}
}

// kill ends a process at once; one that is gone is what was wanted.
func kill(pid int) { _ = syscall.Kill(pid, syscall.SIGKILL) }

// contained lists the processes in the node's cgroups.
func (r remains) contained() ([]int, error) {
	var found []int
	err := r.walk(func(folder string) error {
		pids, err := os.ReadFile(filepath.Join(folder, "cgroup.procs"))
		if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ENODEV) {
			return nil // gone since
		}
		for _, text := range strings.Fields(string(pids)) {
			if pid, err := strconv.Atoi(text); err == nil && !slices.Contains(found, pid) {
				found = append(found, pid)
			}
		}
		return err
	})
	return found, err
}

// walk calls do for each of the node's cgroups, a cgroup before those below it.
func (r remains) walk(do func(folder string) error) error {
	all, err := hierarchies()
	if err != nil {
		return err
	}
	for _, h := range all {
		err := filepath.WalkDir(filepath.Join(h, r.id), func(path string, entry fs.DirEntry, err error) error {
			if errors.Is(err, fs.ErrNotExist) {
				return nil
			}
			if err != nil || !entry.IsDir() {
				return err
			}
			return do(path)
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// removeCgroups removes the node's cgroups, from the leaves up.
func (r remains) removeCgroups() error {
	var folders []string
	if err := r.walk(func(folder string) error {
		folders = append(folders, folder)
		return nil
	}); err != nil {
		return err
	}
	slices.Reverse(folders)
	var problems []error
	for _, f := range folders {
		if err := syscall.Rmdir(f); err != nil && !errors.Is(err, syscall.ENOENT) {
			problems = append(problems, fmt.Errorf("removing cgroup %s: %w", f, err))
		}
	}
	return errors.Join(problems...)
}

// unmount takes away every mount below the node's folder, the last made first.
func (r remains) unmount() error {
	table, err := os.ReadFile("/proc/self/mountinfo")
	if err != nil {
		return err
	}
	lines := strings.Split(strings.TrimSpace(string(table)), "\n")
	slices.Reverse(lines)
	var problems []error
	for _, line := range lines {
		fields := strings.Fields(line)
		if len(fields) < 5 || !strings.HasPrefix(fields[4], r.dir+"/") {
			continue
		}
		if err := syscall.Unmount(fields[4], syscall.MNT_DETACH); err != nil && !errors.Is(err, syscall.EINVAL) {
			problems = append(problems, fmt.Errorf("unmounting %s: %w", fields[4], err))
		}
	}
	return errors.Join(problems...)
}

// running lists the processes in the node's cgroups that run a program.
func (r remains) running(program string) ([]int, error) {
	all, err := r.contained()
	if err != nil {
		return nil, err
	}
	return slices.DeleteFunc(all, func(pid int) bool {
		line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", pid))
		name, _, _ := strings.Cut(string(line), "\x00")
		return err != nil || filepath.Base(name) != program
	}), nil
}

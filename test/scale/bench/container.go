// SPDX-License-Identifier: Apache-2.0

package main

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
)

// container is a control group with a limit of memory, as a kubelet makes one: of a process
// in it that takes more, the kernel takes back what is also on the disk, and then ends it.
type container struct {
	dir  string
	most string // the file that tells the most that was taken, in bytes
}

// groups are the files of the two versions of control groups. Nothing may be swapped to a
// disk, where the kernel counts that: the older version counts it with the memory.
var groups = []struct{ root, limit, most, swap, noSwap string }{
	{root: "/sys/fs/cgroup", limit: "memory.max", most: "memory.peak", swap: "memory.swap.max", noSwap: "0"},
	{root: "/sys/fs/cgroup/memory", limit: "memory.limit_in_bytes", most: "memory.max_usage_in_bytes", swap: "memory.memsw.limit_in_bytes"},
}

// newContainer makes one that may have a quantity of memory.
func newContainer(limit string) (*container, error) {
	quantity, err := resource.ParseQuantity(limit)
	if err != nil {
		return nil, fmt.Errorf("-memory-limit %s: a quantity such as 300Mi is wanted: %w", limit, err)
	}
	bytes := strconv.FormatInt(quantity.Value(), 10)
	var tried []error
	for _, g := range groups {
		if _, err := os.Stat(filepath.Join(g.root, "memory.stat")); err != nil {
			tried = append(tried, err)
			continue
		}
		c := &container{dir: filepath.Join(g.root, fmt.Sprintf("espalier-bench-%d", os.Getpid()))}
		c.most = filepath.Join(c.dir, g.most)
		err := os.Mkdir(c.dir, 0o755)
		if err == nil {
			err = errors.Join(c.set(g.limit, bytes), c.setIfThere(g.swap, cmp.Or(g.noSwap, bytes)))
		}
		if err == nil {
			return c, nil
		}
		tried = append(tried, err, c.remove())
	}
	return nil, fmt.Errorf("-memory-limit needs root and a control group of memory: %w", errors.Join(tried...))
}

// set writes a file of the group.
func (c *container) set(file, value string) error {
	return os.WriteFile(filepath.Join(c.dir, file), []byte(value), 0)
}

// setIfThere writes a file that not every kernel has.
func (c *container) setIfThere(file, value string) error {
	err := c.set(file, value)
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrPermission) { // no file can be made there
		return nil
	}
	return err
}

// command starts what is appended to it in the container.
func (c *container) command() []string {
	return []string{"sh", "-c", `echo $$ >"$0" && exec "$@"`, filepath.Join(c.dir, "cgroup.procs")}
}

// tell tells the most that was taken so far, which is with what of the program's file is in
// memory, and with what the kernel needs for the process.
func (c *container) tell(talk io.Writer) error {
	if c == nil {
		return nil
	}
	text, err := os.ReadFile(c.most)
	if err != nil {
		return fmt.Errorf("reading the memory of the container: %w", err)
	}
	bytes, err := strconv.ParseInt(strings.TrimSpace(string(text)), 10, 64)
	if err != nil {
		return fmt.Errorf("reading the memory of the container: %w", err)
	}
	fmt.Fprintf(talk, "  The container has taken %d MiB at most\n", bytes>>20)
	return nil
}

// remove removes the container, in which nothing runs any more.
func (c *container) remove() error {
	if c == nil {
		return nil
	}
	if err := os.Remove(c.dir); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("removing the container: %w", err)
	}
	return nil
}

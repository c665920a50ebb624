// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"bufio"
	"context"
	"fmt"
	"os"
	"os/exec"
	"strings"
	"syscall"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"
)

// TestDiesWithParent: no component outlives a test binary that was killed.
func TestDiesWithParent(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestParent$")
	cmd.Env = append(os.Environ(), "ESPALIER_TEST_PARENT=1")
	out, err := cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatalf("reading what the parent started: %v", err)
	}
	var folder string
	var pids [2]int
	if _, err := fmt.Sscan(line, &folder, &pids[0], &pids[1]); err != nil {
		t.Fatalf("parsing %q: %v", line, err)
	}
	defer os.RemoveAll(folder)
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	_ = cmd.Wait() // "signal: killed"
	err = wait.PollUntilContextTimeout(t.Context(), pollInterval, time.Minute, true, func(context.Context) (bool, error) {
		return !alive(pids[0]) && !alive(pids[1]), nil
	})
	if err != nil {
		t.Errorf("etcd (%d) or kube-apiserver (%d) outlived its parent", pids[0], pids[1])
	}
}

// TestParent is the parent in TestDiesWithParent, and nothing by itself.
func TestParent(t *testing.T) {
	if os.Getenv("ESPALIER_TEST_PARENT") == "" {
		return
	}
	c, err := Start(t.Context(), Options{Parts: APIServer})
	if err != nil {
		t.Fatal(err)
	}
	fmt.Println(c.Dir, c.processes[0].cmd.Process.Pid, c.processes[1].cmd.Process.Pid)
	<-t.Context().Done()
}

// alive tells whether a process runs; one that is dead and not yet waited for
// by anybody does not.
func alive(pid int) bool {
	if syscall.Kill(pid, 0) != nil {
		return false
	}
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	return err != nil || !strings.Contains(string(stat), ") Z ")
}

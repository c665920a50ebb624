// SPDX-License-Identifier: Apache-2.0

package node

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"strconv"
	"strings"
	"syscall"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestProgress: while a trainer trains, the Workspace and `espalier status` say how
// far it is, from what the trainer posts with the token of its pod.
func TestProgress(t *testing.T) {
	const each, steps = 33, 33 * epochs
	w, team := theWorld(t), newTeam(t, "progress")
	url := w.data.put("progress.jsonl", content(rows(each)))
	follow(t, team, repository(map[string]string{"run": w.run("run", url, "")}))

	run := until(t, team, "run", func(ws *v1alpha1.Workspace) bool {
		return ws.Status.Tuning != nil && ws.Status.Tuning.Progress != nil && ws.Status.Tuning.Progress.Step > 0
	})
	signal(t, w, "axolotl", syscall.SIGSTOP) // it trains as long as this test looks
	p := run.Status.Tuning.Progress
	want := v1alpha1.TuningProgress{
		Percent: int32(100 * p.Step / steps), Step: p.Step, Steps: steps,
		Loss: strconv.FormatFloat(1/float64(p.Step), 'g', 4, 64), Remaining: p.Remaining, At: p.At,
	}
	if *p != want || p.Step >= steps {
		t.Errorf("while it trains the Workspace says %+v, want %+v", *p, want)
	}
	said := status(t, team)
	if bar := fmt.Sprintf("░ %d%% loss %s", p.Percent, p.Loss); !strings.Contains(said, bar) {
		t.Errorf("espalier status has no %q:\n%s", bar, said)
	}
	t.Logf("espalier status:\n%s", said)

	signal(t, w, "axolotl", syscall.SIGCONT)
	run = until(t, team, "run", isReady)
	if p := run.Status.Tuning.Progress; p == nil || p.Percent != 100 || p.Step != steps {
		t.Errorf("when it is done the Workspace says %+v, want step %d of as many", p, steps)
	}
	if said := logs(t, team, "run"); strings.Contains(said, "progress was not taken") {
		t.Errorf("the controller refused a report:\n%s", said)
	}
}

// status is what `espalier status` prints of a team's Workspaces.
func status(t *testing.T, team *harness.Team) string {
	t.Helper()
	espalier, err := harness.BuildEspalier(t.Context(), os.Stderr)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), espalier, "status", "--namespace", team.Namespace)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+team.Cluster.Kubeconfig)
	out, err := cmd.CombinedOutput()
	if err != nil {
		t.Fatalf("espalier status: %v: %s", err, out)
	}
	return string(out)
}

// signal sends a signal to the one process of a program in the node's pods.
func signal(t *testing.T, w *world, program string, s syscall.Signal) {
	t.Helper()
	pids, err := w.node.Processes(program)
	if err != nil || len(pids) != 1 {
		t.Fatalf("%d processes of %s (%v), want one", len(pids), program, err)
	}
	if err := syscall.Kill(pids[0], s); err != nil {
		t.Fatal(err)
	}
}

// free is a port of an address that nothing listens on.
func free(address string) (string, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

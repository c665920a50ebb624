// SPDX-License-Identifier: Apache-2.0

package member

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// trial starts a member of a run whose command is a shell script.
func (g *group) trial(rank int, done, script string) (cancel context.CancelFunc, ended <-chan end) {
	ctx, cancel := context.WithCancel(context.Background())
	result, gone := make(chan end, 1), make(chan struct{})
	g.t.Cleanup(func() { cancel(); <-gone })
	o := Options{
		Rank: rank, Size: g.size, Group: "run", Peer: fmt.Sprintf("127.0.0.1:%d%%d", g.base/10),
		Listen: fmt.Sprintf("127.0.0.1:%d", g.base+rank), Done: done,
		Command:  []string{"/bin/sh", "-c", script},
		Patience: 2 * time.Second, Poll: 20 * time.Millisecond, Drain: 10 * time.Second,
		Output: os.Stderr, Log: logOf(g.t),
	}
	go func() {
		code, err := Run(ctx, o)
		result <- end{code, err}
		close(gone)
	}()
	return cancel, result
}

// TestRunSucceeds: a worker that is done waits for the leader to save, and a pod
// that comes later finds nothing to do.
func TestRunSucceeds(t *testing.T) {
	g := newGroup(t, 2)
	done, go1 := filepath.Join(g.dir, "run", "trained"), filepath.Join(g.dir, "go")
	_, leader := g.trial(0, done, "until [ -e "+go1+" ]; do sleep 0.02; done")
	_, worker := g.trial(1, done, "exit 0")
	wait(t, "the worker to be done", func() bool { return strings.Contains(g.member(1), `"done":true`) })
	select {
	case e := <-leader:
		t.Fatalf("the leader ends while it saves: %+v", e)
	case e := <-worker:
		t.Fatalf("the worker has succeeded before the run has: %+v", e)
	default:
	}
	if err := os.WriteFile(go1, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	for who, ended := range map[string]<-chan end{"leader": leader, "worker": worker} {
		if e := ends(t, ended); e.code != 0 || e.err != nil {
			t.Errorf("%s: %+v", who, e)
		}
	}
	_, again := g.trial(0, done, "exit 9")
	if e := ends(t, again); e.code != 0 || e.err != nil {
		t.Errorf("a pod that only has to publish once more trains nothing and waits for nobody: %+v", e)
	}
}

// TestRunFails: who fails fails, and the others end for its sake: also one whose
// own part was done.
func TestRunFails(t *testing.T) {
	for name, tc := range map[string]struct {
		reason         string
		leader, worker string
		failed         int
	}{
		"Worker":          {reason: "the leader would wait for it for ever", leader: "exec sleep 60", worker: "exit 3", failed: 1},
		"LeaderAfterDone": {reason: "nothing is saved: a worker that is done trains again with it", leader: "sleep 1; exit 3", worker: "exit 0", failed: 0},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, 2)
			done := filepath.Join(g.dir, "trained")
			_, leader := g.trial(0, done, tc.leader)
			_, worker := g.trial(1, done, tc.worker)
			both := []end{ends(t, leader), ends(t, worker)}
			if e := both[tc.failed]; e.code != 3 || e.err != nil {
				t.Errorf("%s: who failed ended with %+v", tc.reason, e)
			}
			if e := both[1-tc.failed]; !errors.Is(e.err, ErrLost) {
				t.Errorf("%s: the other ended with %+v", tc.reason, e)
			}
			if exists(done) {
				t.Error("a run that failed is taken for one that has succeeded")
			}
		})
	}
}

// TestRunFailsOnce: the processes of a group die of each other, each with a code of
// its own. Whatever their order, that is one failure: the others have none.
func TestRunFailsOnce(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		scripts []string // by rank
		counts  int      // whose failure is the one; -1: any one's
	}{
		"WorkerFirst":    {"The leader's process dies of the worker's.", []string{"sleep 0.1; exit 1", "exit 1"}, 1},
		"LeaderFirst":    {"And the worker's of the leader's.", []string{"exit 1", "sleep 0.1; exit 1"}, 0},
		"SamePoll":       {"Before anybody has asked.", []string{"sleep 0.005; exit 1", "exit 1"}, -1},
		"AtOnce":         {"Of several at once one counts.", []string{"exit 1", "exit 1", "exit 1"}, -1},
		"BetweenWorkers": {"A worker dies of another, which it does not follow.", []string{"exec sleep 60", "exit 1", "sleep 0.1; exit 1"}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := newGroup(t, len(tc.scripts))
			done := filepath.Join(g.dir, "trained")
			var members []<-chan end
			all := "" // have started: a worker that has not waits for the leader's next start
			for rank := range tc.scripts {
				all += fmt.Sprintf("until [ -e %s ]; do sleep 0.01; done; ", filepath.Join(g.dir, fmt.Sprint(rank)))
			}
			for rank, script := range tc.scripts {
				_, ended := g.trial(rank, done, fmt.Sprintf(": > %s; %s%s", filepath.Join(g.dir, fmt.Sprint(rank)), all, script))
				members = append(members, ended)
			}
			var counted []int
			for rank, ended := range members {
				e := ends(t, ended)
				switch {
				case errors.Is(e.err, ErrLost):
				case e.err == nil && e.code == 1:
					counted = append(counted, rank)
				default:
					t.Errorf("%s: member %d: %+v", tc.reason, rank, e)
				}
			}
			if len(counted) != 1 || tc.counts >= 0 && counted[0] != tc.counts {
				t.Errorf("%s: the failures of %v count, want that of %d", tc.reason, counted, tc.counts)
			}
		})
	}
}

// TestRunLosesWorker: a worker's pod is told to go: the leader saves first, with
// the worker still there, and neither has failed.
func TestRunLosesWorker(t *testing.T) {
	g := newGroup(t, 2)
	done, saved := filepath.Join(g.dir, "trained"), filepath.Join(g.dir, "saved")
	started := filepath.Join(g.dir, "started")
	saves := "trap 'echo x > " + saved + "; exit 143' TERM; : > " + started + "; while :; do sleep 0.05; done"
	_, leader := g.trial(0, done, saves)
	working := filepath.Join(g.dir, "working")
	stop, worker := g.trial(1, done, ": > "+working+"; exec sleep 60")
	wait(t, "both to train", func() bool { return exists(started) && exists(working) })
	stop()
	if e := ends(t, leader); !errors.Is(e.err, ErrLost) {
		t.Errorf("the leader has not failed: %+v", e)
	}
	if !exists(saved) {
		t.Error("the leader was not told to save")
	}
	ends(t, worker)
}

// TestRunAskedToEnd: a pod that is told to go while it waits has not succeeded.
func TestRunAskedToEnd(t *testing.T) {
	g := newGroup(t, 2)
	stop, worker := g.trial(1, filepath.Join(g.dir, "trained"), "exit 0")
	wait(t, "the worker to wait", func() bool { return g.member(1) != "" })
	stop()
	if e := ends(t, worker); !errors.Is(e.err, ErrLost) {
		t.Errorf("%+v", e)
	}
}

// TestJoinWithin: pods that never meet do not keep their nodes for ever.
func TestJoinWithin(t *testing.T) {
	g := newGroup(t, 2)
	o := Options{
		Size: 2, Peer: fmt.Sprintf("127.0.0.1:%d%%d", g.base/10), Listen: fmt.Sprintf("127.0.0.1:%d", g.base), Done: filepath.Join(g.dir, "d"),
		Command: []string{"true"}, Patience: time.Second, Poll: 10 * time.Millisecond, JoinWithin: 50 * time.Millisecond, Output: os.Stderr, Log: logOf(t),
	}
	code, err := Run(t.Context(), o)
	if code != 1 || err == nil || errors.Is(err, ErrLost) || !strings.Contains(err.Error(), "NetworkPolicy") {
		t.Errorf("%d %v", code, err)
	}
}

// member is what a member tells of itself.
func (g *group) member(rank int) string {
	response, err := http.Get(fmt.Sprintf("http://127.0.0.1:%d/member", g.base+rank))
	if err != nil {
		return ""
	}
	defer func() { _ = response.Body.Close() }()
	text := make([]byte, 4096)
	n, _ := response.Body.Read(text)
	return string(text[:n])
}

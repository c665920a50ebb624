// SPDX-License-Identifier: Apache-2.0

package node

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"flag"
	"fmt"
	"io"
	"log"
	"math/rand/v2"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/registry"
	batchv1 "k8s.io/api/batch/v1"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/chats"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

var seed = flag.Uint64("node.seed", 0, "Seed of the moments at which runs are killed; 0: another one each time")

// Runs whose first attempt is killed at a moment of each kind. Of those of the first kind
// the second attempt is killed too, at any moment.
const (
	inCheckpoint = 8
	inPush       = 5
	anywhere     = 7
)

// How many kills must have ended something that lived, while a checkpoint was written and
// during the push: a busy machine misses some moments.
const (
	hitAlive      = 20
	hitCheckpoint = 5
	hitPush       = 3
)

// attempts is how often a Job tries by default.
const attempts = 7

// TestKilledAnywhere kills runs at seeded moments, the trainer alone or the container
// with all that is in it, some of them twice: each ends with one adapter, the
// same as if nothing had happened, and the registry never had another. It runs what
// the pod runs, the script of the Job and `espalier adapter push`, as processes, in the
// place of the kubelet of simulated nodes, which a pool of a cloud that is played brings:
// when a run is over, the cloud has no pool of it.
func TestKilledAnywhere(t *testing.T) {
	start := *seed
	if start == 0 {
		start = rand.Uint64()
	}
	t.Logf("to kill at the same moments: go test ./test/node -run TestKilledAnywhere -args -node.seed=%d", start)
	random := rand.New(rand.NewPCG(start, 0))
	shop := newWorkshop(t)
	var plans [][]moment
	for i := range inCheckpoint + inPush + anywhere {
		first := moment{alone: random.IntN(2) == 0, delay: random.Float64()}
		plan := []moment{first}
		switch {
		case i < inCheckpoint:
			plan[0].checkpoint = 2 * (1 + random.IntN(steps/2))
			plan = append(plan, moment{alone: random.IntN(2) == 0, delay: random.Float64()})
		case i < inCheckpoint+inPush:
			plan[0].push = true
		}
		plans = append(plans, plan)
	}
	shop.stand, shop.team = newCloud(t)
	hits := shop.runs(t, plans)
	t.Logf("%d kills ended something that lived: %d while a checkpoint was written, %d during the push", hits.alive, hits.checkpoint, hits.push)
	if hits.alive < hitAlive || hits.checkpoint < hitCheckpoint || hits.push < hitPush {
		t.Errorf("want %d, %d and %d at least: the machine is too busy", hitAlive, hitCheckpoint, hitPush)
	}
}

// tally counts kills that ended something that lived, and at which moments they did.
type tally struct{ alive, checkpoint, push int }

func (n *tally) add(other tally) {
	n.alive += other.alive
	n.checkpoint += other.checkpoint
	n.push += other.push
}

// moment is when a run is killed.
type moment struct {
	checkpoint int     // while that of this step is written; 0: not then
	push       bool    // while the adapter is pushed
	delay      float64 // after the moment has come, or of the whole run; 0 to 1
	alone      bool    // only the trainer, not the script around it
}

func (m moment) String() string {
	switch {
	case m.checkpoint > 0:
		return fmt.Sprintf("InCheckpoint%d", m.checkpoint)
	case m.push:
		return "InPush"
	}
	return "Anywhere"
}

// steps of a run: with half as many checkpoints, it takes about two seconds.
const steps = 6

// workshop has what a pod has.
type workshop struct {
	dir, espalier string
	scripts       []string // of the containers before the one that publishes
	registry      string
	want          string // checksum of the weights
	stand         *harness.Stand
	team          *harness.Team

	mu      sync.Mutex
	pushing map[string]chan struct{} // closed when a run begins to push
	tagged  map[string][]string      // manifests that each tag has carried
}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	root, err := cluster.Root()
	if err != nil {
		t.Fatal(err)
	}
	s := &workshop{dir: t.TempDir(), pushing: map[string]chan struct{}{}, tagged: map[string][]string{}}
	if s.espalier, err = harness.BuildEspalier(t.Context(), os.Stderr); err != nil {
		t.Fatal(err)
	}
	cmd := exec.CommandContext(t.Context(), "go", "build", "-o", filepath.Join(s.dir, "axolotl"), "./test/node/axolotl")
	cmd.Dir = root
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("building the stand-in: %v: %s", err, out)
	}
	text, err := os.ReadFile(filepath.Join(root, "presets", "runtimes", "axolotl", "0.19.0", "job.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	job := batchv1.Job{}
	if err := yaml.Unmarshal(text, &job); err != nil {
		t.Fatal(err)
	}
	for _, c := range job.Spec.Template.Spec.InitContainers[1:] { // after that of the data
		s.scripts = append(s.scripts, c.Args[2])
	}
	s.want = learnt(chats.Rows(steps), 1)
	server := httptest.NewServer(s.slow(registry.New(registry.Logger(log.New(io.Discard, "", 0)))))
	t.Cleanup(server.Close)
	s.registry = strings.TrimPrefix(server.URL, "http://")
	return s
}

// pushTime is how long the registry takes for a part of an upload.
const pushTime = 150 * time.Millisecond

// slow is a registry that can be caught in the middle of a push. It notes what each
// tag has carried.
func (s *workshop) slow(under http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		parts := strings.Split(r.URL.Path, "/") // /v2/models/run-1/…
		if r.Method == http.MethodGet || r.Method == http.MethodHead || len(parts) < 6 {
			under.ServeHTTP(w, r)
			return
		}
		s.mu.Lock()
		if begun := s.pushing[parts[3]]; begun != nil {
			close(begun)
			delete(s.pushing, parts[3])
		}
		s.mu.Unlock()
		<-time.After(pushTime)
		if parts[4] == "manifests" && parts[5] == "1" {
			body, _ := io.ReadAll(r.Body) // a short one is not JSON, and refused
			r.Body = io.NopCloser(bytes.NewReader(body))
			s.mu.Lock()
			s.tagged[parts[3]] = append(s.tagged[parts[3]], fmt.Sprintf("%x", sha256.Sum256(body)))
			s.mu.Unlock()
		}
		under.ServeHTTP(w, r)
	})
}

// prepare writes what a run is given.
func (s *workshop) prepare(t *testing.T, name string) {
	t.Helper()
	dir := filepath.Join(s.dir, name)
	output, data := filepath.Join(dir, "out"), filepath.Join(dir, "chats.jsonl")
	config, err := yaml.Marshal(map[string]any{
		"base_model": "example/model", "output_dir": output, "auto_resume_from_checkpoints": true, "save_steps": 2, "save_total_limit": 2,
		"datasets": []any{map[string]string{"path": data}},
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := errors.Join(os.MkdirAll(dir, 0o755), os.WriteFile(data, []byte(rows(steps)), 0o600),
		os.WriteFile(filepath.Join(dir, "axolotl.yaml"), config, 0o600)); err != nil {
		t.Fatal(err)
	}
}

func (s *workshop) tag(name string) string { return s.registry + "/models/" + name + ":1" }

// digest is the only one that the run's tag has ever carried.
func (s *workshop) digest(t *testing.T, name string) string {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	all := s.tagged[name]
	if len(all) == 0 {
		t.Fatal("nothing was published")
	}
	for _, other := range all {
		if other != all[0] {
			t.Errorf("the tag has carried %v: one adapter, and no other", all)
		}
	}
	return s.registry + "/models/" + name + "@sha256:" + all[0]
}

// attempt is what a pod does: the container of the trainer, then the one that
// publishes.
func (s *workshop) attempt(ctx context.Context, name string, kill func(cmd *exec.Cmd, push bool)) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, time.Minute) // never a hang
	defer cancel()
	dir := filepath.Join(s.dir, name)
	output := filepath.Join(dir, "out")
	left := filepath.Join(dir, "termination-log")
	here := strings.NewReplacer("/config/axolotl.yaml", filepath.Join(dir, "axolotl.yaml"), "/dev/termination-log", left)
	var containers [][]string
	for _, script := range s.scripts {
		containers = append(containers, []string{"sh", "-c", here.Replace(script)})
	}
	containers = append(containers, []string{s.espalier, "adapter", "push", "--from", output, "--to", s.tag(name), "--termination-log", left})
	var said bytes.Buffer
	for i, args := range containers {
		cmd := exec.CommandContext(ctx, args[0], args[1:]...)
		cmd.Env = []string{"RUN_OUTPUT=" + output, "PATH=" + s.dir + ":" + os.Getenv("PATH"), "HOME=" + dir, "TMPDIR=" + dir}
		cmd.Stdout, cmd.Stderr = &said, &said
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
		cmd.WaitDelay = time.Second
		if err := cmd.Start(); err != nil {
			return "", err
		}
		if i > 0 { // what looks at the checkpoints is over before a moment comes
			kill(cmd, i == len(containers)-1)
		}
		if err := cmd.Wait(); err != nil {
			return said.String(), err
		}
	}
	return said.String(), nil
}

// killAt kills what a container runs when the moment has come, and waits no longer for
// that than it runs. It says what it has hit.
func (s *workshop) killAt(cmd *exec.Cmd, name string, m moment, push bool) (hit tally) {
	if m.push != push {
		return hit
	}
	ended := func() bool { return syscall.Kill(cmd.Process.Pid, 0) != nil || zombie(cmd.Process.Pid) }
	within, came := s.come(name, m, ended)
	if !came {
		return hit
	}
	<-time.After(time.Duration(m.delay * float64(within)))
	if m.alone && !push {
		// At the very beginning the script has not started it yet.
		hit.alive = one(await(ended, func() bool { return killTrainer(cmd.Process.Pid) }))
	} else {
		hit.alive = one(!ended() && syscall.Kill(-cmd.Process.Pid, syscall.SIGKILL) == nil)
	}
	if m.checkpoint > 0 {
		_, err := os.Stat(filepath.Join(s.dir, name, "out", fmt.Sprintf("checkpoint-%d", m.checkpoint), "trainer_state.json"))
		hit.checkpoint = hit.alive * one(err != nil)
	}
	hit.push = hit.alive * one(push)
	return hit
}

func one(is bool) int {
	if is {
		return 1
	}
	return 0
}

// come waits until a moment has come, and says how long it lasts; false when what runs
// has ended before.
func (s *workshop) come(name string, m moment, ended func() bool) (lasts time.Duration, came bool) {
	switch {
	case m.push:
		begun := make(chan struct{})
		s.mu.Lock()
		s.pushing[name] = begun
		s.mu.Unlock()
		came = await(ended, func() bool {
			select {
			case <-begun:
				return true
			default:
				return false
			}
		})
		return 2 * pushTime, came // of the six or so that a push takes
	case m.checkpoint > 0:
		folder := filepath.Join(s.dir, name, "out", fmt.Sprintf("checkpoint-%d", m.checkpoint))
		came = await(ended, func() bool { _, err := os.Stat(folder); return err == nil })
		return 250 * time.Millisecond, came // of the 300 that writing takes
	}
	return 1500 * time.Millisecond, true // of the two seconds that a run takes
}

// killTrainer kills the trainer that a script has started; false: there is none.
func killTrainer(script int) (killed bool) {
	children, _ := os.ReadFile(fmt.Sprintf("/proc/%d/task/%d/children", script, script)) // gone is what was wanted
	for _, child := range strings.Fields(string(children)) {
		name, _ := os.ReadFile(filepath.Join("/proc", child, "comm"))
		if pid, err := strconv.Atoi(child); err == nil && strings.TrimSpace(string(name)) == "axolotl" && !zombie(pid) {
			killed = syscall.Kill(pid, syscall.SIGKILL) == nil || killed
		}
	}
	return killed
}

// await polls until something holds; false when the process has ended before.
func await(ended, holds func() bool) bool {
	ticker := time.NewTicker(2 * time.Millisecond)
	defer ticker.Stop()
	for !holds() {
		if ended() {
			return false
		}
		<-ticker.C
	}
	return true
}

// zombie says whether a process has ended and waits to be asked about it.
func zombie(pid int) bool {
	stat, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	_, state, _ := strings.Cut(string(stat), ") ")
	return err != nil || strings.HasPrefix(state, "Z")
}

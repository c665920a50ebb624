// SPDX-License-Identifier: Apache-2.0

package scale

import (
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"runtime"
	"runtime/debug"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

const repo = "models.git"

// push gives a repository this content and reads it as the controller does.
func push(b *testing.B, server *gitserver.Server, files map[string]string) *git.Tree {
	b.Helper()
	if _, err := server.Push(repo, "main", files, "change"); err != nil {
		b.Fatal(err)
	}
	snapshot, err := git.Remote{URL: server.URL(repo)}.Clone(b.Context(), v1alpha1.GitRef{})
	if err != nil {
		b.Fatal(err)
	}
	return snapshot.Tree
}

// pipeline is what stands between a commit and the objects to apply.
type pipeline struct {
	cache  *build.Cache
	memory desired.Memory
	judge  *desired.Judge
	sync   *v1alpha1.RepoSync
}

func newPipeline() *pipeline {
	return &pipeline{
		cache: build.NewCache(build.CacheLimits{}),
		judge: &desired.Judge{Render: render.Options{
			Provider: v1alpha1.ProviderAKS, HelperImage: "registry.example.com/espalier@sha256:" + strings.Repeat("0", 64),
		}},
		sync: &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "fleet"}},
	}
}

// run builds, decodes, judges and renders everything that has changed since the
// last run, and returns the rendered children by Workspace.
func (p *pipeline) run(b *testing.B, tree fs.FS, have map[string]string) (rendered int) {
	b.Helper()
	units, err := p.cache.Build(b.Context(), tree, "workspaces", build.DefaultLimits())
	if err != nil {
		b.Fatal(err)
	}
	state := p.judge.State(p.memory.Units(p.sync, units))
	for _, f := range state.Findings {
		if f.Severity == finding.Error {
			b.Fatalf("%+v", f)
		}
	}
	var renders errgroup.Group
	renders.SetLimit(runtime.GOMAXPROCS(0))
	for i := range state.Workspaces {
		w := &state.Workspaces[i]
		if have[w.Workspace.Name] == w.Key {
			continue
		}
		have[w.Workspace.Name] = w.Key
		rendered++
		renders.Go(func() error {
			_, err := w.Render()
			return err
		})
	}
	if err := renders.Wait(); err != nil {
		b.Fatal(err)
	}
	return rendered
}

// BenchmarkPush measures a repository that is read for the first time, and one
// push later in which one Workspace has changed.
func BenchmarkPush(b *testing.B) {
	for _, n := range []int{1, 100, 1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			server := gitserver.Serve(b, gitserver.Options{}, repo)
			files := Fleet(n)
			first := push(b, server, files)
			files["workspaces/w00000/inference_config.yaml"] = "vllm:\n  max-num-seqs: 7\n"
			second := push(b, server, files)
			newPipeline().run(b, push(b, server, Fleet(1)), map[string]string{}) // what a process does once
			b.ResetTimer()
			for b.Loop() {
				measure(b, n, first, second)
			}
		})
	}
}

// BenchmarkTouch measures pushes one after another, each of which gives one Workspace
// of a repository that is known a content that was never there: what a push takes to
// be read from the server, and from there to the rendered children.
func BenchmarkTouch(b *testing.B) {
	for _, n := range []int{100, 1_000, 10_000} {
		b.Run(strconv.Itoa(n), func(b *testing.B) {
			server := gitserver.Serve(b, gitserver.Options{}, repo)
			const pushes = 40
			files := Fleet(n)
			commits := []string{commit(b, server, files)}
			for i := range pushes {
				files["workspaces/w00000/inference_config.yaml"] = fmt.Sprintf("vllm:\n  max-num-seqs: %d\n", 1000+i)
				commits = append(commits, commit(b, server, files))
			}
			for b.Loop() {
				touch(b, server, commits)
			}
		})
	}
}

// touch follows a branch from one commit to the next.
func touch(b *testing.B, server *gitserver.Server, commits []string) {
	b.Helper()
	store, p, have := source.NewStore(source.Options{}), newPipeline(), map[string]string{}
	var reading, rest time.Duration
	for i, hash := range commits {
		move := exec.CommandContext(b.Context(), "git", "-C", server.Dir(repo), "update-ref", "refs/heads/main", hash)
		if out, err := move.CombinedOutput(); err != nil {
			b.Fatalf("%v: %s", err, out)
		}
		used := processor(b)
		got, err := store.Fetch(b.Context(), source.Request{URL: server.URL(repo)})
		if err != nil {
			b.Fatal(err)
		}
		read := processor(b)
		if rendered := p.run(b, got.Tree, have); i > 0 && rendered != 1 {
			b.Fatalf("%d Workspaces were rendered after a push that changes 1", rendered)
		}
		if i > 0 {
			reading, rest = reading+read-used, rest+processor(b)-read
		}
	}
	pushes := float64(len(commits) - 1)
	b.ReportMetric(reading.Seconds()*1000/pushes, "fetch-cpu-ms/push")
	b.ReportMetric(rest.Seconds()*1000/pushes, "render-cpu-ms/push")
}

// commit gives a branch this content.
func commit(b *testing.B, server *gitserver.Server, files map[string]string) string {
	b.Helper()
	hash, err := server.Push(repo, "next", files, "change")
	if err != nil {
		b.Fatal(err)
	}
	return hash
}

func measure(b *testing.B, n int, first, second *git.Tree) {
	b.Helper()
	debug.FreeOSMemory()
	resetPeak(b)
	before := peak(b)
	p, have := newPipeline(), map[string]string{}
	start, used := time.Now(), processor(b)
	if got := p.run(b, first, have); got != n {
		b.Fatalf("%d of %d Workspaces were rendered", got, n)
	}
	cold, coldUsed := time.Since(start), processor(b)-used
	memory := peak(b)
	runtime.GC()
	start, used = time.Now(), processor(b)
	if got := p.run(b, second, have); got != 1 {
		b.Fatalf("%d Workspaces were rendered after a push that changes 1", got)
	}
	warm, warmUsed := time.Since(start), processor(b)-used
	stats := p.cache.Stats()
	b.ReportMetric(cold.Seconds()*1000, "cold-ms")
	b.ReportMetric(warm.Seconds()*1000, "push-ms")
	b.ReportMetric(coldUsed.Seconds()*1000, "cold-cpu-ms")
	b.ReportMetric(warmUsed.Seconds()*1000, "push-cpu-ms")
	b.ReportMetric(float64(coldUsed)/float64(warmUsed), "cold/push")
	b.ReportMetric(memory/(1<<20), "peak-MiB")
	b.ReportMetric((memory-before)/(1<<20), "more-MiB")
	b.ReportMetric(float64(stats.Bytes)/(1<<20), "cache-MiB")
}

// processor is the time that this process has had of processors: what a machine
// that is busy with others does not change much.
func processor(b *testing.B) time.Duration {
	b.Helper()
	var used unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_SELF, &used); err != nil {
		b.Fatal(err)
	}
	return time.Duration(used.Utime.Nano() + used.Stime.Nano())
}

// resetPeak makes the kernel forget the highest memory of this process.
func resetPeak(b *testing.B) {
	b.Helper()
	if err := os.WriteFile("/proc/self/clear_refs", []byte("5"), 0); err != nil {
		b.Logf("the peak of memory cannot be told: %v", err)
	}
}

// peak is the most memory that was resident, in bytes; 0 where the system does
// not say.
func peak(b *testing.B) float64 {
	b.Helper()
	status, err := os.ReadFile("/proc/self/status")
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(status)) {
		if rest, ok := strings.CutPrefix(line, "VmHWM:"); ok {
			kib, _ := strconv.ParseFloat(strings.Fields(rest)[0], 64)
			return kib * 1024
		}
	}
	return 0
}

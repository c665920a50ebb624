// SPDX-License-Identifier: Apache-2.0

// Package loop tests the whole of Espalier: real Git over HTTP, a real API
// server with simulated GPU nodes, the real Azure client against a fake Resource
// Manager, and the product's binary as a process that can be killed.
//
// A test whose team minds its own namespace runs beside others (t.Parallel); one
// that ends or replaces the controller, which they share, runs alone before them.
package loop

import (
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// patience bounds every wait: it is only used up when something is broken.
const patience = 150 * time.Second

// startLimit is long for a simulated pod, and short for a test.
const startLimit = 10 * time.Second

var stand struct {
	once sync.Once
	*harness.Stand
	err error
}

// beside is how many teams work at once, unless -parallel says so: they wait for
// simulated nodes and for Git most of the time, not for a processor.
const beside = "4"

func TestMain(m *testing.M) {
	flag.Parse()
	if p := flag.Lookup("test.parallel"); p.Value.String() == p.DefValue {
		if err := p.Value.Set(beside); err != nil {
			panic(err)
		}
	}
	code := m.Run()
	if stand.Stand != nil {
		log, err := os.ReadFile(stand.ControllerLog())
		// An admission policy of a test refuses for a moment after it was deleted, and speaks of no right.
		lacks := strings.ReplaceAll(string(log), "is forbidden: ValidatingAdmissionPolicy", "is denied by a policy")
		if err != nil || *walkSteps <= shortWalk && strings.Contains(lacks, "is forbidden") {
			fmt.Fprintln(os.Stderr, "deploy/rbac lacks a right that the controller uses:", err, linesWith(lacks, "is forbidden"))
			code = max(code, 1)
		}
		if err := stand.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// theStand starts everything once for the package.
func theStand(t *testing.T) *harness.Stand {
	t.Helper()
	stand.once.Do(func() {
		ctx := context.Background()
		stand.Stand, stand.err = harness.Start(ctx, harness.Options{
			CreateDelay: 500 * time.Millisecond, GPUDelay: 300 * time.Millisecond, DeleteDelay: 300 * time.Millisecond,
			JobDuration: time.Second, PollInterval: 200 * time.Millisecond, Out: os.Stderr,
			StartLimit: startLimit,
		})
		if stand.err == nil {
			// Flux's kinds, generated from its API package: see make generate.
			stand.err = cluster.InstallCRDs(ctx, stand.Cluster.Config, filepath.Join("testdata", "flux"))
		}
		if stand.err == nil {
			stand.err = cluster.InstallCRDs(ctx, stand.Cluster.Config, filepath.Join("testdata", "fluxcd"))
		}
		if stand.err == nil {
			// Kueue's, from its Go module.
			stand.err = cluster.InstallCRDs(ctx, stand.Cluster.Config, filepath.Join("testdata", "kueue"))
		}
		if stand.err == nil {
			stand.err = stand.StartController(ctx)
		}
	})
	if stand.err != nil {
		t.Fatal(stand.err)
	}
	return stand.Stand
}

// newTeam makes a team with a namespace of its own.
func newTeam(t *testing.T, name string) *harness.Team {
	t.Helper()
	team, err := theStand(t).NewTeam(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if t.Failed() {
			pools, err := team.Cluster.Kubectl(context.Background(), "get", "gpunodepools", "--namespace", team.Namespace, "--output", "yaml")
			t.Logf("node pools: %v\n%s\nagent pools: %+v", err, pools, team.ARM.Pools())
			log, _ := os.ReadFile(team.ControllerLog())
			t.Logf("controller log, how it ended:\n%s\nlast lines:\n%s", linesWith(string(log), "espalier: "), tail(string(log), 60))
		}
	})
	return team
}

func linesWith(text, part string) string {
	var found []string
	for line := range strings.Lines(text) {
		if strings.Contains(line, part) {
			found = append(found, line)
		}
	}
	return strings.Join(found[:min(len(found), 5)], "")
}

func tail(text string, lines int) string {
	all := strings.Split(strings.TrimRight(text, "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// patient bounds a wait.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func exampleFiles(t *testing.T) map[string]string {
	t.Helper()
	files, err := harness.Example()
	if err != nil {
		t.Fatal(err)
	}
	return files
}

func push(t *testing.T, team *harness.Team, files map[string]string, message string) string {
	t.Helper()
	commit, err := team.Push(files, message)
	if err != nil {
		t.Fatal(err)
	}
	return commit
}

func apply(t *testing.T, team *harness.Team, sync *v1alpha1.RepoSync) {
	t.Helper()
	if err := team.Client.Create(t.Context(), sync); err != nil {
		t.Fatal(err)
	}
}

func workspace(team *harness.Team, name string) *v1alpha1.Workspace {
	return &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: name}}
}

func repoSync(team *harness.Team) *v1alpha1.RepoSync {
	return &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: team.Sync}}
}

// ready waits for a Workspace to be Ready.
func ready(t *testing.T, team *harness.Team, name string) *v1alpha1.Workspace {
	t.Helper()
	w := workspace(team, name)
	if err := harness.Until(patient(t), team.Stand, w, "Ready", isReady[*v1alpha1.Workspace]); err != nil {
		t.Fatal(err)
	}
	return w
}

func isReady[T condition.Holder](h T) bool { return condition.Is(h, v1alpha1.ConditionReady) }

// syncCondition waits until the RepoSync has a condition with a reason.
func syncCondition(t *testing.T, team *harness.Team, kind, reason string) *metav1.Condition {
	t.Helper()
	s := repoSync(team)
	err := harness.Until(patient(t), team.Stand, s, kind+" with reason "+reason, func(s *v1alpha1.RepoSync) bool {
		c := condition.Get(s, kind)
		return c != nil && c.Reason == reason && s.Status.ObservedGeneration == s.Generation
	})
	if err != nil {
		t.Fatal(err)
	}
	return condition.Get(s, kind)
}

// appliedCommit waits until a commit is applied whole.
func appliedCommit(t *testing.T, team *harness.Team, commit string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, repoSync(team), "synced to "+commit, func(s *v1alpha1.RepoSync) bool {
		return strings.HasSuffix(s.Status.LastAppliedRevision, commit)
	})
	if err != nil {
		t.Fatal(err)
	}
}

// readme waits until the README of the status branch, as real git reads it,
// satisfies a predicate.
func readme(t *testing.T, team *harness.Team, what string, holds func(string) bool) string {
	t.Helper()
	ctx := patient(t)
	var text string
	var err error
	for {
		text, err = team.Git.ReadFile(team.Repo, team.StatusBranch(), "README.md")
		if err == nil && holds(text) {
			return text
		}
		select {
		case <-ctx.Done():
			t.Fatalf("the status README never was %s: %v; last seen:\n%s", what, err, text)
		case <-time.After(100 * time.Millisecond):
		}
	}
}

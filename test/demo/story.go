// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/deploy/image"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// namespace of the sample repository's RepoSync; the repository has its name too.
const namespace = "models"

// leaveTimeout bounds taking everything out of an existing cluster.
const leaveTimeout = 3 * time.Minute

// story is a demo that is up.
type story struct {
	*screen
	stand *harness.Stand
	team  *harness.Team
	work  *worktree
	told  *branch
	dir   string
	guest bool               // in a cluster that is not ours to throw away
	quiet context.CancelFunc // ends the narration
}

// buildPrograms builds what is missing, and says why it takes long.
func buildPrograms(ctx context.Context, s *screen) error {
	s.heading("Building what is missing")
	s.say("The first time this compiles a whole Kubernetes control plane from its Go modules: 8 to 25 minutes on two cores. After that it takes seconds.")
	bin, err := cluster.DefaultBin()
	if err != nil {
		return err
	}
	if err := cluster.Build(ctx, bin, s.out); err != nil {
		return err
	}
	cmd := exec.CommandContext(ctx, "go", "build", "-v", "-tags="+image.Tags, "-o", filepath.Join(bin, "espalier"), "./cmd/espalier")
	cmd.Dir = filepath.Dir(bin)
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if err := cluster.WatchBuild(cmd, "espalier", s.out); err != nil {
		return fmt.Errorf("building espalier: %w", err)
	}
	s.say("All programs are in " + bin + ".")
	return nil
}

// newStory starts everything. On error nothing keeps running.
func newStory(ctx context.Context, s *screen, o options) (_ *story, err error) {
	s.heading("Starting")
	st := &story{screen: s, guest: o.kubeconfig != "", quiet: func() {}}
	defer func() {
		if err != nil {
			_ = st.end() // the first error says more
		}
	}()
	s.restartClock()
	st.stand, err = harness.Start(ctx, harness.Options{
		Kubeconfig: o.kubeconfig, Out: s,
		CreateDelay: o.pace.createPool, GPUDelay: o.pace.gpus, DeleteDelay: o.pace.deletePool,
		PodStart: o.pace.podStart, JobDuration: o.pace.job, PollInterval: o.pace.look,
	})
	if err != nil {
		return nil, err
	}
	s.event("demo", "Kubernetes", st.stand.Cluster.Config.Host)
	if err := st.stand.StartController(ctx); err != nil {
		return nil, err
	}
	s.event("demo", "espalier controller", "ready, as "+harness.ClusterName+" in "+harness.Region)
	if st.team, err = st.stand.NewTeam(ctx, namespace); err != nil {
		return nil, err
	}
	s.event("demo", "Git", st.team.Git.URL(st.team.Repo))
	if st.dir, err = os.MkdirTemp("", "espalier-demo-"); err != nil {
		return nil, err
	}
	address, err := withCredentials(st.team.Git.URL(st.team.Repo), harness.GitUser, harness.GitPassword)
	if err != nil {
		return nil, err
	}
	if st.work, err = clone(ctx, filepath.Join(st.dir, "models"), address); err != nil {
		return nil, err
	}
	watching, quiet := context.WithCancel(ctx)
	st.quiet = quiet
	st.told = &branch{screen: s, team: st.team}
	go st.told.follow(watching)
	return st, narrate(watching, s, st.team)
}

// play plays the acts in order.
func (st *story) play(ctx context.Context) error {
	for _, act := range []func(context.Context) error{
		st.firstPush, st.refusal, st.substitution, st.bothReady, st.secondPush, st.statusBranch,
	} {
		if err := act(ctx); err != nil {
			return err
		}
	}
	return nil
}

// end stops everything and removes what was written.
func (st *story) end() error {
	st.quiet()
	if st.dir != "" {
		_ = os.RemoveAll(st.dir) // a clone in the temporary folder
	}
	if st.stand == nil {
		return nil
	}
	return errors.Join(st.leave(), st.stand.Stop())
}

// leave takes what the demo made out of a cluster that lives on, in the order
// in which the controller, still running, gives back what it holds. The CRDs stay.
func (st *story) leave() error {
	if !st.guest || st.team == nil {
		return nil
	}
	ctx, cancel := context.WithTimeout(context.Background(), leaveTimeout)
	defer cancel()
	for _, args := range [][]string{
		{"--namespace", namespace, "delete", "reposync", "--all"},
		{"delete", "namespace", namespace},
	} {
		if _, err := st.stand.Cluster.Kubectl(ctx, args...); err != nil {
			return fmt.Errorf("leaving the cluster: %w", err)
		}
	}
	return nil
}

// stayUp says how to go on, and waits for an interrupt.
func (st *story) stayUp(ctx context.Context) {
	st.heading("To go on by hand")
	st.say("git clone " + st.work.address)
	st.say("export KUBECONFIG=" + st.stand.Cluster.Kubeconfig)
	st.say("bin/kubectl --namespace " + namespace + " get workspaces --watch")
	st.say("Everything stays up until you press Ctrl-C.")
	<-ctx.Done()
}

// showFailure shows where everything stood.
func (st *story) showFailure() {
	ctx := context.Background()
	st.quiet()
	st.heading("Where it stood")
	st.kubectl(ctx, "get", "reposyncs,workspaces,gpunodepools,jobs,deployments,pods", "-o", "wide")
	log, err := os.ReadFile(st.stand.ControllerLog())
	if err != nil {
		return
	}
	lines := strings.Split(strings.TrimRight(string(log), "\n"), "\n")
	st.command("tail -n 20 controller.log", strings.Join(lines[max(0, len(lines)-20):], "\n"))
}

// kubectl shows a command on the team's namespace and its answer.
func (st *story) kubectl(ctx context.Context, args ...string) {
	args = append([]string{"--namespace", namespace}, args...)
	out, err := st.stand.Cluster.Kubectl(ctx, args...)
	if err != nil {
		out += err.Error()
	}
	st.command("kubectl "+strings.Join(args, " "), out)
}

// git shows a command in the clone and what it said.
func (st *story) git(ctx context.Context, args ...string) error {
	out, err := st.work.git(ctx, args...)
	if err != nil {
		return err
	}
	st.command("git "+strings.Join(args, " "), out)
	return nil
}

// plan shows what the last commit of the clone does, before it is pushed.
func (st *story) plan(ctx context.Context) error {
	bin, err := cluster.DefaultBin()
	if err != nil {
		return err
	}
	args := []string{"plan", "--base", "origin/main", "--sync", syncFile, "--region", harness.Region}
	cmd := exec.CommandContext(ctx, filepath.Join(bin, "espalier"), args...)
	cmd.Dir = st.work.dir
	var out, talk strings.Builder
	cmd.Stdout, cmd.Stderr = &out, &talk
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("espalier plan: %w: %s", err, talk.String())
	}
	st.command("espalier "+strings.Join(args, " "), out.String())
	return nil
}

// workspace is a Workspace of the team, to be looked for.
func (st *story) workspace(name string) *v1alpha1.Workspace {
	return &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: name}}
}

// until waits for a Workspace.
func (st *story) until(ctx context.Context, name, what string, holds func(*v1alpha1.Workspace) bool) error {
	return harness.Until(ctx, st.stand, st.workspace(name), what, holds)
}

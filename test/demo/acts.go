// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// substitution is the line of the sample's RepoSync that the demo leaves out at
// first, with what stands around it there.
const (
	substitutionBlock = "  # Azure retired Standard_NC6s_v3 on 2025-09-30. One reviewed line moves every\n" +
		"  # Workspace of this cluster that still asks for it.\n" +
		"  substitutions:\n    " + harness.RetiredSize + ": " + harness.MovedToSize + "\n"
	substitutionLine = "  substitutions: {" + harness.RetiredSize + ": " + harness.MovedToSize + "}\n"
	beforeReport     = "  # Readiness comes back as commits"
)

// What the demo edits of the sample: the cluster staging, whose RepoSync and list
// of Workspaces these are.
var (
	syncFile = repolayout.PathSync(example.Staging)
	listFile = filepath.Join(repolayout.PathRoot(example.Staging), repolayout.FileKustomization)
)

// firstPush pushes the sample repository and applies its RepoSync, without the
// substitution.
func (st *story) firstPush(ctx context.Context) error {
	st.heading("1. A push, and a RepoSync that follows the repository")
	files, err := harness.Example()
	if err != nil {
		return err
	}
	for name, content := range files {
		if err := st.work.write(name, content); err != nil {
			return err
		}
	}
	for _, change := range [][2]string{
		{example.CloneAddress, st.team.Git.URL(st.team.Repo)},
		{"interval: 1m", "interval: 2s"},
		{"commit: {}", "commit: {minInterval: 3s}"},
		{substitutionBlock, ""},
	} {
		if err := st.work.edit(syncFile, change[0], change[1]); err != nil {
			return err
		}
	}
	if _, err := st.work.commit(ctx, "models: tune phi-3, serve phi-4-mini"); err != nil {
		return err
	}
	if err := st.git(ctx, "ls-files"); err != nil {
		return err
	}
	if err := st.git(ctx, "push", "origin", "main"); err != nil {
		return err
	}
	return st.applySync(ctx)
}

func (st *story) applySync(ctx context.Context) error {
	out, err := st.stand.Cluster.Kubectl(ctx, "apply", "-f", filepath.Join(st.work.dir, syncFile))
	st.command("kubectl apply -f "+syncFile, out)
	return err
}

// refusal shows that a retired size is refused, and nothing bought.
func (st *story) refusal(ctx context.Context) error {
	st.heading("2. A size that Azure retired is refused before anything is paid")
	err := st.until(ctx, harness.TuningName, "refused", func(w *v1alpha1.Workspace) bool {
		c := meta.FindStatusCondition(w.Status.Conditions, v1alpha1.ConditionReady)
		return c != nil && c.Reason == v1alpha1.ReasonRefused
	})
	if err != nil {
		return err
	}
	if err := st.neverOrdered(harness.RetiredSize); err != nil {
		return err
	}
	if err := st.reported(ctx, "the refusal", func(files map[string]string) bool {
		return stateIs(files, harness.TuningName, "Refused")
	}); err != nil {
		return err
	}
	st.kubectl(ctx, "get", "workspaces,gpunodepools")
	st.say("No node was asked for it, and the other Workspace goes on: one that is refused holds up nobody.")
	return nil
}

func (st *story) neverOrdered(size string) error {
	for _, p := range st.team.ARM.Pools() {
		if p.VMSize == size {
			return fmt.Errorf("agent pool %s of size %s was created for a Workspace that is refused", p.Name, size)
		}
	}
	return nil
}

// substitution moves the retired size by one line of the RepoSync.
func (st *story) substitution(ctx context.Context) error {
	st.heading("3. One line of the RepoSync moves it")
	if err := st.work.edit(syncFile, beforeReport, substitutionLine+beforeReport); err != nil {
		return err
	}
	if err := st.git(ctx, "diff", "--unified=1"); err != nil {
		return err
	}
	if _, err := st.work.commit(ctx, "clusters: move the retired V100 size to T4"); err != nil {
		return err
	}
	if err := st.git(ctx, "push", "origin", "main"); err != nil {
		return err
	}
	return st.applySync(ctx)
}

// bothReady follows the loop until both Workspaces are done, reported, and the
// tuning run's nodes are gone.
func (st *story) bothReady(ctx context.Context) error {
	st.heading("4. From Git to GPUs")
	if err := st.until(ctx, harness.TuningName, "on nodes", isTrue(v1alpha1.ConditionResourceReady)); err != nil {
		return err
	}
	st.kubectl(ctx, "get", "gpunodepools")
	st.kubectl(ctx, "get", "nodes", "--label-columns", "node.kubernetes.io/instance-type")
	if err := st.until(ctx, harness.TuningName, "running", isTrue(v1alpha1.ConditionJobStarted)); err != nil {
		return err
	}
	st.kubectl(ctx, "get", "jobs,pods")
	for _, name := range []string{harness.InferenceName, harness.TuningName} {
		if err := st.until(ctx, name, "ready", isTrue(v1alpha1.ConditionWorkspaceReady)); err != nil {
			return err
		}
	}
	pool := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: harness.TuningName}}
	if err := harness.Gone(ctx, st.stand, pool); err != nil {
		return err
	}
	if err := st.reported(ctx, "both Workspaces ready", func(files map[string]string) bool {
		return stateIs(files, harness.InferenceName, "Ready") && stateIs(files, harness.TuningName, "Ready")
	}); err != nil {
		return err
	}
	st.kubectl(ctx, "get", "workspaces")
	st.kubectl(ctx, "get", "gpunodepools,nodes")
	st.say("The tuning run is done and its nodes are deleted; the model is served on. Git says so too:")
	return st.showReport(ctx)
}

// secondPush changes one Workspace and removes the other.
func (st *story) secondPush(ctx context.Context) error {
	st.heading("5. A second push: a shorter context, and the tuning is removed")
	commit, err := st.changeAndRemove(ctx)
	if err != nil {
		return err
	}
	if err := harness.Gone(ctx, st.stand, st.workspace(harness.TuningName)); err != nil {
		return err
	}
	if err := st.until(ctx, harness.InferenceName, "ready at the second push", func(w *v1alpha1.Workspace) bool {
		return strings.HasSuffix(w.Status.Revision, commit) && w.Status.ObservedGeneration == w.Generation &&
			meta.IsStatusConditionTrue(w.Status.Conditions, v1alpha1.ConditionReady)
	}); err != nil {
		return err
	}
	if err := st.reported(ctx, "the second push", func(files map[string]string) bool {
		_, tuning := files[repolayout.StatusFile(namespace, harness.TuningName)]
		return !tuning && stateIs(files, harness.InferenceName, "Ready") && strings.Contains(files[repolayout.StatusReadme], commit[:7])
	}); err != nil {
		return err
	}
	st.kubectl(ctx, "get", "workspaces,gpunodepools,deployments")
	return nil
}

// changeAndRemove pushes the second commit and returns it.
func (st *story) changeAndRemove(ctx context.Context) (commit string, err error) {
	if err := st.work.edit("models/phi-4-mini/workspace.yaml", "contextLength: 32768", "contextLength: 16384"); err != nil {
		return "", err
	}
	if err := st.work.edit(listFile, "- ../../../models/phi-3-dolly\n", ""); err != nil {
		return "", err
	}
	if err := os.RemoveAll(filepath.Join(st.work.dir, "models", "phi-3-dolly")); err != nil {
		return "", err
	}
	if commit, err = st.work.commit(ctx, "models: shorten phi-4-mini, remove the tuning"); err != nil {
		return "", err
	}
	if err := st.git(ctx, "show", "--stat", "--format=%h %s"); err != nil {
		return "", err
	}
	st.say("What a pull request with this commit would be told, from Git alone:")
	if err := st.plan(ctx); err != nil {
		return "", err
	}
	return commit, st.git(ctx, "push", "origin", "main")
}

// reported waits until the files of the status branch say something.
func (st *story) reported(ctx context.Context, what string, holds func(files map[string]string) bool) error {
	var last string
	err := wait.PollUntilContextCancel(ctx, lookAtBranch, true, func(context.Context) (bool, error) {
		files, missing := st.team.Git.Files(st.team.Repo, st.team.StatusBranch())
		last = files[repolayout.StatusReadme]
		return missing == nil && holds(files), nil // the branch comes with the first report
	})
	if err != nil {
		return fmt.Errorf("waiting for the status branch to report %s: %w; its README says:\n%s", what, err, last)
	}
	st.told.look() // so that what was waited for is on the screen
	return nil
}

// stateIs reads a Workspace's state out of its file on the status branch.
func stateIs(files map[string]string, name, state string) bool {
	return strings.Contains(files[repolayout.StatusFile(namespace, name)], "\nstate: "+state+"\n")
}

// showReport reads the README of the status branch with git.
func (st *story) showReport(ctx context.Context) error {
	if _, err := st.work.git(ctx, "fetch", "--quiet", "origin"); err != nil {
		return err
	}
	return st.git(ctx, "show", "origin/"+st.team.StatusBranch()+":"+repolayout.StatusReadme)
}

// statusBranch reads the status branch back with git.
func (st *story) statusBranch(ctx context.Context) error {
	st.quiet()
	st.heading("6. What Git says of it")
	if err := st.showReport(ctx); err != nil {
		return err
	}
	branch := "origin/" + st.team.StatusBranch()
	if err := st.git(ctx, "log", "--format=%h %an: %s", branch); err != nil {
		return err
	}
	if err := st.git(ctx, "log", "-1", "--format=fuller", branch); err != nil {
		return err
	}
	st.heading("Done")
	st.say(fmt.Sprintf("Seen whole in %s.", time.Since(st.started).Round(time.Second)))
	return nil
}

func isTrue(condition string) func(*v1alpha1.Workspace) bool {
	return func(w *v1alpha1.Workspace) bool { return meta.IsStatusConditionTrue(w.Status.Conditions, condition) }
}

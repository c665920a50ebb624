// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"flag"
	"fmt"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// each gives every phase a run of its own, which takes minutes more: see make
// nightly.
var each = flag.Bool("kill.each", false, "kill the controller once a run, instead of at every phase of one")

// phase is a moment at which the controller is killed. It holds from that moment
// on, so that it cannot be missed.
type phase struct {
	name string
	came func(context.Context, *harness.Team) bool
}

// phases in the order in which they come.
var phases = []phase{
	{"CommitSeen", syncIs(func(s *v1alpha1.RepoSync) bool { return s.Status.LastAttemptedRevision != "" })},
	{"WorkspaceApplied", workspaceIs(func(*v1alpha1.Workspace) bool { return true })},
	{"Sized", workspaceIs(func(w *v1alpha1.Workspace) bool { return w.Status.Sizing != nil })},
	{"PoolRequested", poolIs(func(*v1alpha1.GPUNodePool) bool { return true })},
	{"AttemptRecorded", poolIs(func(p *v1alpha1.GPUNodePool) bool { return p.Status.Candidate != nil })},
	{"AgentPoolOrdered", func(_ context.Context, t *harness.Team) bool { return len(agentPools(t)) > 0 }},
	{"NodesJoining", poolIs(func(p *v1alpha1.GPUNodePool) bool { return condition.Is(p, v1alpha1.ConditionProvisioned) })},
	{"PoolReady", poolIs(func(p *v1alpha1.GPUNodePool) bool { return condition.Is(p, v1alpha1.ConditionReady) })},
	{"JobCreated", jobIs(func(*batchv1.Job) bool { return true })},
	{"JobRunning", jobIs(func(j *batchv1.Job) bool { return j.Status.Active+j.Status.Succeeded > 0 })},
	{"JobComplete", jobIs(func(j *batchv1.Job) bool { return j.Status.Succeeded > 0 })},
	{"Tuned", workspaceIs(func(w *v1alpha1.Workspace) bool { return condition.Is(w, v1alpha1.ConditionTuningSucceeded) })},
	{"Reported", syncIs(func(s *v1alpha1.RepoSync) bool { return s.Status.Report != nil && s.Status.Workspaces == "1/1" })},
}

// TestKillAtEveryPhase kills the controller with SIGKILL at each phase of a
// tuning run and starts it again: whatever it was doing, there is one agent pool,
// one Job, and no commit that says what the one before said.
func TestKillAtEveryPhase(t *testing.T) {
	if !*each {
		killAt(t, "kill", phases)
		return
	}
	for i, p := range phases {
		t.Run(p.name, func(t *testing.T) { killAt(t, fmt.Sprintf("kill-%02d", i), []phase{p}) })
	}
}

func killAt(t *testing.T, name string, phases []phase) {
	t.Helper()
	team := newTeam(t, name)
	files := exampleFiles(t)
	replace(t, files, listFile, inferenceLine, "")
	push(t, team, files, "models: tune phi-3")
	apply(t, team, team.RepoSync(moved))
	for _, p := range phases {
		err := wait.PollUntilContextCancel(patient(t), 10*time.Millisecond, true, func(ctx context.Context) (bool, error) { return p.came(ctx, team), nil })
		if err != nil {
			t.Fatalf("waiting for the phase %s: %v", p.name, err)
		}
		if err := team.KillController(); err != nil {
			t.Fatal(err)
		}
		if err := team.StartController(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	ready(t, team, harness.TuningName)
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.TuningName)); err != nil {
		t.Error(err)
	}
	readme(t, team, "Ready", func(s string) bool { return strings.Contains(s, "Ready") && strings.Contains(s, harness.TuningName) })
	oneAgentPoolEach(t, team, harness.MovedToSize)
	oneJob(t, team)
	noDuplicateCommits(t, team)
}

// agentPools are the sizes of the agent pools ever ordered for a team. A pool
// carries the GPUNodePool's namespace in its label.
func agentPools(team *harness.Team) []string {
	var sizes []string
	for _, p := range team.ARM.Created() {
		if strings.HasPrefix(p.Labels[repolayout.LabelPool], team.Namespace+".") {
			sizes = append(sizes, p.VMSize)
		}
	}
	return sizes
}

func syncIs(holds func(*v1alpha1.RepoSync) bool) func(context.Context, *harness.Team) bool {
	return func(ctx context.Context, t *harness.Team) bool {
		s := repoSync(t)
		return t.Client.Get(ctx, client.ObjectKeyFromObject(s), s) == nil && holds(s)
	}
}

func workspaceIs(holds func(*v1alpha1.Workspace) bool) func(context.Context, *harness.Team) bool {
	return func(ctx context.Context, t *harness.Team) bool {
		w := workspace(t, harness.TuningName)
		return t.Client.Get(ctx, client.ObjectKeyFromObject(w), w) == nil && holds(w)
	}
}

func poolIs(holds func(*v1alpha1.GPUNodePool) bool) func(context.Context, *harness.Team) bool {
	return func(ctx context.Context, t *harness.Team) bool {
		p := pool(t, harness.TuningName)
		return t.Client.Get(ctx, client.ObjectKeyFromObject(p), p) == nil && holds(p)
	}
}

func jobIs(holds func(*batchv1.Job) bool) func(context.Context, *harness.Team) bool {
	return func(ctx context.Context, t *harness.Team) bool {
		jobs := &batchv1.JobList{}
		return t.Client.List(ctx, jobs, client.InNamespace(t.Namespace)) == nil && len(jobs.Items) > 0 && holds(&jobs.Items[0])
	}
}

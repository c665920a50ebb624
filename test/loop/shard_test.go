// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// poolsLease is held by the one shard that works on node pools.
const poolsLease = "pools.espalier.dev"

// TestShards divides two teams among two controllers: each acts on its own, one of
// them works on node pools, and what the label of a RepoSync says is on what it
// applies. When that one is gone, the other takes the pools over, and nothing is
// bought twice. A RepoSync that is labelled anew goes to the other shard, and so does
// the Lease of the branch that its report is written to.
func TestShards(t *testing.T) {
	one, rest := newTeam(t, "shard-one"), newTeam(t, "shard-rest")
	if err := one.StopController(); err != nil {
		t.Errorf("SIGTERM must end the controller with status 0: %v", err)
	}
	t.Cleanup(func() {
		if err := one.StartController(context.Background()); err != nil { // t.Context() is over by now
			t.Error(err)
		}
	})
	first := startShard(t, one, shard.Label+"=one")
	pushAndApply(t, rest, onlyInference(t))
	files := onlyInference(t)
	commit := push(t, one, files, "models: serve")
	s := one.RepoSync(moved)
	s.Labels = map[string]string{shard.Label: "one"}
	apply(t, one, s)

	appliedCommit(t, one, commit)
	w := ready(t, one, harness.InferenceName)
	if w.Labels[shard.Label] != "one" {
		t.Errorf("the Workspace has the labels %v, want the shard's", w.Labels)
	}
	oneAgentPoolEach(t, one, "Standard_NC24ads_A100_v4")
	if err := rest.Client.Get(t.Context(), client.ObjectKeyFromObject(repoSync(rest)), s); err != nil || len(s.Status.Conditions) > 0 {
		t.Errorf("the other RepoSync is nobody's yet: %v, %v", err, s.Status.Conditions)
	}

	second := startShard(t, rest, "!"+shard.Label)
	ready(t, rest, harness.InferenceName)
	oneAgentPoolEach(t, rest, "Standard_NC24ads_A100_v4") // by the first, which holds the Lease
	writes(t, one, first)
	writes(t, rest, second)
	relabel(t, one, `null`)
	writes(t, one, second)
	relabel(t, one, `"one"`)
	writes(t, one, first)
	holder := poolsHeldBy(t, one, "")
	if err := first.Stop(); err != nil {
		t.Errorf("SIGTERM must end a shard with status 0: %v", err)
	}
	poolsHeldBy(t, rest, holder)

	// What is left does its own part, pools and all, and not that of the other.
	replace(t, files, inferenceFile, "32768", "8192")
	unseen := push(t, one, files, "models: shorter, and nobody looks")
	if err := rest.Client.Delete(t.Context(), repoSync(rest)); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), rest.Stand, pool(rest, harness.InferenceName)); err != nil {
		t.Error(err)
	}
	if err := one.Client.Get(t.Context(), client.ObjectKeyFromObject(repoSync(one)), s); err != nil || strings.HasSuffix(s.Status.LastAttemptedRevision, unseen) {
		t.Errorf("a RepoSync of a shard that is gone is left alone: %s, %v", s.Status.LastAttemptedRevision, err)
	}

	relabel(t, one, `null`)
	writes(t, one, second)
	appliedCommit(t, one, unseen)
	if err := harness.Until(patient(t), one.Stand, workspace(one, harness.InferenceName), "of the other shard, and ready", func(w *v1alpha1.Workspace) bool {
		return isReady(w) && w.Labels[shard.Label] == "" && w.Status.ObservedGeneration == w.Generation
	}); err != nil {
		t.Error(err)
	}
	oneAgentPoolEach(t, one, "Standard_NC24ads_A100_v4")
	if err := second.Stop(); err != nil {
		t.Errorf("SIGTERM must end a shard with status 0: %v", err)
	}
}

func startShard(t *testing.T, team *harness.Team, selector string, more ...string) *harness.Controller {
	t.Helper()
	flags := append([]string{"--leader-elect", "--leader-elect-namespace=espalier-system", "--watch-label-selector=" + selector}, more...)
	c, err := team.StartReplica(patient(t), flags...)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// poolsHeldBy waits until another than before works on node pools, and returns who.
func poolsHeldBy(t *testing.T, team *harness.Team, before string) string {
	t.Helper()
	return *held(t, team, poolsLease, before).Spec.HolderIdentity
}

// held waits until another than before holds a Lease, and returns it.
func held(t *testing.T, team *harness.Team, name, before string) *coordinationv1.Lease {
	t.Helper()
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "espalier-system", Name: name}}
	if err := harness.Until(patient(t), team.Stand, lease, "held by another", func(l *coordinationv1.Lease) bool {
		return l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != "" && *l.Spec.HolderIdentity != before
	}); err != nil {
		t.Fatal(err)
	}
	return lease
}

// writes waits until a controller holds the Lease of the branch that a team's report is
// written to: given back by whoever had it, and not run out.
func writes(t *testing.T, team *harness.Team, c *harness.Controller) {
	t.Helper()
	target := report.Target{URL: team.Git.URL(team.Repo), Branch: team.StatusBranch()}
	lease, began := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: "espalier-system", Name: target.Lease()}}, time.Now()
	if err := harness.Until(patient(t), team.Stand, lease, "held by the other controller", func(l *coordinationv1.Lease) bool {
		return l.Spec.HolderIdentity != nil && strings.Contains(*l.Spec.HolderIdentity, fmt.Sprintf("_%d_", c.PID()))
	}); err != nil {
		t.Fatal(err)
	}
	t.Logf("the Lease of %s changed hands within %s", team.StatusBranch(), time.Since(began).Round(100*time.Millisecond))
}

// relabel gives a RepoSync to a shard by its label, or by null to that of the rest.
func relabel(t *testing.T, team *harness.Team, key string) {
	t.Helper()
	s := repoSync(team)
	patch := client.RawPatch("application/merge-patch+json", []byte(`{"metadata":{"labels":{"`+shard.Label+`":`+key+`}}}`))
	if err := team.Client.Patch(t.Context(), s, patch); err != nil {
		t.Fatal(err)
	}
}

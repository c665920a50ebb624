// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/test/harness"
)

// shortLease lets a test wait for a lost leader; the default is 35 s.
var shortLease = []string{"--leader-elect-lease-duration=12s", "--leader-elect-renew-deadline=9s", "--leader-elect-retry-period=1s"}

// TestKilledShard runs two shards of two replicas each, and kills the process that
// leads the one and works on everybody's node pools, after it has ordered nodes and
// before they are there. It says nothing to anybody: the other replica of its shard
// goes on when the Lease has run out, one of the three that are left with the node
// pools, and nothing is ordered twice.
func TestKilledShard(t *testing.T) {
	one, rest := newTeam(t, "takeover-one"), newTeam(t, "takeover-rest")
	if err := one.StopController(); err != nil {
		t.Errorf("SIGTERM must end the controller with status 0: %v", err)
	}
	t.Cleanup(func() {
		if err := one.StartController(context.Background()); err != nil { // t.Context() is over by now
			t.Error(err)
		}
	})
	const selectsOne, selectsRest = shard.Label + "=one", "!" + shard.Label
	of, err := shard.Parse(selectsOne)
	if err != nil {
		t.Fatal(err)
	}
	lease := of.Lease("controller.espalier.dev")
	leader := startShard(t, one, selectsOne, shortLease...)
	held(t, one, lease, "")
	pools := poolsHeldBy(t, one, "") // before there is another
	left := []*harness.Controller{startShard(t, one, selectsOne, shortLease...)}
	for range 2 {
		left = append(left, startShard(t, rest, selectsRest, shortLease...))
	}

	files := onlyInference(t)
	push(t, one, files, "models: serve")
	s := one.RepoSync(moved)
	s.Labels = map[string]string{shard.Label: "one"}
	apply(t, one, s)
	pushAndApply(t, rest, onlyInference(t))
	err = wait.PollUntilContextCancel(patient(t), 10*time.Millisecond, true, func(context.Context) (bool, error) { return len(agentPools(one)) > 0, nil })
	if err != nil {
		t.Fatalf("waiting for nodes to be ordered: %v", err)
	}
	if err := leader.Kill(); err != nil {
		t.Fatal(err)
	}

	leads := held(t, one, lease, "") // as it was renewed last
	next := held(t, one, lease, *leads.Spec.HolderIdentity)
	t.Logf("the shard has another leader %s after the one before has renewed its Lease of %d s last",
		next.Spec.AcquireTime.Sub(leads.Spec.RenewTime.Time).Round(100*time.Millisecond), *leads.Spec.LeaseDurationSeconds)
	poolsHeldBy(t, one, pools)
	ready(t, one, harness.InferenceName)
	ready(t, rest, harness.InferenceName)
	replace(t, files, inferenceFile, "32768", "8192")
	appliedCommit(t, one, push(t, one, files, "models: shorter"))
	ready(t, one, harness.InferenceName)
	oneAgentPoolEach(t, one, "Standard_NC24ads_A100_v4")
	oneAgentPoolEach(t, rest, "Standard_NC24ads_A100_v4")
	for _, c := range left {
		if err := c.Stop(); err != nil {
			t.Errorf("SIGTERM must end a replica with status 0: %v", err)
		}
	}
}

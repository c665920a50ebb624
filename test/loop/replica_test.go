// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"net/http"
	"os"
	"strings"
	"testing"

	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestTwoReplicas runs two controllers with leader election, as deploy/ does: one
// acts, and when it is stopped the other goes on at once.
func TestTwoReplicas(t *testing.T) {
	team := newTeam(t, "replicas")
	if err := team.StopController(); err != nil {
		t.Errorf("SIGTERM must end the controller with status 0: %v", err)
	}
	t.Cleanup(func() {
		if err := team.StartController(context.Background()); err != nil { // t.Context() is over by now
			t.Error(err)
		}
	})
	const namespace = "espalier-system"
	elected := []string{"--leader-elect", "--leader-elect-namespace", namespace}
	first, err := team.StartReplica(patient(t), elected...)
	if err != nil {
		t.Fatal(err)
	}
	lease := &coordinationv1.Lease{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "controller.espalier.dev"}}
	held := func(l *coordinationv1.Lease) bool {
		return l.Spec.HolderIdentity != nil && *l.Spec.HolderIdentity != ""
	}
	if err := harness.Until(patient(t), team.Stand, lease, "held", held); err != nil {
		t.Fatal(err)
	}
	holder := *lease.Spec.HolderIdentity
	second, err := team.StartReplica(patient(t), elected...)
	if err != nil {
		t.Fatal(err)
	}

	files := onlyInference(t)
	commit := push(t, team, files, "models: serve")
	apply(t, team, hooked(t, team))
	appliedCommit(t, team, commit)
	if code := call(t, second.HookURL("/hook", team.Namespace, team.Sync), "t0ken"); code != http.StatusAccepted {
		t.Errorf("the replica that waits answers a webhook with %d, want 202", code)
	}
	if err := harness.Until(patient(t), team.Stand, repoSync(team), "looked at, as the other replica was told", func(s *v1alpha1.RepoSync) bool {
		return s.Status.LastHandledReconcileAt != ""
	}); err != nil {
		t.Error(err)
	}
	ready(t, team, harness.InferenceName)
	oneAgentPoolEach(t, team, "Standard_NC24ads_A100_v4")

	if err := first.Stop(); err != nil {
		t.Errorf("SIGTERM must end the leader with status 0: %v\n%s", err, logEnd(team))
	}
	replace(t, files, inferenceFile, "32768", "8192")
	appliedCommit(t, team, push(t, team, files, "models: shorter"))
	if err := harness.Until(patient(t), team.Stand, lease, "held by the other", func(l *coordinationv1.Lease) bool {
		return held(l) && !strings.EqualFold(*l.Spec.HolderIdentity, holder)
	}); err != nil {
		t.Error(err)
	}
	oneAgentPoolEach(t, team, "Standard_NC24ads_A100_v4")
	if err := second.Stop(); err != nil {
		t.Errorf("SIGTERM must end the controller with status 0: %v", err)
	}
}

// logEnd is how the controllers ended, for a message.
func logEnd(team *harness.Team) string {
	log, err := os.ReadFile(team.ControllerLog())
	if err != nil {
		return err.Error()
	}
	return tail(string(log), 400)
}

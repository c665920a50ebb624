// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/forge"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// readyStatus is what is said of the synced commit.
type readyStatus struct {
	commit string
	status forge.Status
}

func (r readyStatus) key() string {
	return strings.Join([]string{r.commit, r.status.Name, string(r.status.State), r.status.Text}, "\x00")
}

// readiness reads off a RepoSync's status what to say of the synced commit. says
// is false where nothing is to be said.
func readiness(s *v1alpha1.RepoSync) (r readyStatus, says bool) {
	_, commit, ok := strings.Cut(s.Status.LastAttemptedRevision, "sha1:")
	if s.Spec.Report == nil || !s.Spec.Report.Statuses || !ok {
		return r, false
	}
	ready := condition.Get(s, v1alpha1.ConditionReady)
	if ready == nil || s.Status.ObservedGeneration != s.Generation {
		return r, false // the status speaks of another spec
	}
	status := forge.Status{Name: repolayout.ReadyStatus(s.Spec.Review.StatusPrefix, s.Name), State: forge.Pending}
	count, all, _ := strings.Cut(s.Status.Workspaces, "/")
	switch {
	case condition.Is(s, v1alpha1.ConditionStalled):
		status.State, status.Text = forge.Failure, plainly(ready.Message)
	case !condition.Is(s, v1alpha1.ConditionReady):
		status.Text = plainly(ready.Message)
	case count == all:
		status.State, status.Text = forge.Success, "All workspaces are ready: "+s.Status.Workspaces
	default:
		status.Text = "Applied; workspaces that are ready: " + s.Status.Workspaces
	}
	return readyStatus{commit: commit, status: status}, true
}

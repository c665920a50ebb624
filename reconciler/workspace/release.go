// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// release gives the nodes back when a tuning run is done, well or badly, and
// while a Workspace is suspended: nobody pays for a GPU that waits.
func (r *Reconciler) release(ctx context.Context, p *pass) error {
	ws := p.ws
	done := p.finished()
	if !done && !ws.Spec.Suspend {
		return nil
	}
	if p.pool != nil && metav1.IsControlledBy(p.pool, ws) && p.pool.DeletionTimestamp.IsZero() {
		if err := r.deletePool(ctx, p.pool); err != nil {
			return err
		}
	}
	if done {
		condition.True(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonReleased, "The run is done and its nodes are given back")
		return nil
	}
	condition.False(ws, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSuspended, "Suspended: the nodes are given back")
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"time"

	coordinationv1 "k8s.io/api/coordination/v1"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What is on the Leases. The labels tell them from those by which leaders are elected.
const (
	// Label says what a Lease is for.
	Label = "espalier.dev/lease"
	kind  = "report"
	// About is the annotation that names what was done under it last.
	About = "espalier.dev/reposync"

	labelManager = "app.kubernetes.io/managed-by"
	manager      = "espalier"
)

// A Lease that nobody has used for so long is deleted, sweepMost of them at a time. Who
// wants it again makes it anew.
const (
	unused    = 24 * time.Hour
	sweepMost = 100
)

// sweep deletes Leases that nobody has used for a day: of RepoSyncs that are gone, or
// report elsewhere. It is called when a Lease was made and looks once a day, so that
// there are never many more than are used, and a cluster that is quiet asks nothing.
func (h *Holder) sweep(ctx context.Context) {
	now := h.Clock()
	h.mu.Lock()
	due := now.Sub(h.swept) >= unused
	if due {
		h.swept = now
	}
	h.mu.Unlock()
	if !due {
		return
	}
	list := &coordinationv1.LeaseList{}
	if err := h.Reader.List(ctx, list, client.InNamespace(h.Namespace), client.MatchingLabels{labelManager: manager, Label: kind}); err != nil {
		ctrl.LoggerFrom(ctx).Info("Leases of reports that nobody uses are not deleted", "reason", err.Error())
		return
	}
	deleted := 0
	for i := range list.Items {
		l := &list.Items[i]
		if deleted == sweepMost || l.Spec.RenewTime != nil && now.Sub(l.Spec.RenewTime.Time) < unused {
			continue
		}
		deleted++
		as := client.Preconditions{UID: &l.UID, ResourceVersion: ptr.To(l.ResourceVersion)} // and not since
		if err := h.Client.Delete(ctx, l, as); client.IgnoreNotFound(err) != nil {
			ctrl.LoggerFrom(ctx).Info("A Lease that nobody uses is not deleted", "lease", l.Name, "reason", err.Error())
		}
	}
}

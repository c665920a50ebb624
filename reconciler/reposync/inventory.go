// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// unpack has the inventory of a RepoSync as the list that the steps work on. While it
// cannot be read nothing is applied and nothing deleted: what is not known to be ours
// would be left behind.
func (r *Reconciler) unpack(s *v1alpha1.RepoSync) error {
	if err := r.Inventories.Unpack(s); err != nil {
		return fault.Stop(v1alpha1.ReasonInventoryUnreadable, fmt.Errorf("%w: somebody has changed it. Take it away, and what Git holds is listed anew: "+
			`kubectl patch reposync %s --namespace %s --subresource=status --type=json --patch='[{"op":"remove","path":"/status/packedInventory"}]'`, err, s.Name, s.Namespace))
	}
	return nil
}

// foretell writes what is about to be applied into the inventory. What were there
// before it stands in the inventory would never be pruned, if the controller ended and
// Git dropped it meanwhile; and a Workspace could not be told from one that somebody
// labelled by hand.
func (r *Reconciler) foretell(ctx context.Context, p *pass) error {
	wantedNow, known := p.kept.built.inventory(), p.sync.Status.Inventory
	if len(inventory.Stale(wantedNow, known)) == 0 {
		return nil
	}
	all := inventory.Union(wantedNow, known)
	after := p.before.DeepCopy()
	after.Status.Inventory, after.Status.PackedInventory, after.Status.Cluster = all, nil, p.at.cluster
	if err := r.Inventories.Pack(p.before, after); errors.Is(err, inventory.ErrTooLarge) {
		return fault.Stop(v1alpha1.ReasonInventoryTooLarge, fmt.Errorf("%w: nothing of %s is applied. Divide %s among several RepoSyncs, one a folder",
			err, p.kept.built.revision, p.sync.Spec.Path))
	} else if err != nil {
		return err
	}
	err := r.Client.Status().Patch(ctx, after, client.MergeFromWithOptions(p.before, client.MergeFromWithOptimisticLock{}))
	if apierrors.IsConflict(err) {
		r.again(p.sync)
		return fault.Wait(v1alpha1.ReasonProgressing, 0, "The RepoSync was changed meanwhile, and is read again")
	}
	if err != nil {
		return fmt.Errorf("writing the inventory of RepoSync %s/%s ahead: %w", after.Namespace, after.Name, err)
	}
	p.before.ResourceVersion, p.sync.ResourceVersion = after.ResourceVersion, after.ResourceVersion
	p.before.Status.Inventory, p.before.Status.PackedInventory = after.Status.Inventory, after.Status.PackedInventory
	p.before.Status.Cluster = after.Status.Cluster
	p.sync.Status.Inventory = all
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/inventory"
)

// permission is what was found to be allowed: a revision, for one generation of
// the RepoSync, to one account.
type permission struct {
	revision   string
	generation int64
	account    account.Account
}

// access sees, before the first write of a revision, that the account has every
// right that all of it needs, down to the children of its Workspaces: nothing is
// half applied.
func (r *Reconciler) access(ctx context.Context, p *pass) error {
	now := permission{p.kept.built.revision, p.sync.Generation, p.as}
	if p.kept.allowed == now {
		return p.at.accounts.Exists(ctx, p.as)
	}
	if p.as.Own() {
		return nil
	}
	undone := fmt.Sprintf("nothing of %s was applied, and what runs stays as it is", p.kept.built.revision)
	if err := p.at.accounts.Check(ctx, p.as, p.needs(), undone); err != nil {
		return err
	}
	p.kept.allowed = now
	return nil
}

// needs are the rights to apply what a revision holds and to prune what it drops.
func (p *pass) needs() []account.Need {
	var needs []account.Need
	for _, w := range p.kept.built.wanted {
		needs = append(needs, account.ToApply(w.kind(), w.key().Namespace)...)
		if !p.at.remote() { // the controller of another cluster writes the children
			needs = append(needs, w.children...)
		}
		needs = account.Sorted(needs) // few, however many objects there are
	}
	if !prunes(p.sync) {
		return needs
	}
	for _, e := range inventory.Stale(p.sync.Status.Inventory, p.kept.built.inventory()) {
		if stub, err := inventory.Stub(e); err == nil {
			needs = append(needs, account.To(account.Delete, stub.GroupVersionKind(), stub.GetNamespace()))
		}
	}
	return account.Sorted(needs)
}

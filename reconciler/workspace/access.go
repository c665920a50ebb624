// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// act decides as whom the children of a Workspace are written, and returns a
// context that does so.
func (r *Reconciler) act(ctx context.Context, ws *v1alpha1.Workspace) (context.Context, account.Account, error) {
	if r.Accounts == nil {
		return ctx, account.Account{}, nil
	}
	sync, err := r.claimed(ctx, ws)
	if err != nil {
		return nil, account.Account{}, err
	}
	as := account.OfWorkspace(ws, sync, r.Accounts.Default)
	ctx, err = r.Accounts.As(ctx, as)
	return ctx, as, err
}

// claimed reads the RepoSync that the labels of a Workspace name, nil where there
// is none. The cache may not know yet that it has applied the Workspace: where an
// account depends on that, it is read past it.
func (r *Reconciler) claimed(ctx context.Context, ws *v1alpha1.Workspace) (*v1alpha1.RepoSync, error) {
	key := account.ClaimOf(ws)
	if key == (types.NamespacedName{}) {
		return nil, nil
	}
	// It is not copied, as it may list all Workspaces, and not written to.
	sync, err := r.listing(ctx, r.Client, key, client.UnsafeDisableDeepCopy)
	if err == nil && !account.Holds(sync, ws) && !r.Accounts.Sync(sync).Own() {
		sync, err = r.listing(ctx, r.Reader, key)
	}
	if apierrors.IsNotFound(err) {
		r.Inventories.Forget(key)
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading RepoSync %s of a Workspace: %w", key, err)
	}
	return sync, nil
}

// listing reads a RepoSync, with its inventory as a list.
func (r *Reconciler) listing(ctx context.Context, reader client.Reader, key types.NamespacedName, opts ...client.GetOption) (*v1alpha1.RepoSync, error) {
	sync := &v1alpha1.RepoSync{}
	if err := reader.Get(ctx, key, sync, opts...); err != nil {
		return nil, err
	}
	return sync, r.Inventories.Unpack(sync)
}

// access sees, before anything is written and before nodes are bought, that the
// account has every right that the children need. What is done or suspended only
// ends work, which needs none.
func (r *Reconciler) access(ctx context.Context, p *pass) error {
	if p.as.Own() || p.settled || p.paused() || p.finished() || p.stopped() {
		return nil
	}
	var needs []account.Need
	for _, o := range p.out.Objects() {
		needs = append(needs, account.ToApply(o.GroupVersionKind(), p.ws.Namespace)...)
	}
	if p.ws.Spec.Inference != nil {
		needs = append(needs, account.Revisions(p.ws.Namespace))
	}
	undone := fmt.Sprintf("nothing is written and no node is bought for Workspace %s/%s", p.ws.Namespace, p.ws.Name)
	return r.Accounts.Check(ctx, p.as, needs, undone)
}

// denied is for a pass whose account lacks a right: nobody watches Roles, so it is
// made again, and what is done or suspended is wound down all the same.
func (p *pass) denied(err error) {
	switch fault.Reason(err, "") {
	case v1alpha1.ReasonAccessDenied, v1alpha1.ReasonServiceAccountNotFound:
		p.out = render.Output{}
		p.lookAfter(lookAgain)
	}
}

// remove deletes a child. What ends work needs no right of the account: where it
// lacks one the controller does it, as the garbage collector of Kubernetes would
// when the Workspace goes.
func (r *Reconciler) remove(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	err := account.Writer(ctx, r.Client).Delete(ctx, o, opts...)
	if apierrors.IsForbidden(err) {
		err = r.Client.Delete(ctx, o, opts...)
	}
	return err
}

// accountChanged lets through that a RepoSync acts as somebody else.
var accountChanged = predicate.Funcs{
	CreateFunc: func(event.CreateEvent) bool { return false },
	UpdateFunc: func(e event.UpdateEvent) bool {
		was, is := e.ObjectOld.(*v1alpha1.RepoSync), e.ObjectNew.(*v1alpha1.RepoSync)
		return was.Spec.ServiceAccountName != is.Spec.ServiceAccountName
	},
}

// actedFor maps a RepoSync to the Workspaces that it has applied.
func (r *Reconciler) actedFor(ctx context.Context, o client.Object) []reconcile.Request {
	list := &v1alpha1.WorkspaceList{}
	of := client.MatchingLabels{repolayout.LabelSyncName: o.GetName(), repolayout.LabelSyncNamespace: o.GetNamespace()}
	err := r.Client.List(ctx, list, of, client.UnsafeDisableDeepCopy) // nobody changes them
	if err != nil {
		ctrl.LoggerFrom(ctx).Error(err, "listing the Workspaces of a RepoSync", "namespace", o.GetNamespace(), "name", o.GetName())
		return nil
	}
	requests := make([]reconcile.Request, len(list.Items))
	for i := range list.Items {
		requests[i].NamespacedName = client.ObjectKeyFromObject(&list.Items[i])
	}
	return requests
}

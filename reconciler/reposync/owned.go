// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// mayWrite says whether a RepoSync acts in a namespace. It has the controller's
// rights there, so it is its own, or one that the controller was told of.
func (r *Reconciler) mayWrite(s *v1alpha1.RepoSync, namespace string) bool {
	if s.Spec.KubeConfig != nil {
		return true // in another cluster, which knows what the account may do there
	}
	return namespace == s.Namespace || slices.Contains(r.TargetNamespaces, namespace)
}

// mayTarget refuses a target namespace that nobody has allowed.
func (r *Reconciler) mayTarget(s *v1alpha1.RepoSync) error {
	target := desired.Target(s)
	if r.mayWrite(s, target) {
		return nil
	}
	return fault.Stopf(v1alpha1.ReasonTargetNamespaceNotAllowed,
		"spec.targetNamespace %s is not this RepoSync's namespace, and the controller does not allow it: move the RepoSync there, or start the controller with --allow-target-namespace=%s", target, target)
}

// otherSync names another RepoSync that holds an object, "" when none does: two
// that apply one object would undo each other for ever. One that is gone holds
// nothing; of one of another cluster nobody here knows whether it is.
func (r *Reconciler) otherSync(ctx context.Context, at place, s *v1alpha1.RepoSync, live client.Object) (string, error) {
	if other := at.elsewhere(live); other != "" {
		return other, nil
	}
	owner := at.ownerOf(live)
	if owner == (types.NamespacedName{}) || owner == client.ObjectKeyFromObject(s) {
		return "", nil
	}
	err := r.Client.Get(ctx, owner, &v1alpha1.RepoSync{})
	if apierrors.IsNotFound(err) {
		return "", nil
	}
	if err != nil {
		return "", fmt.Errorf("reading RepoSync %s, which holds an object: %w", owner, err)
	}
	return owner.String(), nil
}

// labelled lists the Workspaces and node pools that carry the labels of a
// RepoSync and lie where it may write: what it applied, whether or not the
// status write that followed ever came; of these the ones that which lets through.
func (r *Reconciler) labelled(ctx context.Context, at place, reader client.Reader, s *v1alpha1.RepoSync, which func(kind string, o client.Object) bool) ([]client.Object, error) {
	workspaces, pools := &v1alpha1.WorkspaceList{}, &v1alpha1.GPUNodePoolList{}
	for _, list := range []client.ObjectList{workspaces, pools} {
		if err := reader.List(ctx, list, append(at.labelsOf(s), client.UnsafeDisableDeepCopy)...); err != nil { // nobody changes them
			return nil, fmt.Errorf("listing what RepoSync %s/%s applied: %w", s.Namespace, s.Name, err)
		}
	}
	var found []client.Object
	add := func(kind string, o client.Object) {
		if which(kind, o) && at.ownedBy(o, s) && r.mayWrite(s, o.GetNamespace()) && metav1.GetControllerOf(o) == nil {
			o.GetObjectKind().SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
			found = append(found, o)
		}
	}
	for i := range workspaces.Items {
		add(v1alpha1.WorkspaceKind, &workspaces.Items[i])
	}
	for i := range pools.Items {
		add(v1alpha1.GPUNodePoolKind, &pools.Items[i])
	}
	slices.SortFunc(found, func(a, b client.Object) int {
		return cmp.Or(strings.Compare(a.GetObjectKind().GroupVersionKind().Kind, b.GetObjectKind().GroupVersionKind().Kind),
			strings.Compare(a.GetNamespace(), b.GetNamespace()), strings.Compare(a.GetName(), b.GetName()))
	})
	return found, nil
}

// strays are the entries of what was applied and neither inventoried nor is
// wanted: the controller ended between an apply and its status write. The cache
// finds them, and only they are read live, because it may lag behind a deletion.
func (r *Reconciler) strays(ctx context.Context, at place, s *v1alpha1.RepoSync, known func(id string) bool) ([]v1alpha1.InventoryEntry, error) {
	unknown := func(kind string, o client.Object) bool {
		return !known(inventory.ID(v1alpha1.Group, kind, o.GetNamespace(), o.GetName()))
	}
	all, err := r.labelled(ctx, at, at.client, s, unknown)
	if err != nil {
		return nil, err
	}
	var strays []v1alpha1.InventoryEntry
	for _, o := range all {
		if o.GetAnnotations()[repolayout.AnnotationPrune] == "disabled" {
			continue
		}
		e := inventory.EntryOf(o)
		live, err := at.deletable(ctx, s, e)
		if err != nil {
			return nil, err
		}
		if live != nil {
			strays = append(strays, e)
		}
	}
	return strays, nil
}

// anything lets all through that carries the labels of a RepoSync.
func anything(string, client.Object) bool { return true }

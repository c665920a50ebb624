// SPDX-License-Identifier: Apache-2.0

// Package account decides as whom the controller writes: a RepoSync may name a
// ServiceAccount of its namespace, and all that it applies and prunes, and the
// children of its Workspaces, are then written with that account's rights. It
// holds a client for each account, and asks the API server what one may do before
// anything is written.
//
// It never writes an object itself. What is read, statuses, finalizers and the
// cloud stay the controller's own affair (docs/design/0022).
package account

import (
	"cmp"

	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/reconciler/inventory"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Account is a ServiceAccount to act as. The zero Account is the controller.
type Account struct{ Namespace, Name string }

// Own says that the controller acts as itself.
func (a Account) Own() bool { return a.Name == "" }

// User is the name by which the API server and its audit log know the account.
func (a Account) User() string { return "system:serviceaccount:" + a.Namespace + ":" + a.Name }

func (a Account) String() string { return "ServiceAccount " + a.Namespace + "/" + a.Name }

func named(namespace, name string) Account {
	if name == "" {
		return Account{}
	}
	return Account{Namespace: namespace, Name: name}
}

// OfSync is whom a RepoSync acts as: the account that it names, else the default
// of the installation, which is the name of an account in each namespace; "" is
// the controller.
func OfSync(s *v1alpha1.RepoSync, fallback string) Account {
	return named(s.Namespace, cmp.Or(s.Spec.ServiceAccountName, fallback))
}

// OfWorkspace is as whom the children of a Workspace are written: as its RepoSync
// acts, where that one's inventory, which only the controller writes, holds it.
//
// Labels alone are a claim that anybody can write who may write Workspaces. It is
// never worth more than no claim: with a default that is what they get, and
// without one the account they name, which takes rights from the controller and
// adds none. sync is the RepoSync that the labels name; nil: they name none, or
// it is gone. One that applies to another cluster has its inventory, and its account, there.
func OfWorkspace(ws *v1alpha1.Workspace, sync *v1alpha1.RepoSync, fallback string) Account {
	switch {
	case sync == nil, sync.Spec.KubeConfig != nil:
		return named(ws.Namespace, fallback)
	case Holds(sync, ws), fallback == "":
		return OfSync(sync, fallback)
	}
	return named(ws.Namespace, fallback)
}

// Holds says whether the inventory of a RepoSync has a Workspace.
func Holds(s *v1alpha1.RepoSync, ws *v1alpha1.Workspace) bool {
	return inventory.Has(s.Status.Inventory, inventory.ID(v1alpha1.Group, v1alpha1.WorkspaceKind, ws.Namespace, ws.Name))
}

// ClaimOf is the RepoSync that the labels of a Workspace name; zero where they
// name none, or one of another cluster, which has applied it here by a kubeconfig.
func ClaimOf(ws *v1alpha1.Workspace) types.NamespacedName {
	if ws.Labels[repolayout.LabelSyncHub] != "" {
		return types.NamespacedName{}
	}
	key := types.NamespacedName{Namespace: ws.Labels[repolayout.LabelSyncNamespace], Name: ws.Labels[repolayout.LabelSyncName]}
	if key.Namespace == "" || key.Name == "" {
		return types.NamespacedName{}
	}
	return key
}

// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// explained says whether a deletion is no mistake of anybody: the Workspace that owns
// the pool has given it back, or stays and has no use for it.
func explained(p *v1alpha1.GPUNodePool, workspaces []v1alpha1.Workspace) bool {
	if metav1.GetControllerOf(p) == nil {
		return false
	}
	if p.UID != "" && p.Annotations[repolayout.AnnotationGivenBack] == string(p.UID) {
		return true
	}
	w := ownerOf(p, workspaces)
	return w != nil && w.DeletionTimestamp == nil && !wants(w, p)
}

// atWork names the Workspace that owns a pool and is to go on working on it; empty:
// there is none.
func atWork(p *v1alpha1.GPUNodePool, workspaces []v1alpha1.Workspace) string {
	w := ownerOf(p, workspaces)
	if w == nil || w.DeletionTimestamp != nil || !wants(w, p) {
		return ""
	}
	return w.Namespace + "/" + w.Name
}

// wants says whether a Workspace has use for the pool that it owns: it is neither
// suspended nor past working, has not moved to another, and asks for a node.
func wants(w *v1alpha1.Workspace, p *v1alpha1.GPUNodePool) bool {
	left := w.Spec.Resource.NodePool != "" && w.Spec.Resource.NodePool != p.Name
	_, most := p.Spec.Nodes()
	return !w.Spec.Suspend && !left && !usesNone(w) && most > 0
}

// ownerOf is the Workspace that owns a pool; nil: it is declared, or that is gone.
func ownerOf(p *v1alpha1.GPUNodePool, workspaces []v1alpha1.Workspace) *v1alpha1.Workspace {
	owner := metav1.GetControllerOf(p)
	at := slices.IndexFunc(workspaces, func(w v1alpha1.Workspace) bool { return owner != nil && w.UID == owner.UID })
	if at < 0 {
		return nil
	}
	return &workspaces[at]
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"slices"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// known is what this process knows of a Workspace beside what the caches say. It only saves
// requests, and belongs to the pass over the Workspace, of which there is one at a time.
type known struct {
	uid types.UID
	// read is the generation of which a pass has read every input past the cache; 0: none.
	read int64
	// revisions are its ControllerRevisions, all that there are where complete.
	revisions []keptRevision
	complete  bool
}

// keptRevision is a ControllerRevision of a Workspace.
type keptRevision struct {
	name string
	uid  types.UID
}

// mayHave says that a ControllerRevision of this name may be there.
func (k *known) mayHave(name string) bool {
	return !k.complete || slices.ContainsFunc(k.revisions, func(r keptRevision) bool { return r.name == name })
}

// has notes a ControllerRevision that is there.
func (k *known) has(o metav1.Object) {
	k.revisions = slices.DeleteFunc(k.revisions, func(r keptRevision) bool { return r.name == o.GetName() })
	k.revisions = append(k.revisions, keptRevision{o.GetName(), o.GetUID()})
}

// knownOf is what is known of a Workspace, and nothing of one that had its name before.
func (r *Reconciler) knownOf(ws *v1alpha1.Workspace) *known {
	key := client.ObjectKeyFromObject(ws)
	if held, ok := r.known.Load(key); ok && held.(*known).uid == ws.UID {
		return held.(*known)
	}
	k := &known{uid: ws.UID}
	r.known.Store(key, k)
	return k
}

// isNew notes that a Workspace has had no pass before: it had not even the finalizer that
// comes before all else, and so nothing of what a pass makes.
func (r *Reconciler) isNew(ws *v1alpha1.Workspace) {
	if ws.Status.Resolved == nil && ws.Status.Start == nil && len(ws.Status.Conditions) == 0 {
		k := r.knownOf(ws)
		k.complete, k.revisions = true, nil
	}
}

// dismiss drops what is known of a Workspace that is gone, or another process's now.
func (r *Reconciler) dismiss(key types.NamespacedName) {
	r.applied.Delete(key)
	r.known.Delete(key)
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// known is what this process knows of a Workspace beside what the caches say. It only saves
// requests, and belongs to the pass over the Workspace, of which there is one at a time.
// There are thousands: names and UIDs that are only compared are sums.
type known struct {
	uid uint64
	// read is the generation of which a pass has read every input past the cache; 0: none.
	read int64
	// answered is the digest of the inputs that the registry has answered for, before their
	// run or after it, and when, in Unix seconds; 0: none.
	answered   uint64
	answeredAt int64
	// applied are the marks of what was applied for it.
	applied marks
	// revisions are its ControllerRevisions, all that there are where complete.
	revisions keptRevisions
	complete  bool
}

// knowledge is what is known of each Workspace, by its name.
type knowledge struct {
	mu sync.Mutex
	of map[uint64]*known // by apply.Sum
}

// keptRevision is a ControllerRevision of a Workspace.
type keptRevision struct {
	name string
	uid  types.UID
}

// keptRevisions are the ControllerRevisions of a Workspace, one as a rule: "name/uid" of
// each, with a space between them, of which neither has any.
type keptRevisions string

func (k keptRevisions) all() []keptRevision {
	var list []keptRevision
	for one := range strings.FieldsSeq(string(k)) {
		name, uid, _ := strings.Cut(one, "/")
		list = append(list, keptRevision{name, types.UID(uid)})
	}
	return list
}

func (k keptRevisions) with(one keptRevision) keptRevisions {
	text := one.name + "/" + string(one.uid)
	if k != "" {
		text = string(k) + " " + text
	}
	return keptRevisions(text)
}

// mayHave says that a ControllerRevision of this name may be there.
func (k *known) mayHave(name string) bool {
	if !k.complete {
		return true
	}
	for _, one := range k.revisions.all() {
		if one.name == name {
			return true
		}
	}
	return false
}

// has notes a ControllerRevision that is there.
func (k *known) has(o metav1.Object) {
	var all keptRevisions
	for _, one := range k.revisions.all() {
		if one.name != o.GetName() {
			all = all.with(one)
		}
	}
	k.revisions = all.with(keptRevision{o.GetName(), o.GetUID()})
}

// knownOf is what is known of a Workspace, and nothing of one that had its name before.
func (r *Reconciler) knownOf(ws *v1alpha1.Workspace) *known {
	return r.known.at(client.ObjectKeyFromObject(ws), ws.UID)
}

func (k *knowledge) at(key types.NamespacedName, uid types.UID) *known {
	name, is := apply.Sum(key.String()), apply.Sum(string(uid))
	k.mu.Lock()
	defer k.mu.Unlock()
	if held := k.of[name]; held != nil && held.uid == is {
		return held
	}
	if k.of == nil {
		k.of = map[uint64]*known{}
	}
	k.of[name] = &known{uid: is}
	return k.of[name]
}

func (k *knowledge) drop(key types.NamespacedName) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.of, apply.Sum(key.String()))
}

// isNew notes that a Workspace has had no pass before: it had not even the finalizer that
// comes before all else, and so nothing of what a pass makes.
func (r *Reconciler) isNew(ws *v1alpha1.Workspace) {
	if ws.Status.Resolved == nil && ws.Status.Start == nil && len(ws.Status.Conditions) == 0 {
		k := r.knownOf(ws)
		k.complete, k.revisions = true, ""
	}
}

// dismiss drops what is known of a Workspace that is gone, or another process's now.
func (r *Reconciler) dismiss(key types.NamespacedName) { r.known.drop(key) }

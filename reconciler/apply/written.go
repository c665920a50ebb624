// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// believedBehind is how long a cache may be taken to be behind: after a backup of the
// cluster was put back, versions begin again below those that were written.
const believedBehind = time.Minute

// Written is which version of each object this process has written last, until a cache has
// it. Who decides on an object from before, and finds the world to be as that one says,
// writes nothing, and what was written last stays as if it were so.
type Written struct{ last sync.Map } // types.UID → write

type write struct {
	version uint64
	at      time.Time
}

// Note notes an object as the API server returned it.
func (w *Written) Note(o metav1.Object, now time.Time) {
	w.last.Store(o.GetUID(), write{versionOf(o), now})
}

// Behind says that an object is from before it was written.
func (w *Written) Behind(o metav1.Object, now time.Time) bool {
	found, ok := w.last.Load(o.GetUID())
	if !ok {
		return false
	}
	last := found.(write)
	if has := versionOf(o); has > 0 && has < last.version && now.Sub(last.at) < believedBehind {
		return true
	}
	w.last.Delete(o.GetUID())
	return false
}

// Forget an object that is gone.
func (w *Written) Forget(uid types.UID) { w.last.Delete(uid) }

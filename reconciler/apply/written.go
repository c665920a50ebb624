// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"maps"
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
type Written struct {
	mu    sync.Mutex
	last  map[types.UID]write
	swept time.Time
}

type write struct {
	version uint64
	at      time.Time
}

// Note notes an object as the API server returned it.
func (w *Written) Note(o metav1.Object, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if now.Sub(w.swept) >= believedBehind { // of most objects nobody asks again
		maps.DeleteFunc(w.last, func(_ types.UID, l write) bool { return now.Sub(l.at) >= believedBehind })
		w.swept = now
	}
	if w.last == nil {
		w.last = map[types.UID]write{}
	}
	w.last[o.GetUID()] = write{Version(o), now}
}

// Behind says that an object is from before it was written.
func (w *Written) Behind(o metav1.Object, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	last, ok := w.last[o.GetUID()]
	if !ok {
		return false
	}
	if has := Version(o); has > 0 && has < last.version && now.Sub(last.at) < believedBehind {
		return true
	}
	delete(w.last, o.GetUID())
	return false
}

// Forget an object that is gone.
func (w *Written) Forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, uid)
}

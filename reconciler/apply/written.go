// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// BelievedBehind is how long a cache may be taken to be behind: after a backup of the
// cluster was put back, versions begin again below those that were written.
const BelievedBehind = time.Minute

// Written is which version of each object this process has written last, until a cache has
// it. Who decides on an object from before, and finds the world to be as that one says,
// writes nothing, and what was written last stays as if it were so.
type Written struct {
	mu    sync.Mutex
	last  map[uint64]write // by Sum of the UID
	swept time.Time
}

type write struct {
	version uint64
	at      int64 // in Unix seconds
}

// old says that it was written so long ago that no cache is believed to be behind it.
func (w write) old(now time.Time) bool {
	return time.Duration(now.Unix()-w.at)*time.Second >= BelievedBehind
}

// Note notes an object as the API server returned it.
func (w *Written) Note(o metav1.Object, now time.Time) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.last == nil || now.Sub(w.swept) >= BelievedBehind { // of most objects nobody asks again
		w.sweep(now)
	}
	w.last[Sum(string(o.GetUID()))] = write{Version(o), now.Unix()}
}

// sweep keeps what is young in a map of its size: one that has shrunk is as large as ever.
func (w *Written) sweep(now time.Time) {
	young := map[uint64]write{}
	for uid, l := range w.last {
		if !l.old(now) {
			young[uid] = l
		}
	}
	w.last, w.swept = young, now
}

// Behind says that an object is from before it was written.
func (w *Written) Behind(o metav1.Object, now time.Time) bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	uid := Sum(string(o.GetUID()))
	last, ok := w.last[uid]
	if !ok {
		return false
	}
	if has := Version(o); has > 0 && has < last.version && !last.old(now) {
		return true
	}
	delete(w.last, uid)
	return false
}

// Forget an object that is gone.
func (w *Written) Forget(uid types.UID) {
	w.mu.Lock()
	defer w.mu.Unlock()
	delete(w.last, Sum(string(uid)))
}

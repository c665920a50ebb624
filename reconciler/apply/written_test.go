// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"fmt"
	"runtime"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	measure "github.com/espalier-dev/espalier/test/scale"
)

func TestWritten(t *testing.T) {
	then := time.Unix(1e9, 0)
	for name, c := range map[string]struct {
		reason  string
		uid     types.UID
		version string
		after   time.Duration
		want    bool
	}{
		"Before":   {"The cache has not heard of the write yet.", "a", "9", time.Second, true},
		"Itself":   {"It has.", "a", "10", time.Second, false},
		"Later":    {"Somebody else has written since.", "a", "11", time.Second, false},
		"Another":  {"Made anew under the same name, it was never written.", "b", "9", time.Second, false},
		"Restored": {"Versions that begin again after a backup was put back hold nothing up for good.", "a", "9", time.Minute, false},
		"NoNumber": {"What cannot be compared is taken for what is there.", "a", "x", time.Second, false},
	} {
		t.Run(name, func(t *testing.T) {
			w := Written{}
			w.Note(&metav1.ObjectMeta{UID: "a", ResourceVersion: "10"}, then)
			o := &metav1.ObjectMeta{UID: c.uid, ResourceVersion: c.version}
			for range 2 {
				if got := w.Behind(o, then.Add(c.after)); got != c.want {
					t.Errorf("%s\ngot %v", c.reason, got)
				}
			}
			w.Forget("a")
			if w.Behind(o, then) {
				t.Error("what was forgotten is behind nothing")
			}
		})
	}
}

// TestWrittenIsSwept: what nobody asks about again is not held for good.
func TestWrittenIsSwept(t *testing.T) {
	w, now := Written{}, time.Unix(1e9, 0)
	for _, uid := range []types.UID{"a", "b", "c"} {
		w.Note(&metav1.ObjectMeta{UID: uid, ResourceVersion: "10"}, now)
		now = now.Add(BelievedBehind / 2)
	}
	if len(w.last) != 2 || !w.Behind(&metav1.ObjectMeta{UID: "c", ResourceVersion: "9"}, now) {
		t.Errorf("held are %v", w.last)
	}
}

// BenchmarkWritten prints what is held of each object that was written in one minute, and
// what is left of it after the next.
func BenchmarkWritten(b *testing.B) {
	const n = 10_000
	for b.Loop() {
		now, before := time.Unix(1e9, 0), measure.InUse()
		w := &Written{}
		note := func(i int) {
			w.Note(&metav1.ObjectMeta{UID: types.UID(fmt.Sprintf("0f6a9b1e-5d2c-4f3a-9c1d-%012d", i)), ResourceVersion: "1000000"}, now)
		}
		for i := range n {
			note(i)
		}
		b.ReportMetric(float64(measure.InUse()-before)/n, "B-held/object")
		now = now.Add(BelievedBehind)
		note(0)
		b.ReportMetric(float64(measure.InUse()-before)/n, "B-left/object")
		runtime.KeepAlive(w)
	}
}

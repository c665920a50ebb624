// SPDX-License-Identifier: Apache-2.0

package apply

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash/maphash"
	"maps"
	"reflect"
	"slices"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/reconciler/slim"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Mark is what the cluster held after an object was applied, or was seen to be as
// it would be. What has it still need not be applied again. It is small, one of thousands,
// and says nothing to another process. The zero value is of nothing that was applied.
type Mark struct {
	digest     uint64 // of what was applied
	carried    uint64 // slim.Carried, and the UID
	version    uint64 // 0: not known
	generation uint32 // 0: the kind has none
	uid        uint32 // cut short
}

// seed of the sums that marks are made of.
var seed = maphash.MakeSeed()

// Sum tells texts apart in this process.
func Sum(text string) uint64 { return maphash.String(seed, text) }

// Digest is the digest of an object's content; JSON sorts its maps.
func Digest(o *unstructured.Unstructured) string {
	content, err := json.Marshal(o.Object)
	if err != nil {
		panic(fmt.Sprintf("marshalling %s: %v", Describe(o), err)) // it was read from JSON
	}
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// MarkOf is the Mark of an object as the API server returned it.
func MarkOf(digest string, applied metav1.Object) Mark {
	return Mark{
		digest: Sum(digest), carried: carried(applied), version: Version(applied),
		generation: generation(applied), uid: which(applied),
	}
}

// carried is a sum of what an object carries beside its spec, and of which object it is.
func carried(o metav1.Object) uint64 { return slim.Carried(o) + Sum(string(o.GetUID())) }

func generation(o metav1.Object) uint32 { return uint32(o.GetGeneration()) } //nolint:gosec // G115: no spec is changed four billion times

// which object it is: half of a sum is one.
func which(o metav1.Object) uint32 { return uint32(Sum(string(o.GetUID()))) } //nolint:gosec // G115

// Noted is a Mark of what is no object in the cluster: only Of knows it again.
func Noted(digest string) Mark { return Mark{digest: Sum(digest)} }

// IsZero says that nothing was applied.
func (m Mark) IsZero() bool { return m == Mark{} }

// Of says that what was applied had a digest.
func (m Mark) Of(digest string) bool { return !m.IsZero() && m.digest == Sum(digest) }

// Still says that nobody has changed an object since it was applied: not its spec, by the
// generation, nor labels, annotations and owners, added ones among them. A kind without
// generations has the mark only as long as nobody wrote it at all.
func (m Mark) Still(live metav1.Object) bool {
	return m.sameSpec(live) && m.carried == carried(live)
}

func (m Mark) sameSpec(live metav1.Object) bool {
	if m.generation > 0 {
		return m.generation == generation(live)
	}
	return m.version > 0 && m.version == Version(live)
}

// pairs of a map, without what is no part of a comparison: where Git says an object, and
// the copy that kubectl notes, which somebody may have committed and no cache holds.
func pairs(of map[string]string) []string {
	if len(of) == 0 {
		return nil
	}
	list := make([]string, 0, 2*len(of))
	for _, key := range slices.Sorted(maps.Keys(of)) {
		if key != repolayout.AnnotationSource && key != repolayout.AnnotationRevision && key != corev1.LastAppliedConfigAnnotation {
			list = append(list, key, of[key])
		}
	}
	return list
}

func carries(live map[string]string, desired []string) bool {
	for i := 0; i+1 < len(desired); i += 2 {
		if value, ok := live[desired[i]]; !ok || value != desired[i+1] {
			return false
		}
	}
	return true
}

// Before says that an object was seen before it was applied: a cache has not heard
// of that yet.
func (m Mark) Before(live metav1.Object) bool {
	version := Version(live)
	return version > 0 && version < m.version && m.uid == which(live)
}

// Holds says that an object is as desired, whatever else it has: applying it would
// change nothing. Both are as JSON has them. A field that an earlier desired state
// had, and this one has not, is not seen: who asks knows by the digest.
func Holds(live, desired *unstructured.Unstructured) bool {
	want := desired.DeepCopy()
	want.SetAnnotations(nil)
	return has(live.GetAnnotations(), desired.GetAnnotations()) && holds(live.Object, want.Object)
}

// has says that labels or annotations are as desired, whatever else there is. Where Git
// says an object is left out: a line that moves changes nothing.
func has(live, desired map[string]string) bool { return carries(live, pairs(desired)) }

// holds compares as JSON does: maps may have more, lists may not.
func holds(live, desired any) bool {
	switch want := desired.(type) {
	case map[string]any:
		has, ok := live.(map[string]any)
		if !ok {
			return len(want) == 0 && live == nil
		}
		for k, v := range want {
			if !holds(has[k], v) {
				return false
			}
		}
		return true
	case []any:
		has, ok := live.([]any)
		if !ok || len(has) != len(want) {
			return len(want) == 0 && live == nil
		}
		for i := range want {
			if !holds(has[i], want[i]) {
				return false
			}
		}
		return true
	}
	return reflect.DeepEqual(number(live), number(desired))
}

// number makes whole numbers one type: of YAML they are int64, of JSON int64 or float64.
func number(v any) any {
	switch n := v.(type) {
	case int:
		return int64(n)
	case int32:
		return int64(n)
	case float64:
		if n == float64(int64(n)) {
			return int64(n)
		}
	}
	return v
}

// Version is the resourceVersion as a number, which grows with each write; 0 where
// it is none.
func Version(o metav1.Object) uint64 {
	n, err := strconv.ParseUint(o.GetResourceVersion(), 10, 64)
	if err != nil {
		return 0
	}
	return n
}

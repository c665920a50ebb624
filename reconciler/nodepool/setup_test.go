// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"fmt"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"
)

// TestBackoff: pools that fail together, as when the cloud is down, are tried again one
// after the other, and ever less often.
func TestBackoff(t *testing.T) {
	limiter := backoff()
	for try, base := range []time.Duration{5 * time.Second, 10 * time.Second, 20 * time.Second, 40 * time.Second, 80 * time.Second, 160 * time.Second, 5 * time.Minute, 5 * time.Minute} {
		seen := map[time.Duration]bool{}
		for i := range 50 {
			d := limiter.When(reconcile.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: fmt.Sprintf("p%d", i)}})
			if d < base || d >= base*5/4 {
				t.Fatalf("try %d of p%d after %s, want %s and up to a quarter more", try, i, d, base)
			}
			seen[d] = true
		}
		if len(seen) < 40 {
			t.Errorf("try %d: %d different pauses of 50 pools", try, len(seen))
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestOrphans(t *testing.T) {
	object := func(name, uid string) v1alpha1.GPUNodePool {
		p := v1alpha1.GPUNodePool{}
		p.Namespace, p.Name, p.UID = "team-a", name, types.UID(uid)
		return p
	}
	objects := []v1alpha1.GPUNodePool{object("kept", "1"), object("restored", "2")}
	cases := map[string]struct {
		reason string
		pool   Marked
		want   string
	}{
		"Kept":     {"Its object is there.", Marked{UID: "1", Installation: "i", Object: "team-a/kept"}, ""},
		"Renamed":  {"The UID decides, not the name.", Marked{UID: "1", Installation: "i", Object: "team-a/other"}, ""},
		"Gone":     {"Nothing answers for it, and it is paid for.", Marked{UID: "9", Installation: "i", Object: "team-a/gone"}, OrphanNoObject},
		"Restored": {"A backup was restored: the object has a new UID, and the pool may serve it.", Marked{UID: "8", Installation: "i", Object: "team-a/restored"}, OrphanReattach},
		"Others":   {"Another installation's.", Marked{UID: "9", Installation: "j", Object: "team-a/gone"}, ""},
		"Unmarked": {"Not ours at all.", Marked{}, ""},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			var want []Orphan
			if tc.want != "" {
				want = []Orphan{{tc.pool, tc.want}}
			}
			if diff := cmp.Diff(want, Orphans([]Marked{tc.pool}, "i", objects)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", tc.reason, diff)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPoolNotBudgeted: a limit that somebody set for a cluster and that is not for what a
// change buys is named there.
func TestPoolNotBudgeted(t *testing.T) {
	limited := team(func(s *v1alpha1.RepoSync) {
		s.Spec.Defaults = &v1alpha1.SyncDefaults{Budget: &v1alpha1.Budget{MaxUSDPerHour: "4"}}
	})
	const said = "Whether node pools that Git declares stay within the $4/h of spec.defaults.budget: it is for the nodes of each Workspace; what bounds those of a pool is their number (shared)."
	for name, c := range map[string]struct {
		reason     string
		base, head files
		sync       *v1alpha1.RepoSync
		want       string
	}{
		"New":      {"Twenty nodes are bought beside a limit for one.", files{}, files{"pool.yaml": strings.Replace(sharedPool, "replicas: 2", "replicas: 20", 1)}, limited, said},
		"Grows":    {"Likewise where there are more of them.", files{"pool.yaml": sharedPool}, files{"pool.yaml": strings.Replace(sharedPool, "replicas: 2", "replicas: 20", 1)}, limited, said},
		"NoLimit":  {"Nobody set one.", files{}, files{"pool.yaml": sharedPool}, team(), ""},
		"Deleted":  {"Nothing is bought.", files{"pool.yaml": sharedPool}, files{}, limited, ""},
		"Same":     {"Nothing changes.", files{"pool.yaml": sharedPool}, files{"pool.yaml": sharedPool, "a.yaml": service("a")}, limited, ""},
		"Existing": {"Nodes that exist have no price.", files{}, files{"pool.yaml": strings.Replace(sharedPool, "provider: aks", "provider: existing\n  nodeLabels: {rack: '7'}", 1)}, limited, ""},
	} {
		t.Run(name, func(t *testing.T) {
			p := scenario{base: c.base, head: c.head, sync: c.sync}.plan(t)
			if got := noteOf(p, "PoolNotBudgeted"); got != c.want {
				t.Errorf("%s\ngot  %q\nwant %q", c.reason, got, c.want)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestCache: pods that cannot mount their cache are refused before their nodes
// are paid.
func TestCache(t *testing.T) {
	claim := v1alpha1.WeightCache{Claim: "weights"}
	for name, tc := range map[string]struct {
		reason   string
		cache    v1alpha1.WeightCache
		instance string
		replicas int32
		modes    []string
		code     string
		severity string
	}{
		"Alone":       {reason: "one node writes what one node can", cache: claim, instance: "Standard_NC24ads_A100_v4", replicas: 1, modes: []string{"ReadWriteOnce"}},
		"Together":    {reason: "so do two pods on one node", cache: claim, instance: "Standard_NC48ads_A100_v4", replicas: 2, modes: []string{"ReadWriteOnce"}},
		"Apart":       {reason: "pods on two nodes do not", cache: claim, instance: "Standard_NC24ads_A100_v4", replicas: 2, modes: []string{"ReadWriteOnce"}, code: check.CacheShared, severity: finding.Error},
		"Many":        {reason: "unless the claim is made for it", cache: claim, instance: "Standard_NC24ads_A100_v4", replicas: 2, modes: []string{"ReadWriteMany"}},
		"OnePod":      {reason: "one pod alone", cache: claim, instance: "Standard_NC24ads_A100_v4", replicas: 1, modes: []string{"ReadWriteOncePod"}},
		"OnePodOfTwo": {reason: "the next version is a second pod on the spare GPU", cache: claim, instance: "Standard_NC48ads_A100_v4", replicas: 1, modes: []string{"ReadWriteOncePod"}, code: check.CacheShared, severity: finding.Error},
		"ReadOnly":    {reason: "nobody could download", cache: claim, instance: "Standard_NC24ads_A100_v4", replicas: 1, modes: []string{"ReadOnlyMany"}, code: check.CacheShared, severity: finding.Error},
		"Unknown":     {reason: "Git need not hold the claim", cache: claim, instance: "Standard_NC24ads_A100_v4", replicas: 2, code: check.CacheShared, severity: finding.Warning},
		"TooSmall":    {reason: "the weights do not fit the volume", cache: v1alpha1.WeightCache{StorageClass: "local", Size: "5Gi"}, instance: "Standard_NC24ads_A100_v4", replicas: 1, code: check.CacheTooSmall, severity: finding.Error},
		"Own":         {reason: "a volume of each pod", cache: v1alpha1.WeightCache{StorageClass: "local", Size: "20Gi"}, instance: "Standard_NC24ads_A100_v4", replicas: 2},
	} {
		t.Run(name, func(t *testing.T) {
			w := serving(tc.instance, replicas(tc.replicas), func(w *v1alpha1.Workspace) { w.Spec.Inference.Cache = &tc.cache })
			a := check.Workspace(w, check.Facts{ClaimModes: map[string][]string{tc.cache.Claim: tc.modes}}, nil)
			var got []string
			for _, f := range a.Findings {
				got = append(got, f.Severity+" "+f.Code)
			}
			want := strings.TrimSpace(tc.severity + " " + tc.code)
			if strings.Join(got, ", ") != want || a.Refused() != (tc.severity == finding.Error) {
				t.Errorf("%s: %v, want %q", tc.reason, a.Findings, want)
			}
		})
	}
}

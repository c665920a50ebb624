// SPDX-License-Identifier: Apache-2.0

package v1alpha1_test

import (
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestOlderDriver(t *testing.T) {
	for name, c := range map[string]struct {
		reason, version, than string
		want                  bool
	}{
		"Branch":    {"a branch is a number", "570.211.01", "580", true},
		"Same":      {"the branch is all that was said", "580.65.06", "580", false},
		"Version":   {"a version was said", "580.65.06", "580.95.05", true},
		"Revision":  {"a number has no leading zeros", "535.104.12", "535.104.05", false},
		"Numbers":   {"and is not compared by letter", "580.105.08", "580.95.05", false},
		"Newer":     {"a newer one runs what was built for an older", "610.57.04", "580.95.05", false},
		"Shorter":   {"what is not said is not older", "580", "580.95.05", false},
		"Unknown":   {"nothing is known of it", "", "525", true},
		"NotWanted": {"nothing is wanted of it", "390.157", "", false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := v1alpha1.OlderDriver(c.version, c.than); got != c.want {
				t.Errorf("%s: %q before %q: %t", c.reason, c.version, c.than, got)
			}
		})
	}
}

func TestIsDriver(t *testing.T) {
	for version, want := range map[string]bool{
		"580": true, "390.157": true, "580.95.05": true, "570.211.01": true,
		"": false, "58": false, "5800": false, "580.": false, "580.95.05.1": false, "v580": false, "080.1": false, "13.0": false, "580-server": false, "580\n": false,
	} {
		if got := v1alpha1.IsDriver(version); got != want {
			t.Errorf("%q: %t", version, got)
		}
	}
}

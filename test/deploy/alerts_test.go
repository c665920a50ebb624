// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/cluster"
)

const alertCases = "testdata/alerts.yaml"

// TestAlertsFire: Prometheus takes every alert, and each fires for what it is for and for
// nothing else.
func TestAlertsFire(t *testing.T) {
	text, err := os.ReadFile(alertCases)
	if err != nil {
		t.Fatal(err)
	}
	var cases []struct {
		Alert, Reason string
		Fires         []string
	}
	if err := yaml.Unmarshal(text, &cases); err != nil {
		t.Fatal(err)
	}
	var fires, quiet []string
	for _, c := range cases {
		if c.Reason == "" {
			t.Errorf("a case of %s has no reason", c.Alert)
		}
		if len(c.Fires) > 0 {
			fires = append(fires, c.Alert)
		} else {
			quiet = append(quiet, c.Alert)
		}
	}
	for _, a := range alertsOf(t) {
		if !slices.Contains(fires, a.Alert) || !slices.Contains(quiet, a.Alert) {
			t.Errorf("%s: want a case in which %s fires and one in which it does not", alertCases, a.Alert)
		}
	}
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	binary := filepath.Join(bin, "promrules")
	if _, err := os.Stat(binary); err != nil {
		t.Skip("Prometheus' engine is not built: run `make bin/promrules` in the root of the repository")
	}
	out, err := exec.CommandContext(t.Context(), binary, "../../deploy/monitoring/alerts.yaml", alertCases).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

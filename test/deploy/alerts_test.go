// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/cluster"
)

const alertCases = "testdata/alerts.yaml"

var (
	alertsPart   = regexp.MustCompile(`(?s)\n## Alerts\n(.*?)\n## `)
	alertSection = regexp.MustCompile(`(?m)^### (\w+)$`)
)

// TestAlertsDocumented: whoever is woken by an alert finds what it means and what to do
// under its name, in the order of the file, and nothing there is of an alert that is gone.
func TestAlertsDocumented(t *testing.T) {
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	part := alertsPart.FindSubmatch(page)
	if part == nil {
		t.Fatal("docs/metrics.md has no part on alerts")
	}
	var want, got []string
	for _, a := range alertsOf(t) {
		want = append(want, a.Alert)
	}
	for _, m := range alertSection.FindAllSubmatch(part[1], -1) {
		got = append(got, string(m[1]))
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("sections of docs/metrics.md, -alerts +sections:\n%s", diff)
	}
}

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
		t.Skip("Prometheus' engine is not built: make verify-alerts does it")
	}
	out, err := exec.CommandContext(t.Context(), binary, "../../deploy/monitoring/alerts.yaml", alertCases).CombinedOutput()
	if err != nil {
		t.Errorf("%v\n%s", err, out)
	}
}

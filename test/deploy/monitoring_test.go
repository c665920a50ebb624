// SPDX-License-Identifier: Apache-2.0

package deploy

import (
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/cmd/espalier/version"
	"github.com/espalier-dev/espalier/reconciler/nodepool"
	"github.com/espalier-dev/espalier/reconciler/workspace"
)

// metric is one that the controllers have, with its labels.
type metric struct{ labels []string }

var described = regexp.MustCompile(`fqName: "([a-z_]+)".*variableLabels: \{([a-z_,]*)\}`)

// libraryMetrics are those of controller-runtime that are used, with labels.
var libraryMetrics = map[string]metric{
	"controller_runtime_active_workers":         {[]string{"controller"}},
	"controller_runtime_reconcile_total":        {[]string{"controller", "result"}},
	"controller_runtime_reconcile_errors_total": {[]string{"controller"}},
	"workqueue_depth":                           {[]string{"name", "controller", "priority"}},
}

// metrics are all that there are, by name.
func metrics(t *testing.T) map[string]metric {
	t.Helper()
	found := map[string]metric{}
	for name, m := range libraryMetrics {
		found[name] = m
	}
	out := make(chan *prometheus.Desc, 64)
	nodepool.NewMetrics(nil).Describe(out)
	workspace.NewMetrics(nil, nil).Describe(out)
	version.Current().Metric().Describe(out)
	close(out)
	for desc := range out {
		m := described.FindStringSubmatch(desc.String())
		if m == nil {
			t.Fatalf("not understood: %s", desc)
		}
		found[m[1]] = metric{strings.Split(m[2], ",")}
		if strings.HasSuffix(m[1], "_seconds") { // a histogram
			found[m[1]+"_bucket"] = metric{append(strings.Split(m[2], ","), "le")}
		}
	}
	return found
}

var (
	metricName = regexp.MustCompile(`\b(?:espalier|controller_runtime|workqueue)_[a-z_]+`)
	selected   = regexp.MustCompile(`\b((?:espalier|controller_runtime|workqueue)_[a-z_]+)\{([^}]*)\}`)
	labelName  = regexp.MustCompile(`([a-z_]+)\s*=~?"([^"]*)"`)
)

// TestMonitoring: every metric that the dashboard, the alerts and the page name is
// one that the controllers have, and is selected by labels that it has.
func TestMonitoring(t *testing.T) {
	known := metrics(t)
	expressions := append(panels(t), rulesOf(t)...)
	if len(expressions) < 15 {
		t.Fatalf("only %d expressions were found", len(expressions))
	}
	for _, e := range expressions {
		if !metricName.MatchString(e) {
			t.Errorf("no metric in %q", e)
		}
		for _, name := range metricName.FindAllString(e, -1) {
			if _, ok := known[name]; !ok {
				t.Errorf("%q: there is no metric %s", e, name)
			}
		}
		for _, m := range selected.FindAllStringSubmatch(e, -1) {
			labelled(t, e, known[m[1]], m[2])
		}
	}
	page, err := os.ReadFile("../../docs/metrics.md")
	if err != nil {
		t.Fatal(err)
	}
	for name := range known {
		if strings.HasPrefix(name, "espalier_") && !strings.HasSuffix(name, "_bucket") && !strings.Contains(string(page), "`"+name+"`") {
			t.Errorf("docs/metrics.md does not have %s", name)
		}
	}
}

// labelled says whether a metric has the labels that it is selected by, and classes
// of failures are such.
func labelled(t *testing.T, expression string, m metric, selectors string) {
	t.Helper()
	for _, l := range labelName.FindAllStringSubmatch(selectors, -1) {
		if !slices.Contains(m.labels, l[1]) {
			t.Errorf("%q: no label %s, there are %v", expression, l[1], m.labels)
		}
		if l[1] != "class" {
			continue
		}
		page, err := os.ReadFile("../../docs/troubleshooting.md") // has every class: a test asks
		if err != nil {
			t.Fatal(err)
		}
		for _, class := range strings.Split(l[2], "|") {
			if !strings.Contains(string(page), "`"+class+"`") {
				t.Errorf("%q: no class %s", expression, class)
			}
		}
	}
}

// panels are the expressions of the dashboard.
func panels(t *testing.T) []string {
	t.Helper()
	text, err := os.ReadFile("../../deploy/monitoring/dashboard.json")
	if err != nil {
		t.Fatal(err)
	}
	var dashboard struct {
		Title  string
		Panels []struct {
			ID      int
			Title   string
			GridPos struct{ X, W int }
			Targets []struct{ Expr string }
		}
	}
	if err := json.Unmarshal(text, &dashboard); err != nil {
		t.Fatal(err)
	}
	seen := map[int]bool{}
	var found []string
	for _, p := range dashboard.Panels {
		if seen[p.ID] || p.Title == "" || p.GridPos.X+p.GridPos.W > 24 {
			t.Errorf("panel %d %q: want an id of its own, a title and a place", p.ID, p.Title)
		}
		seen[p.ID] = true
		for _, target := range p.Targets {
			found = append(found, target.Expr)
		}
	}
	return found
}

// alert is one of a PrometheusRule.
type alert struct {
	Alert, Expr, For string
	Labels           map[string]string
	Annotations      map[string]string
}

// alertsOf are the alerts, as the component brings them.
func alertsOf(t *testing.T) []alert {
	t.Helper()
	all, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), "../../deploy/monitoring")
	if err != nil {
		t.Fatal(err)
	}
	var kinds []string
	var found []alert
	for _, r := range all.Resources() {
		kinds = append(kinds, r.GetKind())
		var o struct {
			Spec struct {
				Groups              []struct{ Rules []alert }
				PodMetricsEndpoints []struct{ HonorLabels bool }
			}
		}
		text, err := r.AsYAML()
		if err != nil {
			t.Fatal(err)
		}
		if err := yaml.Unmarshal(text, &o); err != nil {
			t.Fatal(err)
		}
		for _, g := range o.Spec.Groups {
			found = append(found, g.Rules...)
		}
		for _, e := range o.Spec.PodMetricsEndpoints {
			if !e.HonorLabels {
				t.Error("a PodMonitor without honorLabels: the namespace of each pool becomes the controller's, and the pool's exported_namespace")
			}
		}
	}
	slices.Sort(kinds)
	if got := strings.Join(kinds, " "); got != "ConfigMap PodMonitor PrometheusRule" {
		t.Errorf("the component brings %s", got)
	}
	return found
}

// rulesOf are the expressions of the alerts.
func rulesOf(t *testing.T) []string {
	t.Helper()
	var found []string
	for _, one := range alertsOf(t) {
		if one.For == "" || one.Labels["severity"] == "" || one.Annotations["summary"] == "" || one.Annotations["description"] == "" {
			t.Errorf("alert %s: want how long, how bad, what is the matter and what to do", one.Alert)
		}
		found = append(found, one.Expr)
	}
	return found
}

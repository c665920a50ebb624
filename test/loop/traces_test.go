// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"context"
	"testing"

	"github.com/espalier-dev/espalier/test/collector"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestTraces has a controller tell a collector how a service came to be: each
// controller's passes, their steps, and the requests of those.
func TestTraces(t *testing.T) {
	team := newTeam(t, "traces")
	if err := team.StopController(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := team.StartController(context.Background()); err != nil { // t.Context() is over by now
			t.Error(err)
		}
	})
	into := collector.Start()
	t.Cleanup(into.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", into.URL)
	traced, err := team.StartReplica(patient(t), "--leader-elect=false")
	if err != nil {
		t.Fatal(err)
	}
	pushAndApply(t, team, onlyInference(t))
	ready(t, team, harness.InferenceName)
	if err := traced.Stop(); err != nil { // it sends the last ones
		t.Fatal(err)
	}
	spans := into.Spans()
	for pass, steps := range map[string][]string{
		"reconcile RepoSync":    {"source", "build", "apply", "report"},
		"reconcile Workspace":   {"render", "provide", "work", "expose"},
		"reconcile GPUNodePool": {"observing", "acting"},
	} {
		for _, step := range steps {
			if !anyWithin(spans, team.Namespace, pass, step) {
				t.Errorf("no pass %q of the team has a step %q", pass, step)
			}
		}
	}
	if !anyWithin(spans, "", "apply", "HTTP PATCH") {
		t.Error("no step \"apply\" has a request that changes something")
	}
}

// anyWithin says whether a span of a name is within one of another name, and of a
// namespace.
func anyWithin(spans []collector.Span, namespace, parent, name string) bool {
	for _, p := range spans {
		if p.Name != parent || p.Attribute("k8s.namespace.name") != namespace {
			continue
		}
		for _, s := range spans {
			if s.Name == name && s.Within(p) {
				return true
			}
		}
	}
	return false
}

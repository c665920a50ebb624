// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// nowhere sends the pods of a Workspace to nodes that nobody has.
const nowhere = `spec:
  patches:
  - target: {kind: KIND}
    patch: |
      - {op: add, path: /spec/template/spec/nodeSelector/nobody-has, value: this}
`

// nativeTuning is the sample's run in Espalier's own form, which can be patched.
const nativeTuning = `apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: workspace-tuning-phi-3
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input:
      urls: ["https://data.example.com/dolly.jsonl"]
    output:
      image: registry.example.com/models/phi-3-dolly:0.0.1
      pushSecret: registry-push
`

// TestNeverStarts has a service and a run whose pods no node can take: after the
// limit they are stopped and the nodes are given back, the condition says how to
// try again, and both ways to do that work.
func TestNeverStarts(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		reason          string
		kind, workspace string
		file            string
		files           map[string]string
	}{
		"Deployment": {
			reason: "A service that never answered holds GPUs that cost what working ones do.",
			kind:   "Deployment", workspace: harness.InferenceName, file: inferenceFile, files: onlyInference(t),
		},
		"Job": {
			reason: "A run whose pod is never placed has no tries to spend, and would wait for ever.",
			kind:   "Job", workspace: harness.TuningName, file: tuningFile, files: onlyTuning(t),
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			if c.file == tuningFile {
				c.files[c.file] = nativeTuning
			}
			team := newTeam(t, "start-"+strings.ToLower(name))
			right := c.files[c.file]
			replace(t, c.files, c.file, "spec:\n", strings.ReplaceAll(nowhere, "KIND", c.kind))
			push(t, team, c.files, "models: a typing error")
			apply(t, team, team.RepoSync(moved))

			first := neverStarted(t, team, c.workspace, "")
			if !strings.Contains(first.Message, "A pod cannot be placed") {
				t.Errorf("%s\nthe record does not say why: %q", c.reason, first.Message)
			}
			readme(t, team, "Failed", func(s string) bool { return strings.Contains(s, "❌ Failed") && strings.Contains(s, "did not start") })

			// The same once more, as the condition says: it ends the same way.
			edit(t, team, workspace(team, c.workspace), `{"metadata":{"annotations":{"`+repolayout.AnnotationRetry+`":"`+first.UID+`"}}}`)
			neverStarted(t, team, c.workspace, first.UID)

			c.files[c.file] = right
			push(t, team, c.files, "models: corrected")
			if w := ready(t, team, c.workspace); w.Status.Start != nil {
				t.Errorf("what started keeps a record of what did not: %+v", w.Status.Start)
			}
		})
	}
}

// neverStarted waits until a workload other than the one of that UID was stopped
// and everything that costs is gone.
func neverStarted(t *testing.T, team *harness.Team, name, other string) *v1alpha1.StartStatus {
	t.Helper()
	w := workspace(team, name)
	err := harness.Until(patient(t), team.Stand, w, "stopped", func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionReady)
		return w.Status.Start != nil && w.Status.Start.StoppedAt != nil && w.Status.Start.UID != other && c.Reason == v1alpha1.ReasonPodsNeverStarted
	})
	if err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), team.Stand, pool(team, name)); err != nil {
		t.Error(err)
	}
	if err := team.Client.Get(t.Context(), client.ObjectKeyFromObject(deployment(team)), deployment(team)); client.IgnoreNotFound(err) != nil || err == nil {
		t.Errorf("the Deployment must be gone: %v", err)
	}
	if c := condition.Get(w, v1alpha1.ConditionStalled); c == nil || !strings.Contains(c.Message, repolayout.AnnotationRetry+"="+w.Status.Start.UID) {
		t.Errorf("the condition must say how to try again: %+v", c)
	}
	return w.Status.Start
}

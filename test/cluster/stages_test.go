// SPDX-License-Identifier: Apache-2.0

package cluster

import (
	"encoding/json"
	"maps"
	"strings"
	"testing"
	"text/template"

	"sigs.k8s.io/yaml"
)

// asKwok are the functions of kwok's templates that a node is played with.
var asKwok = template.FuncMap{
	"Now":     func() string { return "2026-11-27T00:00:00Z" },
	"Version": func() string { return "0.7.0" },
	"Quote": func(s string) (string, error) {
		text, err := json.Marshal(s)
		return string(text), err
	},
	"NodeConditions": func() []map[string]string {
		return []map[string]string{{"type": "Ready", "status": "True", "reason": "KubeletReady", "message": "kubelet is posting ready status"}}
	},
}

// TestNodeAgain: a node that the control plane took for gone, as after a long restart
// of the API server, comes back, with what it has said of itself before.
func TestNodeAgain(t *testing.T) {
	played := template.Must(template.New("").Funcs(asKwok).Parse(stage(t, "node-initialize")))
	// What the API server shows of a Node without a status.
	status := map[string]any{"nodeInfo": map[string]any{"osImage": "", "architecture": "", "kernelVersion": "", "bootID": ""}}
	for _, time := range []string{"first", "second"} {
		var text strings.Builder
		if err := played.Execute(&text, map[string]any{"metadata": map[string]any{"name": "rack"}, "status": status}); err != nil {
			t.Fatalf("the %s time: %v", time, err)
		}
		said := map[string]any{}
		if err := yaml.Unmarshal([]byte(text.String()), &said); err != nil {
			t.Fatalf("the %s time: %v\n%s", time, err, text.String())
		}
		maps.Copy(status, said)
	}
	if got := status["nodeInfo"].(map[string]any)["osImage"]; got != "simulated: runs no container" {
		t.Errorf("it says at last that it runs %q", got)
	}
}

// stage is the template of a stage's status.
func stage(t *testing.T, name string) string {
	t.Helper()
	for document := range strings.SplitSeq(stages, "\n---\n") {
		var s struct {
			Metadata struct{ Name string }
			Spec     struct {
				Next struct{ StatusTemplate string }
			}
		}
		if err := yaml.Unmarshal([]byte(document), &s); err != nil {
			t.Fatal(err)
		}
		if s.Metadata.Name == name {
			return s.Spec.Next.StatusTemplate
		}
	}
	t.Fatalf("stages.yaml has no stage %s", name)
	return ""
}

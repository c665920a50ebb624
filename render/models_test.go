// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/test/models"
)

// told is what differs from one model to the next.
type told struct {
	Runs string `json:"runs,omitempty"`
	// Args of the program, GPUs of a pod, and how often its start is asked for.
	Args   []string          `json:"args,omitempty"`
	GPUs   string            `json:"gpus,omitempty"`
	Starts int32             `json:"starts,omitempty"`
	Config map[string]string `json:"config,omitempty"`
	// Refused is why there is nothing of this.
	Refused string `json:"refused,omitempty"`
}

// TestEveryModel renders each model of the catalogue with each runtime and compares
// what differs between them. test/rendered has the API server accept the whole.
func TestEveryModel(t *testing.T) {
	for _, name := range models.Runtimes() {
		t.Run(name, func(t *testing.T) {
			cases, err := models.All(name)
			if err != nil {
				t.Fatal(err)
			}
			all := map[string]told{}
			for _, c := range cases {
				all[c.Model] = toldOf(t, c)
			}
			if len(all) < 60 {
				t.Errorf("%d models", len(all))
			}
			text, err := yaml.Marshal(all)
			if err != nil {
				t.Fatal(err)
			}
			golden(t, filepath.Join("testdata", "models", name+".yaml"), text)
		})
	}
}

func golden(t *testing.T, file string, got []byte) {
	t.Helper()
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
		return
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), string(got)); diff != "" {
		t.Errorf("%s (-want +got; -update writes it):\n%s", file, diff)
	}
}

func toldOf(t *testing.T, c models.Case) told {
	t.Helper()
	if c.Refused != "" {
		return told{Refused: c.Refused}
	}
	out := c.Output
	pod := podOf(t, out.Workload)
	container := pod.Containers[0]
	is := told{
		Runs: fmt.Sprintf("%s on %d %s", out.Workload.GetKind(), c.Candidate.Nodes, c.Candidate.InstanceType),
		GPUs: container.Resources.Limits.Name("nvidia.com/gpu", "").String(),
	}
	if out.Workload.GetKind() != "Job" { // whose script is the same for all
		is.Args = container.Args
	}
	if p := container.StartupProbe; p != nil {
		is.Starts = p.FailureThreshold
	}
	for _, o := range out.Support {
		if o.GetKind() == "ConfigMap" {
			is.Config, _, _ = unstructured.NestedStringMap(o.Object, "data")
			delete(is.Config, "checkpoint.py") // the same for all
		}
	}
	return is
}

func podOf(t *testing.T, workload *unstructured.Unstructured) corev1.PodSpec {
	t.Helper()
	template, found, err := unstructured.NestedMap(workload.Object, "spec", "template", "spec")
	if err != nil || !found {
		t.Fatalf("%s has no pods: %v", workload.GetKind(), err)
	}
	var spec corev1.PodSpec
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(template, &spec); err != nil {
		t.Fatal(err)
	}
	if len(spec.Containers) == 0 || strings.TrimSpace(spec.Containers[0].Image) == "" {
		t.Fatalf("%s runs nothing", workload.GetKind())
	}
	return spec
}

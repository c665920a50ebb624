// SPDX-License-Identifier: Apache-2.0

package train

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/yaml"
	goyaml "sigs.k8s.io/yaml"
)

// volumes are the folders that the containers of a run see. Here they lie below a
// folder of the test: nothing else of a path differs.
var volumes = []string{"/work", "/data", "/config"}

// termination is the file that Kubernetes reads a container's last words from.
const termination = "/dev/termination-log"

// pod is what was rendered for a run, in the folder that its volumes lie in.
type pod struct {
	dir   string
	files map[string]string // of the ConfigMap
	spec  corev1.PodSpec
	here  *strings.Replacer // paths of the pod to those of this machine
}

// render is what `espalier render` writes for the Workspace of testdata.
func render(t *testing.T, espalier string) *pod {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), espalier, "render", "testdata/workspace.yaml")
	cmd.Stderr = os.Stderr
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("rendering: %v", err)
	}
	p := &pod{dir: t.TempDir()}
	pairs := []string{termination, filepath.Join(p.dir, "termination-log")}
	for _, v := range volumes {
		pairs = append(pairs, v+"/", p.dir+v+"/")
	}
	p.here = strings.NewReplacer(pairs...)
	for decoder := yaml.NewYAMLOrJSONDecoder(bytes.NewReader(out), 4096); ; {
		var o struct {
			Kind string            `json:"kind"`
			Data map[string]string `json:"data"`
			Spec batchv1.JobSpec   `json:"spec"`
		}
		if err := decoder.Decode(&o); errors.Is(err, io.EOF) {
			break
		} else if err != nil {
			t.Fatalf("reading what was rendered: %v", err)
		}
		switch o.Kind {
		case "ConfigMap":
			p.files = o.Data
		case "Job":
			p.spec = o.Spec.Template.Spec
		}
	}
	if p.files["axolotl.yaml"] == "" {
		t.Fatalf("no axolotl.yaml was rendered:\n%s", out)
	}
	return p
}

// container is one of the pod's.
func (p *pod) container(t *testing.T, name string) corev1.Container {
	t.Helper()
	for _, c := range slices.Concat(p.spec.InitContainers, p.spec.Containers) {
		if c.Name == name {
			return c
		}
	}
	t.Fatalf("the pod has no container %s", name)
	return corev1.Container{}
}

// env are the variables of a container, without those of Secrets.
func (p *pod) env(c corev1.Container) (env []string) {
	for _, e := range c.Env {
		if e.ValueFrom == nil {
			env = append(env, e.Name+"="+p.here.Replace(e.Value))
		}
	}
	return env
}

// setting is a value of axolotl.yaml.
func (p *pod) setting(t *testing.T, key string) string {
	t.Helper()
	said := map[string]any{}
	if err := goyaml.Unmarshal([]byte(p.files["axolotl.yaml"]), &said); err != nil {
		t.Fatal(err)
	}
	return fmt.Sprint(said[key])
}

// mount writes the files of the ConfigMap where the pod has them, axolotl.yaml with
// what Differences lists and nothing else.
func (p *pod) mount(t *testing.T) {
	t.Helper()
	files := maps.Clone(p.files)
	differing, err := differ(files["axolotl.yaml"])
	if err != nil {
		t.Fatal(err)
	}
	files["axolotl.yaml"] = differing
	for _, v := range volumes {
		if err := os.MkdirAll(p.dir+v, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range files {
		if err := os.WriteFile(filepath.Join(p.dir, "config", name), []byte(p.here.Replace(text)), 0o644); err != nil {
			t.Fatal(err)
		}
	}
}

// differ changes axolotl.yaml as Differences says, where it is as that says.
func differ(rendered string) (string, error) {
	said := map[string]any{}
	if err := goyaml.Unmarshal([]byte(rendered), &said); err != nil {
		return "", err
	}
	for _, d := range Differences {
		if d.Key == "" {
			continue
		}
		if said[d.Key] != d.Rendered {
			return "", fmt.Errorf("%s is rendered as %v, and Differences says %v: mend the list", d.Key, said[d.Key], d.Rendered)
		}
		said[d.Key] = d.Here
	}
	text, err := goyaml.Marshal(said)
	return string(text), err
}

// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// TestKaitoArguments: nothing is written for the older vLLM in KAITO's image that
// it does not take, whatever the model.
func TestKaitoArguments(t *testing.T) {
	kaito, _ := runtimes.Lookup(runtimes.KAITO, "", "")
	known, served := kaito.Arguments(), 0
	for _, p := range presets.All() {
		in := render.Input{Options: options, Workspace: workspace(t, "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\nspec:\n"+
			"  resource: {instanceType: Standard_ND96isr_H200_v5}\n  inference: {preset: "+p.ID+", accessSecret: hf, contextLength: 4096}\n"+
			"  runtime: {name: kaito, version: 0.5.0, cuda: '12.9', image: 'registry.example.com/kaito-base@sha256:"+strings.Repeat("0", 64)+"'}\n")}
		in.Assessment = check.Workspace(in.Workspace, check.Facts{}, nil)
		if in.Assessment.Refused() || finding.Refused(in.Assessment.Findings) {
			continue
		}
		in.Candidate = in.Assessment.Usable()[0]
		out, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		served++
		for _, argument := range argumentsOf(t, out) {
			name, _, _ := strings.Cut(strings.TrimPrefix(argument, "--"), "=")
			name, _, _ = strings.Cut(name, ".") // a key of an object
			if _, ok := known[name]; !ok {
				t.Errorf("%s: vLLM 0.25.1 takes no %s", p.Name(), argument)
			}
		}
	}
	if served < 40 {
		t.Errorf("only %d models are served", served)
	}
}

func argumentsOf(t *testing.T, out render.Output) []string {
	t.Helper()
	containers, _, err := unstructured.NestedSlice(out.Workload.Object, "spec", "template", "spec", "containers")
	if err != nil || len(containers) != 1 {
		t.Fatalf("%v %v", containers, err)
	}
	args, _, err := unstructured.NestedStringSlice(containers[0].(map[string]any), "args")
	if err != nil {
		t.Fatal(err)
	}
	return args
}

// TestKaitoAdapterFolder: KAITO's program looks for an adapter right in its own folder,
// wherever it is in an image, and however that gets there.
func TestKaitoAdapterFolder(t *testing.T) {
	for _, images := range []string{"", "imageVolumes: Disabled, "} {
		in := render.Input{Options: options, Workspace: workspace(t, "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\nspec:\n"+
			"  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: phi-4-mini-instruct, adapters: [{name: a, image: 'registry.example.com/a/b:1', path: data}]}\n"+
			"  runtime: {name: kaito, "+images+"version: 0.5.0, cuda: '12.9', image: 'registry.example.com/kaito-base@sha256:"+strings.Repeat("0", 64)+"'}\n")}
		assess(t, &in, check.Facts{})
		if got := rendered(t, in); !strings.Contains(got, "- mountPath: /mnt/adapter/a\n          name: adapter-a\n          readOnly: true\n          subPath: data\n") {
			t.Errorf("%q: the folder of the image is not what is mounted:\n%s", images, got)
		}
	}
}

// TestKaitoUpgrade: a service keeps the image that it was begun with, like others.
func TestKaitoUpgrade(t *testing.T) {
	w := workspace(t, strings.Replace(service, "  inference:", "  runtime: {name: kaito, version: 0.5.0, cuda: '12.9', image: 'registry.example.com/kaito-base@sha256:"+strings.Repeat("0", 64)+"'}\n  inference:", 1))
	in := render.Input{Workspace: w, Options: options}
	f := facts("vllm: {}")
	assess(t, &in, f)
	first, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	before := first.Resolved
	f.Resolved = &before
	assess(t, &in, f)
	again, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	if text(t, first) != text(t, again) || before.Runtime != runtimes.KAITO {
		t.Errorf("what was resolved is not kept: %+v", before)
	}
}

// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"flag"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/tools/txtar"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

var update = flag.Bool("update", false, "write the golden files anew")

// options of every case.
var options = render.Options{
	Provider:    v1alpha1.ProviderAKS,
	HelperImage: "registry.example.com/espalier@sha256:0000000000000000000000000000000000000000000000000000000000000000",
}

// goldenCase is a file of testdata.
type goldenCase struct {
	archive *txtar.Archive
	file    string
}

func (g goldenCase) text(name string) []byte {
	for _, f := range g.archive.Files {
		if f.Name == name {
			return f.Data
		}
	}
	return nil
}

// input decodes the files of a case as a repository's.
func (g goldenCase) input(t *testing.T) render.Input {
	t.Helper()
	in := render.Input{Workspace: workspace(t, string(g.text("workspace.yaml"))), Options: options}
	spec := &in.Workspace.Spec
	if text := g.text("options.yaml"); text != nil {
		if err := yaml.UnmarshalStrict(text, &in.Options); err != nil {
			t.Fatal(err)
		}
	}
	facts := check.Facts{ConfigMaps: map[string]map[string]string{}, Region: "eastus"}
	if text := g.text("config.yaml"); text != nil {
		var config map[string]string
		if err := yaml.Unmarshal(text, &config); err != nil {
			t.Fatal(err)
		}
		facts.ConfigMaps[spec.ConfigName()] = config
	}
	if text := g.text("files.yaml"); text != nil { // ConfigMaps with training data, by name
		if err := yaml.UnmarshalStrict(text, &facts.ConfigMaps); err != nil {
			t.Fatal(err)
		}
	}
	if text := g.text(repolayout.LockFile); text != nil {
		facts.ConfigMaps[spec.LockName()] = map[string]string{repolayout.LockFile: string(text)}
	}
	if text := g.text("pool.yaml"); text != nil {
		d, findings := repolayout.Decode(text, nil)
		if d.Pool == nil {
			t.Fatalf("decoding the pool: %v", findings)
		}
		facts.Pool = &d.Pool.Spec
	}
	assess(t, &in, facts)
	return in
}

func workspace(t *testing.T, text string) *v1alpha1.Workspace {
	t.Helper()
	d, findings := repolayout.Decode([]byte(text), nil)
	if d.Workspace == nil {
		t.Fatalf("decoding: %v", findings)
	}
	if findings := repolayout.ValidateWorkspace(d.Workspace, nil); finding.Refused(findings) {
		t.Fatalf("validating: %v", findings)
	}
	return d.Workspace
}

func assess(t *testing.T, in *render.Input, facts check.Facts) {
	t.Helper()
	in.Assessment = check.Workspace(in.Workspace, facts, nil)
	if in.Assessment.Refused() {
		t.Fatalf("refused: %v", in.Assessment.Findings)
	}
	in.Candidate = in.Assessment.Usable()[0]
}

func rendered(t *testing.T, in render.Input) string {
	t.Helper()
	out, err := render.Render(in)
	if err != nil {
		t.Fatal(err)
	}
	return text(t, out)
}

func text(t *testing.T, out render.Output) string {
	t.Helper()
	var b strings.Builder
	for _, o := range out.Objects() {
		doc, err := yaml.Marshal(o.Object)
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("---\n")
		b.Write(doc)
	}
	return b.String()
}

func cases(t *testing.T) map[string]goldenCase {
	t.Helper()
	files, err := filepath.Glob("testdata/*.txtar")
	if err != nil || len(files) == 0 {
		t.Fatalf("no cases: %v", err)
	}
	all := map[string]goldenCase{}
	for _, f := range files {
		a, err := txtar.ParseFile(f)
		if err != nil {
			t.Fatal(err)
		}
		all[strings.TrimSuffix(filepath.Base(f), ".txtar")] = goldenCase{archive: a, file: f}
	}
	return all
}

func TestGolden(t *testing.T) {
	for name, g := range cases(t) {
		t.Run(name, func(t *testing.T) {
			got := rendered(t, g.input(t))
			if *update {
				g.archive.Files = slices.DeleteFunc(g.archive.Files, func(f txtar.File) bool { return f.Name == "want.yaml" })
				g.archive.Files = append(g.archive.Files, txtar.File{Name: "want.yaml", Data: []byte(got)})
				if err := os.WriteFile(g.file, txtar.Format(g.archive), 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			if diff := cmp.Diff(string(g.text("want.yaml")), got); diff != "" {
				t.Errorf("%s (-want +got; -update writes it):\n%s", strings.TrimSpace(string(g.archive.Comment)), diff)
			}
		})
	}
}

func TestStable(t *testing.T) {
	for name, g := range cases(t) {
		in := g.input(t)
		first := rendered(t, in)
		for range 19 {
			if again := rendered(t, in); again != first {
				t.Fatalf("%s: two renders differ:\n%s", name, cmp.Diff(first, again))
			}
		}
	}
}

const service = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: w, namespace: n}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  inference: {preset: phi-4-mini-instruct, config: c, accessSecret: s}
`

// facts are a configuration in the ConfigMap that service names, and the lock
// file of a small model in the one that locked names.
func facts(config string) check.Facts {
	return check.Facts{ConfigMaps: map[string]map[string]string{
		"c": {"inference_config.yaml": config},
		"l": {repolayout.LockFile: lockFile},
	}}
}

const lockFile = `id: someone/Model-1B
weights: {gib: 2}
shape: {kind: dense, layers: 16, hidden: 2048, intermediate: 8192, vocabulary: 32000, embeddings: 1, heads: 32, kvHeads: 8, headDim: 64, maxContext: 8192}
`

const locked = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: w, namespace: n}
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  inference: {model: {id: someone/Model-1B, lock: l}}
`

const run = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: w, namespace: n}
spec:
  resource: {instanceType: Standard_NC4as_T4_v3}
  tuning:
    preset: phi-3-mini-128k-instruct
    method: qlora
    input: {urls: ["https://example.com/a.parquet"]}
    output: {image: "registry.example.com/aa:1", pushSecret: s}
`

// TestDigest says what reaches the pods of a service, and what repeats a run.
func TestDigest(t *testing.T) {
	none := func(*render.Input, *check.Facts) {}
	for name, tc := range map[string]struct {
		reason  string
		doc     string
		change  func(in *render.Input, f *check.Facts)
		changes bool
	}{
		"Nothing": {"equal input, equal digest", service, none, false},
		"ConfigContent": {"a changed ConfigMap reaches the pods", service, func(_ *render.Input, f *check.Facts) {
			*f = facts("vllm: {max-num-seqs: 8}")
		}, true},
		"SecretVersion": {"a rotated credential reaches the pods", service, func(in *render.Input, _ *check.Facts) { in.Versions = map[string]string{"Secret/s": "2"} }, true},
		"Replicas":      {"more copies restart none", service, func(in *render.Input, _ *check.Facts) { n := int32(2); in.Workspace.Spec.Inference.Replicas = &n }, false},
		"Autoscale": {"who counts the copies restarts none", service, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Inference.Autoscale = &v1alpha1.Autoscale{MaxReplicas: 3}
		}, false},
		"Route": {"who reaches it restarts none", service, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Inference.Route = &v1alpha1.Route{
				ParentRefs:    []v1alpha1.RouteParent{{Name: "public"}},
				InferencePool: &v1alpha1.InferencePool{EndpointPickerRef: v1alpha1.EndpointPickerRef{Name: "picker"}},
			}
		}, false},
		"Suspend": {"a pause is no change", service, func(in *render.Input, _ *check.Facts) { in.Workspace.Spec.Suspend = true }, false},
		"Context": {"the spec reaches the pods", service, func(in *render.Input, _ *check.Facts) { in.Workspace.Spec.Inference.ContextLength = 4096 }, true},
		"ConfigName": {"a generator's suffix says nothing that the content does not", service, func(in *render.Input, f *check.Facts) {
			in.Workspace.Spec.Inference.Config = "c-hash"
			f.ConfigMaps["c-hash"] = f.ConfigMaps["c"]
		}, false},
		"LockContent": {"a changed lock file reaches the pods", locked, func(_ *render.Input, f *check.Facts) {
			f.ConfigMaps["l"] = map[string]string{repolayout.LockFile: lockFile + "revision: " + strings.Repeat("ab", 20) + "\n"}
		}, true},
		"LockName": {"a generator's suffix says nothing that the content does not", locked, func(in *render.Input, f *check.Facts) {
			in.Workspace.Spec.Inference.Model.Lock = "l-hash"
			f.ConfigMaps["l-hash"] = f.ConfigMaps["l"]
		}, false},
		"RunNothing": {"equal input, equal run", run, none, false},
		"RunMoved": {"a finished run is not repeated because it moves to another size", run, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Resource.InstanceType = "Standard_NC24ads_A100_v4"
		}, false},
		"RunBudget": {"nor for a budget", run, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Budget = &v1alpha1.Budget{MaxUSDPerHour: "9"}
		}, false},
		"RunCredential": {"nor for a rotated credential", run, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Tuning.Output.PushSecret, in.Versions = "s2", map[string]string{"Secret/s2": "9"}
		}, false},
		"RunData": {"other data is another run", run, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Tuning.Input.URLs = []string{"https://example.com/b.parquet"}
		}, true},
		"RunOutput": {"another place is another run", run, func(in *render.Input, _ *check.Facts) {
			in.Workspace.Spec.Tuning.Output.Image = "registry.example.com/aa:2"
		}, true},
		"RunRevision": {"another base revision is another run", run, func(in *render.Input, _ *check.Facts) { in.Workspace.Spec.Tuning.Revision = strings.Repeat("ab", 20) }, true},
	} {
		t.Run(name, func(t *testing.T) {
			digest := func(change func(*render.Input, *check.Facts)) string {
				in := render.Input{Workspace: workspace(t, tc.doc), Options: options}
				facts := facts("vllm: {}")
				change(&in, &facts)
				assess(t, &in, facts)
				out, err := render.Render(in)
				if err != nil {
					t.Fatal(err)
				}
				return out.Digest
			}
			if got := digest(none) != digest(tc.change); got != tc.changes {
				t.Errorf("%s: digest changes: %v, want %v", tc.reason, got, tc.changes)
			}
		})
	}
}

// TestUpgradeMovesNothing renders with what an earlier release resolved to:
// another image and model revision, which this release does not know.
func TestUpgradeMovesNothing(t *testing.T) {
	for _, doc := range []string{service, run} {
		w := workspace(t, doc)
		facts := facts("vllm: {}")
		in := render.Input{Workspace: w, Options: options}
		assess(t, &in, facts)
		first, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		before := first.Resolved
		before.Image = "docker.io/earlier/image@sha256:" + strings.Repeat("a", 64)
		before.ModelRevision = strings.Repeat("cd", 20)
		facts.Resolved = &before
		assess(t, &in, facts)
		out, err := render.Render(in)
		if err != nil {
			t.Fatal(err)
		}
		if out.Resolved != before {
			t.Errorf("resolved %+v, want it kept: %+v", out.Resolved, before)
		}
		if got := text(t, out); !strings.Contains(got, before.Image) || !strings.Contains(got, before.ModelRevision) {
			t.Errorf("what was resolved is not what is rendered:\n%s", got)
		}
		if w.Spec.Inference != nil {
			w.Spec.Inference.ContextLength = 4096
		} else {
			w.Spec.Tuning.Input.URLs = append(w.Spec.Tuning.Input.URLs, "https://example.com/c.jsonl")
		}
		assess(t, &in, facts)
		if in.Assessment.Resolved.Image == before.Image {
			t.Error("a changed spec is resolved with today's catalogue, and was not")
		}
	}
}

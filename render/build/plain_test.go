// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"testing/fstest"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/build"
	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// plainFolder names the folder that this binary builds with plain Kustomize
// instead of running tests. A process of its own: a kustomization with a schema
// changes it for everything that is built after it.
const plainFolder = "ESPALIER_TEST_PLAIN_KUSTOMIZE"

func TestMain(m *testing.M) {
	folder := os.Getenv(plainFolder)
	if folder == "" {
		os.Exit(m.Run())
	}
	objects, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	if err == nil {
		var text []byte
		text, err = objects.AsYaml()
		_, writeErr := os.Stdout.Write(text)
		err = errors.Join(err, writeErr)
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// plain is what Kustomize itself makes of a tree.
func plain(t *testing.T, files fstest.MapFS, root string) string {
	t.Helper()
	dir := t.TempDir()
	for name, f := range files {
		file := filepath.Join(dir, filepath.FromSlash(name))
		if err := os.MkdirAll(filepath.Dir(file), 0o755); err != nil {
			t.Fatal(err)
		}
		if err := os.WriteFile(file, f.Data, 0o600); err != nil {
			t.Fatal(err)
		}
	}
	cmd := exec.Command(os.Args[0])
	cmd.Env = append(os.Environ(), plainFolder+"="+filepath.Join(dir, root))
	var talk strings.Builder
	cmd.Stderr = &talk
	out, err := cmd.Output()
	if err != nil {
		t.Fatalf("plain Kustomize: %v: %s", err, talk.String())
	}
	return string(out)
}

// withConfig adds to a tree what makes plain Kustomize know our kinds.
func withConfig(files fstest.MapFS) fstest.MapFS {
	files["kustomize/names.yaml"] = &fstest.MapFile{Data: config.Names()}
	files["kustomize/merge-keys.yaml"] = &fstest.MapFile{Data: config.Schema()}
	root := files["kustomization.yaml"]
	files["kustomization.yaml"] = &fstest.MapFile{Data: append(
		[]byte("configurations: [kustomize/names.yaml]\nopenapi: {path: kustomize/merge-keys.yaml}\n"), root.Data...)}
	return files
}

const adapters = `
-- kustomization.yaml --
resources: [serve]
-- serve/kustomization.yaml --
resources: [../base]
namePrefix: team-
patches:
- patch: |
    apiVersion: espalier.dev/v1alpha1
    kind: Workspace
    metadata: {name: chat}
    spec:
      resource:
        candidates:
        - {instanceType: Standard_NC4as_T4_v3}
      inference:
        adapters:
        - {name: b, image: "registry.example.com/b:2"}
        - {name: c, image: "registry.example.com/c:1", pullSecrets: [pull]}
        - {name: a, $patch: delete}
-- base/kustomization.yaml --
resources: [workspace.yaml]
secretGenerator:
- name: pull
  literals: [a=b]
-- base/workspace.yaml --
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: chat}
spec:
  resource:
    candidates:
    - {instanceType: Standard_NC24ads_A100_v4, priority: Spot}
    - {instanceType: Standard_NC24ads_A100_v4}
  inference:
    preset: phi-4-mini-instruct
    adapters:
    - {name: a, image: "registry.example.com/a:1"}
    - {name: b, image: "registry.example.com/b:1", pullSecrets: [pull]}
`

// TestPlainKustomize: with the shipped configuration in the repository, Kustomize
// itself gives the same bytes as the units, one after the other.
func TestPlainKustomize(t *testing.T) {
	for name, archive := range map[string]string{
		"GeneratorsAndOverlays": rootOfTwo + unitA + unitB,
		"Adapters":              adapters,
		"EveryReference":        everyReference(t),
	} {
		t.Run(name, func(t *testing.T) {
			files := withConfig(tree(archive))
			want := plain(t, files, ".")
			units := buildTree(t, files, "", build.Limits{})
			for _, u := range units {
				if len(u.Findings) > 0 || u.Path == "." {
					t.Errorf("unit %s: %v", u.Path, u.Findings)
				}
			}
			if diff := cmp.Diff(want, strings.TrimPrefix(bytesOf(units), "---\n")); diff != "" {
				t.Errorf("the units are not what Kustomize builds (-Kustomize +units):\n%s", diff)
			}
		})
	}
}

// TestAdaptersMerge: adapters merge by their name, candidates are replaced as a whole.
func TestAdaptersMerge(t *testing.T) {
	built := bytesOf(buildTree(t, tree(adapters), "", build.Limits{}))
	var workspace struct {
		Spec struct {
			Resource struct {
				Candidates []map[string]string `json:"candidates"`
			} `json:"resource"`
			Inference struct {
				Adapters []struct {
					Name, Image string
					PullSecrets []string `json:"pullSecrets"`
				} `json:"adapters"`
			} `json:"inference"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal([]byte(strings.Split(built, "---\n")[1]), &workspace); err != nil {
		t.Fatal(err)
	}
	if c := workspace.Spec.Resource.Candidates; len(c) != 1 || c[0]["instanceType"] != "Standard_NC4as_T4_v3" || c[0]["priority"] != "" {
		t.Errorf("candidates are an order of preference: a patch replaces them, got %v", c)
	}
	got := map[string]string{}
	for _, a := range workspace.Spec.Inference.Adapters {
		got[a.Name] = a.Image + " " + strings.Join(a.PullSecrets, ",")
	}
	want := map[string]string{
		"b": "registry.example.com/b:2 team-pull-k695gkmbtk", // the patch says nothing of its pullSecrets
		"c": "registry.example.com/c:1 team-pull-k695gkmbtk",
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("adapters merge by name (-want +got):\n%s", diff)
	}
}

// references are the fields that name an object, for every kind and version.
var references = map[string][]string{
	"espalier.dev/v1alpha1 Workspace ConfigMap": {"spec.inference.config", "spec.tuning.config", "spec.inference.model.lock", "spec.tuning.model.lock"},
	"espalier.dev/v1alpha1 Workspace Secret": {
		"spec.inference.accessSecret", "spec.tuning.accessSecret", "spec.inference.adapters[].pullSecrets[]",
		"spec.tuning.input.pullSecrets[]", "spec.tuning.output.pushSecret",
	},
	"espalier.dev/v1alpha1 Workspace PersistentVolumeClaim": {"spec.tuning.input.claim", "spec.tuning.output.claim"},
	"espalier.dev/v1alpha1 Workspace GPUNodePool":           {"spec.resource.nodePool"},
	"espalier.dev/v1alpha1 RepoSync Secret": {
		"spec.source.git.secretRef.name", "spec.report.commit.secretRef.name", "spec.hook.secretRef.name",
	},
	"kaito.sh/v1alpha1 Workspace ConfigMap": kaitoConfigs,
	"kaito.sh/v1beta1 Workspace ConfigMap":  kaitoConfigs,
	"kaito.sh/v1alpha1 Workspace Secret":    kaitoSecrets,
	"kaito.sh/v1beta1 Workspace Secret":     append([]string{"inference.preset.presetOptions.modelAccessSecret", "tuning.preset.presetOptions.modelAccessSecret"}, kaitoSecrets...),
	"kaito.sh/v1beta1 Workspace PersistentVolumeClaim": {
		"inference.preset.presetOptions.modelWeightsPVC", "inference.adapters[].source.volumeSource.persistentVolumeClaim.claimName",
		"tuning.input.volumeSource.persistentVolumeClaim.claimName", "tuning.output.volumeSource.persistentVolumeClaim.claimName",
	},
	"kaito.sh/v1alpha1 InferenceSet ConfigMap": {"spec.template.inference.config"},
	"kaito.sh/v1beta1 InferenceSet Secret": {
		"spec.template.inference.preset.presetOptions.modelAccessSecret", "spec.template.inference.preset.presetOptions.imagePullSecrets[]",
		"spec.template.inference.adapters[].source.imagePullSecrets[]",
	},
}

var (
	kaitoConfigs = []string{"inference.config", "tuning.config"}
	kaitoSecrets = []string{
		"inference.preset.presetOptions.imagePullSecrets[]", "inference.adapters[].source.imagePullSecrets[]",
		"tuning.input.imagePullSecrets[]", "tuning.output.imagePushSecret", "tuning.preset.presetOptions.imagePullSecrets[]",
	}
)

// everyReference is a repository with an object for each of references.
func everyReference(t *testing.T) string {
	t.Helper()
	archive := "-- kustomization.yaml --\nresources: [all]\n-- all/kustomization.yaml --\nnamePrefix: p-\nresources: [named.yaml, naming.yaml]\n" +
		"configMapGenerator: [{name: it-ConfigMap, literals: [a=b]}]\nsecretGenerator: [{name: it-Secret, literals: [a=b]}]\n" +
		"-- all/named.yaml --\napiVersion: v1\nkind: PersistentVolumeClaim\nmetadata: {name: it-PersistentVolumeClaim}\n" +
		"---\napiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: it-GPUNodePool}\n-- all/naming.yaml --\n"
	n := 0
	for key, fields := range references {
		parts := strings.Fields(key)
		for _, field := range fields {
			n++
			document := map[string]any{"apiVersion": parts[0], "kind": parts[1], "metadata": map[string]any{"name": fmt.Sprintf("w%d", n)}}
			for k, v := range holding(strings.Split(field, "."), "it-"+parts[2]).(map[string]any) {
				document[k] = v
			}
			text, err := yaml.Marshal(document)
			if err != nil {
				t.Fatal(err)
			}
			archive += "---\n" + string(text)
		}
	}
	return archive
}

func holding(path []string, value any) any {
	if len(path) == 0 {
		return value
	}
	key, list := strings.CutSuffix(path[0], "[]")
	inner := holding(path[1:], value)
	if list {
		inner = []any{inner}
	}
	return map[string]any{key: inner}
}

// TestNamesOfEveryKind: a prefix and a generator's suffix reach every field that
// names an object.
func TestNamesOfEveryKind(t *testing.T) {
	for _, u := range buildTree(t, tree(everyReference(t)), "", build.Limits{}) {
		if len(u.Findings) > 0 {
			t.Errorf("%v", u.Findings)
		}
		for _, o := range u.Objects() {
			for line := range strings.Lines(string(o.YAML())) {
				if strings.Contains(line, "it-") && !strings.Contains(line, "p-it-") {
					t.Errorf("%s: the name is not followed: %s\n%s", o, line, o.YAML())
				}
			}
		}
	}
}

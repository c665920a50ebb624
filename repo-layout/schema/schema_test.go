// SPDX-License-Identifier: Apache-2.0

package schema_test

import (
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"strings"
	"testing"

	"github.com/santhosh-tekuri/jsonschema/v6"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/schema"
)

// compiled is the schema All, with those that it leads to.
func compiled(t *testing.T) *jsonschema.Schema {
	t.Helper()
	c := jsonschema.NewCompiler()
	err := fs.WalkDir(schema.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		file, err := schema.Files.Open(name)
		if err != nil {
			return err
		}
		defer file.Close()
		document, err := jsonschema.UnmarshalJSON(file)
		if err != nil {
			return err
		}
		return c.AddResource("file:///schema/"+name, document)
	})
	if err != nil {
		t.Fatal(err)
	}
	s, err := c.Compile("file:///schema/" + schema.All)
	if err != nil {
		t.Fatal(err)
	}
	return s
}

// judge validates the text of one document.
func judge(t *testing.T, s *jsonschema.Schema, text []byte) error {
	t.Helper()
	raw, err := yaml.YAMLToJSON(text)
	if err != nil {
		t.Fatal(err)
	}
	document, err := jsonschema.UnmarshalJSON(strings.NewReader(string(raw)))
	if err != nil {
		t.Fatal(err)
	}
	return s.Validate(document)
}

// Every document of the sample repository and every one of KAITO's that is
// accepted without a finding is right in the editor too.
func TestGoodDocuments(t *testing.T) {
	s := compiled(t)
	seen := 0
	each := func(name string, text []byte) {
		for _, d := range repolayout.Split(name, text) {
			if findings := decode(d); len(findings) > 0 || d.Kind() == "" {
				continue
			}
			if strings.Contains(string(d.Text), "method: QLoRA") {
				continue // taken as it is meant; the editor says that KAITO renders something else
			}
			seen++
			if err := judge(t, s, d.Text); err != nil {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	sample, err := example.Files(example.Options{})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range sample {
		if path.Ext(name) == ".yaml" {
			each(name, []byte(text))
		}
	}
	files, err := filepath.Glob("../kaito/testdata/*.yaml")
	if err != nil {
		t.Fatal(err)
	}
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		each(file, text)
	}
	if seen < 8 {
		t.Errorf("only %d documents were judged", seen)
	}
}

// decode returns the codes of all findings; a RepoSync is read as one.
func decode(d *repolayout.Document) []string {
	_, findings := repolayout.Decode(d.Text, d)
	if d.Kind() == "RepoSync" {
		_, findings = repolayout.DecodeSync(d.Text, d)
	}
	var codes []string
	for _, f := range findings {
		codes = append(codes, f.Code)
	}
	return codes
}

const (
	workspace = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nspec:\n  resource: {instanceType: A100}\n  inference: {preset: phi-4}\n"
	tuning    = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nspec:\n  resource: {instanceType: A100}\n" +
		"  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {image: 'registry.example.com/a/b:1', pushSecret: push}}\n"
	served = "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata: {name: a}\nresource: {instanceType: A100}\ninference: {preset: {name: phi-4}}\n"
	tuned  = "apiVersion: kaito.sh/v1beta1\nkind: Workspace\nmetadata: {name: a}\nresource: {instanceType: A100}\n" +
		"tuning: {preset: {name: phi-4}, method: qlora, input: {volumeSource: {persistentVolumeClaim: {claimName: a}}}, output: {image: 'a.example.com/a/b:1', imagePushSecret: push}}\n"
)

// A typical mistake is underlined while it is written; what breaks is right
// before, and refused by the decoder as well.
func TestMistakes(t *testing.T) {
	s := compiled(t)
	for name, c := range map[string]struct{ reason, text, from, to string }{
		"Typo":           {"a name that no field has", workspace, "instanceType", "instancetype"},
		"WrongType":      {"a list where a text belongs", workspace, "preset: phi-4", "preset: [phi-4]"},
		"BothTasks":      {"one task a Workspace", workspace, "inference: {preset: phi-4}", "inference: {preset: phi-4}\n  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {claim: b}}"},
		"NoTask":         {"no task at all", workspace, "  inference: {preset: phi-4}\n", ""},
		"TwoResources":   {"one source of nodes", workspace, "{instanceType: A100}", "{instanceType: A100, nodePool: a}"},
		"NoSpec":         {"ours has a spec", workspace, "spec:", "Spec:"},
		"Method":         {"the method is in lower case", tuning, "method: qlora", "method: QLoRA"},
		"NoPushSecret":   {"an image needs a credential", tuning, ", pushSecret: push", ""},
		"Name":           {"names make names of Services", workspace, "{name: a}", "{name: A_b}"},
		"Priority":       {"one of a list", workspace, "{instanceType: A100}", "{candidates: [{instanceType: A100, priority: spot}]}"},
		"KindMisspelt":   {"a kind of ours that is none", workspace, "kind: Workspace", "kind: WorkSpace"},
		"SpecWrapper":    {"KAITO's has no spec", served, "inference: {", "spec: {}\ninference: {"},
		"VolumeKey":      {"the most common one", tuned, "volumeSource", "volume"},
		"VolumeTypo":     {"a volume that is none", tuned, "persistentVolumeClaim", "persistantVolumeClaim"},
		"KAITOTypo":      {"a name that no field has", served, "preset:", "presets:"},
		"KAITOMethod":    {"KAITO renders it as something else", tuned, "method: qlora", "method: full"},
		"OtherVersion":   {"v1alpha1 has no access secret", strings.Replace(served, "{name: phi-4}", "{name: phi-4, presetOptions: {modelAccessSecret: a}}", 1), "v1beta1", "v1alpha1"},
		"AnnotationText": {"a value that has no meaning", served, "{name: a}", "{name: a, annotations: {kaito.sh/performance-mode: quick}}"},
	} {
		t.Run(name, func(t *testing.T) {
			if err := judge(t, s, []byte(c.text)); err != nil {
				t.Fatalf("the document before the mistake: %v", err)
			}
			broken := strings.Replace(c.text, c.from, c.to, 1)
			if broken == c.text {
				t.Fatalf("%q is not there", c.from)
			}
			if err := judge(t, s, []byte(broken)); err == nil {
				t.Errorf("%s: the schema accepts\n%s", c.reason, broken)
			}
			docs := repolayout.Split("f.yaml", []byte(broken))
			if _, findings := repolayout.Decode(docs[0].Text, docs[0]); !finding.Refused(findings) {
				t.Errorf("%s: the decoder accepts\n%s", c.reason, broken)
			}
		})
	}
}

// Other kinds pass: a folder of models holds ConfigMaps and kustomizations too.
func TestOtherKinds(t *testing.T) {
	s := compiled(t)
	for _, text := range []string{"apiVersion: v1\nkind: ConfigMap\ndata: {a: b}\n", "resources: [a]\n", "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\n"} {
		if err := judge(t, s, []byte(text)); err != nil {
			t.Errorf("%s%v", text, err)
		}
	}
}

// Every field of our schemas says what it is.
func TestDescriptions(t *testing.T) {
	c := compiled(t)
	if c == nil {
		t.Fatal("no schema")
	}
	err := fs.WalkDir(schema.Files, ".", func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || name == schema.All {
			return err
		}
		text, err := fs.ReadFile(schema.Files, name)
		if err != nil {
			return err
		}
		var s map[string]any
		if err := yaml.Unmarshal(text, &s); err != nil {
			return err
		}
		described(t, name, s)
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}

// foreignFields are those of Kubernetes' own types, which others describe.
var foreignFields = []string{"matchLabels", "matchExpressions", "claimName", "readOnly", "labels", "annotations"}

func described(t *testing.T, at string, s map[string]any) {
	t.Helper()
	properties, _ := s["properties"].(map[string]any)
	for name, p := range properties {
		field, ok := p.(map[string]any)
		if !ok {
			continue
		}
		foreign := false
		for _, f := range foreignFields {
			foreign = foreign || f == name
		}
		if field["description"] == nil && !foreign && !strings.Contains(at, "matchExpressions") {
			t.Errorf("%s.%s has no description", at, name)
		}
		described(t, at+"."+name, field)
	}
	if items, ok := s["items"].(map[string]any); ok {
		described(t, at+"[]", items)
	}
}

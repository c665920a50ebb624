// SPDX-License-Identifier: Apache-2.0

package build_test

import (
	"cmp"
	"maps"
	"os"
	"path"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"go.yaml.in/yaml/v3"
	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
)

// TestSample: the sample repository carries what is built in, so that kubectl and
// Flux build it as we do.
func TestSample(t *testing.T) {
	files, err := example.Files(example.Options{})
	if err != nil {
		t.Fatal(err)
	}
	type original struct {
		text []byte
		file string
	}
	copies := map[string]original{
		path.Join(repolayout.PathNames, repolayout.FileNames): {build.NameReferences(), "repo-layout/kustomize/names.yaml"},
	}
	for _, cluster := range []string{example.Staging, example.Production} {
		copies[path.Join(repolayout.PathRoot(cluster), repolayout.FileMergeKeys)] = original{build.MergeKeys(), "repo-layout/kustomize/merge-keys.yaml"}
	}
	for name, o := range copies {
		if files[name] != string(o.text) {
			t.Errorf("repo-layout/example/%s is not as %s: copy it there", name, o.file)
		}
	}
}

// lists are the fields on the way to a reference that hold lists.
var lists = map[string]bool{
	"adapters": true, "files": true, "sources": true, "pullSecrets": true, "imagePullSecrets": true, "dependsOn": true,
	"containers": true, "initContainers": true, "env": true, "envFrom": true, "volumes": true,
}

// namingFields are the ends of fields that name another object of the namespace.
var namingFields = regexp.MustCompile(`(Refs?/name|dependsOn/name|[sS]ecrets?|[cC]laim|config|configMap|lock|nodePool|queue|promote/to|authentication|serviceAccountName)$`)

// elsewhere are fields that name what no kustomization of ours holds.
var elsewhere = map[string]string{
	"spec/inference/route/parentRefs/name": "a Gateway is its owner's",
	"spec/karpenter/nodeClassRef/name":     "of a kind that its cloud has, for the whole cluster",
}

// TestEveryNamingField: a field of the API that names an object is in names.yaml.
func TestEveryNamingField(t *testing.T) {
	files, err := filepath.Glob("../../deploy/crd/*.yaml")
	if err != nil || len(files) == 0 {
		t.Fatalf("no CRDs: %v", err)
	}
	known := string(build.NameReferences())
	for _, file := range files {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := sigsyaml.Unmarshal(text, &crd); err != nil {
			t.Fatal(err)
		}
		for _, field := range texts(crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"], "spec") {
			if namingFields.MatchString(field) && elsewhere[field] == "" && !strings.Contains(known, "kind: "+crd.Spec.Names.Kind+", path: "+field+"}") {
				t.Errorf("%s of %s names an object, and repo-layout/kustomize/names.yaml does not have it", field, crd.Spec.Names.Kind)
			}
		}
	}
}

// texts are the paths of the texts of a schema, as Kustomize writes them.
func texts(s apiextensionsv1.JSONSchemaProps, at string) []string {
	if s.Items != nil {
		return texts(*s.Items.Schema, at)
	}
	if s.Type == "string" {
		return []string{at}
	}
	var all []string
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		all = append(all, texts(s.Properties[name], at+"/"+name)...)
	}
	return all
}

// TestEveryReference: each reference of names.yaml is followed, in each version of
// the kind, with a namePrefix on the object that it names.
func TestEveryReference(t *testing.T) {
	var config struct {
		NameReference []struct {
			Group, Version, Kind string
			FieldSpecs           []struct{ Group, Kind, Path string } `yaml:"fieldSpecs"`
		} `yaml:"nameReference"`
	}
	if err := yaml.Unmarshal(build.NameReferences(), &config); err != nil {
		t.Fatal(err)
	}
	versions := map[string][]string{"espalier.dev": {"v1alpha1"}, "kaito.sh": {"v1alpha1", "v1beta1"}}
	checked := 0
	for _, r := range config.NameReference {
		named := strings.Trim(r.Group+"/"+cmp.Or(r.Version, "v1alpha1"), "/")
		for _, spec := range r.FieldSpecs {
			for _, version := range versions[spec.Group] {
				checked++
				object := map[string]any{
					"apiVersion": spec.Group + "/" + version, "kind": spec.Kind, "metadata": map[string]any{"name": "w"},
				}
				maps.Copy(object, nested(strings.Split(spec.Path, "/")).(map[string]any))
				text, err := yaml.Marshal(object)
				if err != nil {
					t.Fatal(err)
				}
				units := buildTree(t, tree("-- kustomization.yaml --\nnamePrefix: p-\nresources: [w.yaml, named.yaml]\n-- w.yaml --\n"+string(text)+
					"-- named.yaml --\napiVersion: "+named+"\nkind: "+r.Kind+"\nmetadata: {name: x}\n"), ".", build.Limits{})
				if got := bytesOf(units); !strings.Contains(got, " p-x\n") || strings.Count(got, "p-x\n") != 2 {
					t.Errorf("%s of %s/%s %s does not follow the %s that it names:\n%s%s", spec.Path, spec.Group, version, spec.Kind, r.Kind, outline(units), got)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("names.yaml holds no reference")
	}
}

// nested is a document with x at the end of a path.
func nested(path []string) any {
	if len(path) == 0 {
		return "x"
	}
	value := nested(path[1:])
	if lists[path[0]] {
		value = []any{value}
	}
	return map[string]any{path[0]: value}
}

// SPDX-License-Identifier: Apache-2.0

package layouts

import (
	"path/filepath"
	"strings"
	"testing"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// kustomization is what is used of Flux's kind.
type kustomization struct {
	Metadata struct{ Namespace string } `json:"metadata"`
	Spec     struct {
		SourceRef struct{ Kind, Name string } `json:"sourceRef"`
		Path      string                      `json:"path"`
	} `json:"spec"`
}

// TestFluxFiles follows the files as Flux would: the one that is put into its
// folder names a source and a path of it, and what lies there is the RepoSync,
// which takes the same source, of its own namespace.
func TestFluxFiles(t *testing.T) {
	kubectl, _ := programs(t)
	files := inFolder("ml", sample(t, example.Options{Flux: true, Folder: "ml"}))
	root := written(t, files)
	for _, cluster := range []string{example.Staging, example.Production} {
		docs := strings.Split(files["ml/"+repolayout.PathFluxFile(cluster)], "\n---\n")
		if len(docs) != 3 || !strings.Contains(docs[0], "kind: Namespace\n") {
			t.Fatalf("%s: %d documents, want a Namespace, a GitRepository and a Kustomization", cluster, len(docs))
		}
		var source sourcev1.GitRepository
		if err := yaml.UnmarshalStrict([]byte(docs[1]), &source); err != nil {
			t.Fatal(err)
		}
		var applied kustomization
		if err := yaml.Unmarshal([]byte(docs[2]), &applied); err != nil {
			t.Fatal(err)
		}
		built := run(t, filepath.Join(root, applied.Spec.Path), "", kubectl, "kustomize", ".")
		var sync v1alpha1.RepoSync
		if err := yaml.UnmarshalStrict([]byte(built), &sync); err != nil {
			t.Fatalf("%s builds to more than a RepoSync: %v\n%s", applied.Spec.Path, err, built)
		}
		ref := sync.Spec.Source.Ref
		switch {
		case sync.Kind != v1alpha1.RepoSyncKind, ref == nil:
			t.Errorf("%s: want a RepoSync with source.ref:\n%s", cluster, built)
		case string(ref.Kind) != source.Kind, ref.Name != source.Name, sync.Namespace != source.Namespace:
			t.Errorf("%s: the RepoSync of %s takes %s %s, Flux has %s %s/%s", cluster, sync.Namespace, ref.Kind, ref.Name, source.Kind, source.Namespace, source.Name)
		case applied.Spec.SourceRef.Name != source.Name, applied.Metadata.Namespace != source.Namespace:
			t.Errorf("%s: the Kustomization takes another source: %+v", cluster, applied)
		case sync.Spec.Report.Commit.URL != source.Spec.URL:
			t.Errorf("%s: it reports to %s, and reads %s", cluster, sync.Spec.Report.Commit.URL, source.Spec.URL)
		}
		if want := "ml/" + repolayout.PathRoot(cluster); sync.Spec.Path != want {
			t.Errorf("%s: path %q, want %q", cluster, sync.Spec.Path, want)
		}
	}
}

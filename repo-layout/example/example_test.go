// SPDX-License-Identifier: Apache-2.0

package example_test

import (
	"path"
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func files(t *testing.T, o example.Options) map[string]string {
	t.Helper()
	files, err := example.Files(o)
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// Every document below models is what a team copies, so every one is valid to
// the last warning. What overlays make of them is test/layouts'.
func TestDocuments(t *testing.T) {
	kinds := map[string]int{}
	for name, text := range files(t, example.Options{}) {
		if !strings.HasPrefix(name, repolayout.PathModels+"/") || path.Base(name) != repolayout.FileWorkspace {
			continue
		}
		for _, doc := range repolayout.Split(name, []byte(text)) {
			decoded, findings := repolayout.Decode(doc.Text, doc)
			for _, f := range findings {
				t.Errorf("%s:%d: %s: %s (%s)", f.File, f.Line, f.Severity, f.Message, f.Code)
			}
			switch w := decoded.Workspace; {
			case w == nil:
				t.Errorf("%s holds no Workspace", name)
			case w.Spec.Tuning != nil:
				kinds["tuning"]++
			default:
				kinds["inference"]++
			}
		}
	}
	if kinds["tuning"] != 1 || kinds["inference"] != 2 {
		t.Errorf("the sample holds %v, want a tuning Workspace, a model that is served and a pod of one's own", kinds)
	}
}

// A RepoSync is no document under its own path, and strict all the same.
func TestSyncs(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		options example.Options
		path    string // of staging
	}{
		"Root":   {"A repository of its own.", example.Options{}, "clusters/staging/workspaces"},
		"Flux":   {"Flux fetches it, and the address to report to is said.", example.Options{Flux: true}, "clusters/staging/workspaces"},
		"Folder": {"A path counts from the root of the repository.", example.Options{Folder: "ml/gpu"}, "ml/gpu/clusters/staging/workspaces"},
		"Both":   {"Likewise.", example.Options{Flux: true, Folder: "ml"}, "ml/clusters/staging/workspaces"},
	} {
		t.Run(name, func(t *testing.T) {
			files := files(t, tc.options)
			staging := syncOf(t, files, example.Staging)
			if staging.Spec.Path != tc.path {
				t.Errorf("%s: path is %q, want %q", tc.reason, staging.Spec.Path, tc.path)
			}
			if got := staging.Spec.Substitutions["Standard_NC6s_v3"]; got != "Standard_NC4as_T4_v3" {
				t.Errorf("Standard_NC6s_v3 is moved to %q", got)
			}
			syncOf(t, files, example.Production)
		})
	}
}

func syncOf(t *testing.T, files map[string]string, cluster string) *v1alpha1.RepoSync {
	t.Helper()
	name := repolayout.PathSync(cluster)
	docs := repolayout.Split(name, []byte(files[name]))
	if len(docs) != 1 {
		t.Fatalf("%s holds %d documents", name, len(docs))
	}
	sync, findings := repolayout.DecodeSync(docs[0].Text, docs[0])
	if sync == nil || len(findings) > 0 {
		t.Fatalf("%s: %v", name, findings)
	}
	if !strings.HasSuffix(sync.Spec.Path, repolayout.PathRoot(cluster)) {
		t.Errorf("%s follows %q, want %q", name, sync.Spec.Path, repolayout.PathRoot(cluster))
	}
	if sync.Spec.Report == nil || sync.Spec.Report.Commit == nil {
		t.Errorf("%s reports nowhere", name)
	}
	return sync
}

// TestFolder: a name that YAML or a shell would read otherwise is refused.
func TestFolder(t *testing.T) {
	for _, folder := range []string{"..", "../x", "/x", "a b", "a:b", "-x", "a/./b c", "x\n"} {
		if _, err := example.Files(example.Options{Folder: folder}); err == nil {
			t.Errorf("folder %q is taken", folder)
		}
	}
}

// TestCloneAddress: with every variant, the address to be replaced stands in the files
// that say so, and nowhere else.
func TestCloneAddress(t *testing.T) {
	for _, flux := range []bool{false, true} {
		for name, text := range files(t, example.Options{Flux: flux}) {
			dir := path.Dir(name)
			want := path.Base(name) == path.Base(repolayout.PathSync("c")) || dir == repolayout.PathFlux
			if got := strings.Contains(text, example.CloneAddress); got != want {
				t.Errorf("%s (flux %v): holds the clone address: %v, want %v", name, flux, got, want)
			}
		}
	}
}

// TestLayout: the sample lies where the layout says.
func TestLayout(t *testing.T) {
	all := map[string]bool{}
	for _, forge := range example.Forges() {
		for name := range files(t, example.Options{Forge: forge, Flux: true}) {
			all[name] = true
		}
	}
	for _, want := range []string{
		repolayout.PathNames + "/" + repolayout.FileNames, repolayout.PathCIScript, repolayout.PathCIGet,
		repolayout.PathGitHubOwners, repolayout.PathGitHubWorkflow, repolayout.PathGitLabOwners, repolayout.PathGitLabWorkflow,
		repolayout.PathGiteaOwners, repolayout.PathGiteaWorkflow, repolayout.PathAzureWorkflow, repolayout.PathBitbucketWorkflow,
		repolayout.PathSync(example.Staging), repolayout.PathFluxFile(example.Staging),
		repolayout.PathRoot(example.Production) + "/" + repolayout.FileKustomization,
		repolayout.PathRoot(example.Production) + "/" + repolayout.FileMergeKeys,
	} {
		if !all[want] {
			t.Errorf("the sample has no %s", want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package test holds what is true of the whole tree: who may import whom, and
// why. The table is section 4 of docs/design; a paragraph in CONTRIBUTING would
// not notice when it stops being true.
package test

import (
	"errors"
	"go/build"
	"io/fs"
	"os"
	"path"
	"path/filepath"
	"slices"
	"strings"
	"testing"
)

const module = "github.com/espalier-dev/espalier"

// layers are the top-level folders from the bottom up, with the folders that
// each may import beside itself.
var layers = []struct {
	folder string
	may    []string
	why    string
}{
	{"repo-layout", nil, "the contract of the repository is what everybody else imports"},
	{"gpu", []string{"repo-layout"}, "catalogue, arithmetic and node pools know nothing of models, rendering or Git"},
	{"presets", []string{"repo-layout", "gpu"}, "what is known of models and runtimes is data"},
	{"render", []string{"repo-layout", "gpu", "presets"}, "the controller calls rendering, and the command line calls it without a controller"},
	{"reconciler", []string{"repo-layout", "gpu", "presets", "render"}, "the product runs without its command line and its tests"},
	{"cmd", []string{"repo-layout", "gpu", "presets", "render", "reconciler", "deploy"}, "the product holds no code of its tests"},
	{"deploy", nil, "manifests that Go embeds need nothing of ours"},
	{"test", []string{"repo-layout", "gpu", "presets", "render", "reconciler", "cmd", "deploy"}, "tests may use everything"},
}

// never lists what a set of packages must not import, neither themselves nor
// through others of ours, and what breaks when they do. A name stands for the
// package and everything below it.
var never = []struct {
	packages []string
	imports  []string
	why      string
}{
	{
		packages: []string{"repo-layout", "gpu/sku", "gpu/fit", "gpu/price", "gpu/quota", "presets", "render"},
		imports:  []string{"net/http", "os/exec", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "math/rand"},
		why:      "facts in, verdict out: the same answer offline, in a pull request and in the cluster",
	},
	{
		packages: []string{"gpu/pool"},
		imports:  []string{"net/http", "k8s.io/client-go", "sigs.k8s.io/controller-runtime"},
		why:      "what becomes of a node pool is decided in a pure function over what was observed",
	},
	{
		packages: []string{"reconciler/plan", "reconciler/inventory"},
		imports:  []string{"net/http", "os/exec", "k8s.io/client-go", "sigs.k8s.io/controller-runtime", "math/rand", module + "/reconciler/git"},
		why:      "the plan is a pure function of two revisions: the same in a terminal, a pipeline and a controller",
	},
	{
		packages: []string{"repo-layout", "gpu", "presets", "render", "reconciler"},
		imports:  []string{"os/exec"},
		why:      "nothing that comes from a repository may reach a shell",
	},
	{
		packages: []string{
			"reconciler/source", "reconciler/git", "reconciler/forge", "reconciler/hook", "reconciler/apply", "reconciler/plan",
			"reconciler/account", "reconciler/cosign", "reconciler/identity", "reconciler/inventory", "reconciler/jitter", "reconciler/keyvault", "reconciler/lease", "reconciler/markdown", "reconciler/registry", "reconciler/remote", "reconciler/report", "reconciler/slim", "reconciler/fault", "reconciler/condition",
		},
		imports: []string{
			module + "/reconciler/reposync", module + "/reconciler/workspace",
			module + "/reconciler/nodepool", module + "/reconciler/review",
		},
		why: "what controllers share must not know them",
	},
	{
		packages: []string{"reconciler/review"},
		imports:  []string{module + "/reconciler/remote"},
		why:      "the process with the forge's token holds no kubeconfig: of another cluster it knows what the status of a RepoSync tells",
	},
	{
		packages: []string{"reconciler/spoke"},
		imports:  []string{module + "/reconciler/review", module + "/reconciler/reposync", module + "/reconciler/remote"},
		why:      "one controller writes what the other reads, and it is of neither",
	},
}

// only lists libraries whose types must not leak: of the product, these
// packages alone import them.
var only = []struct {
	imports  string
	packages []string
	why      string
}{
	{"github.com/go-git/go-git", []string{"reconciler/git", "reconciler/source", "reconciler/report"}, "one place speaks Git, and another library can take its place"},
	{"code.gitea.io/sdk/gitea", []string{"reconciler/forge"}, "one place speaks to forges, in small interfaces of our own"},
	{"github.com/google/go-github", []string{"reconciler/forge"}, "one place speaks to forges, in small interfaces of our own"},
	{"gitlab.com/gitlab-org", []string{"reconciler/forge"}, "one place speaks to forges, in small interfaces of our own"},
	{"github.com/Azure/azure-sdk-for-go", []string{"gpu/aks", "reconciler/identity", "reconciler/keyvault", "reconciler/remote", "cmd/espalier"}, "a cloud is a provider among others"},
	{"sigs.k8s.io/kustomize/api", []string{"render"}, "one place refuses what Kustomize would fetch or execute"},
	{"github.com/fluxcd/pkg/ssa", []string{"reconciler/apply"}, "its Apply forces; one place sees to it that we do not"},
}

// noName lists package names that say nothing.
var noName = []string{"util", "utils", "common", "helper", "helpers", "types", "consts", "misc", "base"}

func TestImports(t *testing.T) {
	tree := readTree(t)
	for pkg, imports := range tree {
		checkLayer(t, pkg, imports)
		checkOnly(t, pkg, imports)
		if slices.Contains(noName, path.Base(pkg)) {
			t.Errorf("package %s: name it after what it holds", pkg)
		}
	}
	for _, rule := range never {
		for pkg := range tree {
			if !within(pkg, rule.packages) {
				continue
			}
			for _, bad := range rule.imports {
				if chain := tree.reaches(pkg, bad, nil); chain != nil {
					t.Errorf("%s: %s", strings.Join(chain, " imports "), rule.why)
				}
			}
		}
	}
}

// TestReaches: the chain is found through others of ours, and a name is not
// taken for another that begins with it.
func TestReaches(t *testing.T) {
	of := tree{
		"a": {"fmt", module + "/b"},
		"b": {module + "/c", module + "/a"},
		"c": {"net/http/httptest", "osx"},
	}
	if got := strings.Join(of.reaches("a", "net/http", nil), " "); got != "a b c net/http/httptest" {
		t.Errorf("the chain to net/http: got %q", got)
	}
	if got := of.reaches("a", "os", nil); got != nil {
		t.Errorf("osx is not os: got %q", got)
	}
}

func checkLayer(t *testing.T, pkg string, imports []string) {
	t.Helper()
	top, _, _ := strings.Cut(pkg, "/")
	for _, layer := range layers {
		if layer.folder != top {
			continue
		}
		for _, imported := range imports {
			own, isOurs := strings.CutPrefix(imported, module+"/")
			if isOurs && !within(own, append(layer.may, top)) {
				t.Errorf("%s imports %s: %s", pkg, own, layer.why)
			}
		}
		return
	}
	t.Errorf("package %s is in none of the folders of the design", pkg)
}

func checkOnly(t *testing.T, pkg string, imports []string) {
	t.Helper()
	for _, rule := range only {
		if within(pkg, append(rule.packages, "test")) {
			continue
		}
		for _, imported := range imports {
			if below(imported, rule.imports) {
				t.Errorf("%s imports %s, which is for %s: %s", pkg, imported, strings.Join(rule.packages, ", "), rule.why)
			}
		}
	}
}

// tree maps each package, relative to the module, to its imports.
type tree map[string][]string

// readTree reads the imports of every package, tests left out. It reads the
// files itself rather than asking `go list`: what a child process reads is not
// seen by the cache of test results, which would then serve a stale pass.
func readTree(t *testing.T) tree {
	t.Helper()
	found := tree{}
	root := ".."
	err := filepath.WalkDir(root, func(dir string, entry fs.DirEntry, err error) error {
		if err != nil || !entry.IsDir() || dir == root {
			return err
		}
		name := entry.Name()
		if strings.HasPrefix(name, ".") || name == "testdata" || name == "bin" || otherModule(dir) {
			return filepath.SkipDir
		}
		pkg, err := build.ImportDir(dir, 0)
		var none *build.NoGoError
		if errors.As(err, &none) {
			return nil
		}
		relative, _ := filepath.Rel(root, dir)
		found[filepath.ToSlash(relative)] = pkg.Imports
		return err
	})
	if err != nil {
		t.Fatalf("reading the tree: %v", err)
	}
	if len(found) < len(layers) {
		t.Fatalf("only %d packages found", len(found))
	}
	return found
}

func otherModule(dir string) bool {
	_, err := os.Stat(filepath.Join(dir, "go.mod"))
	return err == nil
}

// reaches returns the chain of imports from pkg to bad, nil when there is none.
func (tr tree) reaches(pkg, bad string, seen []string) []string {
	for _, imported := range tr[pkg] {
		if below(imported, bad) {
			return []string{pkg, imported}
		}
	}
	for _, imported := range tr[pkg] {
		own, isOurs := strings.CutPrefix(imported, module+"/")
		if !isOurs || slices.Contains(seen, own) {
			continue
		}
		if chain := tr.reaches(own, bad, append(seen, pkg)); chain != nil {
			return append([]string{pkg}, chain...)
		}
	}
	return nil
}

// within says whether pkg is one of the packages or below one.
func within(pkg string, packages []string) bool {
	return slices.ContainsFunc(packages, func(p string) bool { return below(pkg, p) })
}

func below(pkg, root string) bool {
	return pkg == root || strings.HasPrefix(pkg, root+"/")
}

// SPDX-License-Identifier: Apache-2.0

package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// layoutNames are what repo-layout/layout.go says, as the page writes it.
var layoutNames = map[string]string{
	"PathModels": repolayout.PathModels, "PathComponents": repolayout.PathComponents, "PathNames": repolayout.PathNames,
	"PathClusters": repolayout.PathClusters, "PathSync": repolayout.PathSync("<cluster>"), "PathRoot": repolayout.PathRoot("<cluster>"),
	"PathFlux": repolayout.PathFlux, "PathFluxFile": repolayout.PathFluxFile("<cluster>"),
	"PathCI": repolayout.PathCI, "PathCIScript": repolayout.PathCIScript, "PathCIGet": repolayout.PathCIGet,
	"FileWorkspace": repolayout.FileWorkspace, "FileKustomization": repolayout.FileKustomization,
	"FileNames": repolayout.FileNames, "FileMergeKeys": repolayout.FileMergeKeys, "LockFile": repolayout.LockFile,
	"PathGitHubOwners": repolayout.PathGitHubOwners, "PathGitHubWorkflow": repolayout.PathGitHubWorkflow,
	"PathGitLabOwners": repolayout.PathGitLabOwners, "PathGitLabWorkflow": repolayout.PathGitLabWorkflow,
	"PathGiteaOwners": repolayout.PathGiteaOwners, "PathGiteaWorkflow": repolayout.PathGiteaWorkflow,
	"PathAzureWorkflow": repolayout.PathAzureWorkflow, "PathBitbucketWorkflow": repolayout.PathBitbucketWorkflow,
	"BranchDefault": repolayout.BranchDefault,
	"StatusBranch":  repolayout.StatusBranch("<cluster>", "<namespace>", "<reposync>"),
	"StatusReadme":  repolayout.StatusReadme, "StatusOwnerFile": repolayout.StatusOwnerFile,
	"PromotionBranch":    repolayout.PromotionBranch("<cluster>", "<namespace>", "<workspace>", "<12 digits>"),
	"PromotingElsewhere": repolayout.PromotingElsewhere("<namespace>", "<reposync>", "<namespace>"),
	"StatusFile":         repolayout.StatusFile("<namespace>", "<workspace>"), "StatusBadge": repolayout.StatusBadge("<namespace>", "<workspace>"),
}

var layoutRow = regexp.MustCompile("(?m)^\\| `(\\w+)` \\| `([^`]+)` \\|")

// TestLayoutTable: the table of docs/layouts.md has every path, branch and file
// name that repo-layout/layout.go defines, as it is there.
func TestLayoutTable(t *testing.T) {
	documented := map[string]string{}
	for _, m := range layoutRow.FindAllStringSubmatch(pages(t)["docs/layouts.md"], -1) {
		documented[m[1]] = m[2]
	}
	if diff := cmp.Diff(layoutNames, documented); diff != "" {
		t.Errorf("the table of docs/layouts.md differs from repo-layout/layout.go (-code +page):\n%s", diff)
	}
	for _, name := range layoutDefinitions(t) {
		if name == "PromotionBranches" { // how they begin
			continue
		}
		if _, ok := layoutNames[name]; !ok {
			t.Errorf("repo-layout/layout.go defines %s: add it to layoutNames, and to the table of docs/layouts.md", name)
		}
	}
}

// layoutDefinitions are the exported constants and functions of layout.go that
// name a path, a file or a branch.
func layoutDefinitions(t *testing.T) []string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, "repo-layout/layout.go"), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	var names []string
	add := func(name string) {
		for _, prefix := range []string{"Path", "File", "Branch", "Status", "Promotion", "Ref", "LockFile"} {
			if strings.HasPrefix(name, prefix) {
				names = append(names, name)
			}
		}
	}
	for _, d := range parsed.Decls {
		switch d := d.(type) {
		case *ast.FuncDecl:
			add(d.Name.Name)
		case *ast.GenDecl:
			for _, spec := range d.Specs {
				if v, ok := spec.(*ast.ValueSpec); ok {
					for _, n := range v.Names {
						add(n.Name)
					}
				}
			}
		}
	}
	return names
}

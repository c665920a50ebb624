// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"flag"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.yaml.in/yaml/v3"
	"golang.org/x/tools/txtar"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
)

var update = flag.Bool("update", false, "write testdata/init and what the scripts compare")

// initialised runs `espalier init` and returns what it wrote, by path.
func initialised(t *testing.T, folder string, flags ...string) map[string]string {
	t.Helper()
	root := t.TempDir()
	if folder != "." {
		if err := os.Mkdir(filepath.Join(root, ".git"), 0o755); err != nil {
			t.Fatal(err)
		}
	}
	dir := filepath.Join(root, folder)
	var out, talk bytes.Buffer
	if code := run(t.Context(), append([]string{"init", dir}, flags...), strings.NewReader(""), &out, &talk); code != 0 {
		t.Fatalf("espalier init ends with %d: %s", code, talk.String())
	}
	files := map[string]string{}
	err := filepath.WalkDir(dir, func(name string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		rel, err := filepath.Rel(dir, name)
		if err != nil {
			return err
		}
		text, err := os.ReadFile(name)
		files[filepath.ToSlash(rel)] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	if got, want := len(strings.Fields(out.String())), len(files); got != want {
		t.Errorf("%d files are named and %d written", got, want)
	}
	return files
}

// TestInitTree compares what init writes with testdata/init: none.txtar is whole,
// the others hold what differs from it. -update writes them.
func TestInitTree(t *testing.T) {
	plain := initialised(t, ".")
	for name, tc := range map[string]struct {
		reason string
		folder string
		flags  []string
	}{
		"none":        {"No forge, no Flux.", ".", []string{"--forge", "none"}},
		"github":      {"Code owners, a workflow, and what to set.", ".", []string{"--forge", "github"}},
		"gitlab":      {"Likewise.", ".", []string{"--forge", "gitlab"}},
		"gitea":       {"Likewise.", ".", []string{"--forge", "gitea"}},
		"azuredevops": {"A pipeline; code owners are policies there.", ".", []string{"--forge", "azuredevops"}},
		"bitbucket":   {"A pipeline; reviewers are settings there.", ".", []string{"--forge", "bitbucket"}},
		"flux":        {"Flux fetches and applies the RepoSyncs.", ".", []string{"--flux"}},
		"flux-folder": {"In a folder, paths count from the root.", "ml", []string{"--flux"}},
		"github-flux": {"Both.", ".", []string{"--forge", "github", "--flux"}},
	} {
		t.Run(name, func(t *testing.T) {
			files := initialised(t, tc.folder, tc.flags...)
			golden := filepath.Join("testdata", "init", name+".txtar")
			got := treeOf(tc.reason, files, plain, name == "none")
			if *update {
				if err := os.WriteFile(golden, got, 0o644); err != nil {
					t.Fatal(err)
				}
				return
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), string(got)); diff != "" {
				t.Errorf("%s is not as written (-want +got), run with -update when it should be:\n%s", golden, diff)
			}
		})
	}
}

// treeOf is an archive of files: all, or those that differ from the plain ones.
func treeOf(reason string, files, plain map[string]string, whole bool) []byte {
	names := map[string]bool{}
	for _, tree := range []map[string]string{files, plain} {
		for name := range tree {
			names[name] = true
		}
	}
	archive := txtar.Archive{Comment: []byte(reason + "\n")}
	for name := range names {
		text, there := files[name]
		switch {
		case !there:
			archive.Comment = append(archive.Comment, "without "+name+"\n"...)
		case whole || text != plain[name]:
			archive.Files = append(archive.Files, txtar.File{Name: name, Data: []byte(text)})
		}
	}
	slices.SortFunc(archive.Files, func(a, b txtar.File) int { return strings.Compare(a.Name, b.Name) })
	return txtar.Format(&archive)
}

var (
	pinned     = regexp.MustCompile(`^[a-z0-9-]+/[a-z0-9-]+@[0-9a-f]{40}$`)
	expression = regexp.MustCompile(`\$\{\{`)
)

// TestWorkflows reads each workflow as its forge would: it is YAML, its shell is
// shell, its actions are pinned, and it has no right that it does not need.
func TestWorkflows(t *testing.T) {
	for forge, file := range map[example.Forge]string{
		example.GitHub: repolayout.PathGitHubWorkflow, example.GitLab: repolayout.PathGitLabWorkflow,
		example.Gitea: repolayout.PathGiteaWorkflow, example.AzureDevOps: repolayout.PathAzureWorkflow, example.Bitbucket: repolayout.PathBitbucketWorkflow,
	} {
		t.Run(string(forge), func(t *testing.T) {
			files := initialised(t, ".", "--forge", string(forge))
			var workflow map[string]any
			if err := yaml.Unmarshal([]byte(files[file]), &workflow); err != nil {
				t.Fatalf("%s: %v", file, err)
			}
			shell := 0
			visit(workflow, func(key, text string) {
				switch key {
				case "run", "bash", "script":
					shell++
					checkShell(t, file, text)
					if expression.MatchString(text) {
						t.Errorf("%s puts an expression into a script, where it is code: %s", file, text)
					}
				case "uses":
					if !pinned.MatchString(text) {
						t.Errorf("%s: action %s is not pinned by commit", file, text)
					}
				}
			})
			if shell < 2 {
				t.Errorf("%s has %d scripts, want one that gets espalier and one that runs it", file, shell)
			}
			for _, need := range []string{"pull_request_target", "secrets.", ": write", "write-all"} {
				if strings.Contains(files[file], need) {
					t.Errorf("%s needs no %q", file, need)
				}
			}
			if forge == example.GitHub || forge == example.Gitea {
				if diff := cmp.Diff(map[string]any{"contents": "read"}, workflow["permissions"]); diff != "" {
					t.Errorf("%s: permissions: %s", file, diff)
				}
			}
			for name, text := range files {
				if strings.HasSuffix(name, ".sh") {
					checkShell(t, name, text)
				}
			}
			for _, wanted := range []string{repolayout.PathCIGet, repolayout.PathCIScript, "BASE", "HEAD", "ESPALIER_COMMIT"} {
				if !strings.Contains(files[file], wanted) {
					t.Errorf("%s does not mention %s", file, wanted)
				}
			}
		})
	}
}

// visit calls a function for every text of a document, with the key it is under.
func visit(node any, call func(key, text string)) {
	switch n := node.(type) {
	case map[string]any:
		for key, value := range n {
			visitUnder(key, value, call)
		}
	case []any:
		for _, item := range n {
			visit(item, call)
		}
	}
}

func visitUnder(key string, value any, call func(key, text string)) {
	switch v := value.(type) {
	case string:
		call(key, v)
	case []any:
		for _, item := range v {
			visitUnder(key, item, call)
		}
	default:
		visit(v, call)
	}
}

func checkShell(t *testing.T, name, text string) {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "bash", "-n")
	cmd.Stdin = strings.NewReader(text)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Errorf("%s: %v: %s\n%s", name, err, out, text)
	}
}

// TestInitUndoesItself: what cannot be written whole is not written.
func TestInitUndoesItself(t *testing.T) {
	dir := filepath.Join(t.TempDir(), "new")
	err := writeAll(dir, []string{"a/b/c", "a/d", "a/d/e"}, map[string]string{})
	if err == nil {
		t.Fatal("a folder in the place of a file was written")
	}
	if _, err := os.Stat(dir); !os.IsNotExist(err) {
		t.Errorf("something is left: %v", err)
	}
}

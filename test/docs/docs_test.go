// SPDX-License-Identifier: Apache-2.0

// Package docs holds the documents to what they speak of: links lead somewhere,
// commands exist, and the troubleshooting page has every reason there is.
package docs

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const root = "../.."

// pages are the Markdown files of the tree, by path from its root.
func pages(t *testing.T) map[string]string {
	t.Helper()
	found := map[string]string{}
	err := filepath.WalkDir(root, func(path string, d fs.DirEntry, err error) error {
		name := d.Name()
		if err != nil || (d.IsDir() && (name == "testdata" || name == "bin" || (name != ".." && strings.HasPrefix(name, ".")))) {
			if err == nil {
				err = fs.SkipDir
			}
			return err
		}
		if filepath.Ext(name) == ".md" {
			text, err := os.ReadFile(path)
			if err != nil {
				return err
			}
			found[strings.TrimPrefix(path, root+"/")] = string(text)
		}
		return nil
	})
	if err != nil || len(found) == 0 {
		t.Fatalf("finding pages: %d (%v)", len(found), err)
	}
	return found
}

var link = regexp.MustCompile(`\]\(([^)\s]+)\)`)

func TestLinks(t *testing.T) {
	all := pages(t)
	for page, text := range all {
		for _, m := range link.FindAllStringSubmatch(text, -1) {
			if strings.Contains(m[1], "://") {
				continue
			}
			file, anchor, _ := strings.Cut(m[1], "#")
			target := filepath.Join(filepath.Dir(page), file)
			if file == "" {
				target = page
			}
			if _, err := os.Stat(filepath.Join(root, target)); err != nil {
				t.Errorf("%s: link to %s: no such file", page, m[1])
				continue
			}
			if anchor != "" && !hasHeading(all[target], anchor) {
				t.Errorf("%s: link to %s: no such heading", page, m[1])
			}
		}
	}
}

// hasHeading compares as forges make anchors: lower case, dashes for spaces.
func hasHeading(text, anchor string) bool {
	for line := range strings.Lines(text) {
		heading, ok := strings.CutPrefix(strings.TrimLeft(line, "#"), " ")
		if !ok || !strings.HasPrefix(line, "#") {
			continue
		}
		made := strings.Map(func(r rune) rune {
			switch {
			case r == ' ':
				return '-'
			case strings.ContainsRune(".,:?`'", r):
				return -1
			}
			return r
		}, strings.ToLower(strings.TrimSpace(heading)))
		if made == anchor {
			return true
		}
	}
	return false
}

var makeTarget = regexp.MustCompile("(?m)(?:^ {4}|`)make ([a-z][a-z0-9-]*)")

func TestMakeTargets(t *testing.T) {
	makefile, err := os.ReadFile(filepath.Join(root, "Makefile"))
	if err != nil {
		t.Fatal(err)
	}
	for page, text := range pages(t) {
		for _, m := range makeTarget.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(string(makefile), "\n"+m[1]+":") {
				t.Errorf("%s: make %s: no such target", page, m[1])
			}
		}
	}
}

// ofFlux are documents that Flux decodes.
var ofFlux = regexp.MustCompile(`^apiVersion: [a-z]+\.toolkit\.fluxcd\.io/`)

var yamlBlock = regexp.MustCompile("(?ms)^```yaml\n(.*?)^```")

// TestDocuments: what a page shows whole decodes without an error.
func TestDocuments(t *testing.T) {
	checked := 0
	for page, text := range pages(t) {
		for _, m := range yamlBlock.FindAllStringSubmatch(text, -1) {
			if !strings.Contains(m[1], "\nkind: ") || ofFlux.MatchString(m[1]) {
				continue
			}
			checked++
			for _, f := range decode(page, []byte(m[1])) {
				if f.Severity == "error" {
					t.Errorf("%s: the document with %q: %s (%s)", page, strings.SplitN(m[1], "\n", 4)[:3], f.Message, f.Code)
				}
			}
		}
	}
	if checked == 0 {
		t.Error("no page shows a document")
	}
}

// decode decodes what people commit, and the RepoSync that they apply.
func decode(page string, doc []byte) []v1alpha1.Finding {
	position := repolayout.FilePosition(page, doc, "", "")
	if strings.Contains(string(doc), "\nkind: RepoSync\n") {
		_, findings := repolayout.DecodeSync(doc, position)
		return findings
	}
	_, findings := repolayout.Decode(doc, position)
	return findings
}

// TestReasons: a person who sees a reason finds it on the page.
func TestReasons(t *testing.T) {
	page := pages(t)["docs/troubleshooting.md"]
	for _, source := range []string{
		"repo-layout/v1alpha1/conditions.go", "gpu/pool/decide.go", "gpu/pool/failure.go", "reconciler/git/errors.go",
	} {
		reasons := constants(t, source, "Reason", "Class")
		if len(reasons) == 0 {
			t.Errorf("%s has no reason: where have they gone?", source)
		}
		for name, value := range reasons {
			if !strings.Contains(page, "`"+value+"`") {
				t.Errorf("docs/troubleshooting.md does not say what to do about %s (%s in %s)", value, name, source)
			}
		}
	}
}

// constants are the string constants of a file whose names begin with a prefix.
func constants(t *testing.T, file string, prefixes ...string) map[string]string {
	t.Helper()
	parsed, err := parser.ParseFile(token.NewFileSet(), filepath.Join(root, file), nil, 0)
	if err != nil {
		t.Fatal(err)
	}
	found := map[string]string{}
	ast.Inspect(parsed, func(n ast.Node) bool {
		spec, ok := n.(*ast.ValueSpec)
		if !ok || len(spec.Names) != 1 || len(spec.Values) != 1 {
			return true
		}
		literal, ok := spec.Values[0].(*ast.BasicLit)
		if !ok || literal.Kind != token.STRING {
			return true
		}
		value, err := strconv.Unquote(literal.Value)
		if err != nil {
			t.Fatal(err)
		}
		for _, p := range prefixes {
			if strings.HasPrefix(spec.Names[0].Name, p) {
				found[spec.Names[0].Name] = value
			}
		}
		return true
	})
	return found
}

var undescribed = regexp.MustCompile("(?m)^\\| \\*{0,2}`([^`]+)`\\*{0,2} \\|[^|]*\\|[^|]*\\|\\s*\\|$")

// TestFieldsDescribed: every field of our kinds, of status too, says what it is.
func TestFieldsDescribed(t *testing.T) {
	page := pages(t)["docs/fields.md"]
	if !strings.Contains(page, "| `inference.preset` |") {
		t.Fatal("docs/fields.md has no row for inference.preset")
	}
	for _, m := range undescribed.FindAllStringSubmatch(page, -1) {
		t.Errorf("docs/fields.md: %s has no description: give it a comment of its own in repo-layout/v1alpha1, then make generate", m[1])
	}
}

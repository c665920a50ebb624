// SPDX-License-Identifier: Apache-2.0

package test

import (
	"go/ast"
	"go/parser"
	"go/token"
	"io/fs"
	"path/filepath"
	"strconv"
	"strings"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// coded are the packages whose constants with a text of their own name are
// codes of findings.
var coded = []string{"repo-layout", "repo-layout/finding", "repo-layout/kaito", "render/build", "render/check", "render/settings", "render/desired"}

// Every code has one rule, which docs/findings.md and SARIF show, and every rule
// a code.
func TestFindingCodes(t *testing.T) {
	codes := map[string]string{}
	for _, pkg := range coded {
		constants(t, filepath.Join("..", pkg), codes)
	}
	for code, file := range codes {
		if _, known := finding.RuleOf(code); !known {
			t.Errorf("%s: code %s has no rule in repo-layout/finding: say what it means and what to do, then make generate", file, code)
		}
	}
	seen := map[string]bool{}
	for _, r := range finding.Rules() {
		if seen[r.Code] {
			t.Errorf("code %s has two rules", r.Code)
		}
		seen[r.Code] = true
		if codes[r.Code] == "" {
			t.Errorf("rule %s has no code in Go: remove it", r.Code)
		}
		if !strings.HasSuffix(r.Meaning, ".") || !strings.HasSuffix(r.Remedy, ".") || r.Group == "" {
			t.Errorf("rule %s is not whole: %+v", r.Code, r)
		}
		if r.Severity != finding.Error && r.Severity != finding.Warning && r.Severity != finding.Either {
			t.Errorf("rule %s has severity %q", r.Code, r.Severity)
		}
	}
	if len(codes) < 80 {
		t.Errorf("only %d codes were found: the search is broken", len(codes))
	}
}

// constants collects the constants of a folder whose value is their own name.
func constants(t *testing.T, folder string, into map[string]string) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(folder, "*.go"))
	if err != nil || len(files) == 0 {
		t.Fatalf("%s: %v", folder, err)
	}
	for _, file := range files {
		if strings.HasSuffix(file, "_test.go") {
			continue
		}
		parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
		if err != nil {
			t.Fatal(err)
		}
		ast.Inspect(parsed, func(n ast.Node) bool {
			spec, ok := n.(*ast.ValueSpec)
			if !ok {
				return true
			}
			for i, name := range spec.Names {
				if i < len(spec.Values) && text(spec.Values[i]) == name.Name && ast.IsExported(name.Name) {
					into[name.Name] = file
				}
			}
			return true
		})
	}
}

func text(e ast.Expr) string {
	literal, ok := e.(*ast.BasicLit)
	if !ok || literal.Kind != token.STRING {
		return ""
	}
	s, _ := strconv.Unquote(literal.Value)
	return s
}

// No finding is made with a code that is not a constant.
func TestCodesAreConstants(t *testing.T) {
	for _, top := range []string{"repo-layout", "render", "reconciler", "cmd"} {
		err := filepath.WalkDir(filepath.Join("..", top), func(file string, d fs.DirEntry, err error) error {
			if err != nil || d.IsDir() || !strings.HasSuffix(file, ".go") || strings.HasSuffix(file, "_test.go") {
				return err
			}
			parsed, err := parser.ParseFile(token.NewFileSet(), file, nil, 0)
			if err != nil {
				return err
			}
			ast.Inspect(parsed, func(n ast.Node) bool {
				if code := literalCode(n); code != "" && !strings.Contains(file, "finding/rules_") {
					t.Errorf("%s: code %q is written as text: make it a constant", file, code)
				}
				return true
			})
			return nil
		})
		if err != nil {
			t.Fatal(err)
		}
	}
}

// literalCode is the text of Code in a literal of v1alpha1.Finding.
func literalCode(n ast.Node) string {
	c, ok := n.(*ast.CompositeLit)
	if !ok {
		return ""
	}
	selector, ok := c.Type.(*ast.SelectorExpr)
	if !ok || selector.Sel.Name != "Finding" {
		return ""
	}
	for _, e := range c.Elts {
		if kv, ok := e.(*ast.KeyValueExpr); ok {
			if key, ok := kv.Key.(*ast.Ident); ok && key.Name == "Code" {
				return text(kv.Value)
			}
		}
	}
	return ""
}

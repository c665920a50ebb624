// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"bytes"
	"fmt"
	"reflect"
	"regexp"
	"slices"
	"strings"
	"testing"
	"unicode"

	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	extast "github.com/yuin/goldmark/extension/ast"
	"github.com/yuin/goldmark/text"

	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// hostile is what a pull request may put into names, values and messages.
var hostile = []string{
	"a | b | c",
	"`` ` ``` | `",
	"@everyone and @team/leads, #1, fixes #2, GH-3, !4",
	"<img src=x onerror=alert(1)><script>x</script></details></summary>",
	"<!-- espalier-plan models/team --> --> <!--",
	"[click](https://evil.example.com) ![x](https://evil.example.com/p.png) <https://evil.example.com>",
	"https://evil.example.com www.evil.example.com me@evil.example.com",
	"line\nbreak\r\n\n# heading\n- list\n| cell |\n---\n```\nfence",
	"\x1b[31mred\x1b[0m \a \u202egnp.exe \u200b \ufeff \u2028",
	"\\| \\` \\[x\\](y) &lt;b&gt; &#64;me ~~gone~~ **bold** $x$ $`y`$",
	strings.Repeat("long ", 1000),
	"\xff\xfe not UTF-8",
	"```diff\n+ x\n```\n</details>\n<b>out</b>",
	"~~~\n````\n",
}

// filled is a plan with a text in every place that a repository, or whoever
// names a branch, decides.
func filled(s string) plan.Plan {
	p := plan.Plan{
		Base: plan.Revision{Name: s, Commit: strings.Repeat("a", 40)}, Head: plan.Revision{Name: s}, RepoSync: s, Path: s,
		Summary: plan.Summary{Line: "1 new"},
		Changes: []plan.Change{{
			Kind: v1alpha1.WorkspaceKind, Namespace: s, Name: s, Task: "inference", File: s, Line: 1, Words: []string{s, s},
			Fit:    &plan.Fit{Verdict: v1alpha1.Fits, Sum: s, InstanceType: s},
			Price:  plan.Price{After: &plan.Amount{Known: true, Text: s}, Run: s},
			Quota:  plan.Quota{Message: s},
			Driver: s, Effect: plan.Effect{Kind: plan.Created, Message: s}, Diff: "@@ -1 +1 @@\n+" + s + "\n",
		}},
		NotChecked: []plan.Note{{Code: s, Message: s}},
	}
	for _, severity := range []string{"error", "warning"} {
		p.Findings = append(p.Findings, plan.Finding{Finding: v1alpha1.Finding{Severity: severity, Code: s, File: s, Line: 1, Object: s, Message: s}})
	}
	return p
}

// ours are the tags that the comment itself has.
var ours = regexp.MustCompile(`^(<!-- espalier-plan[A-Za-z0-9./_ ]* -->\s*|<br>|<details><summary>[^<>]*</summary>\s*|</details>\s*)$`)

// mention is what forges turn into a notification or a reference.
var mention = regexp.MustCompile(`(^|[^\w])[@#!][\w]`)

// check parses a comment as forges do, and refuses whatever a text of the
// repository could have made of it.
func check(t *testing.T, s, comment string) {
	t.Helper()
	source := []byte(comment)
	parser := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser()
	cells := 0
	walk := func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.Link, *ast.Image, *ast.AutoLink, *ast.FencedCodeBlock, *extast.Strikethrough, *extast.TaskCheckBox, *ast.ThematicBreak, *ast.CodeBlock:
			if f, ok := n.(*ast.FencedCodeBlock); ok && string(f.Language(source)) == "diff" {
				return ast.WalkContinue, nil
			}
			t.Errorf("%q makes a %s:\n%s", s, n.Kind(), comment)
		case *ast.RawHTML:
			if raw := string(n.Segments.Value(source)); !ours.MatchString(raw) {
				t.Errorf("%q makes HTML %q:\n%s", s, raw, comment)
			}
		case *ast.HTMLBlock:
			raw := string(n.Lines().Value(source))
			if n.HasClosure() {
				raw += string(n.ClosureLine.Value(source))
			}
			if !ours.MatchString(raw) {
				t.Errorf("%q makes HTML %q:\n%s", s, raw, comment)
			}
		case *ast.Heading:
			if title := string(n.Lines().Value(source)); !slices.Contains([]string{"Errors", "Warnings", "Not checked"}, title) {
				t.Errorf("%q makes a heading %q", s, title)
			}
		case *extast.TableCell:
			cells++
		case *ast.CodeSpan:
			return ast.WalkSkipChildren, nil // nothing is a mention in code
		case *ast.Text:
			if v := string(n.Segment.Value(source)); mention.MatchString(v) {
				t.Errorf("%q mentions or refers in %q", s, v)
			}
		}
		return ast.WalkContinue, nil
	}
	if err := ast.Walk(parser.Parse(text.NewReader(source)), walk); err != nil {
		t.Fatal(err)
	}
	if cells != 14 {
		t.Errorf("%q: the table has %d cells, not two rows of seven:\n%s", s, cells, comment)
	}
}

// TestHostile: nothing of a repository formats, links, mentions or hides.
func TestHostile(t *testing.T) {
	for i, s := range hostile {
		t.Run(fmt.Sprint(i), func(t *testing.T) {
			p := filled(s)
			check(t, s, p.Markdown(0))
			if limit := plan.LimitGitHub; len(p.Markdown(limit)) > limit {
				t.Errorf("%q: longer than %d bytes", s, limit)
			}
			terminal(t, s, p)
		})
	}
}

// terminal refuses control characters: they move the cursor and colour the text.
func terminal(t *testing.T, s string, p plan.Plan) {
	t.Helper()
	var out bytes.Buffer
	if err := p.Text(&out, true); err != nil {
		t.Fatal(err)
	}
	if i := strings.IndexFunc(out.String(), func(r rune) bool {
		return r != '\n' && r != '\t' && (unicode.IsControl(r) || unicode.Is(unicode.Bidi_Control, r))
	}); i >= 0 {
		t.Errorf("%q: a control character reaches the terminal: %q", s, out.String()[i:min(len(out.String()), i+10)])
	}
}

// TestEveryTextIsFilled: a field that is added later is part of these tests.
func TestEveryTextIsFilled(t *testing.T) {
	const s = "here"
	p := filled(s)
	for _, v := range []any{p.Changes[0], *p.Changes[0].Fit, *p.Changes[0].Price.After, p.Findings[0].Finding, p.NotChecked[0]} {
		fields := reflect.ValueOf(v)
		for i := range fields.NumField() {
			f, name := fields.Field(i), fields.Type().Field(i).Name
			if f.Kind() == reflect.String && !strings.Contains(f.String(), s) && !slices.Contains([]string{"Kind", "Task", "Severity", "Verdict", "Date"}, name) {
				t.Errorf("%T.%s is not filled", v, name)
			}
		}
	}
}

// FuzzMarkdown looks for a text that gets out of its place.
func FuzzMarkdown(f *testing.F) {
	for _, s := range hostile {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		if len(s) > 4000 {
			t.Skip()
		}
		p := filled(s)
		check(t, s, p.Markdown(0))
		terminal(t, s, p)
	})
}

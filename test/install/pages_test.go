// SPDX-License-Identifier: Apache-2.0

package install

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/yuin/goldmark"
	"github.com/yuin/goldmark/ast"
	"github.com/yuin/goldmark/extension"
	"github.com/yuin/goldmark/text"
)

// command is what a document tells its reader to type.
type command struct {
	page string
	line int
	text string // without the comment behind it, on one line
}

func (c command) String() string { return fmt.Sprintf("%s:%d: %s", c.page, c.line, c.text) }

// block is a part of a document that is set as code.
type block struct {
	line  int
	fence string // its language; "" of an indented block
	lines []string
}

// documents are the Markdown files of the tree, by path from its root.
func documents(t *testing.T) map[string]string {
	t.Helper()
	cmd := exec.CommandContext(t.Context(), "git", "ls-files", "--cached", "--others", "--exclude-standard", "*.md")
	cmd.Dir = root
	out, err := cmd.Output()
	must(t, err)
	found := map[string]string{}
	for _, name := range strings.Fields(string(out)) {
		content, err := os.ReadFile(filepath.Join(root, name))
		if err == nil && !strings.Contains(name, "/testdata/") {
			found[name] = string(content)
		}
	}
	if found["README.md"] == "" {
		t.Fatal("no README.md among the documents")
	}
	return found
}

// code are the blocks of a document, and the spans of code in its sentences.
func code(source string) (blocks []block, spans []string) {
	content := []byte(source)
	parsed := goldmark.New(goldmark.WithExtensions(extension.GFM)).Parser().Parse(text.NewReader(content))
	_ = ast.Walk(parsed, func(n ast.Node, entering bool) (ast.WalkStatus, error) {
		if !entering {
			return ast.WalkContinue, nil
		}
		switch n := n.(type) {
		case *ast.CodeBlock:
			blocks = append(blocks, newBlock(content, n.Lines(), ""))
		case *ast.FencedCodeBlock:
			if n.Lines().Len() > 0 {
				blocks = append(blocks, newBlock(content, n.Lines(), "```"+string(n.Language(content))))
			}
		case *ast.CodeSpan:
			span := ""
			for child := n.FirstChild(); child != nil; child = child.NextSibling() {
				if part, ok := child.(*ast.Text); ok {
					span += string(part.Segment.Value(content))
				}
			}
			spans = append(spans, strings.ReplaceAll(span, "\n", " "))
		}
		return ast.WalkContinue, nil
	})
	return blocks, spans
}

func newBlock(content []byte, lines *text.Segments, fence string) block {
	b := block{line: 1 + bytes.Count(content[:lines.At(0).Start], []byte("\n")), fence: fence}
	for i := range lines.Len() {
		segment := lines.At(i)
		b.lines = append(b.lines, strings.TrimRight(string(segment.Value(content)), "\n"))
	}
	return b
}

// shells are the languages of a fence around commands.
var shells = []string{"```sh", "```bash", "```console"}

// commands of a block: an indented one is of commands, or of commands behind a
// dollar and what they print, or of flags, which are none.
func (b block) commands(page string) (found []command, flags []string) {
	if b.fence != "" && !slices.Contains(shells, b.fence) {
		return nil, nil
	}
	prompted := slices.ContainsFunc(b.lines, func(line string) bool { return strings.HasPrefix(line, "$ ") })
	goesOn := false
	for i, line := range b.lines {
		typed, isTyped := strings.CutPrefix(line, "$ ")
		if strings.HasPrefix(line, "--") {
			flags = append(flags, strings.Fields(line)[0])
			continue
		}
		if strings.TrimSpace(line) == "" || prompted && !isTyped && !goesOn {
			continue
		}
		more := strings.HasSuffix(typed, `\`)
		typed = strings.TrimSpace(strings.TrimSuffix(typed, `\`))
		if goesOn {
			found[len(found)-1].text += " " + typed
		} else {
			found = append(found, command{page: page, line: b.line + i, text: typed})
		}
		goesOn = more
	}
	for i := range found {
		found[i].text = remark.ReplaceAllString(found[i].text, "")
	}
	return found, flags
}

// remark is what a document says behind a command.
var remark = regexp.MustCompile(`\s+#\s.*$`)

// TestBlocks: a block is taken for commands where it is one.
func TestBlocks(t *testing.T) {
	for name, c := range map[string]struct {
		reason, page string
		want         []string
		flags        []string
	}{
		"Indented": {
			reason: "Commands are indented, and say behind a # what they are for.",
			page:   "Do:\n\n    make demo   # all of it\n    a \\\n      --b=\"#c\" \\\n      c\n\n    d\n\ndone\n",
			want:   []string{"p:3: make demo", `p:4: a --b="#c" c`, "p:8: d"},
		},
		"Prompt": {
			reason: "Behind a dollar stands what is typed, and below it what is printed.",
			page:   "    $ a b\n    printed\n    $ c\n",
			want:   []string{"p:1: a b", "p:3: c"},
		},
		"List": {
			reason: "A step of a list has its commands indented within it; a sentence that goes on is none.",
			page:   "1. First:\n\n       a\n\n   and so\n   on.\n",
			want:   []string{"p:3: a"},
		},
		"Fence": {
			reason: "A fence says what is in it.",
			page:   "```sh\na\n```\n\n```yaml\nb: c\n```\n\n```\nd\n```\n",
			want:   []string{"p:2: a"},
		},
		"Flags": {
			reason: "Flags are shown without the command that they are for.",
			page:   "    --a=b   why\n",
			flags:  []string{"--a=b"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var got, flags []string
			blocks, _ := code(c.page)
			for _, b := range blocks {
				found, more := b.commands("p")
				for _, f := range found {
					got = append(got, f.String())
				}
				flags = append(flags, more...)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", c.reason, diff)
			}
			if diff := cmp.Diff(c.flags, flags); diff != "" {
				t.Errorf("%s flags (-want +got):\n%s", c.reason, diff)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"io/fs"
	"slices"
	"strings"
	"sync"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of what is said on the lines of one pull request.
const (
	// maxOpenLines is how many comments of a RepoSync stand there at a time; maxLines
	// how many it ever makes there, with those that are settled.
	maxOpenLines, maxLines = 10, 50
	// maxOffered is how many are offered to the forge, which may show another diff.
	maxOffered = 20
	// maxStanding is how many findings are told from those that are settled.
	maxStanding = 2000
	// maxDiffed is how many files are compared, and maxPairs how many lines of base with
	// how many of head in all: a hundred thousand take some milliseconds, and two files
	// of 4,000 lines in another order half a second.
	maxDiffed, maxPairs = 50, 64 << 20
)

// Lines are the findings of a head that may be said on their lines.
type Lines struct {
	// Offered are those on lines that the diff shows, what matters most first.
	Offered []OnLine `json:"offered,omitempty"`
	// Standing are the keys of all findings on a line, also of those that nobody asks
	// for any more: what is said of them is not settled. Cut says that there are more.
	Standing []string `json:"standing,omitempty"`
	Cut      bool     `json:"cut,omitempty"`
	// Findings counts those that were asked for.
	Findings int `json:"findings"`

	off bool // nobody asks for any more: what stands there is settled
}

// OnLine is a comment to be made on a line.
type OnLine struct {
	// Key tells a finding from others, whatever line it has moved to.
	Key  string     `json:"key"`
	Line forge.Line `json:"line"`
	// Text is the comment, without its marker.
	Text string `json:"text"`
}

// Files are those of the two commits that a plan compares.
type Files struct {
	Base, Head fs.FS
	// Renamed finds the files that Head has under another name, the one in Base by the
	// one in Head. It is asked once, where a file is new; nil: none is renamed.
	Renamed func() map[string]string
}

// OnLines picks what of a plan is said on the lines of the pull request; nil where
// nothing is.
func OnLines(p plan.Plan, r v1alpha1.Review, files Files) *Lines {
	if r.LineComments != v1alpha1.FixLineComments && r.LineComments != v1alpha1.FindingLineComments {
		return nil
	}
	l, standing := &Lines{}, map[string]bool{}
	diffs := newDifferences(files)
	for _, f := range p.Findings {
		key := keyOf(f)
		if f.File == "" || f.Line < 1 || standing[key] {
			continue
		}
		wanted := asked(r, f)
		if wanted {
			l.Findings++
		}
		if len(standing) == maxStanding {
			l.Cut = true
			continue
		}
		standing[key] = true
		l.Standing = append(l.Standing, key)
		if !wanted || len(l.Offered) == maxOffered {
			continue
		}
		if at, text, shown := diffs.line(f); shown {
			l.Offered = append(l.Offered, OnLine{key, at, f.Markdown() + suggestion(r.Provider, f.Fix, text)})
		}
	}
	return l
}

// asked says whether somebody wants to be told of a finding on its line.
func asked(r v1alpha1.Review, f plan.Finding) bool {
	return r.LineComments == v1alpha1.FindingLineComments || f.Fix != nil
}

// keyOf tells findings apart by what they say and what would mend them. Not by the
// line, which moves, nor by the object: a base has several.
func keyOf(f plan.Finding) string {
	parts := []string{f.Code, f.File, f.Message}
	if f.Fix != nil {
		parts = append(parts, f.Fix.Old, f.Fix.New)
	}
	sum := sha256.Sum256([]byte(strings.Join(parts, "\x00")))
	return hex.EncodeToString(sum[:8])
}

// differences are those of the files of a pull request.
type differences struct {
	files   Files
	renamed func() map[string]string
	known   map[string]*difference
	count   int // of those that were compared
	pairs   int // of their lines
}

func newDifferences(files Files) *differences {
	d := &differences{files: files, known: map[string]*difference{}}
	if files.Renamed != nil {
		d.renamed = sync.OnceValue(files.Renamed)
	}
	return d
}

// difference of a file: its lines in head, those of them that the diff shows, and its
// name in base where that is another one.
type difference struct {
	lines []string
	shown map[int]int
	from  string
}

// line is where a finding stands in the diff, and the text there. What was there
// before is said only where the pull request itself wrote the line: who changes a
// file need not answer for all around.
func (d *differences) line(f plan.Finding) (at forge.Line, text string, shown bool) {
	file, ok := d.known[f.File]
	if !ok {
		file = d.compare(f.File)
		d.known[f.File] = file
	}
	old, shown := file.shown[f.Line]
	if !shown || f.Line > len(file.lines) || f.InBase && old > 0 {
		return forge.Line{}, "", false
	}
	return forge.Line{File: f.File, OldFile: file.from, New: f.Line, Old: old}, file.lines[f.Line-1], true
}

func (d *differences) compare(name string) *difference {
	head, err := fs.ReadFile(d.files.Head, name)
	if err != nil {
		return &difference{}
	}
	base, from := d.base(name)
	if string(base) == string(head) || d.count == maxDiffed {
		return &difference{}
	}
	pairs := bytes.Count(base, []byte("\n")) * bytes.Count(head, []byte("\n"))
	if d.pairs+pairs > maxPairs {
		return &difference{}
	}
	d.count, d.pairs = d.count+1, d.pairs+pairs
	return &difference{lines: slices.Collect(strings.SplitSeq(string(head), "\n")), shown: git.ShownLines(base, head), from: from}
}

// base reads a file of base, and its name there where that is another one. Nothing is
// there of a file that the pull request brings.
func (d *differences) base(name string) (content []byte, from string) {
	content, err := fs.ReadFile(d.files.Base, name)
	if err == nil || d.renamed == nil {
		return content, ""
	}
	if from = d.renamed()[name]; from == "" {
		return nil, ""
	}
	if content, err = fs.ReadFile(d.files.Base, from); err != nil {
		return nil, ""
	}
	return content, from
}

// suggestions is what a block that forges offer as a change begins with. Gitea has
// none: a change shows there as such.
var suggestions = map[v1alpha1.ForgeProvider]string{
	v1alpha1.GitHub: "suggestion", v1alpha1.GitLab: "suggestion:-0+0",
	v1alpha1.AzureDevOps: "suggestion", v1alpha1.Bitbucket: "suggestion", v1alpha1.BitbucketServer: "suggestion",
}

// suggestion is the block with the line that mends a finding. There is none where the
// line is not what the finding saw, where it ends as Windows has it, which forges make
// their own end of, and where it could end the block.
func suggestion(provider v1alpha1.ForgeProvider, fix *v1alpha1.Fix, line string) string {
	if fix == nil || line != fix.Old || strings.Contains(fix.Old+fix.New, "```") {
		return ""
	}
	if kind, has := suggestions[provider]; has {
		return fmt.Sprintf("\n```%s\n%s\n```\n", kind, fix.New)
	}
	return fmt.Sprintf("\n```diff\n-%s\n+%s\n```\n", fix.Old, fix.New)
}

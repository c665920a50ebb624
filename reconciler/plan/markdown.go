// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"
	"html"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/markdown"
	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// Sizes of a comment that forges take, in bytes. GitHub and Gitea count
// characters, of which there are never more.
const (
	LimitGitHub          = 65_536
	LimitGitLab          = 1_000_000
	LimitGitea           = 65_535
	LimitAzureDevOps     = 150_000
	LimitBitbucket       = 32_768
	LimitBitbucketServer = 32_768
)

// maxWords bounds what the table says of one Workspace.
const maxWords = 12

// Markdown is the plan as a comment of at most limit bytes; 0 is no limit. What
// is too much is left out in the order of what is missed least (rendered objects,
// mended lines, warnings, rows of the table, notes, errors), with a line that says how much of
// it; the summary is always there.
func (p Plan) Markdown(limit int) string {
	c := comment{
		lead: p.marker() + "**" + p.Summary.Line + "**\n\n" + markdown.Text(revision(p.Base)) + " → " + markdown.Text(revision(p.Head)) + p.syncOf() + "\n",
		sections: []section{
			{name: "rows", before: "\n" + tableHead, entries: p.rows()},
			{name: "errors", before: "\n### Errors\n\n", entries: p.bullets(finding.Error)},
			{name: "warnings", before: "\n### Warnings\n\n", entries: p.bullets(finding.Warning)},
			p.mended(),
			{name: "diffs", before: "\n", entries: p.diffs()},
			{name: "notes", before: "\n### Not checked\n\n", entries: p.notes()},
		},
	}
	c.fit(limit)
	return c.String()
}

// marker lets a program find the comment again and edit it in place: two clusters
// may have RepoSyncs of one name, and never of one path too.
func (p Plan) marker() string {
	text := "espalier-plan"
	for _, part := range []string{p.RepoSync, p.Path} {
		if part = strings.Map(plainly, markdown.Clean(part, 200)); part != "" {
			text += " " + part
		}
	}
	return "<!-- " + text + " -->\n"
}

// plainly keeps what paths and names are made of, and nothing that ends a comment.
func plainly(r rune) rune {
	switch {
	case r == '-':
		return '_'
	case r == '.' || r == '/' || r == '_' || r >= '0' && r <= '9' || r >= 'a' && r <= 'z' || r >= 'A' && r <= 'Z':
		return r
	}
	return -1
}

func (p Plan) syncOf() string {
	text := ""
	if p.RepoSync != "" {
		text += ", RepoSync " + markdown.Code(p.RepoSync)
	}
	if p.Path != "" {
		text += " of " + markdown.Code(p.Path)
	}
	return text
}

// tableHead begins the table.
const tableHead = "| Workspace | Change | Fit | Price | Quota | Driver | Effect |\n|---|---|---|---|---|---|---|\n"

func (p Plan) rows() []string {
	var rows []string
	for _, ch := range p.Changes {
		fit := markdown.None
		if ch.Fit != nil {
			fit = markdown.Text(ch.Fit.String())
		}
		cells := []string{
			markdown.Cell(ch.Namespace+"/"+ch.Name) + kindOf(ch) + "<br>" + markdown.Cell(finding.Location(ch.File, ch.Line)),
			ch.words(), fit, orNone(ch.Price.String()), orNone(ch.Quota.Message), orNone(ch.Driver),
			"**" + string(ch.Effect.Kind) + downtime(ch.Effect) + "**: " + markdown.Text(ch.Effect.Message),
		}
		rows = append(rows, "| "+strings.Join(cells, " | ")+" |\n")
	}
	return rows
}

func kindOf(ch Change) string {
	if ch.Task == "" {
		return " (node pool)"
	}
	return ""
}

func downtime(e Effect) string {
	if e.Downtime && e.Kind != Deleted {
		return " with downtime"
	}
	return ""
}

func orNone(s string) string {
	if s == "" {
		return markdown.None
	}
	return markdown.Text(s)
}

// words are the changes of a Workspace, one a line of the cell.
func (ch Change) words() string {
	var shown []string
	for i, w := range ch.Words {
		if i == maxWords {
			shown = append(shown, fmt.Sprintf("and %d more", len(ch.Words)-maxWords))
			break
		}
		shown = append(shown, markdown.Text(w))
	}
	return strings.Join(shown, "<br>")
}

// glyphs of severities.
var glyphs = map[string]string{finding.Error: "❌", finding.Warning: "⚠️"}

// bullets are the findings of one severity, one a line.
func (p Plan) bullets(severity string) []string {
	var list []string
	listed, rest := p.listed()
	for _, f := range listed {
		if f.Severity != severity {
			continue
		}
		place := ""
		if f.File != "" {
			place = markdown.Code(finding.Location(f.File, f.Line)) + ": "
		}
		list = append(list, "- "+f.sentence(place))
	}
	if rest > 0 && severity == finding.Warning {
		list = append(list, "- "+oldWarnings(rest)+"\n")
	}
	return list
}

// Markdown is the finding for a reader who sees its line.
func (f Finding) Markdown() string { return f.sentence("") }

// sentence is a line, with the place where it is to be seen.
func (f Finding) sentence(place string) string {
	old := ""
	if f.InBase {
		old = " *(there before)*"
	}
	return fmt.Sprintf("%s %s%s (%s)%s\n", glyphs[f.Severity], place, markdown.Text(f.Message), markdown.Text(f.Code), old)
}

func (p Plan) notes() []string {
	var list []string
	for _, n := range p.NotChecked {
		list = append(list, fmt.Sprintf("- %s (%s)\n", markdown.Text(n.Message), markdown.Text(n.Code)))
	}
	return list
}

// diffs are the rendered objects, folded away.
func (p Plan) diffs() []string {
	var list []string
	for _, ch := range p.Changes {
		if ch.Diff == "" {
			continue
		}
		plus, minus := counts(ch.Diff)
		list = append(list, fmt.Sprintf("<details><summary>Rendered objects of %s (+%d −%d lines)</summary>\n\n%s\n</details>\n",
			html.EscapeString(markdown.Quiet(markdown.Clean(ch.Namespace+"/"+ch.Name, 200))), plus, minus, fenced("diff", ch.Diff)))
	}
	return list
}

func counts(diff string) (plus, minus int) {
	for line := range strings.Lines(diff) {
		switch {
		case strings.HasPrefix(line, "+"):
			plus++
		case strings.HasPrefix(line, "-"):
			minus++
		}
	}
	return plus, minus
}

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/markdown"
)

// maxLines bounds the list of changes in a commit message.
const maxLines = 20

// message is the whole commit message: the subject, a line for each Workspace
// of which the files have changed, [skip ci] so that no pipeline runs for it, and trailers.
func (w *writer) message(d difference) (string, error) {
	lines, more, err := w.changes(d)
	if err != nil {
		return "", err
	}
	var b strings.Builder
	b.WriteString(markdown.Quiet(markdown.Clean(w.subject, 200)) + "\n\n")
	if len(lines) == 0 {
		lines = []string{"No Workspace changed."}
	}
	b.WriteString(strings.Join(lines, "\n") + "\n")
	if more > 0 {
		fmt.Fprintf(&b, "and %d more\n", more)
	}
	b.WriteString("\n[skip ci]\n\n")
	trailer := func(key, value string) {
		if value = markdown.Clean(value, 300); value != "" {
			fmt.Fprintf(&b, "%s: %s\n", key, value)
		}
	}
	trailer("Espalier-Cluster", w.Cluster)
	trailer("Espalier-RepoSync", w.Namespace+"/"+w.Name)
	trailer("Espalier-Revision", w.Revision)
	return b.String(), nil
}

// changes says in a line each what became of the first Workspaces, by name, and of how many
// more the files have changed: what those said before is read of no branch.
func (w *writer) changes(d difference) (lines []string, more int, err error) {
	names := slices.AppendSeq(slices.Clone(d.gone), maps.Keys(d.new))
	slices.Sort(names)
	for _, name := range names {
		if !isDocument(name) {
			continue
		}
		if len(lines) == maxLines {
			more++
			continue
		}
		var before *said
		if was, there := d.was[name]; there {
			if before, err = was(); err != nil {
				return nil, 0, err
			}
		}
		if what := change(before, d.new[name].says); what != "" {
			lines = append(lines, w.nameOf(name)+": "+what)
		}
	}
	return lines, more, nil
}

// nameOf reads a name out of a path of ours: what a file says may be tampered with.
func (w *writer) nameOf(path string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(path, "workspaces/"), ".yaml")
	return markdown.Quiet(markdown.Clean(strings.TrimPrefix(name, w.Namespace+"/"), 120))
}

// change says what became of a document; nil is one that is not there.
func change(before, after *said) string {
	switch {
	case after == nil:
		return "removed"
	case before == nil:
		return string(after.state) + " (new)"
	case before.state != after.state:
		if glyphs[before.state] == "" {
			return string(after.state)
		}
		return string(before.state) + " → " + string(after.state)
	}
	if parts := differences(before, after); len(parts) > 0 {
		return string(after.state) + ", changed: " + strings.Join(parts, ", ")
	}
	return ""
}

// differences names the parts of two documents that differ, in the order of a document.
func differences(a, b *said) []string {
	var names []string
	for i, name := range parts {
		if a.parts[i] != b.parts[i] {
			names = append(names, name)
		}
	}
	return names
}

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
func (w *writer) message(old, now map[string]*said) string {
	var b strings.Builder
	b.WriteString(markdown.Quiet(markdown.Clean(w.subject, 200)) + "\n\n")
	lines := w.changes(old, now)
	if len(lines) == 0 {
		lines = []string{"No Workspace changed."}
	}
	for i, l := range lines {
		if i == maxLines {
			fmt.Fprintf(&b, "and %d more\n", len(lines)-maxLines)
			break
		}
		b.WriteString(l + "\n")
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
	return b.String()
}

// changes says in a line each what became of the Workspaces.
func (w *writer) changes(old, now map[string]*said) []string {
	paths := maps.Clone(old)
	maps.Copy(paths, now)
	var lines []string
	for _, path := range slices.Sorted(maps.Keys(paths)) {
		before, was := old[path]
		after, is := now[path]
		if what := change(before, was, after, is); what != "" {
			lines = append(lines, w.nameOf(path)+": "+what)
		}
	}
	return lines
}

// nameOf reads a name out of a path of ours: what a file says may be tampered with.
func (w *writer) nameOf(path string) string {
	name := strings.TrimSuffix(strings.TrimPrefix(path, "workspaces/"), ".yaml")
	return markdown.Quiet(markdown.Clean(strings.TrimPrefix(name, w.Namespace+"/"), 120))
}

func change(before *said, was bool, after *said, is bool) string {
	switch {
	case !is:
		return "removed"
	case !was:
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

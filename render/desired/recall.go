// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"strings"
	"sync"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// judged is a Workspace with its findings in the lines of its file.
type judged struct {
	Workspace
	findings []v1alpha1.Finding
	// document is the key of the document, on what the documents are that it names;
	// "": it is not known what the verdict rests on.
	document string
	on       []string
}

// notInGit stands for a document that is named and not there; no key is like it.
const notInGit = "-"

// begin forgets the verdicts that the last State had no use for, and returns what
// it came to, which is not changed any more.
func (j *Judge) begin() *recalled {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before, j.known = j.known, map[string]*verdict{}
	last := j.last
	return &recalled{list: last, byDocument: sync.OnceValue(func() map[string]*judged {
		all := make(map[string]*judged, len(last))
		for _, w := range last {
			if w.document != "" {
				all[w.document] = w
			}
		}
		return all
	})}
}

func (j *Judge) remember(now []*judged) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = now
}

// recalled are the Workspaces of the last State, in its order, and those whose place
// is another now.
type recalled struct {
	list       []*judged
	byDocument func() map[string]*judged
}

// of returns what a document came to that is the i-th Workspace now, nil where it was
// not judged or rests on something else.
func (r *recalled) of(i int, d Document, known inputs) *judged {
	var w *judged
	switch {
	case d.Key == "":
		return nil
	case i < len(r.list) && r.list[i].document == d.Key:
		w = r.list[i]
	case i < len(r.list) && r.list[i].Unit == d.Unit && r.list[i].Name == d.Name:
		return nil // it has changed
	default:
		w = r.byDocument()[d.Key]
	}
	if w == nil || !w.still(d, known) {
		return nil
	}
	return w
}

// still says whether the documents that a Workspace names are what they were.
func (w *judged) still(d Document, known inputs) bool {
	if len(w.on) != len(d.rests) {
		return false
	}
	for i, name := range d.rests {
		if known.key(name) != w.on[i] {
			return false
		}
	}
	return true
}

// key identifies a document that is named; "" where that is not known. Of a pool that is not
// there, what is said of it.
func (i inputs) key(name string) string {
	if d, ok := i.there[name]; ok {
		return d.Key
	}
	return notInGit + i.absent[strings.TrimPrefix(name, poolObject(""))]
}

// recall judges the i-th Workspace, or takes what it came to in the last State where
// the document and all that it names are the same.
func (j *Judge) recall(i int, d Document, known inputs, last *recalled) *judged {
	if d.Workspace.Namespace == "" {
		d.Workspace.Namespace = defaultNamespace
	}
	if before := last.of(i, d, known); before != nil {
		if before.Collides == d.Collides {
			return before
		}
		again := *before
		again.Document = d
		return &again
	}
	w := &judged{Workspace: j.workspace(d, known), document: d.Key}
	for _, name := range d.rests {
		key := known.key(name)
		if key == "" {
			w.document = ""
		}
		w.on = append(w.on, key)
	}
	w.findings = w.Assessment.Findings
	return w
}

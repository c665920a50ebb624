// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// judged is a Workspace with its findings in the lines of its file.
type judged struct {
	Workspace
	findings []v1alpha1.Finding
	restsOn  string // "": not known
}

// begin forgets the verdicts that the last State had no use for, and returns what
// it came to, which is not changed any more.
func (j *Judge) begin() map[string]*judged {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.before, j.known = j.known, map[string]*verdict{}
	return j.last
}

func (j *Judge) remember(now map[string]*judged) {
	j.mu.Lock()
	defer j.mu.Unlock()
	j.last = now
}

// recall judges a Workspace, or takes what it came to in the last State where the
// document and all that it names are the same.
func (j *Judge) recall(d Document, known inputs, last map[string]*judged) *judged {
	if d.Workspace.Namespace == "" {
		d.Workspace.Namespace = defaultNamespace
	}
	key := restsOn(d, known)
	before, ok := last[key]
	if ok && key != "" {
		if before.Collides == d.Collides {
			return before
		}
		again := *before
		again.Document = d
		return &again
	}
	w := &judged{Workspace: j.workspace(d, known), restsOn: key}
	w.findings = w.Workspace.findings()
	return w
}

// restsOn identifies a document and everything that it names; "" where that is
// not known.
func restsOn(d Document, known inputs) string {
	if d.Key == "" {
		return ""
	}
	key := []byte(d.Key)
	for _, name := range d.rests {
		key = append(key, ' ')
		in, ok := known[name]
		if !ok {
			continue
		}
		if in.Key == "" {
			return ""
		}
		key = append(key, in.Key...)
	}
	return string(key)
}

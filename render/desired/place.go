// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"fmt"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// byField takes the place of a position while a verdict is made that several
// documents share: the field stands where the file belongs, and after it the
// place within the ConfigMap that the field names.
type byField struct{}

func (byField) At(field string) (string, int) { return field, 0 }

// AtEntry never fails: where the entry is, is found out for each document.
func (byField) AtEntry(field string, e finding.Entry) (string, int, bool) {
	return field + entryMark + e.Key, e.Line, true
}

// Fix stays one of a word: which line it is, is found out for each document.
func (byField) Fix(_ string, _ int, word v1alpha1.Fix) v1alpha1.Fix { return word }

// entryMark stands between a field and the key of the ConfigMap that it names.
const entryMark = "\x00"

// entries is a position that knows where a ConfigMap was written.
type entries interface {
	Entry(e finding.Entry) (file string, line int, ok bool)
}

// writtenIn are the files that a Workspace and its configuration were written in.
type writtenIn struct {
	finding.Position
	config entries // nil: not known
}

// AtEntry finds a place in the configuration.
func (w writtenIn) AtEntry(_ string, e finding.Entry) (string, int, bool) {
	if w.config == nil {
		return "", 0, false
	}
	return w.config.Entry(e)
}

// Fix is of a line of the document or its configuration.
func (w writtenIn) Fix(file string, line int, word v1alpha1.Fix) v1alpha1.Fix {
	for _, p := range []any{w.Position, w.config} {
		at, reads := p.(finding.Fixer)
		if !reads {
			continue
		}
		if f := at.Fix(file, line, word); !f.None() {
			return f
		}
	}
	return v1alpha1.Fix{}
}

// configPosition is where the ConfigMap with the configuration of a Workspace
// was written, nil where that is not known.
func (i inputs) configPosition(w *v1alpha1.Workspace) entries {
	d, ok := i.there["ConfigMap/"+w.Spec.ConfigName()]
	if !ok {
		return nil
	}
	known, _ := d.Position.(entries)
	return known
}

// place puts the findings of a shared assessment into the files of a document and
// its configuration.
func place(a check.Assessment, d Document, config entries) check.Assessment {
	in := writtenIn{d.Position, config}
	a.Findings = in.placed(a.Findings)
	a.Candidates = slices.Clone(a.Candidates)
	for i := range a.Candidates {
		a.Candidates[i].Findings = in.placed(a.Candidates[i].Findings)
	}
	return a
}

func (w writtenIn) placed(findings []v1alpha1.Finding) []v1alpha1.Finding {
	out := slices.Clone(findings)
	for i, f := range out {
		out[i] = w.place(f)
	}
	finding.Sort(out)
	return out
}

func (w writtenIn) place(f v1alpha1.Finding) v1alpha1.Finding {
	field, key, inEntry := strings.Cut(f.File, entryMark)
	switch {
	case inEntry:
		message := strings.TrimPrefix(f.Message, fmt.Sprintf("%s of %s: ", key, f.Object))
		p := finding.Problem{Severity: f.Severity, Code: f.Code, Field: field, Message: message, Fix: f.Fix}.In(finding.Entry{Key: key, Line: f.Line})
		if w.Position == nil {
			return p.At(nil, f.Object)
		}
		return p.At(w, f.Object)
	case w.Position == nil:
		f.File, f.Fix = "", v1alpha1.Fix{}
	default:
		f.File, f.Line = w.At(field)
		f.Fix = finding.FixAt(w, f, f.Fix)
	}
	return f
}

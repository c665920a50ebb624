// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"strings"
	"unicode/utf8"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of the CRD.
const (
	maxPrompt = 4096 // characters
	maxColumn = 256
)

// otherNames are what other programs call the types of rows.
var otherNames = map[string]v1alpha1.RowType{
	"chat_template": v1alpha1.RowsChat, "messages": v1alpha1.RowsChat, "openai": v1alpha1.RowsChat,
	"alpaca": v1alpha1.RowsInstruction, "completion": v1alpha1.RowsText, "prompt-completion": v1alpha1.RowsPromptCompletion,
	"input_output": v1alpha1.RowsSegments,
}

// format judges what a row of the training data is said to be.
func (v *validator) format(path string, f *v1alpha1.DataFormat) {
	if f == nil {
		return
	}
	for _, key := range sortedKeys(f.Columns.Named()) {
		v.shorter(path+".columns."+key, f.Columns.Named()[key], maxColumn)
	}
	v.shorter(path+".prompt", f.Prompt, maxPrompt)
	if !f.Type.Known() {
		v.refuse(finding.NotOneOf, path+".type", "%s", rowRemedy(string(f.Type)))
		meant(v, f.Type, v1alpha1.RowTypes()...)
		return
	}
	v.columns(path+".columns", f)
	v.prompt(path, f)
}

func (v *validator) shorter(field, text string, most int) {
	if utf8.RuneCountInString(text) > most {
		v.refuse(finding.OutOfRange, field, "at most %d characters are possible", most)
	}
}

func rowRemedy(written string) string {
	lower := strings.ToLower(written)
	if other, ok := otherNames[lower]; ok {
		return "write " + string(other)
	}
	var names []string
	for _, t := range v1alpha1.RowTypes() {
		if strings.ToLower(string(t)) == lower {
			return "write " + string(t)
		}
		names = append(names, string(t))
	}
	return "say what a row of the data is: one of " + strings.Join(names, ", ")
}

func (v *validator) columns(path string, f *v1alpha1.DataFormat) {
	known, has := map[string]string{}, []string{}
	for _, c := range f.Type.Columns() {
		known[c.Key] = c.Name
		has = append(has, c.Key)
	}
	named := f.Columns.Named()
	usedBy := map[string]string{}
	for _, key := range sortedKeys(named) {
		field, name := path+"."+key, named[key]
		_, ok := known[key]
		switch {
		case !ok && len(has) == 0:
			v.refuse(finding.FormatInvalid, field, "the columns of rows of type %s have fixed names: remove it", f.Type)
		case !ok:
			v.refuse(finding.FormatInvalid, field, "a row of type %s has no such column: it has %s", f.Type, strings.Join(has, ", "))
		}
		known[key] = name
	}
	for _, key := range has {
		name := known[key]
		if other, twice := usedBy[name]; twice && name != "" {
			v.refuse(finding.FormatInvalid, path, "%s and %s are the same column %.60q: name another for one of them", other, key, name)
		}
		usedBy[name] = key
	}
}

func (v *validator) prompt(path string, f *v1alpha1.DataFormat) {
	field := path + ".prompt"
	switch {
	case f.Prompt == "":
	case f.Type != v1alpha1.RowsInstruction:
		v.refuse(finding.FormatInvalid, field, "only rows of type %s are written into a text: remove it", v1alpha1.RowsInstruction)
	case !strings.Contains(f.WithoutInput(), v1alpha1.PromptInstruction):
		v.refuse(finding.FormatInvalid, field, "the question would be missing: put %s into a line of its own, apart from %s", v1alpha1.PromptInstruction, v1alpha1.PromptInput)
	case f.Columns.Named()["input"] != "" && !strings.Contains(f.Prompt, v1alpha1.PromptInput):
		v.refuse(finding.FormatInvalid, field, "columns.input is named and would be left out: put %s into the text, or remove columns.input", v1alpha1.PromptInput)
	}
}

// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	"slices"
	"strings"
)

// Column is a column that a row of training data has.
type Column struct {
	// Key is its name in DataColumns, Name what it is called where nothing else is
	// said; "" is a column that only counts when it is named.
	Key, Name string
}

// rows are the columns of each type.
var rows = map[RowType][]Column{
	RowsChat:             {{"messages", "messages"}, {"role", "role"}, {"content", "content"}},
	RowsShareGPT:         {{"messages", "conversations"}, {"role", "from"}, {"content", "value"}},
	RowsInstruction:      {{"instruction", "instruction"}, {"input", "input"}, {"output", "output"}, {"system", ""}},
	RowsPromptCompletion: {{"prompt", "prompt"}, {"completion", "completion"}},
	RowsText:             {{"text", "text"}},
	RowsSegments:         nil, // Axolotl knows segments, label and text by no other names
}

// RowTypes lists the types of rows.
func RowTypes() []RowType {
	return []RowType{RowsChat, RowsShareGPT, RowsInstruction, RowsPromptCompletion, RowsText, RowsSegments}
}

// Known says whether the type is one of RowTypes.
func (t RowType) Known() bool { return slices.Contains(RowTypes(), t) }

// Columns lists the columns of a type.
func (t RowType) Columns() []Column { return rows[t] }

// Named maps the keys of columns to the names that are given.
func (c *DataColumns) Named() map[string]string {
	if c == nil {
		return nil
	}
	named := map[string]string{}
	for key, name := range map[string]string{
		"messages": c.Messages, "role": c.Role, "content": c.Content, "instruction": c.Instruction, "input": c.Input,
		"output": c.Output, "system": c.System, "prompt": c.Prompt, "completion": c.Completion, "text": c.Text,
	} {
		if name != "" {
			named[key] = name
		}
	}
	return named
}

// Placeholders of DataFormat.Prompt.
const (
	PromptInstruction = "{instruction}"
	PromptInput       = "{input}"
)

// WithoutInput is the text for a row without input: lines that name it are left
// out.
func (f DataFormat) WithoutInput() string {
	var kept []string
	for _, line := range strings.Split(f.Prompt, "\n") {
		if !strings.Contains(line, PromptInput) {
			kept = append(kept, line)
		}
	}
	return strings.Join(kept, "\n")
}

// Kept is the volume of a run with everything that is not said left empty.
func (t *TuningSpec) Kept() Checkpoints {
	if t == nil || t.Checkpoints == nil {
		return Checkpoints{}
	}
	return *t.Checkpoints
}

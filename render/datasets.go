// SPDX-License-Identifier: Apache-2.0

package render

import (
	"maps"
	"path"
	"strings"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// datasets names the files by type where their names say it; a folder from a
// claim, an image or a Secret is loaded as the data set library finds it.
func (j job) datasets() []any {
	rows := rowsOf(j.Assessment.Format())
	sets := filesOf(rows, j.spec.Tuning.Input.URLs)
	if len(sets) == 0 {
		sets = named(rows, j.Assessment.DataFiles)
	}
	if len(sets) == 0 {
		rows["path"] = dataPath
		sets = append(sets, rows)
	}
	return sets
}

// filesOf are downloaded files, whose rows are alike.
func filesOf(rows object, addresses []string) []any {
	var names []string
	for _, address := range addresses {
		names = append(names, check.FileName(address))
	}
	return named(rows, names)
}

// named are files of the data folder, whose rows are alike.
func named(rows object, files []string) []any {
	var sets []any
	for _, name := range files {
		set := maps.Clone(rows)
		set["path"], set["ds_type"] = path.Join(dataPath, name), check.DataType(name)
		sets = append(sets, set)
	}
	return sets
}

// What the Alpaca data set was trained with (Taori et al., 2023), and Axolotl's
// type alpaca; stated here, so that other columns get the same text.
const (
	alpacaBoth = "Below is an instruction that describes a task, paired with an input that provides further context. " +
		"Write a response that appropriately completes the request.\n\n### Instruction:\n{instruction}\n\n### Input:\n{input}\n\n### Response:\n"
	alpacaAlone = "Below is an instruction that describes a task. Write a response that appropriately completes the request." +
		"\n\n### Instruction:\n{instruction}\n\n### Response:\n"
)

// rowsOf says in Axolotl's words what a row is.
func rowsOf(f v1alpha1.DataFormat) object {
	name := map[string]string{}
	for _, c := range f.Type.Columns() {
		name[c.Key] = c.Name
	}
	maps.Copy(name, f.Columns.Named())
	switch f.Type {
	case v1alpha1.RowsInstruction:
		return object{"type": instruction(f, name)}
	case v1alpha1.RowsPromptCompletion:
		// The columns input and system of such data, if there are any, are not read:
		// no text has a place for them.
		return object{"type": object{
			"field_instruction": name["prompt"], "field_output": name["completion"],
			"format": "{instruction}", "no_input_format": "{instruction}", "system_format": "",
		}}
	case v1alpha1.RowsText:
		return object{"type": "completion", "field": name["text"]}
	case v1alpha1.RowsSegments:
		return object{"type": "input_output"}
	}
	rows := object{"type": "chat_template", "chat_template": "tokenizer_default", "field_messages": name["messages"]}
	if name["role"] != "role" || name["content"] != "content" {
		rows["message_property_mappings"] = object{"role": name["role"], "content": name["content"]}
	}
	return rows
}

func instruction(f v1alpha1.DataFormat, name map[string]string) object {
	both, alone := alpacaBoth, alpacaAlone
	if f.Prompt != "" {
		both, alone = escaped(f.Prompt), escaped(f.WithoutInput())
	}
	rows := object{
		"field_instruction": name["instruction"], "field_input": name["input"], "field_output": name["output"],
		"format": both, "no_input_format": alone, "system_format": "",
	}
	if name["system"] != "" {
		rows["field_system"], rows["system_format"] = name["system"], "{system}\n\n"
	}
	return rows
}

// escaped keeps Python's format method from reading more into a text than the
// two columns.
func escaped(text string) string {
	text = strings.NewReplacer("{", "{{", "}", "}}").Replace(text)
	return strings.NewReplacer("{{instruction}}", "{instruction}", "{{input}}", "{input}").Replace(text)
}

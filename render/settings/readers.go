// SPDX-License-Identifier: Apache-2.0

package settings

import (
	"math"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Readers that only rename a value.

func number(name string, low, high float64) reader {
	return func(t *training, s section, key string) {
		if n, ok := s.number(key, low, high); ok {
			t.Axolotl[name] = n
		}
	}
}

func whole(name string, low, high float64) reader {
	return func(t *training, s section, key string) {
		if n, ok := s.whole(key, low, high); ok {
			t.Axolotl[name] = n
		}
	}
}

func yes(name string) reader {
	return func(t *training, s section, key string) {
		if b, ok := s.yes(key); ok {
			t.Axolotl[name] = b
		}
	}
}

func text(name string, allowed ...string) reader {
	return func(t *training, s section, key string) {
		if v, ok := s.text(key, allowed...); ok {
			t.Axolotl[name] = v
		}
	}
}

// Readers of values that are fixed here.

func mustBe(want bool, why string) reader {
	return func(_ *training, s section, key string) {
		if b, ok := s.yes(key); ok && b != want {
			s.refuse(key, "only %v: %s", want, why)
		}
	}
}

func oneOf(allowed ...string) reader {
	return func(_ *training, s section, key string) { s.text(key, allowed...) }
}

// Readers of values that the memory fit needs, or that exclude others.

func (t *training) fourBit(s section, key string) {
	b, ok := s.yes(key)
	if want := t.method == v1alpha1.QLoRA; ok && b != want {
		s.refuse(key, "method %s means %v", t.method, want)
	}
}

func (t *training) doubleQuant(s section, key string) {
	if b, ok := s.yes(key); ok && !b && t.method == v1alpha1.QLoRA {
		t.SingleQuantization = true
		t.Axolotl["bnb_config_kwargs"] = map[string]any{"bnb_4bit_use_double_quant": false}
	}
}

// rank moves alpha along unless that is given too: twice the rank, as in the
// defaults.
func (t *training) rank(s section, key string) {
	n, ok := s.whole(key, 1, 512)
	if !ok {
		return
	}
	t.Rank = n
	if _, given := s.values["lora_alpha"]; !given {
		t.Axolotl["lora_alpha"] = 2 * n
	}
}

func (t *training) targets(s section, key string) {
	if v, isText := s.values[key].(string); isText && v == "all-linear" {
		return
	}
	if list, ok := s.list(key); ok {
		slices.Sort(list)
		t.Targets = slices.Compact(list)
	}
}

func (t *training) microBatch(s section, key string) {
	if n, ok := s.whole(key, 1, 1024); ok {
		t.MicroBatch = n
	}
}

func (t *training) length(s section, key string) {
	if n, ok := s.whole(key, 16, 1<<20); ok {
		t.SequenceLength = n
	}
}

func (t *training) steps(s section, key string) {
	if n, ok := s.whole(key, -1, 1e7); ok && n > 0 { // -1 is transformers' "by epochs"
		t.Axolotl["max_steps"] = n
	}
}

func (t *training) warmupSteps(s section, key string) {
	if n, ok := s.whole(key, 0, 1e6); ok {
		delete(t.Axolotl, "warmup_ratio")
		t.Axolotl["warmup_steps"] = n
	}
}

func (t *training) warmupRatio(s section, key string) {
	n, ok := s.number(key, 0, 1)
	if !ok {
		return
	}
	if _, both := s.values["warmup_steps"]; both {
		return // steps win, as in transformers
	}
	t.Axolotl["warmup_ratio"] = n
}

func (t *training) saveSteps(s section, key string) {
	if n, ok := s.whole(key, 1, 1e6); ok {
		delete(t.Axolotl, "saves_per_epoch")
		t.Axolotl["save_steps"], t.Saves = n, key
	}
}

func (t *training) saveLimit(s section, key string) {
	if n, ok := s.whole(key, 1, 100); ok {
		t.Axolotl[key], t.Keeps = n, key
	}
}

func (t *training) savesPerEpoch(s section, key string) {
	n, ok := s.whole(key, 1, 1000)
	switch _, steps := t.Axolotl["save_steps"]; {
	case !ok:
	case steps:
		s.refuse(key, "save_steps says it too: give one of them")
	default:
		t.Axolotl[key], t.Saves = n, key
	}
}

func (t *training) optimizer(s section, key string) {
	name, ok := s.text(key, "adamw_torch", "adamw_torch_fused", "adamw_hf", "adamw_bnb_8bit", "adamw_8bit",
		"paged_adamw_8bit", "paged_adamw_32bit")
	if !ok {
		return
	}
	if name == "adamw_hf" { // removed from transformers 5; the same arithmetic
		name = "adamw_torch"
	}
	t.Optimizer = name
}

// EightBit says whether the optimizer keeps its moments in one byte each.
func (t Training) EightBit() bool { return strings.HasSuffix(t.Optimizer, "8bit") }

// DoRA says whether the adapter is one of weights that are taken apart.
func (t Training) DoRA() bool {
	return t.Axolotl["peft_use_dora"] == true || t.Kaito["LoraConfig"]["use_dora"] == true
}

func (t *training) checkpointing(s section, key string) {
	if b, ok := s.yes(key); ok {
		t.NoCheckpointing = !b
	}
}

// split turns KAITO's share of training data into Axolotl's share of the rest.
func (t *training) split(s section, key string) {
	if n, ok := s.number(key, 0.01, 1); ok {
		t.Axolotl["val_set_size"] = math.Round((1-n)*1e6) / 1e6
	}
}

func (t *training) messages(s section, key string) {
	if name, ok := s.text(key); ok && name != "" {
		t.Format = &v1alpha1.DataFormat{Type: v1alpha1.RowsChat, Columns: &v1alpha1.DataColumns{Messages: name}}
	}
}

// context and response are columns that KAITO knows and does not read: together
// they say that a row is a prompt and its completion.
func (t *training) context(s section, key string) { t.pair(s, key, "response_column") }

func (t *training) response(s section, key string) { t.pair(s, key, "context_column") }

func (t *training) pair(s section, key, other string) {
	if _, ok := s.text(key); !ok {
		return
	}
	switch {
	case s.said("messages_column"):
		t.ignore(s, key, "messages_column says that a row is a conversation")
	case !s.said(other):
		t.ignore(s, key, "without "+other+" a row is a conversation")
	default:
		prompt, _ := s.values["context_column"].(string)
		completion, _ := s.values["response_column"].(string)
		t.Format = &v1alpha1.DataFormat{Type: v1alpha1.RowsPromptCompletion, Columns: &v1alpha1.DataColumns{Prompt: prompt, Completion: completion}}
	}
}

// ignore notes a key without effect, with why.
func (t *training) ignore(s section, key, why string) {
	if t.ignored == nil {
		t.ignoredLine = s.line(key)
	}
	t.ignored = append(t.ignored, s.name()+"."+key+" ("+why+")")
}

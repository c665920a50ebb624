// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// formatted is training data whose rows are of a format.
func formatted(format string) string {
	return "    input: {urls: ['https://data.example.com/a'], format: {" + format + "}}\n"
}

func TestValidateRuns(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"Method": {
			reason: "KAITO compares without case; the native form has one spelling.",
			text:   header + onA100 + strings.Replace(tunes, "qlora", "QLoRA", 1) + fromURL + intoClaim,
			want:   []string{"8: error: spec.tuning.method: write it in lower case: qlora (NotOneOf)"},
		},
		"NoInput": {
			reason: "There is nothing to train on.",
			text:   header + onA100 + tunes + "    input: {pullSecrets: [a]}\n" + intoClaim,
			want:   []string{"9: error: spec.tuning.input: name the training data: exactly one of urls, claim, image and files is required (InputMissing)"},
		},
		"TwoInputs": {
			reason: "Exactly one, as the CRD has it.",
			text:   header + onA100 + tunes + "    input: {claim: a, image: 'registry.example.com/a/b:1'}\n" + intoClaim,
			want:   []string{"9: error: spec.tuning.input: exactly one of urls, claim, image and files is possible: keep one (InputAmbiguous)"},
		},
		"ManyURLs": {
			reason: "A bound on what one run downloads.",
			text:   header + onA100 + tunes + "    input: {urls: [" + strings.Join(numbered(65, "'https://data.example.com/%d'"), ", ") + "]}\n" + intoClaim,
			want:   []string{"9: error: spec.tuning.input.urls: at most 64 are possible, found 65 (OutOfRange)"},
		},
		"NoOutput": {
			reason: "The adapter would be lost.",
			text:   header + onA100 + tunes + fromURL + "    output: {}\n",
			want:   []string{"10: error: spec.tuning.output: say where the adapter goes: exactly one of image and claim is required (OutputMissing)"},
		},
		"TwoOutputs": {
			reason: "Exactly one, as the CRD has it.",
			text:   header + onA100 + tunes + fromURL + "    output: {claim: a, image: 'registry.example.com/a/b:1', pushSecret: p}\n",
			want:   []string{"10: error: spec.tuning.output: exactly one of image and claim is possible: keep one (OutputAmbiguous)"},
		},
		"NoPushSecret": {
			reason: "The run would be paid for and its result refused.",
			text:   header + onA100 + tunes + fromURL + "    output: {image: 'registry.example.com/a/b:1'}\n",
			want: []string{"10: error: spec.tuning.output: image needs pushSecret: a Secret of type kubernetes.io/dockerconfigjson " +
				"that may push there (PushSecretMissing)"},
		},
		"SignedClaim": {
			reason: "cosign signs images.",
			text:   header + onA100 + tunes + fromURL + "    output: {claim: a, signingSecret: key}\n",
			want:   []string{"10: error: spec.tuning.output.signingSecret: a signature is of an image: name image, or remove signingSecret (SigningImpossible)"},
		},
		"HeldOutBesideClaim": {
			reason: "A claim is mounted, and nothing is downloaded beside it.",
			text:   header + onA100 + tunes + "    input: {claim: data}\n" + intoClaim + "    evaluation: {urls: ['https://data.example.com/b.jsonl']}\n",
			want:   []string{"11: error: spec.tuning.evaluation.urls: files are downloaded beside those of input.urls, and the training data is none: hold a part of it out by split (EvaluationInvalid)"},
		},
		"HeldOutByAnAddressWithin": {
			reason: "It is an address as those of the training data are.",
			text:   header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {urls: ['http://169.254.169.254/b.jsonl']}\n",
			want:   []string{"11: error: spec.tuning.evaluation.urls[0]: this is a link-local address, such as the cloud's metadata service has: training data comes from a public address, an image or a claim (URLForbidden)"},
		},
		"Thresholds": {
			reason: "Each says what it wants to be.",
			text:   header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {split: half, maxLoss: low, minImprovement: '10', tasks: [{name: 'a b', metric: 'c d', minimum: much}]}\n",
			want: []string{
				`11: error: spec.tuning.evaluation.maxLoss: want a loss as digits with at most 4 decimals, in quotes: "1.25" (EvaluationInvalid)`,
				"11: error: spec.tuning.evaluation.minImprovement: want by how much of the base model's loss the adapter's must be lower, such as 10%; 0% forbids a higher one (EvaluationInvalid)",
				`11: error: spec.tuning.evaluation.split: want a share above 0% and below 100% such as 5%, or a number of rows such as "200" (EvaluationInvalid)`,
				"11: error: spec.tuning.evaluation.tasks[0].metric: want a metric of the task such as exact_match, and behind a comma the filter where it has several: exact_match,flexible-extract (EvaluationInvalid)",
				`11: error: spec.tuning.evaluation.tasks[0].minimum: want a score as digits with at most 4 decimals, in quotes: "0.40" (EvaluationInvalid)`,
				"11: error: spec.tuning.evaluation.tasks[0].name: want the name of a task as `lm-eval ls tasks` lists it, such as gsm8k (EvaluationInvalid)",
			},
		},
		"Queue": {reason: "A run may wait in a queue.", text: header + onA100 + "  queue: team-a\n" + tunes + fromURL + intoClaim},
		"QueuedServer": {
			reason: "Kueue could only take a service away.", text: header + onA100 + "  queue: team-a\n" + serves,
			want: []string{"6: error: spec.queue: a service is not queued: it runs until Git says otherwise, and Kueue could only take it away; remove queue, and bound the service by budget (QueueUnsupported)"},
		},
		"Rows": {
			reason: "Columns of its type, and a text that has the question.",
			text:   header + onA100 + tunes + formatted("type: Instruction, columns: {instruction: q, output: a}, prompt: \"Q {instruction}\\nC {input}\"") + intoClaim,
		},
		"RowsOfAxolotl": {
			reason: "Axolotl's own name of the type leads to ours.",
			text:   header + onA100 + tunes + formatted("type: alpaca") + intoClaim,
			want:   []string{"9: error: spec.tuning.input.format.type: write Instruction (NotOneOf)"},
		},
		"OtherColumn": {
			reason: "A column that rows of the type do not have would be ignored.",
			text:   header + onA100 + tunes + formatted("type: Text, columns: {messages: m}") + intoClaim,
			want:   []string{"9: error: spec.tuning.input.format.columns.messages: a row of type Text has no such column: it has text (FormatInvalid)"},
		},
		"FixedColumns": {
			reason: "Axolotl knows them by no other names.",
			text:   header + onA100 + tunes + formatted("type: Segments, columns: {text: m}") + intoClaim,
			want:   []string{"9: error: spec.tuning.input.format.columns.text: the columns of rows of type Segments have fixed names: remove it (FormatInvalid)"},
		},
		"SameColumn": {
			reason: "The question would be trained as its own answer.",
			text:   header + onA100 + tunes + formatted("type: Instruction, columns: {output: instruction}") + intoClaim,
			want:   []string{`9: error: spec.tuning.input.format.columns: instruction and output are the same column "instruction": name another for one of them (FormatInvalid)`},
		},
		"NoQuestion": {
			reason: "A row without input would lose its question.",
			text:   header + onA100 + tunes + formatted("type: Instruction, prompt: '{instruction} {input}'") + intoClaim,
			want:   []string{"9: error: spec.tuning.input.format.prompt: the question would be missing: put {instruction} into a line of its own, apart from {input} (FormatInvalid)"},
		},
		"InputLeftOut": {
			reason: "A column that is named and not used.",
			text:   header + onA100 + tunes + formatted("type: Instruction, columns: {input: c}, prompt: '{instruction}'") + intoClaim,
			want:   []string{"9: error: spec.tuning.input.format.prompt: columns.input is named and would be left out: put {input} into the text, or remove columns.input (FormatInvalid)"},
		},
		"PromptOfText": {
			reason: "Plain text is written into nothing.",
			text:   header + onA100 + tunes + formatted("type: Text, prompt: '{instruction}'") + intoClaim,
			want:   []string{"9: error: spec.tuning.input.format.prompt: only rows of type Instruction are written into a text: remove it (FormatInvalid)"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(judge(c.text))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

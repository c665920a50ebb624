// SPDX-License-Identifier: Apache-2.0

package kaito_test

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// document builds a kaito.sh/v1beta1 Workspace: what every one needs, and body.
func document(body string) string {
	return `apiVersion: kaito.sh/v1beta1
kind: Workspace
metadata: {name: ws}
resource: {instanceType: Standard_NC24ads_A100_v4, labelSelector: {matchLabels: {app: ws}}}
` + strings.TrimPrefix(body, "\n")
}

const (
	serving = "inference: {preset: {name: phi-4}}\n"
	output  = "  output: {image: registry.example.com/models/a:1, imagePushSecret: push}\n"
	tuned   = "tuning:\n  preset: {name: phi-4}\n  method: qlora\n"
)

// said is what Decode finds on a document, as LINE SEVERITY CODE.
func said(doc string) []string {
	docs := repolayout.Split("ws.yaml", []byte(doc))
	_, findings := repolayout.Decode(docs[0].Text, docs[0])
	var out []string
	for _, f := range findings {
		out = append(out, fmt.Sprintf("%d %s %s", f.Line, f.Severity, f.Code))
	}
	return out
}

// The rules of KAITO's admission (reference: its api/v1beta1 validation), one
// by one: what it refuses is refused here or is said to work, and why.
func TestAdmissionRules(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		doc    string
		want   []string
	}{
		"NameNoLabel": {
			reason: "KAITO wants a DNS label; ours is shorter, because names are made from it.",
			doc:    strings.Replace(document(serving), "name: ws", "name: w.s", 1),
			want:   []string{"3 error NameInvalid"},
		},
		"NeitherTask": {
			reason: "A Workspace without inference or tuning does nothing.",
			doc:    document(""),
			want:   []string{"1 error TaskMissing"},
		},
		"BothTasks": {
			reason: "One Workspace has one task, so that its status can say whether it is done.",
			doc:    document(serving + tuned + "  input: {urls: ['https://data.example.com/a']}\n" + output),
			want:   []string{"6 error TaskAmbiguous"},
		},
		"NoInstanceType": {
			reason: "v1beta1 has no default: KAITO takes it where the nodes exist, and the RepoSync says what those are like.",
			doc:    strings.Replace(document(serving), "instanceType: Standard_NC24ads_A100_v4, ", "", 1),
		},
		"ImageFamilyUnknown": {
			reason: "KAITO has a value set for it and refuses others.",
			doc:    strings.Replace(document(serving), "name: ws", "name: ws, annotations: {kaito.sh/node-image-family: windows}", 1),
			want:   []string{"3 error AnnotationInvalid"},
		},
		"PerformanceModeUnknown": {
			reason: "KAITO has a value set for it and refuses others.",
			doc:    strings.Replace(document(serving), "name: ws", "name: ws, annotations: {kaito.sh/performance-mode: quick}", 1),
			want:   []string{"3 error AnnotationInvalid"},
		},
		"LocalWeightsNoBoolean": {
			reason: "KAITO has a value set for it and refuses others.",
			doc:    strings.Replace(document(serving), "name: ws", "name: ws, annotations: {kaito.sh/use-local-weights: 'yes'}", 1),
			want:   []string{"3 error AnnotationInvalid"},
		},
		"NeitherPresetNorTemplate": {
			reason: "There is no model to serve.",
			doc:    document("inference: {config: c}\n"),
			want:   []string{"5 error PresetMissing"},
		},
		"PresetAndTemplate": {
			reason: "KAITO refuses both, and so does Espalier: which of them would run?",
			doc:    document("inference: {preset: {name: phi-4}, template: {spec: {}}}\n"),
			want:   []string{"5 error TemplateInvalid"},
		},
		"Transformers": {
			reason: "The engine is a runtime of its own; which image it is in, the RepoSync says.",
			doc:    transformers(serving),
		},
		"TransformersStrength": {
			reason: "Adapters are merged, each with its weight.",
			doc:    transformers(serving[:len(serving)-2] + ", adapters: [{source: {name: a, image: 'registry.example.com/a/b:1'}, strength: '.5'}]}\n"),
			want:   []string{"5 warning AdapterLayout"},
		},
		"TransformersStrengthTooBig": {
			reason: "KAITO refuses it when the Workspace changes, and merges with any weight at first.",
			doc:    transformers(serving[:len(serving)-2] + ", adapters: [{source: {name: a, image: 'registry.example.com/a/b:1'}, strength: '2'}]}\n"),
			want:   []string{"5 error AdapterStrength", "5 warning AdapterLayout"},
		},
		"TransformersConfig": {
			reason: "The command that KAITO builds has no place for it.",
			doc:    transformers(serving[:len(serving)-2] + ", config: c}\n"),
			want:   []string{"5 warning DeadField"},
		},
		"TransformersNodes": {
			reason: "KAITO's admission refuses several nodes with it.",
			doc:    strings.Replace(transformers(serving), "resource: {", "resource: {count: 2, ", 1),
			want:   []string{"4 error OutOfRange"},
		},
		"StrengthWithVLLM": {
			reason: "KAITO refuses strength under its default runtime.",
			doc:    document(serving[:len(serving)-2] + ", adapters: [{source: {name: a, image: 'registry.example.com/a/b:1'}, strength: '0.5'}]}\n"),
			want:   []string{"5 error AdapterStrength", "5 warning AdapterLayout"},
		},
		"AdapterNamesTwice": {
			reason: "Requests name the adapter, so two of one name cannot be told apart.",
			doc: document(`
inference:
  preset: {name: phi-4}
  adapters:
  - source: {name: a, image: "registry.example.com/a/b:1"}
  - source: {name: a, image: "registry.example.com/a/c:1"}
`),
			want: []string{"8 warning AdapterLayout", "9 error AdapterDuplicate"},
		},
		"ElevenAdapters": {
			reason: "KAITO stops at ten; vLLM does not, and the native form allows 32.",
			doc:    document("inference:\n  preset: {name: phi-4}\n  adapters:\n" + adapters(11)),
			want:   []string{"8 warning AdapterLayout"},
		},
		"AdapterWithoutSource": {
			reason: "KAITO's admission panics on it; here it is a sentence.",
			doc:    document("inference: {preset: {name: phi-4}, adapters: [{}]}\n"),
			want:   []string{"5 error AdapterSource"},
		},
		"SelectorNotIn": {
			reason: "The labels are put on nodes, so only one value of each is possible.",
			doc:    strings.Replace(document(serving), "{matchLabels: {app: ws}}", "{matchExpressions: [{key: app, operator: NotIn, values: [a]}]}", 1),
			want:   []string{"4 error SelectorUnsupported"},
		},
		"SelectorContradiction": {
			reason: "No node has two values of one label.",
			doc:    strings.Replace(document(serving), "{matchLabels: {app: ws}}", "{matchLabels: {app: ws}, matchExpressions: [{key: app, operator: In, values: [b]}]}", 1),
			want:   []string{"4 error SelectorUnsupported"},
		},
		"PartitionWhileProvisioning": {
			reason: "KAITO refuses partitions while provisioning is on, and here slices belong to a pool.",
			doc:    strings.Replace(document(serving), "resource: {", "resource: {partition: {mode: accelerator, count: 2}, ", 1),
			want:   []string{"4 error PartitionGPU"},
		},
		"RetiredSizePasses": {
			reason: "Whether a size can be had is a matter of the catalogue, not of the form.",
			doc:    strings.Replace(document(serving), "Standard_NC24ads_A100_v4", "Standard_NC6s_v3", 1),
			want:   nil,
		},
		"TuningOnTwoNodes": {
			reason: "KAITO refuses it, and a run is one Job here as well.",
			doc: strings.Replace(document(tuned+"  input: {urls: ['https://data.example.com/a']}\n"+output),
				"resource: {", "resource: {count: 2, ", 1),
			want: []string{"4 error MultiNodeTuning"},
		},
		"MethodUnknown": {
			reason: "There are two methods.",
			doc:    document(strings.Replace(tuned, "qlora", "dora", 1) + "  input: {urls: ['https://data.example.com/a']}\n" + output),
			want:   []string{"7 error NotOneOf"},
		},
		"MethodInCapitals": {
			reason: "KAITO accepts it and then misrenders; here it means what it says.",
			doc:    document(strings.Replace(tuned, "qlora", "QLoRA", 1) + "  input: {urls: ['https://data.example.com/a']}\n" + output),
			want:   []string{"7 warning NotOneOf"},
		},
		"InputMissing": {
			reason: "Without data there is nothing to train on.",
			doc:    document(tuned + "  input: {name: data}\n" + output),
			want:   []string{"8 error InputMissing"},
		},
		"InputTwice": {
			reason: "Exactly one source, as KAITO has it.",
			doc:    document(tuned + "  input: {urls: ['https://data.example.com/a'], image: 'registry.example.com/a/b:1'}\n" + output),
			want:   []string{"8 error InputAmbiguous"},
		},
		"OutputMissing": {
			reason: "An adapter that goes nowhere is lost.",
			doc:    document(tuned + "  input: {urls: ['https://data.example.com/a']}\n  output: {}\n"),
			want:   []string{"9 error OutputMissing"},
		},
		"NoPushSecret": {
			reason: "The run would end in a refused push, after it was paid for.",
			doc:    document(tuned + "  input: {urls: ['https://data.example.com/a']}\n  output:\n    image: registry.example.com/a/b:1\n"),
			want:   []string{"9 error PushSecretMissing"},
		},
		"OutputReadOnly": {
			reason: "KAITO takes it and the run fails when it is done.",
			doc: document(tuned + "  input: {urls: ['https://data.example.com/a']}\n" +
				"  output:\n    volumeSource:\n      persistentVolumeClaim: {claimName: a, readOnly: true}\n"),
			want: []string{"11 error VolumeUnsupported"},
		},
		"CapitalsInImage": {
			reason: "No registry takes a repository name with capitals.",
			doc: document(tuned + "  input: {urls: ['https://data.example.com/a']}\n" +
				"  output: {image: registry.example.com/Models/A:1, imagePushSecret: push}\n"),
			want: []string{"9 error ImageInvalid"},
		},
		"URLToMetadata": {
			reason: "KAITO v1beta1 refuses addresses within the cluster's network, v1alpha1 forgets to.",
			doc:    document(tuned + "  input:\n    urls:\n    - https://data.example.com/a\n    - http://169.254.169.254/token\n" + output),
			want:   []string{"11 error URLForbidden"},
		},
		"PresetMissingInTuning": {
			reason: "There is no model to tune.",
			doc:    document("tuning:\n  method: lora\n  input: {urls: ['https://data.example.com/a']}\n" + output),
			want:   []string{"5 error PresetMissing"},
		},
		"UnknownField": {
			reason: "KAITO's webhook refuses unknown fields too, but does not say which was meant.",
			doc:    document("inference: {presets: {name: phi-4}}\n"),
			want:   []string{"5 error UnknownField"},
		},
		"GatedWithoutSecret": {
			reason: "KAITO's rule is dead; whether a model is gated is the catalogue's to say, in check.",
			doc:    document("inference: {preset: {name: llama-3.1-8b-instruct}}\n"),
			want:   nil,
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, said(c.doc)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s\n%s", c.reason, diff, c.doc)
			}
		})
	}
}

func adapters(n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, "  - source: {name: a%d, image: 'registry.example.com/a/b:%d'}\n", i, i)
	}
	return b.String()
}

func TestField(t *testing.T) {
	for name, c := range map[string]struct {
		reason       string
		kind, native string
		want         string
	}{
		"Preset":       {"a name there, a mapping in KAITO", "Workspace", "spec.inference.preset", "inference.preset.name"},
		"Secret":       {"three levels down in KAITO", "Workspace", "spec.tuning.accessSecret", "tuning.preset.presetOptions.modelAccessSecret"},
		"AdapterImage": {"KAITO has a source between", "Workspace", "spec.inference.adapters[2].image", "inference.adapters[2].source.image"},
		"PullSecret":   {"another name, the index kept", "Workspace", "spec.inference.adapters[0].pullSecrets[1]", "inference.adapters[0].source.imagePullSecrets[1]"},
		"Claim":        {"a volume source in KAITO", "Workspace", "spec.tuning.input.claim", "tuning.input.volumeSource.persistentVolumeClaim.claimName"},
		"Candidate":    {"KAITO has a single one", "Workspace", "spec.resource.candidates[0].instanceType", "resource.instanceType"},
		"Plain":        {"the same but for spec", "Workspace", "spec.tuning.input.urls[3]", "tuning.input.urls[3]"},
		"Metadata":     {"the same everywhere", "Workspace", "metadata.labels[a/b]", "metadata.labels[a/b]"},
		"Whole":        {"KAITO's Workspace has no spec", "Workspace", "spec", ""},
		"SetReplicas":  {"outside the template", "InferenceSet", "spec.inference.replicas", "spec.replicas"},
		"SetSelector":  {"outside the template", "InferenceSet", "spec.resource.labelSelector.matchLabels[a/b]", "spec.labelSelector.matchLabels[a/b]"},
		"SetPreset":    {"within the template", "InferenceSet", "spec.inference.preset", "spec.template.inference.preset.name"},
		"SetMetadata":  {"the set's own", "InferenceSet", "metadata.name", "metadata.name"},
	} {
		t.Run(name, func(t *testing.T) {
			if got := kaito.Field(c.kind, c.native); got != c.want {
				t.Errorf("%s: got %q, want %q", c.reason, got, c.want)
			}
		})
	}
}

func TestConvert(t *testing.T) {
	w, problems := kaito.Convert([]byte(document(serving)))
	if w == nil || len(problems) > 0 {
		t.Fatalf("got %v", problems)
	}
	if got := w.Annotations[kaito.AnnotationConvertedFrom]; got != "kaito.sh/v1beta1 Workspace" {
		t.Errorf("the note of the origin is %q", got)
	}
	if w, problems := kaito.Convert([]byte("a: [")); w != nil || len(problems) != 1 || problems[0].Code != finding.InvalidYAML {
		t.Errorf("what is no YAML gives %v, %v", w, problems)
	}
}

// transformers is a document that KAITO's transformers engine serves.
func transformers(inference string) string {
	return strings.Replace(document(inference), "name: ws", "name: ws, annotations: {kaito.sh/runtime: transformers}", 1)
}

// SPDX-License-Identifier: Apache-2.0

package kaito_test

import (
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strconv"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/kaito"
)

// bases are good documents of each kind; a row of the audit changes one field.
var bases = map[string]string{
	"inference": `{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: ws}, resource: {instanceType: A100},
  inference: {preset: {name: phi-4}}}`,
	"pod": `{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: ws}, resource: {instanceType: A100},
  inference: {template: {spec: {containers: [{name: a, image: 'registry.example.com/own:1', ports: [{containerPort: 80}], resources: {limits: {nvidia.com/gpu: 1}}}]}}}}`,
	"tuning": `{apiVersion: kaito.sh/v1beta1, kind: Workspace, metadata: {name: ws}, resource: {instanceType: A100},
  tuning: {preset: {name: phi-4}, method: qlora, input: {urls: ['https://data.example.com/a.json']}, output: {image: 'registry.example.com/m/a:1', imagePushSecret: push}}}`,
	"set": `{apiVersion: kaito.sh/v1beta1, kind: InferenceSet, metadata: {name: ws},
  spec: {template: {resource: {instanceType: A100}, inference: {preset: {name: phi-4}}}}}`,
	"limited": `{apiVersion: kaito.sh/v1beta1, kind: InferenceSet, metadata: {name: ws},
  spec: {nodeCountLimit: 5, labelSelector: {matchLabels: {app: a}}, template: {resource: {instanceType: A100}, inference: {preset: {name: phi-4}}}}}`,
	"sliced": `{apiVersion: kaito.sh/v1beta1, kind: InferenceSet, metadata: {name: ws},
  spec: {labelSelector: {matchLabels: {app: a}}, template: {resource: {instanceType: A100}, inference: {preset: {name: phi-4}}}}}`,
}

// row is one field, annotation, label or rule of KAITO's API.
type row struct {
	base string // of bases
	// field is set to value, JSON; "null" removes it. "" changes nothing.
	field, value string
	// codes are the findings, an error with a leading !; none: it is accepted in
	// silence.
	codes []string
	// means is what the native form says then, as "path=JSON"; "" where it is
	// refused or says nothing of it.
	means string
	// old says what differs in v1alpha1: the codes there.
	old []string
}

// audit has a row for every field, annotation and label that KAITO v0.12 reads
// or has, and for the rules of its admission that a document alone shows. A name
// is the row's own; order is that of the reference.
var audit = map[string]row{
	"CountDefault":               {"inference", "resource.count", `1`, nil, `spec.resource.count=null`, nil},
	"CountOfInferenceIsDead":     {"inference", "resource.count", `3`, []string{"DeadField"}, `spec.resource.count=null`, nil},
	"CountZero":                  {"inference", "resource.count", `0`, []string{"!OutOfRange"}, "", nil},
	"CountOfTuning":              {"tuning", "resource.count", `2`, []string{"!MultiNodeTuning"}, "", nil},
	"InstanceType":               {"inference", "resource.instanceType", `"Standard_NC4as_T4_v3"`, nil, `spec.resource.instanceType="Standard_NC4as_T4_v3"`, nil},
	"InstanceTypeDefault":        {"inference", "resource.instanceType", `null`, []string{"!ResourceMissing"}, "", []string{}},
	"InstanceTypeExisting":       {"inference", "resource", `{"labelSelector":{"matchLabels":{"app":"a"}}}`, nil, "", nil},
	"LabelSelector":              {"inference", "resource.labelSelector", `{"matchLabels":{"app":"a"}}`, nil, `spec.resource.labelSelector={"matchLabels":{"app":"a"}}`, nil},
	"LabelSelectorIn":            {"inference", "resource.labelSelector", `{"matchExpressions":[{"key":"app","operator":"In","values":["a"]}]}`, nil, `spec.resource.labelSelector={"matchLabels":{"app":"a"}}`, nil},
	"LabelSelectorNotIn":         {"inference", "resource.labelSelector", `{"matchExpressions":[{"key":"app","operator":"NotIn","values":["a"]}]}`, []string{"!SelectorUnsupported"}, "", nil},
	"LabelSelectorTwoValues":     {"inference", "resource.labelSelector", `{"matchExpressions":[{"key":"app","operator":"In","values":["a","b"]}]}`, []string{"!SelectorUnsupported"}, "", nil},
	"LabelSelectorOwnKey":        {"inference", "resource.labelSelector", `{"matchLabels":{"kaito.sh/workspace":"a","app":"a"}}`, []string{"LabelReserved"}, `spec.resource.labelSelector={"matchLabels":{"app":"a"}}`, nil},
	"LabelSelectorOwnExpression": {"inference", "resource.labelSelector", `{"matchExpressions":[{"key":"kaito.sh/workspace","operator":"In","values":["a"]}]}`, []string{"LabelReserved"}, `spec.resource.labelSelector=null`, nil},
	"PreferredNodes":             {"inference", "resource.preferredNodes", `["node-1"]`, []string{"DeadField"}, "", nil},
	"PartitionMIG":               {"inference", "resource", existing(`{"mode":"mig","profile":"1g.10gb"}`), nil, `spec.resource.mig="1g.10gb"`, []string{"!OtherVersionField"}},
	"PartitionMIGAlone":          {"inference", "resource", existing(`{"mode":"mig"}`), []string{"!PartitionGPU"}, "", []string{"!OtherVersionField"}},
	"PartitionMIGCount":          {"inference", "resource", existing(`{"mode":"mig","profile":"1g.10gb","count":1}`), []string{"!PartitionGPU"}, "", []string{"!OtherVersionField"}},
	"PartitionMIGUnknown":        {"inference", "resource", existing(`{"mode":"mig","profile":"half"}`), []string{"!NotOneOf"}, "", []string{"!OtherVersionField"}},
	"PartitionAccelerator":       {"inference", "resource", existing(`{"mode":"accelerator","count":2}`), nil, `spec.resource.gpus=2`, []string{"!OtherVersionField"}},
	"PartitionAcceleratorAlone":  {"inference", "resource", existing(`{"mode":"accelerator"}`), []string{"!OutOfRange"}, "", []string{"!OtherVersionField"}},
	"PartitionProfile":           {"inference", "resource", existing(`{"mode":"accelerator","count":2,"profile":"1g.10gb"}`), []string{"!PartitionGPU"}, "", []string{"!OtherVersionField"}},
	"PartitionMode":              {"inference", "resource", existing(`{"mode":"share","count":2}`), []string{"!NotOneOf"}, "", []string{"!OtherVersionField"}},
	"PartitionBought":            {"inference", "resource.partition", `{"mode":"accelerator","count":1}`, []string{"!PartitionGPU"}, "", []string{"!OtherVersionField"}},
	"PartitionTuning":            {"tuning", "resource.partition", `{"mode":"accelerator","count":1}`, []string{"!PartitionGPU"}, "", []string{"!OtherVersionField"}},

	"PresetShortName":          {"inference", "inference.preset.name", `"phi-4-mini-instruct"`, nil, `spec.inference.preset="phi-4-mini-instruct"`, nil},
	"PresetRepository":         {"inference", "inference.preset.name", `"microsoft/phi-4"`, nil, `spec.inference.preset="microsoft/phi-4"`, nil},
	"PresetNameMissing":        {"inference", "inference.preset.name", `null`, []string{"!PresetMissing"}, "", nil},
	"PresetMissing":            {"inference", "inference.preset", `null`, []string{"!PresetMissing"}, "", nil},
	"AccessModePublic":         {"inference", "inference.preset.accessMode", `"public"`, []string{"DeadField"}, "", nil},
	"AccessModePrivate":        {"inference", "inference.preset.accessMode", `"private"`, []string{"DeadField"}, "", nil},
	"PresetImage":              {"inference", "inference.preset.presetOptions", `{"image":"registry.example.com/a:1"}`, []string{"DeadField"}, "", nil},
	"PresetImageSecrets":       {"inference", "inference.preset.presetOptions", `{"imagePullSecrets":["a"]}`, []string{"DeadField"}, "", nil},
	"ModelAccessSecret":        {"inference", "inference.preset.presetOptions", `{"modelAccessSecret":"hf"}`, nil, `spec.inference.accessSecret="hf"`, []string{"!OtherVersionField"}},
	"ModelAccessSecretTune":    {"tuning", "tuning.preset.presetOptions", `{"modelAccessSecret":"hf"}`, nil, `spec.tuning.accessSecret="hf"`, []string{"!OtherVersionField"}},
	"ModelWeightsPVC":          {"inference", "inference.preset.presetOptions", `{"modelWeightsPVC":"a"}`, nil, `spec.inference.cache={"claim":"a","path":"."}`, nil},
	"ModelWeightsFolder":       {"inference", "inference.preset.presetOptions", `{"modelWeightsPVC":"a","modelWeightsSubPath":"b/c"}`, nil, `spec.inference.cache={"claim":"a","path":"b/c"}`, nil},
	"ModelWeightsOutside":      {"inference", "inference.preset.presetOptions", `{"modelWeightsPVC":"a","modelWeightsSubPath":"../c"}`, []string{"!CacheInvalid"}, "", nil},
	"ModelWeightsTuning":       {"tuning", "tuning.preset.presetOptions", `{"modelWeightsPVC":"a"}`, []string{"!WeightsClaim"}, "", nil},
	"ModelWeightsSubPath":      {"inference", "inference.preset.presetOptions", `{"modelWeightsSubPath":"a"}`, []string{"!WeightsClaim"}, "", nil},
	"TemplateEmpty":            {"pod", "inference.template", `{"spec":{"containers":[]}}`, []string{"!TemplateInvalid"}, "", nil},
	"TemplateTypo":             {"pod", "inference.template", `{"spec":{"container":[]}}`, []string{"!UnknownField"}, "", nil},
	"TemplatePort":             {"pod", "inference.template", `{"spec":{"containers":[{"name":"a","image":"registry.example.com/own:1","resources":{"limits":{"nvidia.com/gpu":1}}}]}}`, []string{"ProbeMissing"}, `spec.inference.template={"spec":{"containers":[{"image":"registry.example.com/own:1","name":"a","ports":[{"containerPort":5000}],"resources":{"limits":{"nvidia.com/gpu":1}}}]}}`, nil},
	"TemplateCount":            {"pod", "resource.count", `3`, []string{"ProbeMissing"}, `spec.inference.replicas=3`, nil},
	"TemplateCountNone":        {"pod", "resource.count", `0`, []string{"!OutOfRange", "ProbeMissing"}, "", nil},
	"TemplateWithPreset":       {"pod", "inference.preset", `{"name":"phi-4"}`, []string{"!TemplateInvalid"}, "", nil},
	"TemplateWithConfig":       {"pod", "inference.config", `"serving"`, []string{"!TemplateInvalid", "ProbeMissing"}, "", nil},
	"Config":                   {"inference", "inference.config", `"serving"`, nil, `spec.inference.config="serving"`, nil},
	"ConfigInline":             {"inference", "inference.config", `{"vllm":{}}`, []string{"!WrongType"}, "", nil},
	"AdapterImage":             {"inference", "inference.adapters", `[{"source":{"name":"a","image":"registry.example.com/m/a:1","imagePullSecrets":["pull"]}}]`, []string{"AdapterLayout"}, `spec.inference.adapters=[{"image":"registry.example.com/m/a:1","name":"a","pullSecrets":["pull"]}]`, nil},
	"AdapterURLs":              {"inference", "inference.adapters", `[{"source":{"name":"a","urls":["https://models.example.com/a/adapter_config.json#sha256=0000000000000000000000000000000000000000000000000000000000000000","https://models.example.com/a/adapter_model.safetensors#sha256=1111111111111111111111111111111111111111111111111111111111111111"]}}]`, []string{"AdapterSource"}, `spec.inference.adapters=[{"name":"a","urls":["https://models.example.com/a/adapter_config.json#sha256=0000000000000000000000000000000000000000000000000000000000000000","https://models.example.com/a/adapter_model.safetensors#sha256=1111111111111111111111111111111111111111111111111111111111111111"]}]`, nil},
	"AdapterURLArchive":        {"inference", "inference.adapters", `[{"source":{"name":"a","urls":["https://models.example.com/a.zip"]}}]`, []string{"!AdapterSource", "!AdapterSource", "AdapterNotPinned", "AdapterSource"}, "", nil},
	"AdapterVolume":            {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"persistentVolumeClaim":{"claimName":"a"}}}}]`, nil, `spec.inference.adapters=[{"claim":"a","name":"a"}]`, nil},
	"AdapterVolumeReadOnly":    {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"persistentVolumeClaim":{"claimName":"a","readOnly":true}}}}]`, nil, `spec.inference.adapters=[{"claim":"a","name":"a"}]`, nil},
	"AdapterVolumeImage":       {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"image":{"reference":"registry.example.com/m/a:1"}}}}]`, nil, `spec.inference.adapters=[{"image":"registry.example.com/m/a:1","name":"a"}]`, nil},
	"AdapterVolumeHostPath":    {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"hostPath":{"path":"/a"}}}}]`, []string{"!HostAccess"}, "", nil},
	"AdapterVolumeEmptyDir":    {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"emptyDir":{}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeConfigMap":   {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"configMap":{"name":"a"}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeSecret":      {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"secret":{"secretName":"a"}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeProjected":   {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"projected":{"sources":[{"configMap":{"name":"a"}}]}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeDownwardAPI": {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"downwardAPI":{"items":[]}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeNFS":         {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"nfs":{"server":"nfs.example.com","path":"/a"}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeCSI":         {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"csi":{"driver":"file.csi.azure.com"}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeAzureFile":   {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"azureFile":{"secretName":"a","shareName":"b"}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeEphemeral":   {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{"ephemeral":{"volumeClaimTemplate":{"spec":{}}}}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterVolumeNone":        {"inference", "inference.adapters", `[{"source":{"name":"a","volumeSource":{}}}]`, []string{"!VolumeUnsupported"}, "", nil},
	"AdapterWithoutSource":     {"inference", "inference.adapters", `[{}]`, []string{"!AdapterSource"}, "", nil},
	"AdapterWithoutName":       {"inference", "inference.adapters", `[{"source":{"image":"registry.example.com/m/a:1"}}]`, []string{"!AdapterInvalid", "AdapterLayout"}, "", nil},
	"AdapterName":              {"inference", "inference.adapters", `[{"source":{"name":"A_b","image":"registry.example.com/m/a:1"}}]`, []string{"!AdapterInvalid", "AdapterLayout"}, "", nil},
	"AdapterTwice":             {"inference", "inference.adapters", `[{"source":{"name":"a","image":"registry.example.com/m/a:1"}},{"source":{"name":"a","image":"registry.example.com/m/b:1"}}]`, []string{"!AdapterDuplicate", "AdapterLayout"}, "", nil},
	"AdapterStrengthOne":       {"inference", "inference.adapters", `[{"strength":"1.0","source":{"name":"a","image":"registry.example.com/m/a:1"}}]`, []string{"AdapterLayout", "AdapterStrength"}, "", nil},
	"AdapterStrength":          {"inference", "inference.adapters", `[{"strength":"0.5","source":{"name":"a","image":"registry.example.com/m/a:1"}}]`, []string{"!AdapterStrength", "AdapterLayout"}, "", nil},
	"AdapterVolumeKey":         {"inference", "inference.adapters", `[{"source":{"name":"a","volume":{}}}]`, []string{"!UnknownField"}, "", nil},

	"TuningPreset":           {"tuning", "tuning.preset.name", `"phi-3-mini-128k-instruct"`, nil, `spec.tuning.preset="phi-3-mini-128k-instruct"`, nil},
	"TuningPresetMissing":    {"tuning", "tuning.preset", `null`, []string{"!PresetMissing"}, "", nil},
	"Method":                 {"tuning", "tuning.method", `"lora"`, nil, `spec.tuning.method="lora"`, nil},
	"MethodCapitals":         {"tuning", "tuning.method", `"QLoRA"`, []string{"NotOneOf"}, `spec.tuning.method="qlora"`, nil},
	"MethodUnknown":          {"tuning", "tuning.method", `"full"`, []string{"!NotOneOf"}, "", nil},
	"MethodMissing":          {"tuning", "tuning.method", `null`, []string{"!NotOneOf"}, "", nil},
	"TuningConfig":           {"tuning", "tuning.config", `"training"`, nil, `spec.tuning.config="training"`, nil},
	"InputURLs":              {"tuning", "tuning.input.urls", `["https://data.example.com/b.json"]`, nil, `spec.tuning.input.urls=["https://data.example.com/b.json"]`, nil},
	"InputName":              {"tuning", "tuning.input.name", `"data"`, nil, "", nil},
	"InputImage":             {"tuning", "tuning.input", `{"image":"registry.example.com/d/a:1","imagePullSecrets":["pull"]}`, nil, `spec.tuning.input={"image":"registry.example.com/d/a:1","pullSecrets":["pull"]}`, nil},
	"InputVolume":            {"tuning", "tuning.input", `{"volumeSource":{"persistentVolumeClaim":{"claimName":"data"}}}`, nil, `spec.tuning.input={"claim":"data"}`, nil},
	"InputHostPath":          {"tuning", "tuning.input", `{"volumeSource":{"hostPath":{"path":"/data"}}}`, []string{"!HostAccess"}, "", nil},
	"InputEmptyDir":          {"tuning", "tuning.input", `{"volumeSource":{"emptyDir":{}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputConfigMap":         {"tuning", "tuning.input", `{"volumeSource":{"configMap":{"name":"data","items":[{"key":"a","path":"train.jsonl"}]}}}`, nil, `spec.tuning.input={"files":[{"configMap":"data","items":[{"key":"a","path":"train.jsonl"}]}]}`, nil},
	"InputSecret":            {"tuning", "tuning.input", `{"volumeSource":{"secret":{"secretName":"data"}}}`, nil, `spec.tuning.input={"files":[{"secret":"data"}]}`, nil},
	"InputProjected":         {"tuning", "tuning.input", `{"volumeSource":{"projected":{"sources":[{"configMap":{"name":"a"}},{"secret":{"name":"b"}}]}}}`, nil, `spec.tuning.input={"files":[{"configMap":"a"},{"secret":"b"}]}`, nil},
	"InputProjectedToken":    {"tuning", "tuning.input", `{"volumeSource":{"projected":{"sources":[{"serviceAccountToken":{"path":"t"}}]}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputProjectedNothing":  {"tuning", "tuning.input", `{"volumeSource":{"projected":{}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputVolumeImage":       {"tuning", "tuning.input", `{"volumeSource":{"image":{"reference":"registry.example.com/d/a:1"}}}`, nil, `spec.tuning.input={"image":"registry.example.com/d/a:1"}`, nil},
	"InputEphemeral":         {"tuning", "tuning.input", `{"volumeSource":{"ephemeral":{"volumeClaimTemplate":{"spec":{}}}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputEphemeralSnapshot": {"tuning", "tuning.input", `{"volumeSource":{"ephemeral":{"volumeClaimTemplate":{"spec":{"dataSource":{"kind":"VolumeSnapshot","name":"a"}}}}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputNFS":               {"tuning", "tuning.input", `{"volumeSource":{"nfs":{"server":"nfs.example.com","path":"/a"}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputGitRepo":           {"tuning", "tuning.input", `{"volumeSource":{"gitRepo":{"repository":"https://git.example.com/a"}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputDownwardAPI":       {"tuning", "tuning.input", `{"volumeSource":{"downwardAPI":{"items":[]}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputTwoVolumes":        {"tuning", "tuning.input", `{"volumeSource":{"emptyDir":{},"configMap":{"name":"a"}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"InputClaimNameless":     {"tuning", "tuning.input", `{"volumeSource":{"persistentVolumeClaim":{"claimName":""}}}`, []string{"!ReferenceInvalid"}, "", nil},
	"InputMissing":           {"tuning", "tuning.input", `null`, []string{"!InputMissing"}, "", nil},
	"InputTwo":               {"tuning", "tuning.input.image", `"registry.example.com/d/a:1"`, []string{"!InputAmbiguous"}, "", nil},
	"InputUpperCase":         {"tuning", "tuning.input", `{"image":"registry.example.com/Data/a:1"}`, []string{"!ImageInvalid"}, "", nil},
	"InputScheme":            {"tuning", "tuning.input.urls", `["s3://bucket/a"]`, []string{"!URLInvalid"}, "", nil},
	"InputLocalhost":         {"tuning", "tuning.input.urls", `["http://localhost/a"]`, []string{"!URLForbidden"}, "", nil},
	"InputMetadata":          {"tuning", "tuning.input.urls", `["http://169.254.169.254/a"]`, []string{"!URLForbidden"}, "", nil},
	"InputPrivate":           {"tuning", "tuning.input.urls", `["http://10.0.0.1/a"]`, []string{"!URLForbidden"}, "", nil},
	"OutputImage":            {"tuning", "tuning.output.image", `"registry.example.com/m/b:2"`, nil, `spec.tuning.output={"image":"registry.example.com/m/b:2","pushSecret":"push"}`, nil},
	"OutputVolume":           {"tuning", "tuning.output", `{"volumeSource":{"persistentVolumeClaim":{"claimName":"out"}}}`, nil, `spec.tuning.output={"claim":"out"}`, nil},
	"OutputReadOnly":         {"tuning", "tuning.output", `{"volumeSource":{"persistentVolumeClaim":{"claimName":"out","readOnly":true}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"OutputEmptyDir":         {"tuning", "tuning.output", `{"volumeSource":{"emptyDir":{}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"OutputEphemeral":        {"tuning", "tuning.output", `{"volumeSource":{"ephemeral":{}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"OutputConfigMap":        {"tuning", "tuning.output", `{"volumeSource":{"configMap":{"name":"a"}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"OutputVolumeImage":      {"tuning", "tuning.output", `{"volumeSource":{"image":{"reference":"registry.example.com/d/a:1"}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"OutputHostPath":         {"tuning", "tuning.output", `{"volumeSource":{"hostPath":{"path":"/a"}}}`, []string{"!HostAccess"}, "", nil},
	"OutputNFS":              {"tuning", "tuning.output", `{"volumeSource":{"nfs":{"server":"nfs.example.com","path":"/a"}}}`, []string{"!VolumeUnsupported"}, "", nil},
	"OutputMissing":          {"tuning", "tuning.output", `null`, []string{"!OutputMissing"}, "", nil},
	"OutputTwo":              {"tuning", "tuning.output.volumeSource", `{"persistentVolumeClaim":{"claimName":"out"}}`, []string{"!OutputAmbiguous"}, "", nil},
	"OutputWithoutSecret":    {"tuning", "tuning.output.imagePushSecret", `null`, []string{"!PushSecretMissing"}, "", nil},
	"OutputUpperCase":        {"tuning", "tuning.output.image", `"registry.example.com/M/b:2"`, []string{"!ImageInvalid"}, "", nil},
	"PlaceholderRegistry":    {"tuning", "tuning.output.image", `"<YOUR_ACR>.azurecr.io/a:1"`, []string{"!Placeholder"}, "", nil},
	"PlaceholderMustache":    {"tuning", "tuning.output.image", `"{{ registry }}/a:1"`, []string{"!Placeholder"}, "", nil},
	"PlaceholderYours":       {"tuning", "tuning.output.image", `"your-registry.azurecr.io/a:1"`, []string{"!Placeholder"}, "", nil},
	"Status":                 {"inference", "status", `{"conditions":[]}`, []string{"ServerField"}, "", nil},
	"BothTasks":              {"tuning", "inference", `{"preset":{"name":"phi-4"}}`, []string{"!TaskAmbiguous"}, "", nil},
	"NoTask":                 {"inference", "inference", `null`, []string{"!TaskMissing"}, "", nil},
	"SpecWrapper":            {"inference", "spec", `{"inference":{}}`, []string{"!SpecWrapper"}, "", nil},
	"NameWithDots":           {"inference", "metadata.name", `"a.b"`, []string{"!NameInvalid"}, "", nil},
	"KindMisspelt":           {"inference", "kind", `"WorkSpace"`, []string{"!KindNotAllowed"}, "", nil},
	"VersionUnknown":         {"inference", "apiVersion", `"kaito.sh/v1"`, []string{"!VersionNotKnown"}, "", []string{"!VersionNotKnown"}},
	"GroupMisspelt":          {"inference", "apiVersion", `"kaito.io/v1beta1"`, []string{"!VersionNotKnown"}, "", []string{"!VersionNotKnown"}},
	"KindRAGEngine":          {"inference", "kind", `"RAGEngine"`, []string{"!KindNotSupported"}, "", nil},
	"KindMultiRole":          {"inference", "kind", `"MultiRoleInference"`, []string{"!KindNotSupported"}, "", nil},
	"KindModelMirror":        {"inference", "kind", `"ModelMirror"`, []string{"!KindNotSupported"}, "", nil},
	"MetadataLabels":         {"inference", "metadata.labels", `{"team":"a"}`, nil, `metadata.labels={"team":"a"}`, nil},
	"MetadataGenerateName":   {"inference", "metadata", `{"generateName":"a-"}`, []string{"!NameInvalid"}, "", nil},

	"LoadBalancer":        annotation("kaito.sh/enablelb", "True", "ExposedService"),
	"LoadBalancerLower":   annotation("kaito.sh/enablelb", "true", "AnnotationIgnored"),
	"RuntimeVLLM":         annotation("kaito.sh/runtime", "vllm"),
	"RuntimeTransformers": annotation("kaito.sh/runtime", "transformers"),
	"BypassChecks":        annotation("kaito.sh/bypass-resource-checks", "", "AnnotationIgnored"),
	"ImageFamily":         annotation("kaito.sh/node-image-family", "ubuntu", "AnnotationIgnored"),
	"ImageFamilyUnknown":  annotation("kaito.sh/node-image-family", "windows", "!AnnotationInvalid"),
	"NodeClass":           annotation("kaito.sh/node-class-name", "a", "AnnotationIgnored"),
	"DisableBenchmark":    annotation("kaito.sh/disable-benchmark", "true"),
	"RunBenchmark":        annotation("kaito.sh/run-benchmark", "true", "AnnotationIgnored"),
	"PerformanceMode":     {"inference", "metadata.annotations", `{"kaito.sh/performance-mode":"throughput"}`, nil, `spec.inference.performanceMode="throughput"`, nil},
	"PerformanceTuning":   {"tuning", "metadata.annotations", `{"kaito.sh/performance-mode":"throughput"}`, []string{"AnnotationIgnored"}, "", nil},
	"PerformanceUnknown":  annotation("kaito.sh/performance-mode", "quick", "!AnnotationInvalid"),
	"LocalWeights":        {"inference", "metadata.annotations", `{"kaito.sh/use-local-weights":"true"}`, nil, `spec.inference.weights={"local":"phi-4","stream":true}`, nil},
	"LocalWeightsTuning":  {"tuning", "metadata.annotations", `{"kaito.sh/use-local-weights":"true"}`, []string{"AnnotationIgnored"}, "", nil},
	"LocalWeightsNot":     annotation("kaito.sh/use-local-weights", "false"),
	"LocalWeightsUnknown": annotation("kaito.sh/use-local-weights", "yes", "!AnnotationInvalid"),
	"StreamingOff":        annotation("kaito.sh/model-streaming", "disabled"),
	"StreamingOther":      annotation("kaito.sh/model-streaming", "on", "AnnotationIgnored"),
	"MirrorStorageClass":  annotation("kaito.sh/model-mirror-storage-class", "a", "AnnotationIgnored"),
	"StreamingAccount":    annotation("kaito.sh/streaming-service-account", "a", "AnnotationIgnored"),
	"StaticMirror":        {"inference", "metadata.annotations", strings.Replace(mirror("byo", "https://a.api.azureml.ms/models/a/versions/1"), `,"kaito.sh/streaming-service-account":"reader"`, "", 1), nil, `spec.inference.weights={"registry":{"clientID":"01234567-89ab-cdef-0123-456789abcdef","url":"https://a.api.azureml.ms/models/a/versions/1"}}`, nil},
	"StaticMirrorRead":    {"inference", "metadata.annotations", mirror("byo", "https://a.api.azureml.ms/models/a/versions/1"), nil, "", nil},
	"StaticMirrorPublic":  {"inference", "metadata.annotations", mirror("public", "https://a.api.azureml.ms/registries/r/datarefs/a/versions/1"), nil, "", nil},
	"StaticMirrorOfAny":   {"inference", "metadata.annotations", mirror("byo", "https://evil.westus.cloudapp.azure.com/models/a/versions/1"), []string{"!WeightsInvalid"}, "", nil},
	"StaticMirrorOther":   {"inference", "metadata.annotations", mirror("public", "https://a.api.azureml.ms/models/a/versions/1"), []string{"!AnnotationInvalid"}, "", nil},
	"StaticMirrorHost":    {"inference", "metadata.annotations", mirror("byo", "https://example.com/models/a/versions/1"), []string{"!WeightsInvalid"}, "", nil},
	"StaticMirrorAlone":   annotation("inference.kaito.sh/static-model-mirror", "true", "!AnnotationInvalid"),
	"StaticMirrorOff":     annotation("inference.kaito.sh/static-model-mirror", "false", "AnnotationIgnored"),
	"StreamURL":           annotation("inference.kaito.sh/stream-datarefs-url", "a", "AnnotationIgnored"),
	"StreamIdentity":      annotation("inference.kaito.sh/stream-identity-client-id", "a", "AnnotationIgnored"),
	"StreamSource":        annotation("inference.kaito.sh/stream-source-type", "byo", "AnnotationIgnored"),
	"StreamSourceUnknown": {"inference", "metadata.annotations", `{"inference.kaito.sh/static-model-mirror":"true","inference.kaito.sh/stream-datarefs-url":"a","inference.kaito.sh/stream-identity-client-id":"a","inference.kaito.sh/stream-source-type":"b"}`, []string{"!AnnotationInvalid"}, "", nil},
	"WrittenHash":         annotation("workspace.kaito.io/hash", "a", "ServerField"),
	"WrittenRevision":     annotation("workspace.kaito.io/revision", "1", "ServerField"),
	"WrittenUpgrade":      annotation("kaito.sh/upgrade-start-time", "a", "ServerField"),
	"UnknownAnnotation":   annotation("kaito.sh/no-such", "a", "AnnotationIgnored"),
	"OtherAnnotation":     {"inference", "metadata.annotations", `{"team.example.com/a":"b"}`, nil, `metadata.annotations={"team.example.com/a":"b"}`, nil},
	"KEDA":                scaled(`"10"`, "", nil, `spec.inference.autoscale={"cooldownSeconds":600,"maxReplicas":5,"minReplicas":1,"waitingRequests":10}`),
	"KEDAMetric":          scaled(`"10"`, "vllm:num_requests_waiting", nil, `spec.inference.autoscale={"cooldownSeconds":600,"maxReplicas":5,"minReplicas":1,"waitingRequests":10}`),
	"KEDAOtherMetric":     scaled(`"10"`, "vllm:num_requests_running", []string{"AnnotationIgnored", "DeadField"}, `spec.inference.autoscale=null`),
	"KEDANoThreshold":     scaled(`""`, "", []string{"AnnotationIgnored", "DeadField"}, `spec.inference.autoscale=null`),
	"KEDANoLimit":         {"set", "metadata.annotations", `{"scaledobject.kaito.sh/auto-provision":"true","scaledobject.kaito.sh/threshold":"1"}`, []string{"AnnotationIgnored"}, `spec.inference.autoscale=null`, nil},
	"KEDAOff":             {"set", "metadata.annotations", `{"scaledobject.kaito.sh/threshold":"1"}`, []string{"AnnotationIgnored"}, `spec.inference.autoscale=null`, nil},
	"KEDAWorkspace":       annotation("scaledobject.kaito.sh/auto-provision", "true", "AnnotationIgnored"),

	"LabelWritten":      label("kaito.sh/workspace", "ServerField"),
	"LabelNamespace":    label("kaito.sh/workspacenamespace", "ServerField"),
	"LabelKarpenter":    label("karpenter.kaito.sh/workspace-name", "ServerField"),
	"LabelCreatedBy":    label("inferenceset.kaito.sh/created-by", "ServerField"),
	"LabelRole":         label("kaito.sh/inference-role", "!KindNotSupported"),
	"LabelUpgrade":      label("kaito.sh/upgrade-to-version", "AnnotationIgnored"),
	"SetReplicas":       {"set", "spec.replicas", `3`, nil, `spec.inference.replicas=3`, nil},
	"SetReplicasNone":   {"set", "spec.replicas", `null`, nil, `spec.inference.replicas=1`, nil},
	"SetReplicasZero":   {"set", "spec.replicas", `0`, nil, `spec.inference.replicas=0`, nil},
	"SetSelector":       {"set", "spec.labelSelector", `{"matchLabels":{"app":"a"}}`, nil, `spec.resource.labelSelector={"matchLabels":{"app":"a"}}`, nil},
	"SetNodeLimit":      {"set", "spec.nodeCountLimit", `3`, []string{"DeadField"}, "", nil},
	"SetUpdateStrategy": {"set", "spec.updateStrategy", `{"type":"RollingUpdate"}`, []string{"DeadField"}, "", nil},
	"SetAutoUpgrade":    {"set", "spec.autoUpgrade", `{"enabled":true,"strategy":"Surge","maintenanceWindow":{"schedule":"0 0 * * *","duration":"4h"}}`, []string{"UpgradePolicy"}, "", []string{"!OtherVersionField"}},
	"SetAutoUpgradeOff": {"set", "spec.autoUpgrade", `{"enabled":false}`, nil, "", []string{"!OtherVersionField"}},
	"SetMetadata":       {"set", "spec.template.metadata", `{"labels":{"team":"a"}}`, nil, `metadata.labels={"team":"a"}`, nil},
	"SetTemplateName":   {"set", "spec.template.metadata", `{"name":"a"}`, []string{"DeadField"}, "", nil},
	"SetInstanceType":   {"sliced", "spec.template.resource.instanceType", `null`, nil, `spec.resource.provider="existing"`, nil},
	"SetPartition":      {"sliced", "spec.template.resource", `{"partition":{"mode":"mig","profile":"2g.24gb"}}`, nil, `spec.resource.mig="2g.24gb"`, []string{"!OtherVersionField"}},
	"SetInference":      {"set", "spec.template.inference", `null`, []string{"!TaskMissing"}, "", nil},
	"SetAccessSecret":   {"set", "spec.template.inference.preset.presetOptions", `{"modelAccessSecret":"hf"}`, nil, `spec.inference.accessSecret="hf"`, nil},
	"SetWithoutSpec":    {"set", "spec", `null`, []string{"!SpecWrapper"}, "", nil},
}

func annotation(key, value string, codes ...string) row {
	return row{base: "inference", field: "metadata.annotations", value: fmt.Sprintf("{%q:%q}", key, value), codes: codes}
}

// existing is a resource on nodes that exist, with a partition.
func existing(partition string) string {
	return `{"labelSelector":{"matchLabels":{"app":"a"}},"partition":` + partition + `}`
}

// scaled is an InferenceSet that keda-kaito-scaler scales, within five nodes.
func scaled(threshold, metric string, codes []string, means string) row {
	annotations := `{"scaledobject.kaito.sh/auto-provision":"true","scaledobject.kaito.sh/threshold":` + threshold
	if metric != "" {
		annotations += `,"scaledobject.kaito.sh/metricName":"` + metric + `"`
	}
	return row{base: "limited", field: "metadata.annotations", value: annotations + "}", codes: codes, means: means}
}

func label(key string, codes ...string) row {
	return row{base: "inference", field: "metadata.labels", value: fmt.Sprintf("{%q:\"a\"}", key), codes: codes}
}

// TestAudit holds the converter to KAITO's API, row by row, in both versions:
// what KAITO accepts is accepted with the same meaning, or refused with the
// reason.
func TestAudit(t *testing.T) {
	for name, r := range audit {
		t.Run(name, func(t *testing.T) {
			r.judge(t, "v1beta1", r.codes)
			if r.old != nil {
				r.judge(t, "v1alpha1", r.old)
			} else {
				r.judge(t, "v1alpha1", r.codes)
			}
		})
	}
}

func (r row) judge(t *testing.T, version string, codes []string) {
	t.Helper()
	text := r.document(t, version)
	docs := repolayout.Split("ws.yaml", text)
	decoded, findings := repolayout.Decode(docs[0].Text, docs[0])
	got := []string{}
	for _, f := range findings {
		code := f.Code
		if f.Severity == finding.Error {
			code = "!" + code
		}
		got = append(got, code)
	}
	slices.Sort(got)
	codes = slices.Sorted(slices.Values(codes))
	if !slices.Equal(got, codes) {
		t.Errorf("%s %s=%s: got %v, want %v\n%v", version, r.field, r.value, got, codes, findings)
		return
	}
	if r.means == "" || finding.Refused(findings) {
		return
	}
	path, want, _ := strings.Cut(r.means, "=")
	if have := nativeValue(t, decoded, path); have != want {
		t.Errorf("%s %s=%s: %s is %s, want %s", version, r.field, r.value, path, have, want)
	}
}

func (r row) document(t *testing.T, version string) []byte {
	t.Helper()
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(bases[r.base]), &tree); err != nil {
		t.Fatal(err)
	}
	tree["apiVersion"] = "kaito.sh/" + version
	var value any
	if err := json.Unmarshal([]byte(r.value), &value); err != nil {
		t.Fatal(err)
	}
	at, steps := tree, strings.Split(r.field, ".")
	for _, step := range steps[:len(steps)-1] {
		at = at[step].(map[string]any)
	}
	last := steps[len(steps)-1]
	if at[last] = value; value == nil {
		delete(at, last)
	}
	text, err := yaml.Marshal(tree)
	if err != nil {
		t.Fatal(err)
	}
	return text
}

// nativeValue is the JSON of a field of the native form.
func nativeValue(t *testing.T, d repolayout.Decoded, path string) string {
	t.Helper()
	text, err := repolayout.Encode(d)
	if err != nil {
		t.Fatal(err)
	}
	var value any
	if err := yaml.Unmarshal(text, &value); err != nil {
		t.Fatal(err)
	}
	for _, step := range strings.Split(path, ".") {
		m, _ := value.(map[string]any)
		value = m[step]
	}
	out, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(out)
}

// TestAuditIsWhole: every field of the types has a row, so that a field that is
// added is judged.
func TestAuditIsWhole(t *testing.T) {
	var said strings.Builder
	for _, r := range audit {
		said.WriteString(" " + r.field + " " + r.value)
	}
	text := said.String()
	for _, kind := range []any{kaito.Workspace{}, kaito.InferenceSet{}} {
		for _, name := range fieldNames(reflect.TypeOf(kind), nil) {
			if !strings.Contains(text, strconv.Quote(name)) && !strings.Contains(text, "."+name) && !strings.Contains(text, " "+name+" ") && !strings.Contains(text, " "+name+".") {
				t.Errorf("no row of the audit speaks of field %s", name)
			}
		}
	}
}

func fieldNames(t reflect.Type, seen []reflect.Type) []string {
	for t.Kind() == reflect.Pointer || t.Kind() == reflect.Slice {
		t = t.Elem()
	}
	foreign := []reflect.Type{reflect.TypeFor[metav1.TypeMeta](), reflect.TypeFor[metav1.ObjectMeta](), reflect.TypeFor[metav1.LabelSelector](), reflect.TypeFor[metav1.Duration](), reflect.TypeFor[corev1.VolumeSource]()}
	if t.Kind() != reflect.Struct || slices.Contains(foreign, t) || slices.Contains(seen, t) {
		return nil
	}
	var names []string
	for i := range t.NumField() {
		f := t.Field(i)
		if name, _, _ := strings.Cut(f.Tag.Get("json"), ","); name != "" {
			names = append(names, name)
		}
		names = append(names, fieldNames(f.Type, append(seen, t))...)
	}
	return names
}

// mirror has the annotations of a static mirror of a version of a model.
func mirror(source, url string) string {
	return `{"inference.kaito.sh/static-model-mirror":"true","inference.kaito.sh/stream-datarefs-url":"` + url +
		`","inference.kaito.sh/stream-identity-client-id":"01234567-89ab-cdef-0123-456789abcdef","inference.kaito.sh/stream-source-type":"` + source + `","kaito.sh/streaming-service-account":"reader"}`
}

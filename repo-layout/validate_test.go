// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// judge returns the findings on the only document of a text.
func judge(text string) []v1alpha1.Finding {
	_, findings := decode(text)
	return findings
}

const (
	header = "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nspec:\n"
	onA100 = "  resource: {instanceType: A100}\n"
	serves = "  inference: {preset: phi-4}\n"
	tunes  = "  tuning:\n    preset: phi-4\n    method: qlora\n"

	servesLocked = "  inference: {model: {id: someone/Model-8B, lock: model-8b}}\n"
	tunesLocked  = "  tuning:\n    model: {id: someone/Model-8B, lock: model-8b}\n    method: qlora\n"

	fromURL   = "    input: {urls: ['https://data.example.com/a']}\n"
	intoClaim = "    output: {claim: c}\n"
)

// podOf is a pod of one's own; fields are of its container, which begins on line 10.
func podOf(fields string) string {
	return "  inference:\n    template:\n      spec:\n        containers:\n        - {name: a, image: 'registry.example.com/team/server:1',\n           " + fields + "}\n"
}

func TestValidateWorkspace(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"Serves":   {reason: "The least that serves.", text: header + onA100 + serves},
		"Tunes":    {reason: "The least that tunes.", text: header + onA100 + tunes + fromURL + intoClaim},
		"Provider": {reason: "Where the nodes come from may be said for one Workspace.", text: header + "  resource: {instanceType: A100, provider: karpenter}\n" + serves},
		"ProviderUnknown": {
			reason: "A provider that there is not would never make a node.",
			text:   header + "  resource: {instanceType: A100, provider: gke}\n" + serves,
			want:   []string{"5: error: spec.resource.provider: want aks, karpenter or existing (NotOneOf)"},
		},
		"ProviderOfASharedPool": {
			reason: "A shared pool has nodes from somewhere already.",
			text:   header + "  resource: {nodePool: shared, provider: aks}\n" + serves,
			want:   []string{"5: error: spec.resource.provider: is for nodes of the Workspace's own, and GPUNodePool shared has its own provider: remove one of them (ProviderMismatch)"},
		},
		"ExistingUnselected": {
			reason: "Without a label any GPU node of the cluster would do, whoever pays for it.",
			text:   header + "  resource: {instanceType: A100, provider: existing}\n" + serves,
			want:   []string{"5: error: spec.resource.labelSelector: provider existing takes the nodes that matchLabels selects: name at least one label (MissingField)"},
		},
		"RunBudget": {reason: "What a run may cost in all.", text: header + onA100 + tunes + fromURL + intoClaim + "  budget: {maxUSD: '40', maxUSDPerHour: '4'}\n"},
		"ServiceBudget": {
			reason: "A service that stops when its money is spent is an outage that nobody asked for.",
			text:   header + onA100 + serves + "  budget: {maxUSD: '40'}\n",
			want:   []string{"7: error: spec.budget.maxUSD: is for tuning runs, which end: a service that stopped when its money is spent would be an outage; bound it by budget.maxUSDPerHour, or stop it by spec.suspend (BudgetInvalid)"},
		},
		"NoAmountInAll": {
			reason: "Nobody reads what currency signs mean.",
			text:   header + onA100 + tunes + fromURL + intoClaim + "  budget: {maxUSD: $40}\n",
			want:   []string{"11: error: spec.budget.maxUSD: want US dollars as digits with at most 4 decimals, in quotes: \"40\" or \"7.50\" (BudgetInvalid)"},
		},
		"SharesAPool": {reason: "A pool of the namespace instead of an own one.", text: header + "  resource: {nodePool: shared}\n" + serves},
		"NameTooLong": {
			reason: "49 characters: with the suffix of a run the Job's name would be too long for a label.",
			text:   strings.Replace(header, "{name: a}", "{name: "+strings.Repeat("a", 49)+"}", 1) + onA100 + serves,
			want:   []string{"3: error: metadata.name: want at most 48 lower-case letters, digits and dashes, because Service and Job names are made from it (NameInvalid)"},
		},
		"NoName": {
			reason: "Git needs a name to find the object again.",
			text:   strings.Replace(header, "{name: a}", "{generateName: a}", 1) + onA100 + serves,
			want:   []string{"3: error: metadata.name: a name is required; generateName cannot be kept in Git (NameInvalid)"},
		},
		"NoNamespace": {
			reason: "A namespace is a DNS label.",
			text:   strings.Replace(header, "{name: a}", "{name: a, namespace: A_B}", 1) + onA100 + serves,
			want:   []string{"3: error: metadata.namespace: this is no namespace: want at most 63 lower-case letters, digits and dashes (NameInvalid)"},
		},
		"Labels": {
			reason: "The API server would refuse them, without a line.",
			text:   strings.Replace(header, "{name: a}", "{name: a, labels: {'a b': c, d: 'e f'}}", 1) + onA100 + serves,
			want: []string{
				"3: error: metadata.labels.d: a label's value has at most 63 letters, digits, '-', '_' and '.', and begins and ends with a letter or digit (LabelInvalid)",
				"3: error: metadata.labels[a b]: a label's name has at most 63 letters, digits, '-', '_' and '.', and may begin with a domain and '/' (LabelInvalid)",
			},
		},
		"NoTask": {
			reason: "A Workspace either serves or tunes.",
			text:   header + onA100,
			want:   []string{"4: error: spec: exactly one of spec.inference and spec.tuning is required: a Workspace either serves a model or tunes one (TaskMissing)"},
		},
		"TwoTasks": {
			reason: "A Workspace either serves or tunes.",
			text:   header + onA100 + serves + tunes + fromURL + intoClaim,
			want: []string{"7: error: spec.tuning: spec.inference is set as well: a Workspace either serves a model or tunes one; " +
				"make two, and serve the adapter when it is there (TaskAmbiguous)"},
		},
		"NoResource": {
			reason: "Where it runs is never guessed.",
			text:   header + "  resource: {count: 2}\n" + serves,
			want:   []string{"5: error: spec.resource: exactly one of instanceType, candidates and nodePool is required (ResourceMissing)"},
		},
		"TwoResources": {
			reason: "Which of them would win is nobody's guess.",
			text:   header + "  resource: {instanceType: A, nodePool: b}\n" + serves,
			want:   []string{"5: error: spec.resource: exactly one of instanceType, candidates and nodePool is possible: keep one (ResourceAmbiguous)"},
		},
		"Candidates": {
			reason: "Each candidate on its own line.",
			text: header + "  resource:\n    candidates:\n    - instanceType: 'Standard NC6'\n    - priority: Cheap\n" +
				"      instanceType: A\n    - {}\n" + serves,
			want: []string{
				"7: error: spec.resource.candidates[0].instanceType: this is no name of an instance type; espalier skus lists them (InstanceTypeInvalid)",
				"8: error: spec.resource.candidates[1].priority: want OnDemand or Spot (NotOneOf)",
				"10: error: spec.resource.candidates[2].instanceType: name an instance type, such as Standard_NC24ads_A100_v4; espalier skus lists them (InstanceTypeInvalid)",
			},
		},
		"ManyCandidates": {
			reason: "A list that long is a mistake, and every one would be tried.",
			text:   header + "  resource:\n    candidates: [" + strings.Repeat("{instanceType: A},", 17) + "]\n" + serves,
			want:   []string{"6: error: spec.resource.candidates: at most 16 are possible, found 17 (OutOfRange)"},
		},
		"Count": {
			reason: "Fewer than none is none of ours.",
			text:   header + "  resource: {instanceType: A, count: -1}\n" + serves,
			want:   []string{"5: error: spec.resource.count: want 0 to 1000; leave it out and it is computed (OutOfRange)"},
		},
		"Selector": {
			reason: "Labels are put on nodes: an expression is no label, and ours is ours.",
			text: header + "  resource:\n    instanceType: A\n    labelSelector:\n      matchLabels: {espalier.dev/pool: x}\n" +
				"      matchExpressions: [{key: a, operator: Exists}]\n" + serves,
			want: []string{
				"8: error: spec.resource.labelSelector.matchLabels[espalier.dev/pool]: Espalier gives each pool's nodes this label: remove it (LabelReserved)",
				"9: error: spec.resource.labelSelector.matchExpressions: the labels are put on nodes, so only matchLabels is possible: write them there (SelectorUnsupported)",
			},
		},
		"RuntimeImage": {reason: "The same version, built with another CUDA.", text: header + onA100 + serves + "  runtime: {version: 0.26.0, cuda: '12.9', image: 'registry.example.com/vllm/vllm-openai@sha256:" + strings.Repeat("0", 64) + "'}\n"},
		"RuntimeImageMirrored": {
			reason: "Two places to pull one image from.",
			text:   header + onA100 + serves + "  runtime: {version: 0.26.0, cuda: '12.9', mirror: mirror.example.com, image: 'registry.example.com/vllm/vllm-openai@sha256:" + strings.Repeat("0", 64) + "'}\n",
			want:   []string{"7: error: spec.runtime.mirror: the image says itself where it is pulled from: remove mirror, or name the image there (ImageInvalid)"},
		},
		"RuntimeImageByTag": {
			reason: "Everything that runs is pinned.",
			text:   header + onA100 + serves + "  runtime: {cuda: 12.9.1, image: 'registry.example.com/vllm/vllm-openai:v0.26.0-cu129'}\n",
			want: []string{
				"7: error: spec.runtime.cuda: want CUDA 12 or 13 as major.minor in quotes, such as \"12.9\" (ImageInvalid)",
				"7: error: spec.runtime.image: name it by digest, as @sha256: and 64 hex digits: everything that runs is pinned (ImageInvalid)",
				"7: error: spec.runtime.version: say which version the image holds: what it is started with is written for one version (ImageInvalid)",
			},
		},
		"Pod": {reason: "A pod of one's own.", text: header + onA100 + podOf("ports: [{containerPort: 80}], readinessProbe: {tcpSocket: {port: 80}}, resources: {limits: {nvidia.com/gpu: 1}}")},
		"PodEmpty": {
			reason: "Nodes with GPUs are bought for it, and requests are sent to it.",
			text:   header + onA100 + podOf("ports: []"),
			want: []string{
				"10: error: spec.inference.template.spec.containers[0].resources.limits: no container asks for a GPU, and nodes with GPUs are what is bought: set nvidia.com/gpu (TemplateInvalid)",
				"11: error: spec.inference.template.spec.containers[0].ports: no container names a containerPort: the Service sends its port 80 to the first of them (TemplateInvalid)",
			},
		},
		"PodTypos": {
			reason: "The fields are those of Kubernetes, each on its line.",
			text:   header + onA100 + podOf("prots: [{containerPort: 80}], resources: {limits: 1}"),
			want: []string{
				"11: error: spec.inference.template.spec.containers[0].prots: no such field; did you mean ports? (UnknownField)",
				"11: error: spec.inference.template.spec.containers[0].resources.limits: want a mapping, found a number (WrongType)",
			},
		},
		"PodBeside": {
			reason: "What belongs to a model has no use beside a pod of one's own, and its keys are not Espalier's.",
			text: header + onA100 + strings.Replace(podOf("ports: [{containerPort: 80}], readinessProbe: {tcpSocket: {port: 80}}, resources: {limits: {nvidia.com/gpu: 1}}"),
				"    template:\n", "    preset: phi-4\n    contextLength: 4096\n    autoscale: {maxReplicas: 2}\n    template:\n      metadata: {name: x, labels: {espalier.dev/workspace: b}}\n", 1),
			want: []string{
				"7: error: spec.inference.preset: template is set as well, and this belongs to a model that Espalier runs: remove it, or the template (TemplateInvalid)",
				"8: error: spec.inference.contextLength: template is set as well, and this belongs to a model that Espalier runs: remove it, or the template (TemplateInvalid)",
				"9: error: spec.inference.autoscale: it reads the queue of vLLM, which a pod of your own need not have: set replicas (TemplateInvalid)",
				"11: error: spec.inference.template.metadata.labels[espalier.dev/workspace]: Espalier writes this: remove it (LabelReserved)",
				"11: error: spec.inference.template.metadata: pods are named by their Deployment: only labels and annotations are possible (TemplateInvalid)",
			},
		},
		"Autoscales": {reason: "The least that scales.", text: header + onA100 + "  inference: {preset: phi-4, autoscale: {maxReplicas: 3}}\n"},
		"AutoscaleBounds": {
			reason: "A number that Git sets beside one that the load sets, and bounds that cross.",
			text:   header + onA100 + "  inference:\n    preset: phi-4\n    replicas: 2\n    autoscale: {minReplicas: 4, maxReplicas: 3}\n",
			want: []string{
				"8: error: spec.inference.replicas: autoscale decides the number of copies: remove replicas, or autoscale (AutoscaleInvalid)",
				"9: error: spec.inference.autoscale.minReplicas: 4 is more than maxReplicas, which is 3 (AutoscaleInvalid)",
			},
		},
		"AutoscaleZero": {
			reason: "Nothing would ever start the first copy again.",
			text:   header + onA100 + "  inference: {preset: phi-4, autoscale: {minReplicas: 0, maxReplicas: 3, keda: {prometheusAddress: 'http://p:9090'}}}\n",
			want: []string{"6: error: spec.inference.autoscale.minReplicas: the queue is a metric of the pods: with no pod there is none, and nothing would start the first; " +
				"write 1, or say what else starts it: keda.wakeQuery (requests at a gateway) or keda.schedules (hours) (AutoscaleInvalid)"},
		},
		"AutoscaleSchedules": {
			reason: "What KEDA would refuse, with its line.",
			text: header + onA100 + "  inference:\n    preset: phi-4\n    autoscale:\n      maxReplicas: 3\n      keda:\n        prometheusAddress: http://p:9090\n        schedules:\n" +
				"        - {start: 0 8 * * *, end: 0 8 * * *, timeZone: UTC, replicas: 4}\n        - {start: every day, end: 0 18 * * 1-5, timeZone: Mars/Olympus, replicas: 1}\n",
			want: []string{
				"13: error: spec.inference.autoscale.keda.schedules[0].end: it is the same as start, which KEDA refuses: write when the hours end (AutoscaleInvalid)",
				"13: error: spec.inference.autoscale.keda.schedules[0].replicas: 4 is more than maxReplicas, which is 3 (AutoscaleInvalid)",
				"14: error: spec.inference.autoscale.keda.schedules[1].start: want minute, hour, day of the month, month and day of the week as cron writes them, such as \"0 8 * * 1-5\" (AutoscaleInvalid)",
				"14: error: spec.inference.autoscale.keda.schedules[1].timeZone: want the name of a time zone in the IANA database, such as Europe/Berlin or UTC (AutoscaleInvalid)",
			},
		},
		"AutoscalePrometheus": {
			reason: "KEDA asks that address from within the cluster: a private one is right, the cloud's metadata service is not.",
			text:   header + onA100 + "  inference:\n    preset: phi-4\n    autoscale:\n      maxReplicas: 3\n      keda: {prometheusAddress: 'http://me:secret@169.254.169.254/?a=b'}\n",
			want: []string{
				"10: error: spec.inference.autoscale.keda.prometheusAddress: the address holds credentials, which Git would show to every reader: withdraw them, and name a TriggerAuthentication in authentication (URLCredentials)",
				"10: error: spec.inference.autoscale.keda.prometheusAddress: this is a link-local address, such as the cloud's metadata service has: name the Service of Prometheus as KEDA reaches it (URLForbidden)",
				"10: error: spec.inference.autoscale.keda.prometheusAddress: want the address of the server alone, without ? and # (URLInvalid)",
			},
		},
		"AutoscalePrivate": {reason: "Prometheus may well have a private address.", text: header + onA100 + "  inference: {preset: phi-4, autoscale: {maxReplicas: 3, keda: {prometheusAddress: 'https://10.0.4.7:9090/prom'}}}\n"},
		"Model": {
			reason: "A revision is a commit, because whatever else it may be can move.",
			text:   header + onA100 + "  inference: {preset: a/b/c, revision: main, accessSecret: HF_TOKEN, config: 'My Config'}\n",
			want: []string{
				"6: error: spec.inference.accessSecret: no Secret can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)",
				"6: error: spec.inference.config: no ConfigMap can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)",
				"6: error: spec.inference.preset: want a short name such as phi-4-mini-instruct or a repository id such as microsoft/Phi-4-mini-instruct; " +
					"espalier presets lists them (PresetInvalid)",
				"6: error: spec.inference.revision: want the 40 hex digits of a commit of the model repository: a branch or tag can move (RevisionInvalid)",
			},
		},
		"NoModel": {
			reason: "There is nothing to serve.",
			text:   header + onA100 + "  inference: {}\n",
			want:   []string{"6: error: spec.inference.preset: name the model; espalier presets lists them, and any other is named with model and a lock file (PresetMissing)"},
		},
		"ServesLocked": {reason: "A model outside the catalogue, with a lock file.", text: header + onA100 + servesLocked},
		"TunesLocked":  {reason: "A model outside the catalogue, with a lock file.", text: header + onA100 + tunesLocked + fromURL + intoClaim},
		"TwoModels": {
			reason: "Which of them is downloaded is nobody's guess.",
			text:   header + onA100 + "  inference:\n    preset: phi-4\n    model: {id: a/b, lock: c}\n",
			want: []string{"8: error: spec.inference.model: preset is set as well, and exactly one of them is possible: keep preset for a model of the catalogue, " +
				"model for one with a lock file (ModelAmbiguous)"},
		},
		"LockedByName": {
			reason: "The id is what is downloaded, and a lock file is a ConfigMap of the namespace.",
			text:   header + onA100 + "  inference:\n    model:\n      id: phi-4\n      lock: models/phi-4.yaml\n",
			want: []string{
				"8: error: spec.inference.model.id: want the id of the model's repository, owner/name (ModelInvalid)",
				"9: error: spec.inference.model.lock: no ConfigMap can have this name: want lower-case letters, digits, '-' and '.' (ReferenceInvalid)",
			},
		},
		"LockedPlaceholder": {
			reason: "An example is filled in before it is pushed.",
			text:   header + onA100 + "  inference: {model: {id: <owner>/<name>}}\n",
			want: []string{
				"6: error: spec.inference.model.id: <owner> is a placeholder: fill it in (Placeholder)",
				"6: error: spec.inference.model.lock: name the ConfigMap whose key model.lock.yaml holds what `espalier presets lock` writes (MissingField)",
			},
		},
		"ModelByName": {
			reason: "People write a name where a name and a lock file belong.",
			text:   header + onA100 + "  inference: {model: phi-4}\n",
			want: []string{"6: error: spec.inference.model: want a mapping, found text; it is the repository id of the model and the ConfigMap with its lock file: " +
				"model: {id: owner/name, lock: NAME}; a model of the catalogue is written as preset: phi-4-mini-instruct (WrongType)"},
		},
		"Numbers": {
			reason: "Bounds as in the CRD.",
			text:   header + onA100 + "  inference: {preset: phi-4, replicas: 1001, contextLength: -1}\n",
			want: []string{
				"6: error: spec.inference.contextLength: want 0 or more tokens; leave it out for the longest that fits (OutOfRange)",
				"6: error: spec.inference.replicas: want 0 to 1000; 0 stops it (OutOfRange)",
			},
		},
		"Adapters": {
			reason: "The name is the model that requests ask for, and the image what is served.",
			text: header + onA100 + `  inference:
    preset: phi-4
    adapters:
    - {name: Dolly, image: registry.example.com/models/dolly}
    - {name: b, image: "registry.example.com/models/b:1", pullSecrets: [""]}
    - {name: b, image: "registry.example.com/models/b:latest"}
    - {name: c}
`,
			want: []string{
				"9: error: spec.inference.adapters[0].name: want at most 63 lower-case letters, digits and dashes: requests use the name as the model (AdapterInvalid)",
				"9: warning: spec.inference.adapters[0].image: without a version what runs can change while Git does not: write a tag or, better, a digest (ImageNotPinned)",
				"10: error: spec.inference.adapters[1].pullSecrets[0]: name the Secret (ReferenceInvalid)",
				"11: error: spec.inference.adapters[2].name: adapter 1 has this name as well, and requests could not tell them apart: rename one (AdapterDuplicate)",
				"11: warning: spec.inference.adapters[2].image: without a version what runs can change while Git does not: write a tag or, better, a digest (ImageNotPinned)",
				"12: error: spec.inference.adapters[3]: say where the adapter comes from: exactly one of image, claim and urls is required (AdapterSource)",
			},
		},
		"AdapterSources": {
			reason: "An adapter comes from one place, which holds it whole and runs nothing.",
			text: header + onA100 + `  inference:
    preset: phi-4
    adapters:
    - {name: two, image: "registry.example.com/a/b:1", claim: c}
    - {name: up, claim: c, path: a/../../b}
    - {name: lost, path: a, urls: ["https://models.example.com/adapter_config.json#sha256=0000000000000000000000000000000000000000000000000000000000000000", "https://models.example.com/adapter_model.safetensors#sha256=0000000000000000000000000000000000000000000000000000000000000000"]}
    - {name: zip, urls: ["https://models.example.com/a.zip", "https://models.example.com/adapter_config.json"]}
    - {name: bin, urls: ["https://models.example.com/adapter_config.json", "https://models.example.com/adapter_model.bin"]}
    - {name: meta, urls: ["http://169.254.169.254/adapter_config.json", "http://10.0.0.1/adapter_model.safetensors"]}
`,
			want: []string{
				"9: error: spec.inference.adapters[0]: exactly one of image, claim and urls is possible: keep one (AdapterSource)",
				"10: error: spec.inference.adapters[1].path: want a folder of the image or the claim such as support/v3: letters, digits, '-', '_' and '.', without / at the ends and without .. (AdapterSource)",
				"11: error: spec.inference.adapters[2].path: is a folder of an image or a claim, and urls name the files themselves: remove path (AdapterSource)",
				"12: error: spec.inference.adapters[3].urls: an adapter is adapter_config.json and adapter_model.safetensors: name each by its address (AdapterSource)",
				"12: error: spec.inference.adapters[3].urls[0]: a.zip is an archive, which nobody unpacks here: name the files themselves, adapter_config.json and adapter_model.safetensors (AdapterSource)",
				"12: warning: spec.inference.adapters[3].urls: a pod that starts later may load other files: end each address with #sha256= and the checksum of its file (sha256sum), or push the adapter as an image and name its digest (AdapterNotPinned)",
				"13: error: spec.inference.adapters[4].urls: an adapter is adapter_config.json and adapter_model.safetensors: name each by its address (AdapterSource)",
				"13: error: spec.inference.adapters[4].urls[1]: adapter_model.bin can hold code that runs when it is read: save the adapter as adapter_model.safetensors (AdapterSource)",
				"13: warning: spec.inference.adapters[4].urls: a pod that starts later may load other files: end each address with #sha256= and the checksum of its file (sha256sum), or push the adapter as an image and name its digest (AdapterNotPinned)",
				"14: error: spec.inference.adapters[5].urls[0]: this is a link-local address, such as the cloud's metadata service has: an adapter comes from a public address, an image or a claim (URLForbidden)",
				"14: error: spec.inference.adapters[5].urls[1]: this is a private address: an adapter comes from a public address, an image or a claim (URLForbidden)",
				"14: warning: spec.inference.adapters[5].urls: a pod that starts later may load other files: end each address with #sha256= and the checksum of its file (sha256sum), or push the adapter as an image and name its digest (AdapterNotPinned)",
			},
		},
		"ManyAdapters": {
			reason: "A bound on what one server loads.",
			text: header + onA100 + "  inference:\n    preset: phi-4\n    adapters: [" +
				strings.Join(numbered(33, "{name: a%d, image: 'registry.example.com/a/b:1'}"), ", ") + "]\n",
			want: []string{"8: error: spec.inference.adapters: at most 32 are possible, found 33 (OutOfRange)"},
		},
		"OutputLatest": {
			reason: "Every run would overwrite what is served.",
			text:   header + onA100 + tunes + fromURL + "    output: {image: registry.example.com/a/b, pushSecret: p}\n",
			want: []string{"10: warning: spec.tuning.output.image: without a version the tag latest is overwritten by every run: " +
				"write one, such as :0.0.1 (ImageNotPinned)"},
		},
		"Runtime": {
			reason: "A runtime serves or tunes, never both.",
			text:   header + onA100 + serves + "  runtime: {name: axolotl}\n",
			want:   []string{"7: error: spec.runtime.name: axolotl tunes and does not serve: write vllm or leave it out (NotOneOf)"},
		},
		"RuntimeUnknown": {
			reason: "The CRD lists them.",
			text:   header + onA100 + serves + "  runtime: {name: tgi}\n",
			want:   []string{"7: error: spec.runtime.name: want vllm or kaito-transformers, which serve, axolotl, which tunes, or kaito, which does both (NotOneOf)"},
		},
		"Budget": {
			reason: "An amount with its currency is no amount.",
			text:   header + onA100 + serves + "  budget: {maxUSDPerHour: 16 USD}\n",
			want: []string{`7: error: spec.budget.maxUSDPerHour: want US dollars per hour as digits with at most 4 decimals, in quotes: ` +
				`"16" or "0.75" (BudgetInvalid)`},
		},
		"Patches": {
			reason: "What is no patch is said before a node is bought.",
			text: header + onA100 + serves + `  patches:
  - patch: "a: ["
  - patch: "- {op: add, path: /spec/a}"
  - {target: {kind: Service}, patch: "- {op: put, path: /spec/a}"}
  - {target: {kind: Service}, patch: "- {op: add, path: spec}"}
  - {target: {name: "("}, patch: "spec: {}"}
  - patch: "spec: {}"
  - patch: "  "
  - {target: {kind: Service}, patch: "just text"}
  - {target: {kind: Deployment}, patch: "spec: {}"}
`,
			want: []string{
				"8: error: spec.patches[0].patch: the patch is no YAML: line 1: did not find expected node content (PatchInvalid)",
				"9: error: spec.patches[1].patch: a list of JSON 6902 operations needs a target with kind or name (PatchInvalid)",
				"10: error: spec.patches[2].patch: every operation needs op, one of add, remove, replace, move, copy, test (PatchInvalid)",
				"11: error: spec.patches[3].patch: every operation needs path, which begins with / (PatchInvalid)",
				"12: error: spec.patches[4].target.name: want a name or a regular expression of one (PatchInvalid)",
				"13: error: spec.patches[5].patch: a patch without target needs apiVersion, kind and metadata.name of what it changes (PatchInvalid)",
				"14: error: spec.patches[6].patch: the patch is empty: write a strategic merge patch or a list of JSON 6902 operations, as YAML (PatchInvalid)",
				"15: error: spec.patches[7].patch: want a mapping (strategic merge patch) or a list (JSON 6902) (PatchInvalid)",
			},
		},
		"ManyPatches": {
			reason: "A bound on what a Workspace changes.",
			text: header + onA100 + serves + "  patches: [" +
				strings.Join(numbered(17, "{target: {kind: Service}, patch: 'spec: {a: %d}'}"), ", ") + "]\n",
			want: []string{"7: error: spec.patches: at most 16 are possible, found 17 (OutOfRange)"},
		},
		"Placeholders": {
			reason: "An example's placeholder and a variable that nobody substitutes have different remedies.",
			text: header + "  resource: {instanceType: '${SIZE}', labelSelector: {matchLabels: {app: <APP>}}}\n" + "  tuning:\n    preset: <MODEL>\n    method: lora\n" +
				"    input: {urls: ['https://{{ host }}/a']}\n    output: {image: 'YOUR_REGISTRY/model:1', pushSecret: '[your-registry-secret]'}\n",
			want: []string{
				"5: error: spec.resource.instanceType: ${SIZE} is a placeholder: write the value itself, " +
					"or set the variable in spec.postBuild.substitute of the RepoSync (Placeholder)",
				"5: error: spec.resource.labelSelector.matchLabels.app: <APP> is a placeholder: fill it in (Placeholder)",
				"7: error: spec.tuning.preset: <MODEL> is a placeholder: fill it in (Placeholder)",
				"9: error: spec.tuning.input.urls[0]: {{ host }} is a placeholder: fill it in (Placeholder)",
				"10: error: spec.tuning.output.image: YOUR_REGISTRY is a placeholder: fill it in (Placeholder)",
				"10: error: spec.tuning.output.pushSecret: your-registry is a placeholder: fill it in (Placeholder)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(judge(c.text))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

func numbered(n int, format string) []string {
	var out []string
	for i := range n {
		out = append(out, fmt.Sprintf(format, i))
	}
	return out
}

func TestImages(t *testing.T) {
	digest := "@sha256:" + strings.Repeat("0", 64)
	for name, c := range map[string]struct {
		reason string
		image  string
		want   string
	}{
		"Tag":        {"the plain case", "registry.example.com/models/a:1", ""},
		"Port":       {"a port is no tag", "localhost:5000/models/a:1", ""},
		"Local":      {"a registry beside the cluster", "localhost/models/a:1", ""},
		"Digest":     {"nothing can be pushed to it", "registry.example.com/models/a" + digest, "nothing can be pushed to a digest: write a tag, such as :0.0.1"},
		"Capitals":   {"the remedy is the reference itself", "registry.example.com/Models/A:V1", "the name of a repository is in lower case: write registry.example.com/models/a:V1"},
		"Scheme":     {"a URL is no reference", "https://registry.example.com/models/a:1", "this is a URL: an image is written without https://, as registry/repository:tag"},
		"NoRegistry": {"Docker Hub is never meant", "models/a:1", "the registry is missing, so that this would mean Docker Hub: write registry/models/a:1"},
		"NoPath":     {"Docker Hub's library even less", "model:1", "the registry is missing, so that this would mean Docker Hub: write registry/model:1"},
		"Short":      {"the library wants two characters", "registry.example.com/a:1", "the name of a repository has at least two characters"},
		"Spaces":     {"no reference at all", "registry.example.com/a b:1", "this is no image reference: want registry/repository:tag or registry/repository@sha256:…"},
		"BadDigest":  {"half a digest", "registry.example.com/models/a@sha256:00", "this is no image reference: want registry/repository:tag or registry/repository@sha256:…"},
	} {
		t.Run(name, func(t *testing.T) {
			findings := judge(header + onA100 + tunes + fromURL + "    output: {image: '" + c.image + "', pushSecret: p}\n")
			var want []string
			if c.want != "" {
				want = []string{"10: error: spec.tuning.output.image: " + c.want + " (ImageInvalid)"}
			}
			if diff := cmp.Diff(want, lines(findings)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// What did not come through Decode is judged by the same rules.
func TestValidateFromElsewhere(t *testing.T) {
	w := &v1alpha1.Workspace{}
	w.Namespace, w.Name = "models", "a"
	want := []v1alpha1.Finding{
		{Severity: "error", Code: "ResourceMissing", Object: "Workspace/models/a",
			Message: "spec.resource: exactly one of instanceType, candidates and nodePool is required"},
		{Severity: "error", Code: "TaskMissing", Object: "Workspace/models/a",
			Message: "spec: exactly one of spec.inference and spec.tuning is required: a Workspace either serves a model or tunes one"},
	}
	got := repolayout.ValidateWorkspace(w, nil)
	finding.Sort(got)
	slices.SortFunc(want, func(a, b v1alpha1.Finding) int { return strings.Compare(a.Message, b.Message) })
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	p := &v1alpha1.GPUNodePool{}
	p.Name = "a"
	if got := repolayout.ValidatePool(p, nil); len(got) != 2 {
		t.Errorf("an empty pool has %v", lines(got))
	}
}

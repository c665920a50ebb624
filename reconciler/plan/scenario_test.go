// SPDX-License-Identifier: Apache-2.0

package plan_test

import (
	"strings"
	"testing"
	"testing/fstest"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// files of one revision, by path.
type files map[string]string

// with is the files with others over them; "" removes one.
func (f files) with(more files) files {
	out := files{}
	for name, text := range f {
		out[name] = text
	}
	for name, text := range more {
		out[name] = text
		if text == "" {
			delete(out, name)
		}
	}
	return out
}

const revision = "0123456789abcdef0123456789abcdef01234567"

// service is a Workspace that serves; edits are old, new pairs of its text.
// onTransformers serves with KAITO's transformers engine, and an adapter of a strength.
func onTransformers(name, strength string) string {
	return service(name, "phi-4-mini-instruct", "phi-4") + "    adapters:\n    - {name: dolly, claim: adapters, path: dolly, strength: '" + strength + "'}\n" +
		"  runtime: {name: kaito-transformers, version: 0.5.0, cuda: '12.9', image: 'registry.example.com/kaito-base@sha256:" + strings.Repeat("0", 64) + "'}\n"
}

func service(name string, edits ...string) string {
	return strings.NewReplacer(append(edits, "NAME", name)...).Replace(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: NAME
spec:
  resource:
    instanceType: Standard_NC24ads_A100_v4
  inference:
    preset: phi-4-mini-instruct
    revision: ` + revision + `
    replicas: 1
`)
}

const ownPod = `template: {spec: {containers: [{name: a, image: registry.example.com/a/server:1, ports: [{containerPort: 80}], resources: {limits: {nvidia.com/gpu: 1}}}]}}`

// run is a Workspace that tunes.
func run(name string, edits ...string) string {
	return strings.NewReplacer(append(edits, "NAME", name)...).Replace(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: NAME
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  tuning:
    preset: phi-3-mini-128k-instruct
    revision: ` + revision + `
    method: qlora
    input:
      urls: ["https://data.example.com/dolly.parquet?token=hidden"]
    output:
      image: registry.example.com/models/NAME:1
      pushSecret: push
`)
}

// dataURL is what run says of its data.
const dataURL = `urls: ["https://data.example.com/dolly.parquet?token=hidden"]`

const sharedPool = `apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata:
  name: shared
spec:
  provider: aks
  replicas: 2
  candidates:
  - instanceType: Standard_NC24ads_A100_v4
`

const filledPool = `apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata:
  name: filled
spec:
  provider: karpenter
  karpenter: {mode: NodePools, maxNodes: 4}
  candidates:
  - instanceType: Standard_NC24ads_A100_v4
  - instanceType: Standard_NC40ads_H100_v5
`

func configMap(name, key, text string) string {
	return "apiVersion: v1\nkind: ConfigMap\nmetadata:\n  name: " + name + "\ndata:\n  " + key + ": |\n    " + strings.ReplaceAll(text, "\n", "\n    ") + "\n"
}

// team is the RepoSync of the scenarios.
func team(change ...func(*v1alpha1.RepoSync)) *v1alpha1.RepoSync {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team"}}
	for _, c := range change {
		c(s)
	}
	return s
}

// scenario is a way from one revision to another.
type scenario struct {
	reason     string
	base, head files
	baseSync   *v1alpha1.RepoSync // nil: that of head
	sync       *v1alpha1.RepoSync // nil: team()
	quota      *quota.Snapshot    // nil: nobody asked the cloud
}

func (s scenario) plan(t testing.TB) plan.Plan {
	t.Helper()
	judge := &desired.Judge{Region: "eastus", Render: render.Options{RegistryAccounts: []string{render.AnyAccount}, Provider: v1alpha1.ProviderAKS, HelperImage: "registry.example.com/espalier@sha256:" + strings.Repeat("0", 64)}}
	sync := s.sync
	if sync == nil {
		sync = team()
	}
	baseSync := s.baseSync
	if baseSync == nil {
		baseSync = sync
	}
	return plan.Compare(
		plan.Side{Name: "main", Commit: strings.Repeat("a", 40), Sync: baseSync, State: state(t, judge, baseSync, s.base)},
		plan.Side{Name: "change", Commit: strings.Repeat("b", 40), Sync: sync, State: state(t, judge, sync, s.head), Quota: s.quota},
	)
}

func state(t testing.TB, judge *desired.Judge, sync *v1alpha1.RepoSync, f files) desired.State {
	t.Helper()
	tree := fstest.MapFS{".keep": &fstest.MapFile{}}
	for name, text := range f {
		tree[name] = &fstest.MapFile{Data: []byte(text)}
	}
	units, err := build.Build(t.Context(), tree, ".", build.DefaultLimits())
	if err != nil {
		t.Fatal(err)
	}
	documents, findings := desired.Units(sync, units)
	return judge.State(documents, findings)
}

var twoServices = files{"a/workspace.yaml": service("a"), "b/workspace.yaml": service("b")}

// scenarios, each with golden files in every form.
var scenarios = map[string]scenario{
	"NothingChanges": {
		reason: "A comment and a moved line are no change.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": "# a comment\n" + service("a")}),
	},
	"NewService": {
		reason: "What is bought, what it costs, and where it answers.",
		base:   twoServices,
		head:   twoServices.with(files{"c/workspace.yaml": service("c")}),
	},
	"Replicas": {
		reason: "More copies restart nothing.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "replicas: 3")}),
	},
	"AutoscaleNew": {
		reason: "From and to, of copies, nodes and money.",
		base:   twoServices,
		head:   twoServices.with(files{"c/workspace.yaml": service("c", "replicas: 1", "autoscale: {minReplicas: 0, maxReplicas: 5, keda: {prometheusAddress: 'http://prometheus:9090', wakeQuery: up}}")}),
	},
	"AutoscaleOn": {
		reason: "Turning it on restarts nothing, and begins with the copies that run.",
		base:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "replicas: 3")}),
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "autoscale: {minReplicas: 2, maxReplicas: 5}")}),
	},
	"AutoscaleOff": {
		reason: "Turning it off restarts nothing either, and the price is one number again.",
		base:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "autoscale: {minReplicas: 2, maxReplicas: 5}")}),
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "replicas: 2")}),
	},
	"AutoscaleBudget": {
		reason: "The budget is held against the most copies.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "autoscale: {maxReplicas: 5}\n  budget: {maxUSDPerHour: '16'}")}),
	},
	"Route": {
		reason: "Who can reach it is said, and nothing restarts.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "replicas: 1\n    route: {parentRefs: [{name: public, namespace: gateways}], hostnames: [models.example.com], path: /a}")}),
	},
	"InferencePool": {
		reason: "Who chooses the copy of a request is said, and nothing restarts.",
		base:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "replicas: 1\n    route: {parentRefs: [{name: public}]}")}),
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "replicas: 1", "replicas: 1\n    route: {parentRefs: [{name: public}], inferencePool: {endpointPickerRef: {name: a-epp}}}")}),
	},
	"Cache": {
		reason: "Where the weights are kept is said: a new class makes other pods.",
		base:   twoServices.with(files{"b/workspace.yaml": service("b", "replicas: 1", "replicas: 1\n    cache: {size: 100Gi}")}),
		head: twoServices.with(files{
			"a/workspace.yaml": service("a", "replicas: 1", "replicas: 1\n    cache: {claim: weights}"),
			"b/workspace.yaml": service("b", "replicas: 1", "replicas: 1\n    cache: {size: 100Gi, storageClass: fast}"),
		}),
	},
	"RunOverNodes": {
		reason: "All nodes are priced, and what becomes of the checkpoints is said.",
		base:   files{"a/workspace.yaml": run("a"), "b/workspace.yaml": run("b", "T4_v3", "T4_v3\n    count: 2")},
		head: files{
			"a/workspace.yaml": run("a", "T4_v3", "T4_v3\n    count: 2"), "b/workspace.yaml": run("b", "T4_v3", "T4_v3\n    count: 4"),
			"c/workspace.yaml": run("c", "T4_v3", "T4_v3\n    count: 2", "method: qlora", "method: qlora\n    checkpoints: {storageClass: azurefile-csi-premium}"),
		},
	},
	"PodNew": {
		reason: "A pod of one's own: what nobody knows is said.",
		base:   twoServices,
		head:   twoServices.with(files{"c/workspace.yaml": service("c", "preset: phi-4-mini-instruct\n    revision: "+revision, ownPod)}),
	},
	"PodImage": {
		reason: "Another image is another pod.",
		base:   twoServices.with(files{"a/workspace.yaml": service("a", "preset: phi-4-mini-instruct\n    revision: "+revision, ownPod)}),
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "preset: phi-4-mini-instruct\n    revision: "+revision, strings.Replace(ownPod, "server:1", "server:2", 1))}),
	},
	"PodInPlaceOfModel": {
		reason: "Another program answers.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "preset: phi-4-mini-instruct\n    revision: "+revision, ownPod)}),
	},
	"Model": {
		reason: "Another model answers under another name, after a restart.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "phi-4-mini-instruct", "qwen3-8b-awq")}),
	},
	"Instance": {
		reason: "Other nodes: the old ones go first.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "Standard_NC24ads_A100_v4", "Standard_NC40ads_H100_v5")}),
	},
	"RetiredSize": {
		reason: "Refused before anyone pays, with what would work.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a", "Standard_NC24ads_A100_v4", "Standard_NC6s_v3")}),
	},
	"Deleted": {
		reason: "One that goes, and what is lost.",
		base:   twoServices.with(files{"t/workspace.yaml": run("t")}),
		head:   twoServices.with(files{"b/workspace.yaml": ""}),
	},
	"Emptied": {
		reason: "A folder that holds nothing deletes nothing unasked.",
		base:   twoServices,
		head:   files{},
	},
	"PruneOff": {
		reason: "Without pruning it stays, and goes on costing.",
		base:   twoServices,
		head:   twoServices.with(files{"b/workspace.yaml": ""}),
		sync:   team(func(s *v1alpha1.RepoSync) { no := false; s.Spec.Prune = &no }),
	},
	"RunBudget": {
		reason: "A run that is bounded in all says at what it is stopped, and one that had spent its money what more of it does.",
		base:   files{"old.yaml": run("old") + "  budget: {maxUSD: '20'}\n"},
		head: files{
			"old.yaml": run("old") + "  budget: {maxUSD: '40'}\n",
			"new.yaml": run("new") + "    timeout: 100h\n  budget: {maxUSD: '40', maxUSDPerHour: '1'}\n",
		},
	},
	"ReportOnly": {
		reason: "What Flux applies, Flux prunes: no guard of ours stands before it.",
		base:   twoServices,
		head:   twoServices.with(files{"b/workspace.yaml": ""}),
		sync:   team(func(s *v1alpha1.RepoSync) { s.Spec.Mode = v1alpha1.ModeReportOnly }),
	},
	"Moved": {
		reason: "A renamed file changes nothing that runs.",
		base:   twoServices,
		head:   files{"a/workspace.yaml": service("a"), "team/b.yaml": service("b")},
	},
	"Rerun": {
		reason: "Other inputs are another run, paid again, and the tag is overwritten.",
		base:   files{"t/workspace.yaml": run("t")},
		head:   files{"t/workspace.yaml": run("t", "method: qlora", "method: lora", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
	},
	"Rows": {
		reason: "Data that is read in another way is another run, whether the Workspace or its configuration says so.",
		base: files{
			"config.yaml": configMap("rows", "training_config.yaml", "training_config:\n  DatasetConfig:\n    messages_column: chats"),
			"t.yaml":      run("t") + "    config: rows\n", "u.yaml": run("u"),
		},
		head: files{
			"config.yaml": configMap("rows", "training_config.yaml", "training_config:\n  DatasetConfig:\n    context_column: q\n    response_column: a"),
			"t.yaml":      run("t") + "    config: rows\n",
			"u.yaml":      run("u", "    output:", "      format: {type: Instruction, columns: {input: context}, prompt: \"{instruction}\\n{input}\"}\n    output:"),
		},
	},
	"DataFiles": {
		reason: "Training data in Git is an input like others: another content is another run, and the plan names it.",
		base:   files{"data.yaml": configMap("chats", "train.jsonl", "{}"), "t.yaml": run("t", dataURL, "files: [{configMap: chats}]"), "u.yaml": run("u")},
		head: files{
			"data.yaml": configMap("chats", "train.jsonl", "{\"messages\": []}"),
			"t.yaml":    run("t", dataURL, "files: [{configMap: chats}]"),
			"u.yaml":    run("u", dataURL, "files: [{configMap: chats, items: [{key: train.jsonl, path: chats.jsonl}]}, {secret: more, items: [{key: a, path: more.csv}]}]"),
		},
	},
	"Adapters": {
		reason: "Where an adapter comes from is said, an address without what may be a credential.",
		base:   files{"a.yaml": service("a") + "    adapters:\n    - {name: dolly, image: 'registry.example.com/models/dolly:1'}\n    - {name: tone, claim: adapters, path: tone/v1}\n"},
		head: files{"a.yaml": service("a") + "    adapters:\n    - {name: dolly, claim: adapters, path: dolly}\n    - {name: tone, claim: adapters, path: tone/v2}\n" +
			"    - {name: legal, urls: ['https://models.example.com/legal/adapter_config.json?token=hidden', 'https://models.example.com/legal/adapter_model.safetensors#sha256=" + strings.Repeat("5e", 32) + "']}\n"},
	},
	"Engine": {
		reason: "With KAITO's transformers engine adapters are merged, each by its strength: who names one must know.",
		base: files{"a.yaml": service("a", "phi-4-mini-instruct", "phi-4") + "    adapters:\n    - {name: dolly, claim: adapters, path: dolly}\n",
			"b.yaml": onTransformers("b", "0.2")},
		head: files{"a.yaml": onTransformers("a", "0.5"), "b.yaml": onTransformers("b", "0.7")},
	},
	"Checkpoints": {
		reason: "Where checkpoints are and how many is no other run; a disk of one zone is said where nodes may be in two.",
		base:   files{"t/workspace.yaml": run("t")},
		head: files{"t/workspace.yaml": run("t",
			"instanceType: Standard_NC4as_T4_v3", "candidates:\n    - {instanceType: Standard_NC4as_T4_v3, priority: Spot, zones: [\"1\", \"2\"]}\n    - {instanceType: Standard_NC4as_T4_v3}",
			"    output:", "    checkpoints: {storageClass: managed-csi-premium, saveSteps: 100, retain: UntilPublished}\n    output:")},
	},
	"RunLimits": {
		reason: "A run under way takes another limit, and is not repeated.",
		base:   files{"t/workspace.yaml": run("t") + "    timeout: 6h\n"},
		head:   files{"t/workspace.yaml": run("t") + "    timeout: 12h\n    retries: 2\n"},
	},
	"Evaluation": {
		reason: "What is measured is a part of the run, and another run costs what the plan says.",
		base:   files{"t/workspace.yaml": run("t")},
		head:   files{"t/workspace.yaml": run("t") + "    evaluation:\n      split: 5%\n      minImprovement: 10%\n      tasks: [{name: gsm8k, metric: exact_match, minimum: '0.40', limit: 200}, {name: arc_easy}]\n"},
	},
	"Thresholds": {
		reason: "What is demanded is no part of the run: nothing is trained again for it.",
		base:   files{"t/workspace.yaml": run("t") + "    evaluation: {split: '200', maxLoss: '1.25'}\n"},
		head:   files{"t/workspace.yaml": run("t") + "    evaluation: {split: '200', maxLoss: '1.3', minImprovement: 10%}\n"},
	},
	"Queues": {
		reason: "A queue decides when nodes are bought; another one is no other run.",
		base:   files{"t/workspace.yaml": run("t")},
		head:   files{"t/workspace.yaml": run("t") + "  queue: team-a\n", "u/workspace.yaml": run("u") + "  queue: team-a\n"},
	},
	"RunOtherNodes": {
		reason: "The same inputs on other nodes repeat nothing.",
		base:   files{"t/workspace.yaml": run("t")},
		head:   files{"t/workspace.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
	},
	"RunOfKaito": {
		reason: "KAITO's trainer keeps no checkpoint: what moves it costs all that it has done, and the plan says so.",
		base:   files{"t/workspace.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NV36ads_A10_v5") + onKaito},
		head:   files{"t/workspace.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4") + onKaito},
	},
	"RunToKaito": {
		reason: "Another trainer is another run.",
		base:   files{"t/workspace.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4")},
		head:   files{"t/workspace.yaml": run("t", "Standard_NC4as_T4_v3", "Standard_NC24ads_A100_v4") + onKaito},
	},
	"BoundedRun": {
		reason: "A number of steps bounds the price of a run, and every node takes its share of each: two cost twice as much for as long.",
		base:   files{},
		head: files{
			"config.yaml": configMap("steps", "training_config.yaml", "training_config:\n  TrainingArguments:\n    max_steps: 100"),
			"t.yaml":      run("t", "instanceType: Standard_NC4as_T4_v3", "instanceType: Standard_NC4as_T4_v3\n    count: 2") + "    config: steps\n",
		},
	},
	"ConfigMap": {
		reason: "A change of the content reaches the pods.",
		base: files{
			"config.yaml": configMap("settings", "inference_config.yaml", "vllm:\n  max-num-seqs: 64"),
			"a.yaml":      service("a") + "    config: settings\n",
		},
		head: files{
			"config.yaml": configMap("settings", "inference_config.yaml", "vllm:\n  max-num-seqs: 128\n  enforce-eager: true"),
			"a.yaml":      service("a") + "    config: settings\n",
		},
	},
	"BrokenHead": {
		reason: "What is broken is said, what is good beside it is planned, and nothing is pruned.",
		base:   twoServices.with(files{"c.yaml": service("c")}),
		head: twoServices.with(files{
			"a/workspace.yaml": service("a", "replicas: 1", "replicas: 2"),
			"b/workspace.yaml": service("b", "preset:", "presett:"),
		}),
	},
	"BrokenBase": {
		reason: "What was wrong before and still is refuses, and is marked.",
		base:   twoServices.with(files{"b/workspace.yaml": service("b", "preset:", "presett:")}),
		head: files{
			"a/workspace.yaml": service("a", "replicas: 1", "replicas: 2"),
			"b/workspace.yaml": service("b", "preset:", "presett:"),
		},
	},
	"Fixed": {
		reason: "A refusal is mended by the line of the RepoSync that moves the fleet.",
		base:   files{"old.yaml": service("old", "Standard_NC24ads_A100_v4", "Standard_NC6s_v3")},
		head:   files{"old.yaml": service("old", "Standard_NC24ads_A100_v4", "Standard_NC6s_v3")},
		sync: team(func(s *v1alpha1.RepoSync) {
			s.Spec.Substitutions = map[string]string{"Standard_NC6s_v3": "Standard_NC4as_T4_v3"}
		}),
		baseSync: team(),
	},
	"OtherTask": {
		reason: "The API server refuses to turn one into the other.",
		base:   files{"a.yaml": service("a")},
		head:   files{"a.yaml": run("a")},
	},
	"Pool": {
		reason: "A shared pool is bought whether or not it is used, and what is on it has no price of its own.",
		base:   files{"pool.yaml": sharedPool, "a.yaml": service("a", "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared")},
		head: files{
			"pool.yaml": strings.NewReplacer("replicas: 2", "replicas: 3", "Standard_NC24ads_A100_v4", "Standard_NC40ads_H100_v5").Replace(sharedPool),
			"a.yaml":    service("a", "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared"),
		},
	},
	"PoolIdle": {
		reason: "A pool that lets unused nodes go costs at most its list price.",
		base:   files{"pool.yaml": sharedPool, "kept.yaml": strings.Replace(sharedPool, "name: shared", "name: kept", 1)},
		head: files{
			"pool.yaml": sharedPool + "  idle: {after: 30m}\n",
			"kept.yaml": strings.Replace(sharedPool, "name: shared", "name: kept", 1),
			"new.yaml":  strings.Replace(sharedPool, "name: shared", "name: new", 1) + "  idle: {after: 2h, action: Delete}\n",
		},
	},
	"PoolFields": {
		reason: "What agent pools keep is said in words, and that nodes which exist keep it is a finding; what no node can be is one too.",
		base:   files{"pool.yaml": sharedPool},
		head: files{
			"pool.yaml": sharedPool + "  osDiskSizeGiB: 512\n  aks: {osDiskType: Ephemeral, mig: MIG3g, upgrade: {maxSurge: 33%}}\n",
			"t4.yaml":   strings.NewReplacer("name: shared", "name: t4", "Standard_NC24ads_A100_v4", "Standard_NC4as_T4_v3").Replace(sharedPool) + "  aks: {osDiskType: Ephemeral}\n",
			"a.yaml":    service("a", "instanceType: Standard_NC24ads_A100_v4", "nodePool: shared"),
		},
	},
	"PoolAutoscale": {
		reason: "Who counts the nodes is said, the price is of the most, and settings that change in place are no danger.",
		base:   files{"pool.yaml": sharedPool + "  nodeLabels: {a: b}\n", "back.yaml": strings.NewReplacer("name: shared", "name: back", "  replicas: 2\n", "").Replace(sharedPool) + "  aks: {autoscale: {min: 1, max: 4}}\n"},
		head: files{
			"pool.yaml": strings.Replace(sharedPool, "  replicas: 2\n", "", 1) + "  aks: {autoscale: {max: 8}, upgrade: {maxSurge: 33%}}\n",
			"new.yaml":  strings.NewReplacer("name: shared", "name: new", "  replicas: 2\n", "").Replace(sharedPool) + "  aks: {autoscale: {min: 1, max: 4}}\n",
			"back.yaml": strings.Replace(sharedPool, "name: shared", "name: back", 1),
		},
	},
	"PoolFilled": {
		reason: "A pool that Karpenter fills is priced at its most nodes of the dearest candidate; another order moves no node, and another mode is refused.",
		base:   files{"pool.yaml": filledPool, "counted.yaml": strings.NewReplacer("name: filled", "name: counted", "{mode: NodePools, maxNodes: 4}", "{}").Replace(filledPool)},
		head: files{
			"pool.yaml":    strings.NewReplacer("NC24ads_A100_v4", "NC40ads_H100_v5", "NC40ads_H100_v5", "NC24ads_A100_v4", "maxNodes: 4", "maxNodes: 6, consolidateAfter: 10m").Replace(filledPool),
			"counted.yaml": strings.Replace(filledPool, "name: filled", "name: counted", 1),
			"new.yaml":     strings.Replace(filledPool, "name: filled", "name: new", 1),
			"a.yaml":       service("a", "instanceType: Standard_NC24ads_A100_v4", "nodePool: new"),
		},
	},
	"PoolProvider": {
		reason: "The provider of a pool cannot be changed.",
		base:   files{"pool.yaml": sharedPool},
		head:   files{"pool.yaml": strings.Replace(sharedPool, "provider: aks", "provider: existing\n  nodeLabels: {gpu: a100}", 1)},
	},
	"Driver": {
		reason: "What Git says of the driver of own nodes shows as what it causes: another image, a refusal or nothing.",
		base: files{
			"a.yaml": service("a", onRack("")...), "b.yaml": service("b", onRack("570")...), "shared.yaml": service("shared", "instanceType: Standard_NC24ads_A100_v4", "nodePool: rack-8"),
			"bought.yaml": service("bought"), "pool.yaml": rackPool, "c.yaml": run("c", onRack("580")...),
		},
		head: files{
			"a.yaml": service("a", onRack("580")...), "b.yaml": service("b", onRack("570.211.01")...), "shared.yaml": service("shared", "instanceType: Standard_NC24ads_A100_v4", "nodePool: rack-8"),
			"bought.yaml": service("bought"), "pool.yaml": rackPool + "  driver: \"580\"\n", "c.yaml": run("c", onRack("570")...),
			"new.yaml": strings.Replace(rackPool, "rack-8", "rack-9", 1) + "  driver: \"580.95.05\"\n",
		},
	},
	"Quota": {
		reason: "With a snapshot of the cloud's quotas each change says what it draws, and all together what is too much.",
		base:   twoServices,
		head: twoServices.with(files{
			"a/workspace.yaml": service("a", "replicas: 1", "replicas: 2"), "b/workspace.yaml": service("b", "replicas: 1", "replicas: 3"), "c.yaml": run("c"),
		}),
		quota: region(48),
	},
	"Suspended": {
		reason: "Suspending stops the spending, and the service.",
		base:   twoServices,
		head:   twoServices.with(files{"a/workspace.yaml": service("a") + "  suspend: true\n"}),
	},
	"Spot": {
		reason: "A spot node without a published price costs at most the list price.",
		base:   files{},
		head: files{"a.yaml": service("a", "instanceType: Standard_NC24ads_A100_v4",
			"candidates:\n    - {instanceType: Standard_NC24ads_A100_v4, priority: Spot}\n    - {instanceType: Standard_NC24ads_A100_v4}")},
	},
}

// onKaito ends the spec of a run that KAITO's trainer does.
const onKaito = `  runtime:
    name: kaito
    version: "0.5.0"
    cuda: "12.9"
    image: registry.example.com/kaito-base@sha256:1111111111111111111111111111111111111111111111111111111111111111
`

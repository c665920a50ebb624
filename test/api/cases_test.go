// SPDX-License-Identifier: Apache-2.0

package api

import "strings"

// Bases of the cases: valid, and as short as can be.
const (
	serving = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: phi, namespace: default}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  inference: {preset: phi-4-mini-instruct}
`
	tuning = `
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: tune, namespace: default}
spec:
  resource: {instanceType: Standard_NC24ads_A100_v4}
  tuning:
    preset: phi-4-mini-instruct
    method: qlora
    input: {urls: ["https://example.com/data.parquet"]}
    output: {image: "registry.example.com/phi:1", pushSecret: push}
`
	sync = `
apiVersion: espalier.dev/v1alpha1
kind: RepoSync
metadata: {name: models, namespace: default}
spec:
  source: {git: {url: "https://git.example.com/models.git"}}
`
	pool = `
apiVersion: espalier.dev/v1alpha1
kind: GPUNodePool
metadata: {name: a100, namespace: default}
spec:
  provider: aks
  candidates: [{instanceType: Standard_NC24ads_A100_v4}]
`
)

// written is an object as somebody writes it. With update, the object is valid and
// the change to update is what is judged.
type written struct {
	reason string
	base   string
	set    string // YAML merged over the base; null removes
	update string // YAML merged over the created object
	want   string // part of the refusal; "" when it is accepted
}

// cases are of Workspaces, and what RepoSyncs have beside syncCases.
var cases = map[string]written{
	"Serving": {reason: "The shortest serving Workspace is valid.", base: serving},
	"Tuning":  {reason: "The shortest tuning Workspace is valid.", base: tuning},
	"Sync":    {reason: "The shortest RepoSync is valid.", base: sync},
	"Evaluated": {
		reason: "A share of the rows, and tasks of the harness.",
		base:   tuning, set: `spec: {tuning: {evaluation: {split: 2.5%, maxLoss: "1.25", minImprovement: 0%, tasks: [{name: gsm8k, limit: 200, fewShot: 0, chat: true, metric: "exact_match,strict-match", minimum: "0.4", maxRegression: "0.02"}, {name: arc_easy}]}}}`,
	},
	"EvaluatedByFiles": {
		reason: "Rows of their own.",
		base:   tuning, set: `spec: {tuning: {evaluation: {urls: ["https://example.com/held-out.parquet"], maxLoss: "2"}}}`,
	},
	"EvaluatesNothing": {
		reason: "A gate without a measure is always open, or always closed.",
		base:   tuning, set: `spec: {tuning: {evaluation: {}}}`,
		want: "evaluation measures nothing",
	},
	"HeldOutTwice": {
		reason: "It is one loss.",
		base:   tuning, set: `spec: {tuning: {evaluation: {split: "200", urls: ["https://example.com/held-out.parquet"]}}}`,
		want: "two ways to the held-out rows",
	},
	"HeldOutNone": {
		reason: "Nothing of the data is nothing.",
		base:   tuning, set: `spec: {tuning: {evaluation: {split: 0.0%}}}`,
		want: "evaluation.split: above 0%",
	},
	"LossOfTasks": {
		reason: "Tasks have scores, and no loss.",
		base:   tuning, set: `spec: {tuning: {evaluation: {maxLoss: "1", tasks: [{name: gsm8k}]}}}`,
		want: "maxLoss and minImprovement are of held-out rows",
	},
	"MinimumOfNothing": {
		reason: "A task has many metrics.",
		base:   tuning, set: `spec: {tuning: {evaluation: {tasks: [{name: gsm8k, minimum: "0.4"}]}}}`,
		want: "minimum and maxRegression are of a metric",
	},
	"TaskTwice": {
		reason: "A task is measured once.",
		base:   tuning, set: `spec: {tuning: {evaluation: {tasks: [{name: gsm8k}, {name: gsm8k}]}}}`,
		want: "Duplicate value",
	},
	"PromotedWithoutDigest": {
		reason: "A claim has no digest that Git could name.",
		base:   tuning, set: `spec: {tuning: {promote: {to: phi-4-mini}, output: {image: null, pushSecret: null, claim: out}}}`,
		want: "promote needs output.image",
	},
	"BothTasks": {
		reason: "Serving and tuning need different pods and lives.",
		base:   tuning, set: `spec: {inference: {preset: phi-4-mini-instruct}}`,
		want: "exactly one of spec.inference and spec.tuning is required: a Workspace either serves a model or tunes one",
	},
	"NoTask": {
		reason: "A Workspace that does nothing would still buy a node.",
		base:   serving, set: `spec: {inference: null}`,
		want: "exactly one of spec.inference and spec.tuning is required",
	},
	"TurnsIntoTuning": {
		reason: "The children of one task are not those of the other.",
		base:   serving,
		update: `spec: {inference: null, tuning: {preset: phi-4-mini-instruct, method: qlora, input: {claim: data}, output: {claim: out}}}`,
		want:   "a Workspace cannot turn from inference into tuning or back: give the new task a Workspace of its own",
	},
	"ServesMore": {
		reason: "Changing what is served is an ordinary update.",
		base:   serving, update: `spec: {inference: {preset: phi-4-mini-instruct, contextLength: 4096}}`,
	},
	"Locked": {
		reason: "A model outside the catalogue, with its lock file.",
		base:   serving, set: `spec: {inference: {preset: null, model: {id: someone/Model-8B, lock: model-8b-5d2fh8m4b6}}}`,
	},
	"PresetAndLocked": {
		reason: "Which of them is downloaded is nobody's guess.",
		base:   tuning, set: `spec: {tuning: {model: {id: someone/Model-8B, lock: model-8b}}}`,
		want: "exactly one of preset and model is required",
	},
	"NoModel": {
		reason: "There is nothing to serve.",
		base:   serving, set: `spec: {inference: {preset: null}}`,
		want: "exactly one of preset, model and template is required",
	},
	"OwnPod": {
		reason: "A pod of one's own, with fields that a schema of ours need not know.",
		base:   serving, set: `spec: {inference: {preset: null, template: {spec: {containers: [{name: a, image: 'registry.example.com/a/b:1', ports: [{containerPort: 80}]}]}}}}`,
	},
	"OwnPodOfModel": {
		reason: "Which of them would run?",
		base:   serving, set: `spec: {inference: {template: {spec: {containers: []}}}}`,
		want: "exactly one of preset, model and template is required",
	},
	"RuntimeImage": {
		reason: "The same version, built with another CUDA.",
		base:   serving, set: `spec: {runtime: {version: 0.26.0, cuda: "12.9", image: "registry.example.com/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000"}}`,
	},
	"RuntimeImageOfNoCUDA": {
		reason: "Nobody could say which drivers run it.",
		base:   serving, set: `spec: {runtime: {version: 0.26.0, image: "registry.example.com/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000"}}`,
		want: "image and cuda belong together",
	},
	"RuntimeImageOfNoVersion": {
		reason: "Arguments are written for one version.",
		base:   serving, set: `spec: {runtime: {cuda: "12.9", image: "registry.example.com/a/b@sha256:0000000000000000000000000000000000000000000000000000000000000000"}}`,
		want: "image needs version",
	},
	"Scales": {
		reason: "The least that scales.",
		base:   serving, set: `spec: {inference: {autoscale: {maxReplicas: 3}}}`,
	},
	"ScalesToNone": {
		reason: "Office hours start the first copy.",
		base:   serving, set: `spec: {inference: {autoscale: {minReplicas: 0, maxReplicas: 3, keda: {prometheusAddress: 'http://p:9090', schedules: [{start: 0 8 * * *, end: 0 18 * * *, timeZone: UTC, replicas: 1}]}}}}`,
	},
	"ScalesAFixedNumber": {
		reason: "Two who count the copies.",
		base:   serving, set: `spec: {inference: {replicas: 2, autoscale: {maxReplicas: 3}}}`,
		want: "autoscale decides the number of copies",
	},
	"ScalesBackwards": {
		reason: "Bounds that cross.",
		base:   serving, set: `spec: {inference: {autoscale: {minReplicas: 4, maxReplicas: 3}}}`,
		want: "minReplicas is more than maxReplicas",
	},
	"ScalesFromNowhere": {
		reason: "Nothing would ever start the first copy.",
		base:   serving, set: `spec: {inference: {autoscale: {minReplicas: 0, maxReplicas: 3, keda: {prometheusAddress: 'http://p:9090', wakeQuery: ''}}}}`,
		want: "minReplicas 0 needs keda.wakeQuery or keda.schedules",
	},
	"ScalesBeyond": {
		reason: "A schedule beyond what the budget was held against.",
		base:   serving, set: `spec: {inference: {autoscale: {maxReplicas: 3, keda: {prometheusAddress: 'http://p:9090', schedules: [{start: 0 8 * * *, end: 0 18 * * *, timeZone: UTC, replicas: 4}]}}}}`,
		want: "a schedule asks for more copies than maxReplicas",
	},
	"LockedWithoutLock": {
		reason: "Nobody could say whether it fits.",
		base:   serving, set: `spec: {inference: {preset: null, model: {id: someone/Model-8B}}}`,
		want: "spec.inference.model.lock: Required value",
	},
	"LockedByAnotherAddress": {
		reason: "What is downloaded is a repository of the hub, no address and no flag.",
		base:   serving, set: `spec: {inference: {preset: null, model: {id: "https://example.com/x", lock: l}}}`,
		want: "spec.inference.model.id in body should match",
	},
	"NoInstance": {
		reason: "Nobody else chooses what is bought.",
		base:   serving, set: `spec: {resource: {instanceType: null}}`,
		want: "exactly one of instanceType, candidates and nodePool is required",
	},
	"InstanceAndCandidates": {
		reason: "The shorthand and the list would contradict each other.",
		base:   serving, set: `spec: {resource: {candidates: [{instanceType: Standard_NV36ads_A10_v5}]}}`,
		want: "exactly one of instanceType, candidates and nodePool is required",
	},
	"Provider": {
		reason: "A Workspace may say where its nodes come from.",
		base:   serving, set: `spec: {resource: {provider: existing, labelSelector: {matchLabels: {gpu: a100}}}}`,
	},
	"ProviderOfASharedPool": {
		reason: "A shared pool has nodes from somewhere already.",
		base:   serving, set: `spec: {resource: {instanceType: null, nodePool: a100, provider: aks}}`,
		want: "provider is for nodes of the Workspace's own",
	},
	"ExistingUnselected": {
		reason: "Without a label any GPU node of the cluster would do.",
		base:   serving, set: `spec: {resource: {provider: existing}}`,
		want: "provider existing takes the nodes that labelSelector.matchLabels selects",
	},
	"RunBudget": {
		reason: "A run may be bounded in all.",
		base:   tuning, set: `spec: {budget: {maxUSD: "40"}}`,
	},
	"ServiceBudget": {
		reason: "A service has no end at which its money would be spent.",
		base:   serving, set: `spec: {budget: {maxUSD: "40"}}`,
		want: "budget.maxUSD is for tuning runs",
	},
	"DefaultProvider": {
		reason: "What no pool could have is no default.",
		base:   sync, set: `spec: {defaults: {provider: gke}}`,
		want: "spec.defaults.provider: Unsupported value",
	},
	"SharedPool": {
		reason: "A Workspace may share the nodes of a pool that Git declares.",
		base:   serving, set: `spec: {resource: {instanceType: null, nodePool: a100}}`,
	},
	"Candidates": {
		reason: "Several ways to get nodes, in order of preference.",
		base:   serving, set: `spec: {resource: {instanceType: null, candidates: [{instanceType: Standard_NV36ads_A10_v5, priority: Spot}, {instanceType: Standard_NV36ads_A10_v5}]}}`,
	},
	"TwoInputs": {
		reason: "Which of two data sources is meant cannot be guessed.",
		base:   tuning, set: `spec: {tuning: {input: {claim: data}}}`,
		want: "exactly one of urls, claim, image and files is required",
	},
	"FileOfNothing": {
		reason: "A file comes from a ConfigMap or a Secret.",
		base:   tuning, set: `spec: {tuning: {input: {urls: null, files: [{configMap: a, secret: b}]}}}`,
		want: "exactly one of configMap and secret is required",
	},
	"Files": {
		reason: "Small training data is held by Git itself.",
		base:   tuning, set: `spec: {tuning: {input: {urls: null, files: [{configMap: a}, {secret: b, items: [{key: c, path: d/e.json}]}]}}}`,
	},
	"AdapterFromNowhere": {
		reason: "An adapter comes from one place.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a}]}}`,
		want: "exactly one of image, claim and urls is required",
	},
	"AdapterOfAClaim": {
		reason: "A claim may hold several adapters, each in a folder of its own.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a, claim: adapters, path: a/v1}, {name: b, claim: adapters, path: b}]}}`,
	},
	"AdapterAboveItsClaim": {
		reason: "A path leads nowhere above the claim.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a, claim: adapters, path: ../x}]}}`,
		want: "spec.inference.adapters[0].path",
	},
	"AdapterPathOfAnImage": {
		reason: "An image that KAITO has pushed holds the adapter in a folder.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a, image: registry.example.com/a, path: data}]}}`,
	},
	"AdapterPathOfURLs": {
		reason: "Addresses name the files themselves.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a, path: b, urls: ["https://example.com/adapter_config.json", "https://example.com/adapter_model.safetensors"]}]}}`,
		want: "path is a folder of the image or the claim",
	},
	"AdapterSecretOfAClaim": {
		reason: "A claim is pulled from no registry.",
		base:   serving, set: `spec: {inference: {adapters: [{name: a, claim: b, pullSecrets: [c]}]}}`,
		want: "pullSecrets are for the registry of image",
	},
	"NoOutput": {
		reason: "A run whose adapter goes nowhere is money lost.",
		base:   tuning, set: `spec: {tuning: {output: {image: null, pushSecret: null}}}`,
		want: "exactly one of image and claim is required",
	},
	"CacheNowhere": {
		reason: "Weights are kept somewhere, or there is no cache.",
		base:   serving, set: `spec: {inference: {cache: {}}}`,
		want: "exactly one of claim and size is required",
	},
	"CacheTwice": {
		reason: "A claim has the size that it has.",
		base:   serving, set: `spec: {inference: {cache: {claim: a, size: 5Gi}}}`,
		want: "exactly one of claim and size is required",
	},
	"CacheOfClass": {
		reason: "A claim has the class that it has.",
		base:   serving, set: `spec: {inference: {cache: {claim: a, storageClass: b}}}`,
		want: "a claim has a class of its own",
	},
	"CacheOfDefaultClass": {
		reason: "The RepoSync, else the cluster, says which class.",
		base:   serving, set: `spec: {inference: {cache: {size: 200Gi}}}`,
	},
	"KaitoWithoutImage": {
		reason: "What runs is pinned, and of this one no digest is known.",
		base:   serving, set: `spec: {runtime: {name: kaito, version: 0.5.0}}`,
		want: "no digest of KAITO's base image is known: name it in image",
	},
	"TransformersWithoutImage": {
		reason: "It is another program of the same image.",
		base:   serving, set: `spec: {runtime: {name: kaito-transformers}}`,
		want: "no digest of KAITO's base image is known: name it in image",
	},
	"StrengthMerged": {
		reason: "KAITO's transformers engine merges adapters, each with a weight.",
		base:   serving, set: `spec: {` + onTransformers + `, inference: {adapters: [{name: a, claim: b, strength: "0.5"}]}}`,
	},
	"RouteToNobody": {
		reason: "A route that no Gateway takes publishes nothing.",
		base:   serving, set: `spec: {inference: {route: {parentRefs: []}}}`,
		want: "spec.inference.route.parentRefs",
	},
	"RouteHostname": {
		reason: "A hostname has neither scheme nor port.",
		base:   serving, set: `spec: {inference: {route: {parentRefs: [{name: a}], hostnames: ["https://a.example.com"]}}}`,
		want: "spec.inference.route.hostnames",
	},
	"RoutePath": {
		reason: "One path has one spelling.",
		base:   serving, set: `spec: {inference: {route: {parentRefs: [{name: a}], path: /a/}}}`,
		want: "spec.inference.route.path",
	},
	"PickerSelf": {
		reason: "A Gateway that asks the model which copy is to answer gets no answer.",
		base:   serving, set: `spec: {inference: {route: {parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: phi}}}}}`,
		want: "spec.inference.route.inferencePool.endpointPickerRef.name is the Service of the model itself, which picks nothing: name that of the endpoint picker",
	},
	"PickerOfTransformers": {
		reason: "An endpoint picker compares metrics of vLLM.",
		base:   serving, set: `spec: {` + onTransformers + `, inference: {route: {parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: b}}}}}`,
		want: "inference.route.inferencePool is for endpoint pickers, which read vLLM's metrics, and runtime kaito-transformers has none: remove it, or the runtime",
	},
	"PickerFails": {
		reason: "What becomes of requests without the picker is one of two.",
		base:   serving, set: `spec: {inference: {route: {parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: b, failureMode: FailSafe}}}}}`,
		want: `spec.inference.route.inferencePool.endpointPickerRef.failureMode: Unsupported value: "FailSafe": supported values: "FailOpen", "FailClose"`,
	},
	"PickerPort": {
		reason: "A port has 16 bits.",
		base:   serving, set: `spec: {inference: {route: {parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: b, port: 90020}}}}}`,
		want: "spec.inference.route.inferencePool.endpointPickerRef.port",
	},
	"NoPushSecret": {
		reason: "The push comes after hours of paid work; its credential is asked for before.",
		base:   tuning, set: `spec: {tuning: {output: {pushSecret: null}}}`,
		want: "output.image needs output.pushSecret, a Secret of type kubernetes.io/dockerconfigjson that may push there",
	},
	"PushAccount": {
		reason: "An identity of the cloud may take the Secret's place.",
		base:   tuning, set: `spec: {serviceAccountName: pusher, tuning: {output: {image: "contoso.azurecr.io/models/phi:1", pushSecret: null}}}`,
	},
	"PushAccountAmazon": {
		reason: "Also Amazon's.",
		base:   tuning, set: `spec: {serviceAccountName: pusher, tuning: {output: {image: "123456789012.dkr.ecr.eu-west-1.amazonaws.com/models/phi:1", pushSecret: null}}}`,
	},
	"PushAccountGoogle": {
		reason: "And Google's.",
		base:   tuning, set: `spec: {serviceAccountName: pusher, tuning: {output: {image: "europe-west4-docker.pkg.dev/team/models/phi:1", pushSecret: null}}}`,
	},
	"PushAccountElsewhere": {
		reason: "A token goes to registries of clouds alone.",
		base:   tuning, set: `spec: {serviceAccountName: pusher, tuning: {output: {image: "contoso.azurecr.io.example.com/models/phi:1", pushSecret: null}}}`,
		want: "no identity signs in to the registry of output.image",
	},
	"PushAccountRented": {
		reason: "Below Amazon's domain are hosts that anybody rents.",
		base:   tuning, set: `spec: {serviceAccountName: pusher, tuning: {output: {image: "123456789012.dkr.ecr.a.compute.amazonaws.com/models/phi:1", pushSecret: null}}}`,
		want: "no identity signs in to the registry of output.image",
	},
	"AccountForNothing": {
		reason: "Pods get no identity that they do not use.",
		base:   tuning, set: `spec: {serviceAccountName: pusher}`,
		want: "serviceAccountName signs in to registries of images without a Secret, and there is none",
	},
	"AccountOfAdapters": {
		reason: "Adapters are copied by it where nodes mount no images.",
		base:   serving, set: `spec: {serviceAccountName: puller, inference: {adapters: [{name: a, image: contoso.azurecr.io/models/a}]}}`,
	},
	"TwoAccounts": {
		reason: "A pod has one.",
		base:   serving, set: `spec: {serviceAccountName: puller, inference: {adapters: [{name: a, image: contoso.azurecr.io/models/a}], weights: {url: "s3://a", serviceAccountName: reader}}}`,
		want: "a pod has one account",
	},
	"SignedClaim": {
		reason: "cosign signs images.",
		base:   tuning, set: `spec: {tuning: {output: {image: null, pushSecret: null, claim: out, signingSecret: key}}}`,
		want: "output.signingSecret signs an image: name output.image",
	},
	"LongName": {
		reason: "Names of Services and Jobs are made from it.",
		base:   serving, set: `metadata: {name: ` + strings.Repeat("x", 49) + `}`,
		want: "metadata.name: at most 48 lower-case letters, digits and dashes, because Service and Job names are made from it",
	},
	"DottedName": {
		reason: "A dot is fine in an object's name and not in a Service's.",
		base:   serving, set: `metadata: {name: phi.4}`,
		want: "metadata.name: at most 48 lower-case letters, digits and dashes",
	},
	"UnknownMethod": {
		reason: "Only what can be run is accepted.",
		base:   tuning, set: `spec: {tuning: {method: full}}`,
		want: `spec.tuning.method: Unsupported value: "full": supported values: "qlora", "lora"`,
	},
	"PathLeavesTree": {
		reason: "A sync reads its own repository and nothing beside it.",
		base:   sync, set: `spec: {path: a/../../b}`,
		want: "path: a folder within the repository, relative to its root and without '..'",
	},
	"DotsInNames": {
		reason: "Two dots within a name climb nowhere.",
		base:   sync, set: `spec: {path: a..b/c}`,
	},
	"PasswordInURL": {
		reason: "An address is shown in status, events and reports.",
		base:   sync, set: `spec: {source: {git: {url: "https://user:secret@git.example.com/models.git"}}}`,
		want: "url: no credentials in the address; put them into a Secret and name it in secretRef",
	},
	"AtInPath": {
		reason: "An @ behind the host is no credential.",
		base:   sync, set: `spec: {source: {git: {url: "https://git.example.com/@team/models.git"}}}`,
	},
	"FileURL": {
		reason: "A path of the controller's own machine is no repository.",
		base:   sync, set: `spec: {source: {git: {url: "file:///etc"}}}`,
		want: "spec.source.git.url in body should match",
	},
	"BranchAndTag": {
		reason: "Two answers to which commit is meant.",
		base:   sync, set: `spec: {source: {git: {ref: {branch: main, tag: v1}}}}`,
		want: "ref: branch or tag, not both",
	},
	"GitAndFlux": {
		reason: "Two sources of what is wanted would fight.",
		base:   sync, set: `spec: {source: {ref: {kind: GitRepository, name: models}}}`,
		want: "exactly one of source.git and source.ref is required",
	},
	"ReportWithoutAddress": {
		reason: "A Flux artifact does not say where to push.",
		base:   sync, set: `spec: {source: {git: null, ref: {kind: GitRepository, name: models}}, report: {commit: {}}}`,
		want: "report.commit.url is required with source.ref: an artifact says no clone address",
	},
	"PromptOfChats": {
		reason: "A conversation is written by the model's own template.",
		base:   tuning, set: `spec: {tuning: {input: {format: {type: Chat, prompt: "{instruction}"}}}}`,
		want: "prompt belongs to type Instruction",
	},
	"TimeoutOfSeconds": {
		reason: "A run loads its model for longer than that.",
		base:   tuning, set: `spec: {tuning: {timeout: 30s}}`,
		want: "timeout: at least 1m",
	},
	"QueuedRun": {
		reason: "A run may wait in a queue, within limits of its own.",
		base:   tuning, set: `spec: {queue: team-a, tuning: {timeout: 12h, retries: 0, checkpoints: {size: 64Gi, keep: 3}}}`,
	},
	"QueuedService": {
		reason: "A service has no end at which its quota comes back.",
		base:   serving, set: `spec: {queue: team-a}`,
		want: "queue is for tuning runs: a service is not queued",
	},
}

// onTransformers is the runtime of KAITO's transformers engine.

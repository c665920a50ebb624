// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// bases are valid documents to break: the first whose spec has the task that a
// path goes through is used.
var bases = map[string]map[string]string{
	"workspaces": {
		"":               header + onA100 + serves,
		"spec.tuning":    header + onA100 + tunes + fromURL + intoClaim,
		"spec.inference": header + onA100 + serves,

		"spec.tuning.evaluation":          header + onA100 + tunes + fromURL + intoClaim + evaluated,
		"spec.tuning.evaluation.urls":     header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {urls: []}\n",
		"spec.tuning.evaluation.tasks[0]": header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {tasks: [{name: gsm8k, metric: acc}]}\n",

		"spec.inference.adapters[0].claim": header + onA100 + "  inference: {preset: phi-4, adapters: [{name: a, claim: adapters}]}\n",
		"spec.inference.adapters[0].path":  header + onA100 + "  inference: {preset: phi-4, adapters: [{name: a, claim: adapters}]}\n",
		"spec.inference.adapters[0].urls":  header + onA100 + adapterByURL,
		"spec.tuning.input.files":          header + onA100 + tunes + "    input: {files: [{configMap: a}]}\n" + intoClaim,
		"spec.tuning.input.files[0].items": header + onA100 + tunes + "    input: {files: [{configMap: a, items: [{key: a, path: a.json}]}]}\n" + intoClaim,

		"spec.inference.autoscale":                   header + onA100 + scales,
		"spec.inference.autoscale.keda":              header + onA100 + scalesWithKEDA,
		"spec.inference.autoscale.keda.schedules[0]": header + onA100 + scalesWithKEDA,

		"spec.inference.route": header + onA100 + picked("b"),

		"spec.inference.weights":          header + onA100 + weighs("{claim: a}"),
		"spec.inference.weights.registry": header + onA100 + weighs("{registry: {url: 'https://a.api.azureml.ms/models/m/versions/1', clientID: 00000000-0000-0000-0000-000000000000}, serviceAccountName: reader}"),

		"spec.inference.model": header + onA100 + servesLocked,
		"spec.tuning.model":    header + onA100 + tunesLocked + fromURL + intoClaim,
	},
	"reposyncs":    {"": following, "spec.source.ref": fluxed, "spec.review": following + reviewed, "spec.workspaceSelector": reporting, "spec.source.git.verify": verified, "spec.report": signing, "spec.kubeConfig": following + elsewhere, "spec.kubeConfig.configMapRef": following + federated},
	"gpunodepools": {"": pooled, "spec.idle": pooled + "  idle: {after: 30m}\n", "spec.aks": pooled + "  aks: {}\n", "spec.existing": strings.Replace(pooled, "aks", "existing", 1) + "  nodeLabels: {a: b}\n  existing: {}\n", "spec.aks.upgrade": pooled + "  aks: {upgrade: {}}\n", "spec.aks.autoscale": pooled + "  aks: {autoscale: {max: 1000}}\n"},
}

// weighs serves a model whose weights are somewhere.
func weighs(where string) string { return "  inference: {preset: phi-4, weights: " + where + "}\n" }

// picked is a service whose copies an endpoint picker picks.
func picked(by string) string {
	return "  inference: {preset: phi-4, route: {parentRefs: [{name: a}], inferencePool: {endpointPickerRef: {name: " + by + "}}}}\n"
}

const adapterByURL = "  inference: {preset: phi-4, adapters: [{name: a, urls: ['https://models.example.com/adapter_config.json', 'https://models.example.com/adapter_model.safetensors']}]}\n"

const evaluated = "    evaluation: {split: 5%}\n"

const pooled = "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec:\n  provider: aks\n  candidates: [{instanceType: A}]\n"

const following = "apiVersion: espalier.dev/v1alpha1\nkind: RepoSync\nmetadata: {name: a}\nspec:\n  source: {git: {url: 'https://git.example.com/a.git'}}\n"

const reviewed = "  review: {provider: Gitea, secretRef: {name: forge}}\n"

const reporting = following + "  mode: ReportOnly\n  workspaceSelector: {matchLabels: {team: a}}\n"

// elsewhere is another cluster.
const elsewhere = "  kubeConfig: {secretRef: {name: spoke}}\n"

// federated is another cluster, in which an account of this one signs in.
const federated = "  kubeConfig: {configMapRef: {name: spoke}}\n"

// verified demands a signature.
var verified = strings.Replace(following, "a.git'", "a.git', verify: {secretRef: {name: keys}}", 1)

const signing = following + "  report: {commit: {signing: {secretRef: {name: key}}}}\n"

const fluxed = "apiVersion: espalier.dev/v1alpha1\nkind: RepoSync\nmetadata: {name: a}\nspec:\n  source: {ref: {kind: GitRepository, name: a}}\n"

const (
	scales         = "  inference: {preset: phi-4, autoscale: {maxReplicas: 1000}}\n"
	scalesWithKEDA = "  inference: {preset: phi-4, autoscale: {maxReplicas: 1000, keda: {prometheusAddress: 'http://prometheus.monitoring.svc:9090'}}}\n"
)

// items are good elements of lists, to be repeated or broken; %d tells them apart.
var items = map[string]string{
	"spec.dependsOn":                                         `{"name":"pools-%d"}`,
	"spec.inference.route.parentRefs":                        `{"name": "gateway-%d"}`,
	"spec.inference.route.hostnames":                         `"host-%d.example.com"`,
	"spec.inference.adapters":                                `{"name":"a%d","image":"registry.example.com/models/a:1"}`,
	"spec.inference.adapters[0].urls":                        `"https://models.example.com/%d.json"`,
	"spec.tuning.input.files":                                `{"configMap":"a%d"}`,
	"spec.tuning.input.files[0].items":                       `{"key":"a%d","path":"a%d.json"}`,
	"spec.inference.autoscale.keda.schedules":                `{"start":"%d 8 * * 1-5","end":"0 18 * * 1-5","timeZone":"Europe/Berlin","replicas":1}`,
	"spec.patches":                                           `{"target":{"kind":"Service"},"patch":"spec: {a: %d}"}`,
	"spec.candidates":                                        `{"instanceType":"A%d"}`,
	"spec.resource.candidates":                               `{"instanceType":"A%d"}`,
	"spec.tuning.evaluation.urls":                            `"https://data.example.com/%d"`,
	"spec.tuning.evaluation.tasks":                           `{"name":"t%d"}`,
	"spec.tuning.input.urls":                                 `"https://data.example.com/%d"`,
	"spec.resource.labelSelector.matchExpressions":           `{"key":"a%d","operator":"Exists"}`,
	"spec.workspaceSelector.matchExpressions":                `{"key":"a%d","operator":"Exists"}`,
	"spec.workspaceSelector.matchExpressions[0].values":      `"v%d"`,
	"spec.inference.adapters[0].pullSecrets":                 `"s%d"`,
	"spec.tuning.input.pullSecrets":                          `"s%d"`,
	"spec.resource.candidates[0].zones":                      `"%d"`,
	"spec.candidates[0].zones":                               `"%d"`,
	"spec.resource.labelSelector.matchExpressions[0].values": `"v%d"`,
}

// celCases break each CEL rule, by its message.
var celCases = map[string]string{
	"exactly one of spec.inference and spec.tuning is required: a Workspace either serves a model or tunes one":                                            header + onA100,
	"no digest of KAITO's base image is known: name it in image":                                                                                           "", // the RepoSync may name it: package check asks
	"strength is of runtime kaito-transformers: vLLM applies an adapter in full":                                                                           header + onA100 + "  inference: {preset: phi-4, adapters: [{name: a, claim: c, strength: '0.5'}]}\n",
	"runtime kaito-transformers serves a preset, and has no config, weights, autoscale and performanceMode, which are vLLM's: remove them, or the runtime": header + onA100 + "  inference: {preset: phi-4, config: c}\n  runtime: {name: kaito-transformers}\n",
	"runtime kaito tunes on one node, measures nothing and takes columns from its configuration: remove count, evaluation and format, or write axolotl":    header + onA100 + strings.Replace(tunes+fromURL+intoClaim, "method", "evaluation: {split: 5%}\n    method", 1) + "  runtime: {name: kaito}\n",
	"inference.route.inferencePool is for endpoint pickers, which read vLLM's metrics, and runtime kaito-transformers has none: remove it, or the runtime": header + onA100 + picked("b") + "  runtime: {name: kaito-transformers}\n",
	"spec.inference.route.inferencePool.endpointPickerRef.name is the Service of the model itself, which picks nothing: name that of the endpoint picker":  header + onA100 + picked("a"),
	"exactly one of instanceType, candidates and nodePool is required":                                                                                     header + "  resource: {}\n" + serves,
	"provider is for nodes of the Workspace's own: a shared pool has its own":                                                                              header + "  resource: {nodePool: a, provider: aks}\n" + serves,
	"provider existing takes the nodes that labelSelector.matchLabels selects: name at least one label":                                                    header + "  resource: {instanceType: A100, provider: existing}\n" + serves,
	"exactly one of preset and model is required":                                                                                                          header + onA100 + strings.Replace(tunes, "phi-4", "phi-4\n    model: {id: a/b, lock: c}", 1) + fromURL + intoClaim,
	"a cache is a claim, or a volume of its own for each pod: exactly one of claim and size is required":                                                   header + onA100 + "  inference: {preset: phi-4, cache: {}}\n",
	"mig is for nodes that exist, with provider existing: slices of nodes that are bought belong to a GPUNodePool (aks.mig)":                               header + "  resource: {instanceType: A, mig: MIG2g}\n" + serves,
	"no two slices work on one model: remove gpus, or mig":                                                                                                 header + "  resource: {instanceType: A, provider: existing, labelSelector: {matchLabels: {a: b}}, mig: MIG2g, gpus: 2}\n" + serves,
	"resource.gpus and resource.mig are of a served model: a tuning run takes whole nodes, and a pod of your own says itself what it takes":                header + "  resource: {instanceType: A, gpus: 2}\n" + tunes + fromURL + intoClaim,
	"driver is for nodes that exist: a cloud installs that of the nodes that it makes, and a shared pool says its own":                                     header + "  resource: {instanceType: A, provider: aks, driver: '580'}\n" + serves,
	"driver is of nodes whose driver no cloud installs: with provider existing, or aks.gpuDriver None":                                                     pooled + "  driver: '580'\n",
	"existing belongs to provider existing":                                                                                                                pooled + "  existing: {mig: MIG2g}\n",
	"path is a folder of a claim: the volume of each pod has none":                                                                                         header + onA100 + "  inference: {preset: phi-4, cache: {size: 9Gi, path: a}}\n",
	"path stays within the claim: no . or .. in it":                                                                                                        header + onA100 + "  inference: {preset: phi-4, cache: {claim: b, path: a/../c}}\n",
	"registry needs serviceAccountName: the account whose workload identity may read it":                                                                   "", // the RepoSync may name it: package check asks
	"exactly one of claim, url, local and registry is required":                                                                                            header + onA100 + weighs("{claim: a, local: b}"),
	"path is a folder of a claim: a url has its own":                                                                                                       header + onA100 + weighs("{url: 's3://a', path: b}"),
	"storageAccount is the account of an az:// url, which needs one":                                                                                       header + onA100 + weighs("{url: 'az://a'}"),
	"endpoint is where an s3:// url is answered that is not Amazon's":                                                                                      header + onA100 + weighs("{url: 'gs://a', endpoint: 'https://b'}"),
	"secret and serviceAccountName sign in to an object store: a claim and a folder of the node ask for nothing":                                           header + onA100 + weighs("{claim: a, secret: b}"),
	"one of secret and serviceAccountName signs in: remove the other":                                                                                      header + onA100 + weighs("{url: 's3://a', secret: b, serviceAccountName: c}"),
	"weights at a url are always streamed: remove stream":                                                                                                  header + onA100 + weighs("{url: 's3://a', stream: true}"),
	"cache, revision and accessSecret are about a download, and nothing is downloaded beside weights: remove them":                                         header + onA100 + "  inference: {preset: phi-4, accessSecret: b, weights: {claim: a}}\n",
	"trustRemoteCode runs code of a pinned commit, and what lies at weights is pinned by nothing: remove one of them":                                      header + onA100 + "  inference: {preset: phi-4, trustRemoteCode: true, weights: {claim: a}}\n",
	"storageClass is of the volume of each pod, which has a size: a claim has a class of its own":                                                          header + onA100 + "  inference: {preset: phi-4, cache: {claim: a, storageClass: b}}\n",
	"exactly one of configMap and secret is required":                                                                                                      header + onA100 + tunes + "    input: {files: [{}]}\n" + intoClaim,
	"exactly one of image, claim and urls is required":                                                                                                     header + onA100 + "  inference: {preset: phi-4, adapters: [{name: a}]}\n",
	"path is a folder of the image or the claim: remove path":                                                                                              header + onA100 + strings.Replace(adapterByURL, "name: a", "name: a, path: b", 1),
	"pullSecrets are for the registry of image":                                                                                                            header + onA100 + "  inference: {preset: phi-4, adapters: [{name: a, claim: a, pullSecrets: [b]}]}\n",
	"exactly one of urls, claim, image and files is required":                                                                                              header + onA100 + tunes + "    input: {}\n" + intoClaim,
	"promote needs output.image: an adapter on a claim has no digest":                                                                                      header + onA100 + tunes + "    promote: {to: b}\n" + fromURL + intoClaim,
	"evaluation measures nothing: name split, urls or tasks":                                                                                               header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {}\n",
	"split and urls are two ways to the held-out rows: keep one":                                                                                           header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {split: 5%, urls: ['https://data.example.com/b']}\n",
	"maxLoss and minImprovement are of held-out rows: name split or urls":                                                                                  header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {tasks: [{name: a}], maxLoss: '1'}\n",
	"evaluation.split: above 0%": header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {split: 0.0%}\n",
	"minimum and maxRegression are of a metric: name it, such as exact_match":                                         header + onA100 + tunes + fromURL + intoClaim + "    evaluation: {tasks: [{name: a, minimum: '1'}]}\n",
	"prompt belongs to type Instruction":                                                                              header + onA100 + tunes + "    input: {urls: ['https://data.example.com/a'], format: {type: Text, prompt: '{instruction}'}}\n" + intoClaim,
	"exactly one of image and claim is required":                                                                      header + onA100 + tunes + fromURL + "    output: {}\n",
	"output.signingSecret signs an image: name output.image":                                                          header + onA100 + tunes + fromURL + "    output: {claim: a, signingSecret: key}\n",
	"metadata.name: at most 48 lower-case letters, digits and dashes, because Service and Job names are made from it": strings.Replace(header, "{name: a}", "{name: A}", 1) + onA100 + serves,
	"provider existing selects nodes by nodeLabels: name at least one":                                                strings.Replace(pooled, "aks", "existing", 1),
	"karpenter belongs to provider karpenter":                                                                         pooled + "  karpenter: {}\n",
	"idle does not belong to provider existing: nodes that exist are never given back":                                strings.Replace(pooled, "aks", "existing", 1) + "  nodeLabels: {a: b}\n  idle: {after: 30m}\n",
	"aks belongs to provider aks":                                                                                     strings.Replace(pooled, "aks", "karpenter", 1) + "  aks: {}\n",
	"a capacity reservation holds no spot machines: remove the spot candidates, or aks.capacityReservationGroup":      strings.Replace(pooled, "{instanceType: A}", "{instanceType: A, priority: Spot}", 1) + "  aks: {capacityReservationGroup: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/r}\n",
	"with neither maxSurge nor maxUnavailable no node could be upgraded":                                              pooled + "  aks: {upgrade: {maxSurge: '0', maxUnavailable: 0%}}\n",
	"AKS takes only one of maxSurge and maxUnavailable: leave the other out":                                          pooled + "  aks: {upgrade: {maxSurge: 33%, maxUnavailable: '1'}}\n",
	"aks.autoscale decides the number of nodes: remove replicas, or aks.autoscale":                                    pooled + "  replicas: 2\n  aks: {autoscale: {max: 4}}\n",
	"the autoscaler takes nodes away that no pod needs: remove idle, or aks.autoscale":                                pooled + "  idle: {after: 30m}\n  aks: {autoscale: {max: 4}}\n",
	"min is more than max": pooled + "  aks: {autoscale: {min: 5, max: 4}}\n",
	"after is at least 1m": pooled + "  idle: {after: 30s}\n",

	"output.image needs output.pushSecret, a Secret of type kubernetes.io/dockerconfigjson that may push there, or for a registry of a cloud spec.serviceAccountName": header + onA100 + tunes + fromURL + "    output: {image: 'registry.example.com/a/b:1'}\n",
	"serviceAccountName signs in to registries of images without a Secret, and there is none: remove it":                                                              header + onA100 + "  serviceAccountName: b\n" + tunes + fromURL + intoClaim,
	"no identity signs in to the registry of output.image, which is none of Azure's, Amazon's or Google's own: name output.pushSecret":                                header + onA100 + "  serviceAccountName: b\n" + tunes + fromURL + "    output: {image: 'registry.example.com/a/b:1'}\n",
	"a pod has one account: serviceAccountName and inference.weights.serviceAccountName must be the same":                                                             header + onA100 + "  serviceAccountName: b\n" + "  inference: {preset: phi-4, adapters: [{name: a, image: 'contoso.azurecr.io/a/b:1'}], weights: {url: 's3://a', serviceAccountName: c}}\n",

	"exactly one of preset, model and template is required":                 header + onA100 + "  inference: {preset: phi-4, template: {spec: {containers: []}}}\n",
	"autoscale decides the number of copies: remove replicas, or autoscale": header + onA100 + "  inference: {preset: phi-4, replicas: 2, autoscale: {maxReplicas: 3}}\n",
	"minReplicas is more than maxReplicas":                                  header + onA100 + "  inference: {preset: phi-4, autoscale: {minReplicas: 3, maxReplicas: 2}}\n",
	"minReplicas 0 needs keda.wakeQuery or keda.schedules: the queue is a metric of the pods, and with no pod nothing would start the first": header + onA100 + "  inference: {preset: phi-4, autoscale: {minReplicas: 0, maxReplicas: 2}}\n",
	"a schedule asks for more copies than maxReplicas": header + onA100 + strings.Replace(scalesWithKEDA, "9090'", "9090', schedules: [{start: '0 8 * * *', end: '0 9 * * *', timeZone: UTC, replicas: 1001}]", 1),

	"image and cuda belong together: which drivers run an image follows from the CUDA that it was built with": header + onA100 + serves + "  runtime: {version: 0.26.0, image: 'registry.example.com/a/b@sha256:" + strings.Repeat("0", 64) + "'}\n",
	"image needs version: what it is started with is written for one version":                                 header + onA100 + serves + "  runtime: {cuda: '12.9', image: 'registry.example.com/a/b@sha256:" + strings.Repeat("0", 64) + "'}\n",

	"budget.maxUSD is for tuning runs, which end: bound a service by budget.maxUSDPerHour": header + onA100 + serves + "  budget: {maxUSD: '1'}\n",
	"queue is for tuning runs: a service is not queued":                                    header + onA100 + "  queue: a\n" + serves,
	"timeout: at least 1m":  header + onA100 + tunes + "    timeout: 30s\n" + fromURL + intoClaim,
	"interval: at least 1s": following + "  interval: 500ms\n",
	"path: a folder within the repository, relative to its root and without '..'":         following + "  path: a/../..\n",
	"url: no credentials in the address; put them into a Secret and name it in secretRef": strings.Replace(following, "git.ex", "user:token@git.ex", 1),
	"ref: branch or tag, not both":                                                     strings.Replace(following, "a.git'", "a.git', ref: {branch: a, tag: b}", 1),
	"exactly one of source.git and source.ref is required":                             strings.Replace(following, "git: {", "ref: {kind: Bucket, name: a}, git: {", 1),
	"report.commit.url is required with source.ref: an artifact says no clone address": fluxed + "  report: {commit: {}}\n",
	"review needs source.git with a branch: pull requests go to one":                   fluxed + reviewed,
	"report.commit.path is a folder of the branch that is synced: set report.commit.branch to source.git.ref.branch, of the same repository; a branch of its own needs no path": following + "  path: a\n  report: {commit: {branch: b, path: c}}\n",
	"report.commit.path and path must lie beside each other, neither in the other: what is reported is not to be synced":                                                        following + "  path: a\n  report: {commit: {branch: main, path: a/b}}\n",
	"report.commit.path with source.git.verify needs report.commit.signing: a report would be an unsigned commit on the branch whose commits must be signed":                    verified + "  path: a\n  report: {commit: {branch: main, path: b}}\n",
	"report.commit.path is not for mode ReportOnly: each report would wake Flux; let it have a branch of its own":                                                               reporting + "  path: a\n  report: {commit: {branch: main, path: b}}\n",
	"path: a folder of the branch, relative to its root, without '.', '..' and '.git'":                                                                                          following + "  path: a\n  report: {commit: {branch: main, path: b/../c}}\n",
	"report.statuses needs review, which says what forge to tell and with what token":                                                                                           following + "  report: {statuses: true}\n",
	"mode ReportOnly and workspaceSelector belong together: the selector says which Workspaces are reported on":                                                                 following + "  mode: ReportOnly\n",
	"serviceAccountName is as whom a RepoSync applies, and mode ReportOnly applies nothing: remove it":                                                                          reporting + "  serviceAccountName: models\n",
	"substitutions, decryption, postBuild and defaults change what is applied, and mode ReportOnly applies nothing: remove them":                                                reporting + "  substitutions: {A: B}\n",
	"names of variables have letters, digits and underscores, 63 at most, and begin with no digit":                                                                              following + "  postBuild: {substitute: {1a: b}}\n",
	"report.pullRequest follows what the RepoSync applies, and mode ReportOnly applies nothing: remove it":                                                                      reporting + "  report: {pullRequest: true}\n" + reviewed,
	"report.pullRequest needs review, whose comment it continues":                                                                                                               following + "  report: {pullRequest: true}\n",
	"verify.mode Tag and TagAndHEAD need ref.tag, without ref.commit":                                                                                                           strings.Replace(verified, "verify: {", "verify: {mode: Tag, ", 1),
	"kubeConfig is where a RepoSync applies, and mode ReportOnly applies nothing: remove it, and report from the cluster where the Workspaces are":                              reporting + elsewhere,
	"exactly one of kubeConfig.secretRef, a kubeconfig, and kubeConfig.configMapRef, an account that signs in, is required":                                                     following + "  kubeConfig: {secretRef: {name: spoke}, configMapRef: {name: spoke}}\n",
	"dependsOn orders what is applied, and mode ReportOnly applies nothing: remove it":                                                                                          reporting + "  dependsOn: [{name: pools}]\n",
	"spec.dependsOn: a RepoSync cannot wait for itself":                                                                                                                         following + "  dependsOn: [{name: a}]\n",
	// Of two generations, which a single document does not have: the API server's and the plan's.
	"a Workspace cannot turn from inference into tuning or back: give the new task a Workspace of its own":                     "",
	"provider is immutable: delete the pool and declare another":                                                               "",
	"karpenter.mode is immutable: declare a pool of another name, and move the Workspaces to it":                               "",
	"with karpenter.mode NodePools Karpenter decides the number of nodes: remove replicas, and bound it by karpenter.maxNodes": filledPool + "  replicas: 2\n",
	"maxNodes and mode NodePools belong together: it is the most nodes that are paid for":                                      strings.Replace(filledPool, ", maxNodes: 4", "", 1),
	"consolidateAfter belongs to mode NodePools: with NodeClaims nodes go when their work is done":                             strings.Replace(filledPool, "mode: NodePools, maxNodes: 4", "consolidateAfter: 5m", 1),
	"gpu-provisioner knows no NodePools: remove mode, or name a node class of Karpenter":                                       strings.Replace(filledPool, "maxNodes: 4", "maxNodes: 4, nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}", 1),
}

// filledPool is a pool that Karpenter fills.
const filledPool = "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec:\n  provider: karpenter\n  candidates: [{instanceType: A}]\n  karpenter: {mode: NodePools, maxNodes: 4}\n"

// What the CRD refuses, Decode refuses, and says at which field: otherwise the
// reader would learn it from the API server, without file and line. What the
// CRD fills in, Decode fills in.
func TestCRDRules(t *testing.T) {
	for plural := range bases {
		text, err := os.ReadFile("../deploy/crd/espalier.dev_" + plural + ".yaml")
		if err != nil {
			t.Fatal(err)
		}
		var crd apiextensionsv1.CustomResourceDefinition
		if err := yaml.UnmarshalStrict(text, &crd); err != nil {
			t.Fatal(err)
		}
		root := *crd.Spec.Versions[0].Schema.OpenAPIV3Schema
		w := walker{t: t, plural: plural}
		w.cel("", root)
		w.visit("spec", root.Properties["spec"])
		t.Logf("%s: %d rules", plural, w.rules)
		if w.rules < 10 {
			t.Errorf("%s: only %d rules were found: the walk is broken", plural, w.rules)
		}
	}
}

type walker struct {
	t      *testing.T
	plural string
	rules  int
}

func (w *walker) visit(path string, s apiextensionsv1.JSONSchemaProps) {
	w.cel(path, s)
	w.limits(path, s)
	for _, name := range s.Required {
		if path+"."+name != "spec.resource" { // refused below as ResourceMissing
			w.refused(path+"."+name, "required", nil)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.Properties)) {
		p := s.Properties[name]
		if p.Default != nil {
			w.filled(path+"."+name, p.Default.Raw)
		}
		w.visit(path+"."+name, p)
	}
	if s.Items != nil && s.Items.Schema != nil {
		w.visit(path+"[0]", *s.Items.Schema)
	}
}

func (w *walker) cel(path string, s apiextensionsv1.JSONSchemaProps) {
	for _, rule := range s.XValidations {
		w.rules++
		text, known := celCases[rule.Message]
		switch {
		case !known:
			w.t.Errorf("%s: the rule %q has no case: write it in Go as well", path, rule.Message)
		case text != "" && !finding.Refused(w.findings(text)):
			w.t.Errorf("%s: Decode accepts what the rule %q refuses", path, rule.Message)
		}
	}
}

func (w *walker) limits(path string, s apiextensionsv1.JSONSchemaProps) {
	if s.Enum != nil {
		w.refused(path, "enum", "nonsense")
	}
	if s.Pattern != "" {
		w.refused(path, "pattern", "§ §")
	}
	if s.MinLength != nil {
		w.refused(path, "minLength", "")
	}
	if s.MaxLength != nil {
		w.refused(path, "maxLength", strings.Repeat("a", int(*s.MaxLength)+1))
	}
	if s.Minimum != nil {
		w.refused(path, "minimum", *s.Minimum-1)
	}
	if s.Maximum != nil {
		w.refused(path, "maximum", *s.Maximum+1)
	}
	if s.MaxProperties != nil {
		many := map[string]any{}
		for i := range *s.MaxProperties + 1 {
			many["k"+strconv.Itoa(int(i))] = "v"
		}
		w.refused(path, "maxProperties", many)
	}
	if s.MaxItems != nil {
		w.refused(path, "maxItems", w.list(path, int(*s.MaxItems)+1))
	}
}

// refused sets a field of a valid document (nil removes it) and wants an error
// finding at it or within.
func (w *walker) refused(path, rule string, value any) {
	w.rules++
	tree := w.base(path)
	set(w.t, w, tree, path, value)
	findings := w.decode(tree)
	parent := path[:strings.LastIndexByte(path, '.')]
	for _, f := range findings {
		field, _, _ := strings.Cut(f.Message, ": ")
		if f.Severity == finding.Error && f.Line > 0 && (strings.HasPrefix(field, path) || field == parent || field == strings.TrimSuffix(parent, "[0]")) {
			return
		}
	}
	w.t.Errorf("%s: %s refuses %v, and Decode says %v", path, rule, value, lines(findings))
}

// filled wants the CRD's default where a document leaves the field out.
func (w *walker) filled(path string, raw []byte) {
	w.rules++
	tree := w.base(path)
	set(w.t, w, tree, path, nil)
	text, err := yaml.Marshal(tree)
	if err != nil {
		w.t.Fatal(err)
	}
	native, findings := w.read(string(text))
	if len(findings) > 0 {
		w.t.Errorf("%s: %v", path, lines(findings))
		return
	}
	var got, want any
	if err := yaml.Unmarshal(native, &got); err != nil {
		w.t.Fatal(err)
	}
	if err := json.Unmarshal(raw, &want); err != nil {
		w.t.Fatal(err)
	}
	for _, step := range steps(path) {
		if i, err := strconv.Atoi(step); err == nil {
			got = got.([]any)[i]
			continue
		}
		got = got.(map[string]any)[step]
	}
	if plain(got) != plain(want) {
		w.t.Errorf("%s: the CRD fills in %v, Decode %v", path, want, got)
	}
}

// plain prints a value; durations by their length.
func plain(v any) string {
	switch v := v.(type) {
	case map[string]any:
		var parts []string
		for _, k := range slices.Sorted(maps.Keys(v)) {
			parts = append(parts, k+"="+plain(v[k]))
		}
		return strings.Join(parts, ",")
	case string:
		if d, err := time.ParseDuration(v); err == nil {
			return d.String()
		}
	}
	return fmt.Sprint(v)
}

func (w *walker) base(path string) map[string]any {
	text, best := bases[w.plural][""], ""
	for prefix, b := range bases[w.plural] {
		if strings.HasPrefix(path, prefix) && len(prefix) > len(best) {
			text, best = b, prefix
		}
	}
	var tree map[string]any
	if err := yaml.Unmarshal([]byte(text), &tree); err != nil {
		w.t.Fatal(err)
	}
	return tree
}

func (w *walker) decode(tree map[string]any) []v1alpha1.Finding {
	text, err := yaml.Marshal(tree)
	if err != nil {
		w.t.Fatal(err)
	}
	return w.findings(string(text))
}

// read decodes a document and returns what became of it, as YAML.
func (w *walker) read(text string) ([]byte, []v1alpha1.Finding) {
	if w.plural == "reposyncs" {
		doc := repolayout.Split("f.yaml", []byte(text))[0]
		s, findings := repolayout.DecodeSync(doc.Text, doc)
		native, err := yaml.Marshal(s)
		if err != nil {
			w.t.Fatal(err)
		}
		return native, findings
	}
	d, findings := decode(text)
	if finding.Refused(findings) {
		return nil, findings
	}
	native, err := repolayout.Encode(d)
	if err != nil {
		w.t.Fatal(err)
	}
	return native, findings
}

func (w *walker) findings(text string) []v1alpha1.Finding {
	_, findings := w.read(text)
	return findings
}

func (w *walker) list(path string, n int) []any {
	format, known := items[path]
	if !known {
		w.t.Fatalf("%s: write a good element of this list into items", path)
	}
	var list []any
	for i := range n {
		var item any
		if err := json.Unmarshal([]byte(strings.Replace(format, "%d", strconv.Itoa(i), 1)), &item); err != nil {
			w.t.Fatal(err)
		}
		list = append(list, item)
	}
	return list
}

func steps(path string) []string {
	return strings.FieldsFunc(path, func(r rune) bool { return r == '.' || r == '[' || r == ']' })
}

// set writes a value at a path, making what is missing on the way; nil removes.
func set(t *testing.T, w *walker, tree map[string]any, path string, value any) {
	t.Helper()
	var at any = tree
	all := steps(path)
	walked := ""
	for i, step := range all {
		last := i == len(all)-1
		if n, err := strconv.Atoi(step); err == nil {
			list := at.([]any)
			walked += "[" + step + "]"
			if last {
				list[n] = value
				return
			}
			at = list[n]
			continue
		}
		walked = strings.TrimPrefix(walked+"."+step, ".")
		m := at.(map[string]any)
		switch {
		case last && value == nil:
			delete(m, step)
			return
		case last:
			m[step] = value
			return
		}
		if _, isList := items[walked]; isList && m[step] == nil {
			m[step] = w.list(walked, 1)
		} else if m[step] == nil {
			m[step] = map[string]any{}
		}
		if walked == "spec.resource.candidates" {
			delete(m, "instanceType")
		}
		at = m[step]
	}
}

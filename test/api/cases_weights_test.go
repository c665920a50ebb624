// SPDX-License-Identifier: Apache-2.0

package api

// weightsCases are of where weights come from, and of parts of nodes.
var weightsCases = map[string]written{
	"CacheFolder": {
		reason: "A claim that something else has filled keeps its models where that has put them.",
		base:   serving, set: `spec: {inference: {cache: {claim: a, path: .}}}`,
	},
	"CacheFolderOfPod": {
		reason: "The volume of each pod begins empty.",
		base:   serving, set: `spec: {inference: {cache: {size: 200Gi, path: a}}}`,
		want: "path is a folder of a claim: the volume of each pod has none",
	},
	"CacheFolderOutside": {
		reason: "A folder leaves its claim by no way.",
		base:   serving, set: `spec: {inference: {cache: {claim: a, path: b/../c}}}`,
		want: "path stays within the claim: no . or .. in it",
	},
	"WeightsClaim": {
		reason: "Weights lie in a folder of a claim.",
		base:   serving, set: `spec: {inference: {weights: {claim: a, path: b/c, stream: true}}}`,
	},
	"WeightsAzure": {
		reason: "Weights are streamed from a container, as a workload identity.",
		base:   serving, set: `spec: {inference: {weights: {url: "az://a/b", storageAccount: team, serviceAccountName: reader}}}`,
	},
	"WeightsLocal": {
		reason: "Weights lie in a folder of the node, whose directory the controller names.",
		base:   serving, set: `spec: {inference: {weights: {local: phi-4}}}`,
	},
	"WeightsLocalOutside": {
		reason: "No tenant names a path of the node.",
		base:   serving, set: `spec: {inference: {weights: {local: ../etc}}}`,
		want: "spec.inference.weights.local",
	},
	"WeightsTwice": {
		reason: "Weights are in one place.",
		base:   serving, set: `spec: {inference: {weights: {claim: a, local: b}}}`,
		want: "exactly one of claim, url, local and registry is required",
	},
	"WeightsPathOfURL": {
		reason: "A url says its folder itself.",
		base:   serving, set: `spec: {inference: {weights: {url: "s3://a", path: b}}}`,
		want: "path is a folder of a claim: a url has its own",
	},
	"WeightsOutside": {
		reason: "A folder leaves its claim by no way.",
		base:   serving, set: `spec: {inference: {weights: {claim: a, path: ../b}}}`,
		want: "path stays within the claim",
	},
	"WeightsAccountMissing": {
		reason: "A container of Azure is found by its account.",
		base:   serving, set: `spec: {inference: {weights: {url: "az://a"}}}`,
		want: "storageAccount is the account of an az:// url, which needs one",
	},
	"WeightsEndpoint": {
		reason: "Only stores that speak S3 are somewhere else.",
		base:   serving, set: `spec: {inference: {weights: {url: "gs://a", endpoint: "https://b"}}}`,
		want: "endpoint is where an s3:// url is answered that is not Amazon's",
	},
	"WeightsSecretOfClaim": {
		reason: "A claim asks for nothing.",
		base:   serving, set: `spec: {inference: {weights: {claim: a, secret: b}}}`,
		want: "secret and serviceAccountName sign in to an object store",
	},
	"WeightsTwoWays": {
		reason: "One of the two would be ignored.",
		base:   serving, set: `spec: {inference: {weights: {url: "s3://a", secret: b, serviceAccountName: c}}}`,
		want: "one of secret and serviceAccountName signs in: remove the other",
	},
	"WeightsRegistry": {
		reason: "A version of a model in a registry of Azure is read by a workload identity.",
		base:   serving, set: `spec: {inference: {weights: {registry: {url: "https://a.api.azureml.ms/models/m/versions/1", clientID: 00000000-0000-0000-0000-000000000000}, serviceAccountName: reader}}}`,
	},
	"WeightsRegistryOfNobody": {
		reason: "A registry is read as somebody.",
		base:   serving, set: `spec: {inference: {weights: {registry: {url: "https://a.api.azureml.ms/models/m/versions/1", clientID: 00000000-0000-0000-0000-000000000000}}}}`,
		want: "registry needs serviceAccountName",
	},
	"WeightsRegistryElsewhere": {
		reason: "The address gets a token of the identity.",
		base:   serving, set: `spec: {inference: {weights: {registry: {url: "https://evil.example.com/models/m/versions/1", clientID: 00000000-0000-0000-0000-000000000000}, serviceAccountName: reader}}}`,
		want: "spec.inference.weights.registry.url",
	},
	"WeightsRegistryOfACustomer": {
		reason: "Below a domain of Azure's there are hosts that anybody rents.",
		base:   serving, set: `spec: {inference: {weights: {registry: {url: "https://evil.westus.cloudapp.azure.com/models/m/versions/1", clientID: 00000000-0000-0000-0000-000000000000}, serviceAccountName: reader}}}`,
		want: "spec.inference.weights.registry.url",
	},
	"WeightsStreamOfURL": {
		reason: "There is no other way.",
		base:   serving, set: `spec: {inference: {weights: {url: "s3://a", stream: true}}}`,
		want: "weights at a url are always streamed: remove stream",
	},
	"WeightsAndCache": {
		reason: "Nothing is downloaded that could be kept.",
		base:   serving, set: `spec: {inference: {weights: {claim: a}, cache: {claim: b}}}`,
		want: "cache, revision and accessSecret are about a download",
	},
	"WeightsAndCode": {
		reason: "Code that runs was reviewed.",
		base:   serving, set: `spec: {inference: {weights: {claim: a}, trustRemoteCode: true}}`,
		want: "trustRemoteCode runs code of a pinned commit",
	},
	"ModeUnknown": {
		reason: "vLLM has three.",
		base:   serving, set: `spec: {inference: {performanceMode: fast}}`,
		want: "spec.inference.performanceMode",
	},
	"SomeGPUs": {
		reason: "A copy may take more GPUs than it needs.",
		base:   serving, set: `spec: {resource: {gpus: 2}}`,
	},
	"GPUsOfTuning": {
		reason: "A run takes whole nodes.",
		base:   tuning, set: `spec: {resource: {gpus: 2}}`,
		want: "resource.gpus and resource.mig are of a served model",
	},
	"Slice": {
		reason: "A copy has a slice of nodes that exist.",
		base:   serving, set: `spec: {resource: {provider: existing, mig: 2g.24gb, labelSelector: {matchLabels: {a: b}}}}`,
	},
	"SliceOfBought": {
		reason: "Nodes that are bought are cut by their pool.",
		base:   serving, set: `spec: {resource: {mig: MIG2g}}`,
		want: "mig is for nodes that exist, with provider existing",
	},
	"SlicesTogether": {
		reason: "Slices share nothing.",
		base:   serving, set: `spec: {resource: {provider: existing, gpus: 2, mig: MIG2g, labelSelector: {matchLabels: {a: b}}}}`,
		want: "no two slices work on one model",
	},
	"SliceUnknown": {
		reason: "NVIDIA calls none so.",
		base:   serving, set: `spec: {resource: {provider: existing, mig: half, labelSelector: {matchLabels: {a: b}}}}`,
		want: "spec.resource.mig",
	},
	"PoolOfSlices": {
		reason: "A pool of nodes that exist says how they are cut.",
		base:   pool, set: `spec: {provider: existing, nodeLabels: {a: b}, existing: {mig: 2g.24gb, gpus: 2}}`,
	},
	"Driver": {
		reason: "The owner of nodes that exist knows it; whether they do, the controller may say.",
		base:   serving, set: `spec: {resource: {driver: 580.95.05}}`,
	},
	"DriverUnknown": {
		reason: "NVIDIA calls none so.",
		base:   serving, set: `spec: {resource: {driver: latest}}`,
		want: "spec.resource.driver",
	},
	"DriverOfBought": {
		reason: "AKS installs it.",
		base:   serving, set: `spec: {resource: {provider: aks, driver: "580"}}`,
		want: "driver is for nodes that exist",
	},
	"DriverOfShared": {
		reason: "One pool has one driver.",
		base:   serving, set: `spec: {resource: {instanceType: null, nodePool: a100, driver: "580"}}`,
		want: "driver is for nodes that exist",
	},
	"PoolDriver": {
		reason: "A pool of nodes that exist says it.",
		base:   pool, set: `spec: {provider: existing, nodeLabels: {a: b}, driver: "580"}`,
	},
	"PoolDriverOfOperator": {
		reason: "The GPU operator installs it.",
		base:   pool, set: `spec: {aks: {gpuDriver: None}, driver: "580"}`,
	},
	"PoolDriverOfBought": {
		reason: "AKS installs it.",
		base:   pool, set: `spec: {driver: "580"}`,
		want: "driver is of nodes whose driver no cloud installs",
	},
	"PoolOfBoughtSlices": {
		reason: "AKS cuts by aks.mig.",
		base:   pool, set: `spec: {existing: {mig: 2g.24gb}}`,
		want: "existing belongs to provider existing",
	},
}

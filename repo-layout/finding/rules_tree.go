// SPDX-License-Identifier: Apache-2.0

package finding

// The codes of the rules below are constants of render/build, render/check and
// render/settings, which this package cannot import; a test compares.

var buildRules = []Rule{
	{Code: "BuildFailed", Severity: Error, Meaning: "Kustomize refuses to build the folder.", Remedy: "Run kustomize build on it: the message is Kustomize's own."},
	{Code: "BuildTimeout", Severity: Error, Meaning: "The build was given up before it ended.", Remedy: "Split the folder, or list its bases fewer times."},
	{Code: "RemoteReference", Severity: Error, Meaning: "A URL or a remote base: nothing is fetched while building.", Remedy: "Copy the files into the repository."},
	{Code: "PathOutsideTree", Severity: Error, Meaning: "An absolute path, or one that leaves the repository.", Remedy: "Use a path relative to the folder, within the repository."},
	{Code: "Symlink", Severity: Error, Meaning: "A symbolic link, device or socket: none is followed.", Remedy: "Put the file itself there, or list its folder as a base."},
	{Code: "PluginRefused", Severity: Error, Meaning: "Something that would run a program: exec and container functions, Helm, plugins.", Remedy: "Render it elsewhere and commit the result."},
	{Code: "FieldRefused", Severity: Error, Meaning: "A field of a kustomization that is not built here: vars, and a schema (openapi) that is not the built-in one.", Remedy: "Use replacements in the place of vars; of schemas only a copy of merge-keys.yaml may be named."},
	{Code: "FileMissing", Severity: Error, Meaning: "A path that names nothing.", Remedy: "Correct the path, or add the file."},
	{Code: "TooLarge", Severity: Error, Meaning: "A file, a tree, a build or its output is over a limit.", Remedy: "Keep data and models out of the repository, split it, or give each RepoSync a path of its own."},
	{Code: "AliasBomb", Severity: Error, Meaning: "Aliases that expand to too much.", Remedy: "Write out what they stand for."},
	{Code: "NameElsewhere", Severity: Error, Meaning: "A name of an object in another folder, which that folder changes by a prefix or a generator's suffix.", Remedy: "Put both into one folder, or keep the name: disableNameSuffixHash, no namePrefix."},
	{Code: "Cycle", Severity: Error, Meaning: "A kustomization that leads back to itself.", Remedy: "Break the circle that the message shows."},
}

var taskRules = []Rule{
	{Code: "UnknownModel", Severity: Error, Meaning: "The model is not in the catalogue.", Remedy: "Check the spelling; espalier presets lists the models."},
	{Code: "UnknownInstanceType", Severity: Either, Meaning: "The instance type is not in the catalogue. A warning while another candidate can be used.", Remedy: "Check the spelling; espalier skus lists the sizes."},
	{Code: "UnknownRuntime", Severity: Error, Meaning: "A runtime or version that is not known, or does not do this task.", Remedy: "Use one of those that the message lists, or leave it out."},
	{Code: "InstanceTypeRetired", Severity: Either, Meaning: "The cloud retired the size: no node of it can be created. A warning while another candidate can be used.", Remedy: "Take the size that the message names; one line in spec.substitutions of the RepoSync moves every Workspace."},
	{Code: "DoesNotFit", Severity: Either, Meaning: "The task cannot work on this size: memory, driver or compute capability. A warning while another candidate can be used.", Remedy: "Take the size that the message names, or a shorter context."},
	{Code: "FitUnknown", Severity: Either, Meaning: "A fact is missing, so nobody can say whether it fits. A warning while another candidate can be used.", Remedy: "Choose a model or size whose facts are known; espalier fit shows the sum."},
	{Code: "PodNotJudged", Severity: Warning, Meaning: "A pod of your own: whether it fits its GPUs, and whether the driver runs its image, shows when the nodes are paid for.", Remedy: "Name a model where it is one that Espalier knows; else try it on a small number of nodes, with a budget."},
	{Code: "FitTight", Severity: Warning, Meaning: "It fits within the margin of the estimate, or a part of what it takes is not known.", Remedy: "Shorten the context or take a larger size if it fails."},
	{Code: "LockInvalid", Severity: Error, Meaning: "A lock file that does not decode or says too little.", Remedy: "Write it with espalier presets lock, and add by hand what the message names."},
	{Code: "ModelInCatalogue", Severity: Warning, Meaning: "The lock file describes a model that the catalogue knows.", Remedy: "Name the preset: the catalogue has more facts, each with its source."},
	{Code: "NotTunable", Severity: Error, Meaning: "How much memory tuning this model takes is not known.", Remedy: "Tune one of the models that the message lists."},
	{Code: "NodesUnsupported", Severity: Either, Meaning: "Fewer nodes than the copies take, or a shared pool with fewer than a tuning run is spread over. A warning while another candidate can be used.", Remedy: "Leave spec.resource.count out, or raise it to what the copies take; raise the replicas of the pool."},
	{Code: "ResumesNothing", Severity: Warning, Meaning: "KAITO's trainer tunes, which writes no checkpoint: whatever ends a pod, the next one begins again from the base model and costs as much once more.", Remedy: "Use on-demand nodes and a budget, or spec.runtime.name: axolotl, which goes on from its last checkpoint."},
	{Code: "PoolTooSmall", Severity: Warning, Meaning: "A shared pool has fewer GPUs, with the most nodes that it may have, than the Workspaces want that name it: pods beyond that wait, without another word than the scheduler's. Suspended Workspaces and runs in a queue are not counted, and of a service that scales by itself its fewest copies.", Remedy: "Raise the field that the message names, or ask for less; nothing where pods may take turns."},
	{Code: "NodesIdle", Severity: Warning, Meaning: "More nodes than the task uses.", Remedy: "Raise replicas, or leave spec.resource.count out."},
	{Code: "NodesDiffer", Severity: Warning, Meaning: "A candidate that needs another number of nodes than the first: it is not used.", Remedy: "Give it a Workspace of its own, or leave it out."},
	{Code: "PodsDiffer", Severity: Either, Meaning: "A shared pool that Karpenter fills (karpenter.mode NodePools) has a candidate on which the task would need other pods: they are kept off its nodes. An error where it is the pool's first, of which nodes are made before any other.", Remedy: "Name a pool whose first candidate the task can use, or list candidates with as many GPUs and the same number format (bfloat16 from Ampere on)."},
	{Code: "ContextUnbounded", Severity: Warning, Meaning: "KAITO's transformers engine takes requests that are longer than what fits, and may end with them.", Remedy: "Bound requests before they get there, take a larger GPU, or serve with vLLM."},
	{Code: "AdapterFormat", Severity: Warning, Meaning: "PEFT 0.11.1 of KAITO's base image reads no adapter_config.json with settings that it does not know, and newer versions of PEFT write some.", Remedy: "Remove from adapter_config.json what PEFT 0.11.1 does not have, or serve with vLLM."},
	{Code: "AutoscaleUnsupported", Severity: Either, Meaning: "Copies that no autoscaler can count: each takes several nodes, or the number of nodes is fixed. A warning while another candidate can be used.", Remedy: "Set replicas, or take a size that one copy fits; leave spec.resource.count out."},
	{Code: "BudgetExceeded", Severity: Either, Meaning: "The list price is above the budget. A warning while another candidate can be used.", Remedy: "Take the cheaper size that the message names, or raise spec.budget.maxUSDPerHour."},
	{Code: "BudgetTooSmall", Severity: Warning, Meaning: "The timeout of a run would let it cost more than it may: it is stopped, after a checkpoint, when its money is spent.", Remedy: "Raise spec.budget.maxUSD, or shorten spec.tuning.timeout; nothing where either may end the run."},
	{Code: "PriceUnknown", Severity: Either, Meaning: "There is a budget and no known price. A warning while another candidate can be used.", Remedy: "Choose a size with a price (espalier skus), or remove the budget."},
	{Code: "ModelRevisionUnpinned", Severity: Warning, Meaning: "No commit of the model is pinned: a restarted pod may load other weights.", Remedy: "Set revision to a commit of the model repository: git ls-remote https://huggingface.co/OWNER/NAME HEAD prints the newest."},
	{Code: "CacheTooSmall", Severity: Error, Meaning: "The volume of a cache has no room for the weights.", Remedy: "Raise spec.inference.cache.size."},
	{Code: "CacheShared", Severity: Either, Meaning: "Pods on several nodes cannot write the claim of the cache; a warning where its access modes are not known.", Remedy: "Use a claim with access mode ReadWriteMany, or cache.storageClass for a volume of each pod."},
	{Code: "WeightsShared", Severity: Either, Meaning: "Pods on several nodes cannot all mount the claim that holds the weights; a warning where its access modes are not known.", Remedy: "Use a claim with access mode ReadOnlyMany or ReadWriteMany."},
	{Code: "WeightsUnpinned", Severity: Warning, Meaning: "What lies in the place of the weights is what is served: no commit in its name says which version that is.", Remedy: "Name the folder after the commit of the model repository, and change spec.inference.weights with it."},
	{Code: "CheckpointsTooSmall", Severity: Error, Meaning: "The volume of a tuning run has no room for the model, its prepared data and checkpoints.", Remedy: "Raise spec.tuning.checkpoints.size, or leave it out."},
	{Code: "ClaimNotShared", Severity: Either, Meaning: "A tuning run over several nodes, and a volume that one node mounts; a warning where that is not known.", Remedy: "Use a class of shares (azurefile-csi-premium) in spec.tuning.checkpoints.storageClass, and claims with access mode ReadWriteMany; or leave spec.resource.count out."},
	{Code: "ZoneLocked", Severity: Either, Meaning: "Nodes of other zones cannot mount the checkpoints of a run, or the claim of the weights: a warning before they are there, an error for a candidate whose nodes cannot mount what is.", Remedy: "Use a class that every zone can mount (checkpoints.storageClass), name one zone for all candidates, or delete the claim once nothing on it is wanted."},
	{Code: "ZoneUnknown", Severity: Warning, Meaning: "Nodes may be in several zones, and nothing is known here of the class of the checkpoints' volume.", Remedy: "Name a class that every zone can mount, or one zone for all candidates; docs/tuning.md lists what is known."},
	{Code: "QueueGPUs", Severity: Warning, Meaning: "A candidate with another number of GPUs than the run is queued for: it is not used.", Remedy: "Give it a Workspace of its own, or leave it out."},
	{Code: "RemoteCode", Severity: Either, Meaning: "Python code of the model repository runs in the pod; an error where no commit is pinned.", Remedy: "Read the code of that commit before the change is merged; set spec.inference.revision where none is pinned."},
	{Code: "ModelGated", Severity: Error, Meaning: "The model asks for an accepted licence and a token.", Remedy: "Name a Secret whose key HF_TOKEN holds the token of an account that has accepted it."},
	{Code: "ConfigInvalid", Severity: Error, Meaning: "A key of the configuration that is missing, unknown, wrong or refused.", Remedy: "Mend the key that the message names in the ConfigMap."},
	{Code: "ConfigIgnored", Severity: Warning, Meaning: "Keys of the configuration without effect here.", Remedy: "Remove them."},
	{Code: "InputInvalid", Severity: Error, Meaning: "An address of training data that names no usable file.", Remedy: "End the address in a file name whose extension says what it holds, each name once."},
	{Code: "RenderRefused", Severity: Error, Meaning: "The objects of the Workspace cannot be rendered, mostly for a patch that is out of a tenant's reach.", Remedy: "Mend or remove the patch that the message names."},
	{Code: "NameTaken", Severity: Error, Meaning: "An adapter has the name of the model.", Remedy: "Rename the adapter: requests use the name to choose."},
}

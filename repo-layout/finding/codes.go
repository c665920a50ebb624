// SPDX-License-Identifier: Apache-2.0

package finding

// Codes on how a document is written. A code is stable: scripts and forges
// match on it.
const (
	InvalidYAML      = "InvalidYAML"      // the text is no YAML, holds a key twice, or expands to too much
	DocumentTooLarge = "DocumentTooLarge" // larger than any Kubernetes object can be
	TooManyDocuments = "TooManyDocuments" // a file of more documents than are read
	NotAnObject      = "NotAnObject"      // no mapping, or several documents where one is expected
	KindMissing      = "KindMissing"      // no apiVersion or no kind
	KindNotAllowed   = "KindNotAllowed"   // a kind that no RepoSync applies
	KindNotSupported = "KindNotSupported" // a kind of KAITO that Espalier knows and does not run
	VersionNotKnown  = "VersionNotKnown"  // a known kind in an unknown version
	UnknownField     = "UnknownField"     // a field that the kind does not have
	WrongType        = "WrongType"        // text where a number belongs, and the like
	MissingField     = "MissingField"     // a required field is absent
	SpecWrapper      = "SpecWrapper"      // spec where the kind has none, or none where it has one
	ServerField      = "ServerField"      // warning: a field that only a server writes; it is ignored
	EncryptedSecret  = "EncryptedSecret"  // a Secret that SOPS encrypted, and a RepoSync that does not decrypt
	EncryptedField   = "EncryptedField"   // SOPS encrypted what is shown, or what could be copied there
	NotDecrypted     = "NotDecrypted"     // warning: what SOPS encrypted is not checked without the key
	DecryptionFailed = "DecryptionFailed" // a file that the keys do not open, or that was changed
	SecretType       = "SecretType"       // a Secret that Kubernetes fills with a service account's token
	SecretInGit      = "SecretInGit"      // warning: a Secret that whoever can read the repository can read
	NameCollision    = "NameCollision"    // two documents stand for one object

	NamespaceNotAllowed = "NamespaceNotAllowed" // a namespace that the RepoSync does not write to
	PathMissing         = "PathMissing"         // spec.path of a RepoSync is no folder of the repository
)

// Codes on documents of kaito.sh.
const (
	DeadField           = "DeadField"           // warning: a field that KAITO itself never reads
	OtherVersionField   = "OtherVersionField"   // a field that only the other version of kaito.sh has
	AnnotationIgnored   = "AnnotationIgnored"   // warning: an annotation or label of KAITO without effect here
	AnnotationInvalid   = "AnnotationInvalid"   // a value that KAITO refuses as well
	ExposedService      = "ExposedService"      // warning: the model answers whoever reaches its address
	RuntimeUnsupported  = "RuntimeUnsupported"  // what KAITO's transformers engine, or its trainer, does not have
	VolumeUnsupported   = "VolumeUnsupported"   // a volume that holds nothing, keeps nothing, or that the node would mount for a tenant
	HostAccess          = "HostAccess"          // a path of the node
	PartitionGPU        = "PartitionGPU"        // a part of a node that cannot be asked for
	WeightsClaim        = "WeightsClaim"        // a claim of weights that KAITO refuses as well
	AdapterSource       = "AdapterSource"       // an adapter from nowhere, from two places, or from what holds none; a warning for addresses in KAITO
	AdapterLayout       = "AdapterLayout"       // warning: an image that KAITO may have pushed, whose adapter is in a folder
	AdapterStrength     = "AdapterStrength"     // a strength where vLLM serves, or none
	NotConverted        = "NotConverted"        // warning of convert: a comment or name without a place in the native form
	UpgradePolicy       = "UpgradePolicy"       // warning: autoUpgrade; versions are pinned in Git here
	MultiNodeTuning     = "MultiNodeTuning"     // tuning on several nodes
	SelectorUnsupported = "SelectorUnsupported" // a label selector that is no set of labels
)

// Codes on what a Workspace or GPUNodePool says.
const (
	NameInvalid         = "NameInvalid"         // no name, or one that Kubernetes would not take
	TaskMissing         = "TaskMissing"         // neither inference nor tuning
	TaskAmbiguous       = "TaskAmbiguous"       // both
	ResourceMissing     = "ResourceMissing"     // no instanceType, candidates or nodePool
	ResourceAmbiguous   = "ResourceAmbiguous"   // more than one of them
	InstanceTypeInvalid = "InstanceTypeInvalid" // empty, or no name of an instance type
	ProviderMismatch    = "ProviderMismatch"    // what the provider of a pool does not read, or cannot make
	OutOfRange          = "OutOfRange"          // a number or a list beyond its bounds
	NotOneOf            = "NotOneOf"            // a value that is not in its list
	PresetMissing       = "PresetMissing"       // no model
	PresetInvalid       = "PresetInvalid"       // no short name and no repository id
	ModelAmbiguous      = "ModelAmbiguous"      // a preset and a model with a lock file
	ModelInvalid        = "ModelInvalid"        // no repository id
	RevisionInvalid     = "RevisionInvalid"     // no full commit hash
	ReferenceInvalid    = "ReferenceInvalid"    // a name of a Secret, ConfigMap, claim or pool that cannot exist
	RouteInvalid        = "RouteInvalid"        // a route without a Gateway, with a name or path that no route has, or a pool without a picker
	CacheInvalid        = "CacheInvalid"        // a cache for weights without a place, with two, or without a size
	WeightsInvalid      = "WeightsInvalid"      // weights in no place, in two, or in one that cannot be reached or is about a download
	TemplateInvalid     = "TemplateInvalid"     // a pod template that cannot be run, or a field that it has no use for
	ProbeMissing        = "ProbeMissing"        // warning: a pod template that is ready before it answers
	AutoscaleInvalid    = "AutoscaleInvalid"    // bounds, triggers or addresses that no autoscaler can work with
	AdapterInvalid      = "AdapterInvalid"      // an adapter without a usable name
	AdapterDuplicate    = "AdapterDuplicate"    // two adapters of one name
	AdapterNotPinned    = "AdapterNotPinned"    // warning: addresses of an adapter without a checksum, or the tag that a run pushes to
	ImageInvalid        = "ImageInvalid"        // no image reference
	ImageNotPinned      = "ImageNotPinned"      // warning: no tag, or latest: what Git says is not what runs
	InputMissing        = "InputMissing"        // no training data
	InputNotInGit       = "InputNotInGit"       // warning: a ConfigMap that the tree does not hold
	InputAmbiguous      = "InputAmbiguous"      // more than one source of it
	FormatInvalid       = "FormatInvalid"       // a column or text that rows of this type do not have
	OutputMissing       = "OutputMissing"       // no place for the adapter
	OutputAmbiguous     = "OutputAmbiguous"     // more than one
	VariableUnset       = "VariableUnset"       // ${NAME} without a value and a default
	VariableInvalid     = "VariableInvalid"     // a $ that begins no variable
	SigningImpossible   = "SigningImpossible"   // a signing key and no image to sign
	PushSecretMissing   = "PushSecretMissing"   // an image to push to and no credential
	AccountInvalid      = "AccountInvalid"      // an account that signs in nowhere, or to no registry of a cloud
	AccountIdle         = "AccountIdle"         // warning: an account for images that nodes pull, and not pods
	URLInvalid          = "URLInvalid"          // no http or https address
	URLForbidden        = "URLForbidden"        // an address within the machine or the network
	URLCredentials      = "URLCredentials"      // credentials in an address
	LabelInvalid        = "LabelInvalid"        // no label name or value
	LabelReserved       = "LabelReserved"       // a label or annotation that Espalier or Kubernetes writes
	BudgetInvalid       = "BudgetInvalid"       // no amount of US dollars
	QueueUnsupported    = "QueueUnsupported"    // a queue for what is not queued
	PromotionInvalid    = "PromotionInvalid"    // an adapter that could be promoted nowhere
	EvaluationInvalid   = "EvaluationInvalid"   // an evaluation that measures nothing, or a threshold that is no number
	PatchInvalid        = "PatchInvalid"        // no YAML, or no patch
	PatchIdle           = "PatchIdle"           // warning: a patch whose target selects nothing
	DurationInvalid     = "DurationInvalid"     // not a positive duration
	Placeholder         = "Placeholder"         // an example's placeholder that nobody filled in
)

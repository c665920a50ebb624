// SPDX-License-Identifier: Apache-2.0

package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// TuningMethod is how an adapter is trained.
//
// +kubebuilder:validation:Enum=qlora;lora
type TuningMethod string

// Values of TuningMethod.
const (
	QLoRA TuningMethod = "qlora" // base weights in 4 bit (NF4), adapter in 16 bit
	LoRA  TuningMethod = "lora"  // base weights and adapter in 16 bit
)

// TuningSpec trains a LoRA adapter on a data set.
//
// +kubebuilder:validation:XValidation:rule="has(self.preset) != has(self.model)",message="exactly one of preset and model is required"
// +kubebuilder:validation:XValidation:rule="!has(self.promote) || has(self.output.image)",message="promote needs output.image: an adapter on a claim has no digest"
type TuningSpec struct {
	ModelRef `json:",inline"`
	// Method is qlora or lora.
	Method TuningMethod `json:"method"`
	// Input is the training data.
	Input DataSource `json:"input"`
	// Output is where the adapter goes.
	Output DataDestination `json:"output"`
	// Config names a ConfigMap whose key training_config.yaml holds the
	// training configuration: KAITO's sections below training_config, Axolotl's
	// own keys below axolotl. Empty: the defaults of the method.
	Config string `json:"config,omitempty"`
	// Checkpoints is what a run keeps on a volume, so that the next pod goes on
	// after one was lost. Neither where they are nor how many there are makes
	// another run.
	Checkpoints *Checkpoints `json:"checkpoints,omitempty"`
	// Timeout is how long the run may take from when its nodes are there, such as
	// 12h, at least 1m. When it is over the pod is stopped after a checkpoint and
	// the nodes are given back. Absent: no limit. A run under way takes a new one.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^([0-9]+(\.[0-9]+)?(ms|s|m|h))+$`
	// +kubebuilder:validation:XValidation:rule="duration(self) >= duration('1m')",message="timeout: at least 1m"
	Timeout *metav1.Duration `json:"timeout,omitempty"`
	// Retries is how many pods may fail before the run has failed. An evicted pod,
	// or one whose spot node was taken away, is none of them. Absent: 6, and 1 of
	// KAITO's trainer, each of whose pods begins again.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=20
	Retries *int32 `json:"retries,omitempty"`
	// Evaluation measures the run on data that it does not train on, before and
	// after, and withholds the adapter where a threshold is missed. Absent: nothing
	// is measured.
	Evaluation *Evaluation `json:"evaluation,omitempty"`
	// Promote proposes the adapter to a Workspace that serves the model, by a pull
	// request with its digest, once it is published. Absent: nothing is proposed.
	Promote *Promote `json:"promote,omitempty"`
}

// Promote says who an adapter is for.
type Promote struct {
	// To is an inference Workspace of the namespace and of the same model. The
	// adapter of it that is promoted is the one from the repository that
	// output.image names.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=48
	To string `json:"to"`
}

// Retention says how long the volume of a run is kept.
//
// +kubebuilder:validation:Enum=UntilDeleted;UntilPublished;Always
type Retention string

// Values of Retention.
const (
	RetainUntilDeleted   Retention = "UntilDeleted"   // with the Workspace; longer where nothing was published
	RetainUntilPublished Retention = "UntilPublished" // it goes as soon as the adapter is where it belongs
	RetainAlways         Retention = "Always"         // nobody but a person deletes it
)

// Checkpoints is the volume that a run works on: checkpoints, the prepared data
// and the downloaded model.
type Checkpoints struct {
	// StorageClass of the volume. One that nodes of every zone can mount lets a
	// run go on in another zone. Empty: the controller's (--storage-class), else the
	// cluster's default. A volume that is there keeps its class.
	// +kubebuilder:validation:MaxLength=253
	StorageClass string `json:"storageClass,omitempty"`
	// Size of the volume, such as 256Gi. Empty: room for the model and the
	// checkpoints. A volume that is there can only grow.
	// +kubebuilder:validation:Pattern=`^[0-9]+(Gi|Ti)$`
	Size string `json:"size,omitempty"`
	// SaveSteps is the number of steps of the optimizer between two checkpoints,
	// and so what a lost pod may lose. 0 or absent: four checkpoints in each pass
	// over the data.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	SaveSteps int32 `json:"saveSteps,omitempty"`
	// Keep is how many checkpoints are kept, the newest. 0 or absent: 2.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Keep int32 `json:"keep,omitempty"`
	// Retain says how long the volume is kept: UntilDeleted (the default): it goes
	// with the Workspace, and stays where the run has published nothing;
	// UntilPublished: it goes when the adapter is where it belongs; Always: it is
	// never deleted.
	Retain Retention `json:"retain,omitempty"`
}

// DataSource is where training data comes from.
//
// +kubebuilder:validation:XValidation:rule="[has(self.urls), has(self.claim), has(self.image), has(self.files)].filter(x, x).size() == 1",message="exactly one of urls, claim, image and files is required"
type DataSource struct {
	// URLs are downloaded over HTTP(S). #sha256= and 64 hex digits at the end
	// demand the content of the file.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=64
	URLs []string `json:"urls,omitempty"`
	// Claim names a PersistentVolumeClaim of the namespace that holds the data.
	Claim string `json:"claim,omitempty"`
	// Image is an OCI image whose files are the data.
	Image string `json:"image,omitempty"`
	// Files are ConfigMaps and Secrets of the namespace whose keys are the files of
	// the data: small data, which Git itself may hold.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	Files []FileSource `json:"files,omitempty"`
	// PullSecrets are Secrets of the namespace for the image's registry.
	PullSecrets []string `json:"pullSecrets,omitempty"`
	// Format says what a row of the data is. Empty: a conversation in the column
	// messages.
	Format *DataFormat `json:"format,omitempty"`
}

// FileSource is a ConfigMap or a Secret whose keys are files.
//
// +kubebuilder:validation:XValidation:rule="has(self.configMap) != has(self.secret)",message="exactly one of configMap and secret is required"
type FileSource struct {
	// ConfigMap of the namespace. What it holds is part of the run: another content
	// is another run.
	ConfigMap string `json:"configMap,omitempty"`
	// Secret of the namespace. Like that of a claim, its content makes no other run.
	Secret string `json:"secret,omitempty"`
	// Items are the keys that are taken. Empty: all, each as a file of its name.
	// +kubebuilder:validation:MaxItems=64
	Items []FileItem `json:"items,omitempty"`
}

// FileItem is a key of a ConfigMap or Secret, and the file that it becomes.
type FileItem struct {
	// Key of the ConfigMap or Secret.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[-._a-zA-Z0-9]+$`
	Key string `json:"key"`
	// Path of the file, without folders above it.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`
	Path string `json:"path"`
}

// RowType is what a row of training data is.
//
// +kubebuilder:validation:Enum=Chat;ShareGPT;Instruction;PromptCompletion;Text;Segments
type RowType string

// Values of RowType.
const (
	RowsChat             RowType = "Chat"             // a conversation: messages of role and content
	RowsShareGPT         RowType = "ShareGPT"         // a conversation: conversations of from and value
	RowsInstruction      RowType = "Instruction"      // as Alpaca: instruction, input and output
	RowsPromptCompletion RowType = "PromptCompletion" // prompt and completion, one after the other
	RowsText             RowType = "Text"             // text, all of which is trained on
	RowsSegments         RowType = "Segments"         // segments of text, each labelled to be trained on or not
)

// DataFormat says what a row of the training data is.
//
// +kubebuilder:validation:XValidation:rule="!has(self.prompt) || self.type == 'Instruction'",message="prompt belongs to type Instruction"
type DataFormat struct {
	// Type is Chat or ShareGPT for conversations, which the model's own chat
	// template makes a text of; Instruction or PromptCompletion for a question and
	// its answer; Text for plain text; Segments for texts that say which of their
	// parts are trained on.
	Type RowType `json:"type"`
	// Columns names the columns of the data that are not called as the type
	// calls them.
	Columns *DataColumns `json:"columns,omitempty"`
	// Prompt is how the question of type Instruction is written: text in which
	// {instruction} and {input} stand for the columns. Of a row without input,
	// lines that name it are left out. Empty: the text of the Alpaca data set.
	// +kubebuilder:validation:MaxLength=4096
	Prompt string `json:"prompt,omitempty"`
}

// DataColumns names columns of the training data.
type DataColumns struct {
	// Messages is the list of a conversation's messages (Chat: messages;
	// ShareGPT: conversations).
	// +kubebuilder:validation:MaxLength=256
	Messages string `json:"messages,omitempty"`
	// Role is the key of a message that says who speaks (Chat: role; ShareGPT: from).
	// +kubebuilder:validation:MaxLength=256
	Role string `json:"role,omitempty"`
	// Content is the key of a message that holds its text (Chat: content;
	// ShareGPT: value).
	// +kubebuilder:validation:MaxLength=256
	Content string `json:"content,omitempty"`
	// Instruction is the question (Instruction: instruction).
	// +kubebuilder:validation:MaxLength=256
	Instruction string `json:"instruction,omitempty"`
	// Input is what the question is about; rows need none (Instruction: input).
	// +kubebuilder:validation:MaxLength=256
	Input string `json:"input,omitempty"`
	// Output is the answer (Instruction: output).
	// +kubebuilder:validation:MaxLength=256
	Output string `json:"output,omitempty"`
	// System is what the model is told before the question. Empty: nothing, even
	// where the data has such a column (Instruction).
	// +kubebuilder:validation:MaxLength=256
	System string `json:"system,omitempty"`
	// Prompt is what the model is given (PromptCompletion: prompt).
	// +kubebuilder:validation:MaxLength=256
	Prompt string `json:"prompt,omitempty"`
	// Completion is what it is to answer (PromptCompletion: completion).
	// +kubebuilder:validation:MaxLength=256
	Completion string `json:"completion,omitempty"`
	// Text is the text of a row (Text: text).
	// +kubebuilder:validation:MaxLength=256
	Text string `json:"text,omitempty"`
}

// DataDestination is where a trained adapter goes.
//
// +kubebuilder:validation:XValidation:rule="has(self.image) != has(self.claim)",message="exactly one of image and claim is required"
// +kubebuilder:validation:XValidation:rule="!has(self.signingSecret) || has(self.image)",message="output.signingSecret signs an image: name output.image"
type DataDestination struct {
	// Image is the OCI reference the adapter is pushed to.
	// +kubebuilder:validation:MaxLength=1024
	Image string `json:"image,omitempty"`
	// PushSecret names a Secret of type kubernetes.io/dockerconfigjson. For a registry
	// of a cloud spec.serviceAccountName can take its place.
	PushSecret string `json:"pushSecret,omitempty"`
	// SigningSecret names a Secret with the keys cosign.key and cosign.password,
	// as `cosign generate-key-pair k8s://NAMESPACE/NAME` makes it. The image is
	// signed with it before it gets its tag; without it the image is not signed.
	SigningSecret string `json:"signingSecret,omitempty"`
	// Claim names a PersistentVolumeClaim of the namespace the adapter is
	// written to.
	Claim string `json:"claim,omitempty"`
}

// TuningStatus is the state of a tuning run.
type TuningStatus struct {
	// Run is the name of the Job.
	Run string `json:"run,omitempty"`
	// UID of the Job; the annotation espalier.dev/retry names it.
	UID string `json:"uid,omitempty"`
	// Digest identifies the run: spec, data, configuration and base revision.
	Digest string `json:"digest,omitempty"`
	// Attempts counts the pods that were started for it, those of lost nodes and
	// evicted ones too; pods that train together are one.
	Attempts int32 `json:"attempts,omitempty"`
	// Pod is the UID of the pod of the attempt that was counted last; of several
	// that train together, the first's.
	Pod string `json:"pod,omitempty"`
	// StartedAt is when the run began.
	StartedAt *metav1.Time `json:"startedAt,omitempty"`
	// FinishedAt is when it ended, well or not.
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// Progress is how far it is, as its trainer said last; nothing, where a trainer
	// does not say.
	Progress *TuningProgress `json:"progress,omitempty"`
	// Adapter is the pushed adapter, by digest once the push reported one.
	Adapter string `json:"adapter,omitempty"`
	// Evaluation is what was measured; nil where nothing was, or is not yet.
	Evaluation *EvaluationStatus `json:"evaluation,omitempty"`
	// SpentUSD is what the run has cost in US dollars by list prices, up to
	// status.spending.at: all of it, once its nodes are gone.
	SpentUSD string `json:"spentUSD,omitempty"`
}

// TuningProgress is what a trainer says of a run while it trains.
type TuningProgress struct {
	// Percent of the steps that are done, 0 to 100. Those of an earlier pod, up to the
	// checkpoint that was gone on from, count.
	Percent int32 `json:"percent"`
	// Step of the optimizer that was done last.
	Step int64 `json:"step,omitempty"`
	// Steps is how many there are in all.
	Steps int64 `json:"steps,omitempty"`
	// Loss of the training as it was logged last: a decimal number, or NaN or Inf
	// where the training has broken down.
	Loss string `json:"loss,omitempty"`
	// Remaining is how long the steps that are left take at the pace of this pod.
	Remaining *metav1.Duration `json:"remaining,omitempty"`
	// At is when the trainer said so.
	At metav1.Time `json:"at"`
}

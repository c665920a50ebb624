// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// Evaluation measures a tuning run on rows that it does not train on and by tasks
// of lm-eval, with the base model before the run and with the adapter after it.
// What is measured is a part of the run's inputs, what is demanded of it is not:
// another threshold repeats nothing.
//
// +kubebuilder:validation:XValidation:rule="has(self.split) || has(self.urls) || has(self.tasks)",message="evaluation measures nothing: name split, urls or tasks"
// +kubebuilder:validation:XValidation:rule="!has(self.split) || !has(self.urls)",message="split and urls are two ways to the held-out rows: keep one"
// +kubebuilder:validation:XValidation:rule="!(has(self.maxLoss) || has(self.minImprovement)) || has(self.split) || has(self.urls)",message="maxLoss and minImprovement are of held-out rows: name split or urls"
type Evaluation struct {
	// Split is how much of the data is held out from training: a share such as 5%,
	// above 0% and below 100%, or a number of rows such as 200. The same data and seed
	// hold out the same rows.
	// +kubebuilder:validation:Pattern=`^([0-9]{1,2}(\.[0-9]{1,2})?%|[1-9][0-9]{0,8})$`
	// +kubebuilder:validation:XValidation:rule="!self.matches('^0+([.]0+)?%$')",message="evaluation.split: above 0%"
	Split string `json:"split,omitempty"`
	// URLs are files with rows that are held out, downloaded as input.urls are and of
	// the same format.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	URLs []string `json:"urls,omitempty"`
	// MaxLoss is the loss on the held-out rows that the adapter may have at most, such
	// as 1.25. Empty: any.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,4}(\.[0-9]{1,4})?$`
	MaxLoss string `json:"maxLoss,omitempty"`
	// MinImprovement is by how much of the base model's loss on those rows the
	// adapter's is lower at least, such as 10%; with 0% it may not be higher. Empty: it
	// may be anything.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,2}(\.[0-9]{1,2})?%$`
	MinImprovement string `json:"minImprovement,omitempty"`
	// Tasks are benchmarks of the lm-eval harness. Their data comes from the Hugging
	// Face Hub, which the pod must reach.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=16
	// +listType=map
	// +listMapKey=name
	Tasks []EvaluationTask `json:"tasks,omitempty"`
}

// EvaluationTask is a task of the lm-eval harness, and what is demanded of it.
//
// +kubebuilder:validation:XValidation:rule="!(has(self.minimum) || has(self.maxRegression)) || has(self.metric)",message="minimum and maxRegression are of a metric: name it, such as exact_match"
type EvaluationTask struct {
	// Name of the task as `lm-eval ls tasks` lists it, such as gsm8k.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9_.-]*$`
	// +kubebuilder:validation:MaxLength=128
	Name string `json:"name"`
	// Limit is how many of its questions are asked, the first. 0 or absent: all.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	Limit int32 `json:"limit,omitempty"`
	// FewShot is how many examples stand before a question. Absent: as the task says.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=64
	FewShot *int32 `json:"fewShot,omitempty"`
	// Chat asks with the chat template of the model.
	Chat bool `json:"chat,omitempty"`
	// Metric that counts, such as acc or exact_match; where a task has it by several
	// filters, the first, or the one that is named behind a comma, as in
	// exact_match,flexible-extract. Empty: the first metric of the task. More is better.
	// +kubebuilder:validation:Pattern=`^[A-Za-z0-9][A-Za-z0-9_.-]*(,[A-Za-z0-9][A-Za-z0-9_.-]*)?$`
	// +kubebuilder:validation:MaxLength=128
	Metric string `json:"metric,omitempty"`
	// Minimum is what the adapter must reach, such as 0.40. Empty: nothing.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,4}(\.[0-9]{1,4})?$`
	Minimum string `json:"minimum,omitempty"`
	// MaxRegression is by how much the adapter may be below the base model, such as
	// 0.02. Empty: by anything.
	// +kubebuilder:validation:Pattern=`^[0-9]{1,4}(\.[0-9]{1,4})?$`
	MaxRegression string `json:"maxRegression,omitempty"`
}

// EvaluationStatus is what an evaluation has measured.
type EvaluationStatus struct {
	// LossBefore is the mean loss of the base model on the held-out rows, in nats a
	// token.
	LossBefore string `json:"lossBefore,omitempty"`
	// LossAfter is that of the adapter.
	LossAfter string `json:"lossAfter,omitempty"`
	// Tasks are the scores, in the order of the spec.
	Tasks []TaskScore `json:"tasks,omitempty"`
	// Withheld says that the adapter was not published for these numbers. It is with
	// the checkpoints of the run.
	Withheld bool `json:"withheld,omitempty"`
}

// TaskScore is what a task of the lm-eval harness gave.
type TaskScore struct {
	// Name of the task.
	Name string `json:"name"`
	// Metric that counts, with its filter where it has one.
	Metric string `json:"metric"`
	// Before is the score of the base model.
	Before string `json:"before"`
	// After is the score of the adapter.
	After string `json:"after"`
}

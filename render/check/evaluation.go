// SPDX-License-Identifier: Apache-2.0

package check

import (
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// neverBetween is a number of steps that no run has: transformers evaluates before
// the first step and after the last one, and at every so many between them.
const neverBetween = 1_000_000_000

// evaluation turns what is to be measured into settings of the trainer. The
// configuration may not hold out rows as well.
func (c *checker) evaluation() {
	t := c.workspace.Spec.Tuning
	if t == nil || c.kaitoTrains() { // which measures nothing: ValidateWorkspace and trainer say so
		return
	}
	const field = "spec.tuning.evaluation"
	settings := c.out.Training.Axolotl
	share, _ := settings["val_set_size"].(float64)
	switch heldOut := t.Evaluation.HoldsOut(); {
	case share > 0 && heldOut:
		c.refuse(finding.EvaluationInvalid, field, "the ConfigMap holds out rows too (val_set_size, or train_test_split of DatasetConfig): leave that out there")
	case share > 0 && settings["evals_per_epoch"] == nil:
		c.warn(finding.EvaluationInvalid, "spec.tuning.config", "val_set_size (train_test_split of DatasetConfig) holds out %g %% of the data, and nothing is measured on it: spec.tuning.evaluation.split holds it out and measures", share*100)
	case heldOut:
		c.out.Training.Measuring = holdOut(settings, t.Evaluation)
	}
	if len(t.Evaluation.Benchmarks()) > 0 && c.workspace.Spec.Resource.Count > 1 {
		c.refuse(NodesUnsupported, field+".tasks", "tasks are measured on one node, and the other nodes of the run would be paid for meanwhile: leave spec.resource.count out, or the tasks")
	}
}

// holdOut evaluates before the first step, when the adapter changes nothing yet, and
// after the last one. Rows are measured one by one: packed, a small number of them
// may make no batch at all.
func holdOut(settings map[string]any, e *v1alpha1.Evaluation) map[string]any {
	measuring := map[string]any{
		"val_set_size": nil,
		// Else the adapter could be one of an earlier step than the one that was measured.
		"load_best_model_at_end": false,
	}
	if e.Split != "" {
		measuring["val_set_size"] = repolayout.HeldOut(e.Split)
	}
	if packed, said := settings["eval_sample_packing"]; !said || packed == false {
		measuring["eval_sample_packing"] = false
		measuring["dataloader_drop_last"] = false // which Axolotl would turn on
	}
	// Axolotl makes a share of all steps of it, and does not evaluate at all where
	// that is one.
	if often, said := settings["evals_per_epoch"].(int); !said || float64(often)*epochs(settings) <= 1 {
		measuring["evals_per_epoch"], measuring["eval_steps"] = nil, neverBetween
	}
	return measuring
}

func epochs(settings map[string]any) float64 {
	switch n := settings["num_epochs"].(type) {
	case int:
		return float64(n)
	case float64:
		return n
	}
	return 1
}

// evalBatch are the rows of a step of the evaluation on one GPU, 0 where nothing is
// evaluated.
func (c *checker) evalBatch() int {
	t := c.out.Training
	share, _ := t.Axolotl["val_set_size"].(float64)
	if e := c.workspace.Spec.Tuning.Evaluation; e == nil && share == 0 {
		return 0
	}
	if n, ok := t.Axolotl["eval_batch_size"].(int); ok {
		return n
	}
	return t.MicroBatch
}

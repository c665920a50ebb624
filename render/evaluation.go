// SPDX-License-Identifier: Apache-2.0

package render

import (
	"encoding/json"
	"fmt"
	"path"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// configPath is where the ConfigMap of a run is mounted.
const configPath = "/config"

// tasksFile is the key of that ConfigMap with the tasks, one a line, which the
// base's script reads.
const tasksFile = "tasks"

// evaluated adds to the files of a run what is measured and what is demanded.
func (j job) evaluated(files object) error {
	e := j.spec.Tuning.Evaluation
	if e == nil {
		return nil
	}
	said := e.DeepCopy()
	for i, address := range said.URLs {
		said.URLs[i] = check.FileName(address) // an address may hold a credential
	}
	text, err := json.MarshalIndent(said, "", "  ")
	if err != nil {
		return fmt.Errorf("writing %s: %w", repolayout.EvaluationFile, err)
	}
	files[repolayout.EvaluationFile] = string(text) + "\n"
	if lines := taskLines(e.Tasks); lines != "" {
		files[tasksFile] = lines
	}
	return nil
}

// measuring adds to the trainer's settings what an evaluation makes of them.
func (j job) measuring(config map[string]any) {
	for name, value := range j.Assessment.Training.Measuring {
		config[name] = value
		if value == nil {
			delete(config, name)
		}
	}
	if e := j.spec.Tuning.Evaluation; e != nil && len(e.URLs) > 0 {
		config["test_datasets"] = filesOf(rowsOf(j.Assessment.Format()), e.URLs)
	}
}

// taskLines are tasks with their options for lm_eval. Names have no spaces and
// nothing that a shell reads.
func taskLines(tasks []v1alpha1.EvaluationTask) string {
	var b strings.Builder
	for _, t := range tasks {
		b.WriteString(t.Name)
		if t.Limit > 0 {
			fmt.Fprintf(&b, " --limit %d", t.Limit)
		}
		if t.FewShot != nil {
			fmt.Fprintf(&b, " --num_fewshot %d", *t.FewShot)
		}
		if t.Chat {
			b.WriteString(" --apply_chat_template")
		}
		b.WriteString("\n")
	}
	return b.String()
}

// measuredFolder is where the tasks leave their results.
func (j job) measuredFolder() string { return path.Join(workPath, j.runFolder(), "measured") }

// measured lets a container that ends a run read what was measured.
func (j job) measured(container object) object {
	if j.spec.Tuning.Evaluation == nil {
		return container
	}
	container["args"] = append(container["args"].([]any), texts([]string{
		"--evaluation", path.Join(configPath, repolayout.EvaluationFile), "--measured", j.measuredFolder(),
	})...)
	mounts, _ := container["volumeMounts"].([]any)
	container["volumeMounts"] = append(mounts, object{"name": "config", "mountPath": configPath, "readOnly": true})
	return container
}

// judge is the patch of the container that says what was measured where nothing is
// published.
func (j job) judge() (object, error) {
	if err := j.needHelper("reading the evaluation"); err != nil {
		return nil, err
	}
	container := j.measured(object{"name": "judge", "image": j.Options.HelperImage, "args": texts([]string{"--from", j.outputFolder()})})
	container["volumeMounts"] = append(container["volumeMounts"].([]any), object{"name": "output", "mountPath": outputPath, "readOnly": true})
	return container, nil
}

// scored are the trainer and, where there are tasks, what runs them before it and
// after it.
func (j job) scored(l *layer, train object) []any {
	if len(j.spec.Tuning.Evaluation.Benchmarks()) == 0 {
		return []any{train}
	}
	l.components = append(l.components, "tasks")
	check := object{"name": "tasks-check", "image": j.Options.HelperImage, "args": texts([]string{
		"--evaluation", path.Join(configPath, repolayout.EvaluationFile), "--measured", j.measuredFolder(),
	})}
	return []any{
		j.tasks("before", j.scoredModel()), check, train,
		j.tasks("after", j.scoredModel()+",peft="+j.outputFolder()),
	}
}

// scoredModel is the base model in the words of lm_eval: whole, in 16 bit, as it is
// served.
func (j job) scoredModel() string {
	a := j.Assessment
	model := "pretrained=" + a.Preset.ID
	if a.Resolved.ModelRevision != "" {
		model += ",revision=" + a.Resolved.ModelRevision
	}
	return fmt.Sprintf("%s,dtype=%s,max_length=%d", model, j.Candidate.Fit.DType, a.Training.SequenceLength)
}

func (j job) tasks(phase, model string) object {
	t := j.spec.Tuning
	container := object{
		"name": "tasks-" + phase, "image": j.image(), "resources": j.gpus(),
		"env": append(j.token(t.AccessSecret),
			object{"name": "RUN_MODEL", "value": model},
			object{"name": "RUN_MEASURED", "value": j.measuredFolder()},
			object{"name": "RUN_BATCH", "value": strconv.Itoa(j.evalBatch())},
		),
	}
	if t.Output.Claim != "" {
		container["volumeMounts"] = []any{object{"name": "output", "mountPath": outputPath, "readOnly": true}}
	}
	return container
}

// evalBatch is how many sequences a step of the evaluation has on one GPU.
func (j job) evalBatch() int {
	if n, ok := j.Assessment.Training.Axolotl["eval_batch_size"].(int); ok {
		return n
	}
	return j.Assessment.Training.MicroBatch
}

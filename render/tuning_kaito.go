// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"strconv"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/presets/runtimes"
)

// kaitoTuning is the folder of the base with KAITO's trainer.
const kaitoTuning = "tuning"

// kaitoTrains says that KAITO's trainer does the tuning.
func (j job) kaitoTrains() bool {
	return j.spec.Tuning != nil && j.Assessment.Runtime.Name == runtimes.KAITO
}

// told is the file that the trainer is told everything in, by its name in the ConfigMap of
// the run.
func (j job) told() (name, text string, err error) {
	if j.kaitoTrains() {
		text, err = j.trainingConfig()
		return "training_config.yaml", text, err
	}
	text, err = j.axolotl()
	return "axolotl.yaml", text, err
}

// trainingConfig is the configuration of KAITO's trainer: KAITO's defaults of the method,
// the sections of the Workspace's configuration over them as they are, and over both what
// the run decides. The matrices are named one by one: PEFT 0.11.1 has no list for phi3
// and qwen2, and ends, and the one that KAITO gives it for Phi-3 names five that it does
// not have.
func (j job) trainingConfig() (string, error) {
	t, a := j.spec.Tuning, j.Assessment
	config := a.Training.KaitoConfig(t.Method)
	model := config["ModelConfig"]
	model["pretrained_model_name_or_path"], model["local_files_only"] = a.Preset.ID, false
	if a.Resolved.ModelRevision != "" {
		model["revision"] = a.Resolved.ModelRevision
	}
	targets := a.Training.Targets
	if len(targets) == 0 {
		targets = a.Preset.Model.Matrices()
	}
	config["LoraConfig"]["target_modules"] = targets
	config["TrainingArguments"]["output_dir"] = j.outputFolder()
	data := config["DatasetConfig"]
	file, extension := a.KaitoData(t.Input)
	for key, value := range map[string]string{"dataset_path": file, "dataset_extension": extension} {
		if data[key] == nil && value != "" {
			data[key] = value
		}
	}
	text, err := yaml.Marshal(map[string]any{"training_config": config})
	if err != nil {
		return "", fmt.Errorf("writing training_config.yaml: %w", err)
	}
	return string(text), nil
}

// onGPUs tells the script around KAITO's trainer how many processes there are.
func (j job) onGPUs() []any {
	if !j.kaitoTrains() {
		return nil
	}
	return []any{object{"name": "RUN_GPUS", "value": strconv.Itoa(j.Candidate.PodGPUs)}}
}

// SPDX-License-Identifier: Apache-2.0

package trainer

import (
	"errors"
	"fmt"
	"math"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"
)

// kaitoConfig is what KAITO's trainer reads of training_config.yaml; a section that it does
// not know ends it.
type kaitoConfig struct {
	Sections struct {
		Model struct {
			Name string `json:"pretrained_model_name_or_path"`
		} `json:"ModelConfig"`
		Arguments struct {
			Output string `json:"output_dir"`
			Epochs int    `json:"num_train_epochs"`
			Save   string `json:"save_strategy"`
		} `json:"TrainingArguments"`
		Data struct {
			Path      string `json:"dataset_path"`
			Extension string `json:"dataset_extension"`
		} `json:"DatasetConfig"`
		Lora struct {
			Targets []string `json:"target_modules"`
		} `json:"LoraConfig"`
	} `json:"training_config"`
}

// kaitoEpochs is how often KAITO's trainer goes through the data unless it is told: what
// transformers does.
const kaitoEpochs = 3

// Kaito does what fine_tuning.py of KAITO's image does: it reads the file that
// YAML_FILE_PATH names and one file of data beside DATASET_FOLDER_PATH, goes on from
// nothing, saves nothing on the way, and writes fine_tuning_completed.txt when the adapter
// is there.
func Kaito() error {
	text, err := os.ReadFile(os.Getenv("YAML_FILE_PATH"))
	if err != nil {
		return err
	}
	var k kaitoConfig
	if err := yaml.Unmarshal(text, &k); err != nil {
		return err
	}
	s := k.Sections
	if s.Arguments.Save != "no" || len(s.Lora.Targets) == 0 || s.Model.Name == "" {
		return errors.New("training_config.yaml names no model or no matrices, or has checkpoints saved that nothing goes on from")
	}
	c := config{BaseModel: s.Model.Name, Output: s.Arguments.Output, Epochs: s.Arguments.Epochs, SaveSteps: math.MaxInt}
	if c.Epochs == 0 {
		c.Epochs = kaitoEpochs
	}
	// The path is below the parent of the folder of data: data/FILE, of /mnt/data.
	c.Datasets = append(c.Datasets, dataset{Path: filepath.Join(filepath.Dir(os.Getenv("DATASET_FOLDER_PATH")), s.Data.Path), Type: s.Data.Extension})
	rows, err := c.rows()
	if err != nil {
		return err
	}
	if err := train(&c, rows); err != nil {
		return err
	}
	done := filepath.Join(c.Output, "fine_tuning_completed.txt")
	if err := os.WriteFile(done, []byte("Fine-Tuning Completed\n"), 0o644); err != nil {
		return fmt.Errorf("saying that it is done: %w", err)
	}
	return nil
}

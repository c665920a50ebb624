// SPDX-License-Identifier: Apache-2.0

package check

import (
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// kaitoTrains says that KAITO's trainer does the tuning.
func (c *checker) kaitoTrains() bool {
	return c.workspace.Spec.Tuning != nil && c.out.Runtime.Name == runtimes.KAITO
}

// trainer says what KAITO's trainer cannot do with this model and these data, before a node
// is paid for.
func (c *checker) trainer() {
	if !c.kaitoTrains() {
		return
	}
	const field = "spec.runtime.name"
	p := c.out.Preset
	if p.Architecture != "" && !strings.HasSuffix(p.Architecture, "ForCausalLM") {
		c.refuse(finding.RuntimeUnsupported, field, "KAITO's trainer finds matrices by the last part of their names, which in %s (%s) those of its image encoder have too, and what it would train there nobody has sized: write axolotl, or leave runtime.name out",
			p.Name(), p.Architecture)
	}
	c.warn(ResumesNothing, field, "KAITO's trainer writes no checkpoint: a pod that fails, is evicted or loses its spot node begins again from the base model, and what it has cost is lost; spec.runtime.name: axolotl goes on from its last checkpoint")
	if share, _ := c.out.Training.Axolotl["val_set_size"].(float64); share > 0 {
		c.warn(ConfigIgnored, "spec.tuning.config", "train_test_split of DatasetConfig holds out %g %% of the data, and KAITO's trainer measures nothing on it: write 1, or spec.runtime.name: axolotl with spec.tuning.evaluation", share*100)
	}
	c.oneFile()
}

// oneFile: KAITO's trainer reads one file, and of several the one that the file system
// lists first.
func (c *checker) oneFile() {
	in := c.workspace.Spec.Tuning.Input
	field, names := "spec.tuning.input.files", c.out.DataFiles
	if len(in.URLs) > 0 {
		field, names = "spec.tuning.input.urls", nil
		for _, address := range in.URLs {
			names = append(names, FileName(address))
		}
	}
	if named, _ := c.out.Training.Kaito["DatasetConfig"]["dataset_path"].(string); named == "" && len(names) > 1 {
		c.refuse(InputInvalid, field, "KAITO's trainer reads one file, and here are %d (%s): make one of them, name one by dataset_path of DatasetConfig, or write spec.runtime.name: axolotl, which reads all", len(names), strings.Join(names, ", "))
	}
}

// oneName is the file of the training data where it is known from Git, else "".
func (a Assessment) oneName(in v1alpha1.DataSource) string {
	switch {
	case len(in.URLs) == 1:
		return FileName(in.URLs[0])
	case len(a.DataFiles) == 1:
		return a.DataFiles[0]
	}
	return ""
}

// KaitoData is where KAITO's trainer finds the data, below /mnt, and what kind it is; ""
// and "" where only the trainer can tell.
func (a Assessment) KaitoData(in v1alpha1.DataSource) (path, extension string) {
	name := a.oneName(in)
	if name == "" {
		return "", ""
	}
	return "data/" + name, DataType(name)
}

// textRefused says why lines of text are no data here.
func (c *checker) textRefused(name string) string {
	if c.kaitoTrains() {
		return fmt.Sprintf("%s: KAITO's trainer reads no text files: .jsonl, .csv, .parquet and .arrow are read, and .txt by spec.runtime.name: axolotl", name)
	}
	return fmt.Sprintf("%s: each line of it is a row with the one column text: spec.tuning.input.format.type: %s reads that", name, v1alpha1.RowsText)
}

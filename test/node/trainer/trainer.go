// SPDX-License-Identifier: Apache-2.0

// Package trainer stands in for Axolotl, and for KAITO's trainer, on a node without a GPU. It keeps to what
// Espalier relies on: it reads axolotl.yaml and the rows of its data sets, goes on
// from the newest checkpoint and fails on one that is incomplete, writes
// trainer_state.json last, keeps as many checkpoints as it is told to, saves when it
// is asked by the trigger file, and leaves an adapter as PEFT writes it. It learns
// nothing: a step is a row of data, and the weights are made of what was read.
package trainer

import (
	"bufio"
	"bytes"
	"crypto/sha256"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"os"
	"path/filepath"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/chats"
)

// longest is the row of most bytes that the GPU of the stand-in has memory for.
const longest = 8 << 10

// errMemory is what PyTorch says of a longer one.
var errMemory = errors.New("torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.50 GiB. GPU 0 has a total capacity of 15.77 GiB of which 1.20 GiB is free")

// StepTime is long enough to be interrupted, and short for a test.
const StepTime = 100 * time.Millisecond

// config is what it reads of axolotl.yaml.
type config struct {
	BaseModel string `json:"base_model"`
	Output    string `json:"output_dir"`
	Resume    bool   `json:"auto_resume_from_checkpoints"`
	Epochs    int    `json:"num_epochs"`
	SaveSteps int    `json:"save_steps"`
	PerEpoch  int    `json:"saves_per_epoch"`
	Keep      int    `json:"save_total_limit"`
	SaveFirst bool   `json:"save_first_step"`
	Dynamic   struct {
		Trigger string `json:"trigger_file_path"`
	} `json:"dynamic_checkpoint"`
	Datasets []dataset `json:"datasets"`
}

type dataset struct {
	Path string `json:"path"`
	Type string `json:"ds_type"`
}

// Train does what `axolotl train FILE` does.
func Train(file string) error {
	text, err := os.ReadFile(file)
	if err != nil {
		return err
	}
	var c config
	if err := yaml.Unmarshal(text, &c); err != nil {
		return err
	}
	rows, err := c.rows()
	if err != nil {
		return err
	}
	return train(&c, rows)
}

// rows reads every row of every data set, as JSON; one that is none fails the run.
func (c *config) rows() ([][]byte, error) {
	var rows [][]byte
	for _, set := range c.Datasets {
		data, err := os.ReadFile(set.Path)
		if err != nil {
			return nil, err
		}
		read := lines
		if set.Type == "parquet" {
			read = table
		}
		more, err := read(data)
		if err != nil {
			return nil, fmt.Errorf("reading %s: %w", set.Path, err)
		}
		fmt.Printf("%d rows of %s\n", len(more), set.Path)
		rows = append(rows, more...)
	}
	if len(rows) == 0 {
		return nil, errors.New("no row to train on")
	}
	return rows, nil
}

func lines(data []byte) (rows [][]byte, err error) {
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		if !json.Valid(lines.Bytes()) {
			return nil, fmt.Errorf("row %d is no JSON", len(rows)+1)
		}
		rows = append(rows, bytes.Clone(lines.Bytes()))
	}
	return rows, nil
}

func table(data []byte) (rows [][]byte, err error) {
	all, err := chats.ReadParquet(data)
	for _, row := range all {
		if len(row.Messages) == 0 {
			return nil, fmt.Errorf("row %d has no messages", len(rows)+1)
		}
		rows = append(rows, row.JSON())
	}
	return rows, err
}

// train goes through the rows from where the newest checkpoint left off.
func train(c *config, rows [][]byte) error {
	steps := len(rows) * max(c.Epochs, 1)
	every := c.SaveSteps
	if every == 0 {
		every = max(len(rows)/max(c.PerEpoch, 1), 1)
	}
	done, err := c.resume()
	if err != nil {
		return err
	}
	seen := sha256.New()
	for step := 1; step <= steps; step++ {
		seen.Write(rows[(step-1)%len(rows)])
		if step <= done {
			continue // the optimizer's state, which a real trainer reads back
		}
		if len(rows[(step-1)%len(rows)]) > longest {
			return errMemory
		}
		<-time.After(StepTime)
		fmt.Printf("step %d of %d\n", step, steps)
		tell(step, steps)
		if step%every == 0 || c.SaveFirst && step == 1 || c.asked() {
			if err := c.save(step, seen); err != nil {
				return err
			}
		}
	}
	return writeAdapter(c.Output, c.BaseModel, seen)
}

// asked says whether somebody wants a checkpoint now, and takes the request away.
func (c *config) asked() bool {
	return c.Dynamic.Trigger != "" && os.Remove(filepath.Join(c.Output, c.Dynamic.Trigger)) == nil
}

// save writes a checkpoint, the file by which one is known to be complete last, and
// removes the oldest.
func (c *config) save(step int, seen hash.Hash) error {
	folder := filepath.Join(c.Output, checkpoint(step))
	if err := writeAdapter(folder, c.BaseModel, seen); err != nil {
		return err
	}
	state, err := json.Marshal(map[string]int{"global_step": step})
	if err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(folder, "trainer_state.json"), state, 0o644); err != nil {
		return err
	}
	fmt.Println("saved", folder)
	all, err := c.checkpoints()
	if err != nil {
		return err
	}
	for _, old := range all[:max(len(all)-max(c.Keep, 1), 0)] {
		if err := os.RemoveAll(filepath.Join(c.Output, checkpoint(old))); err != nil {
			return err
		}
	}
	return nil
}

// Weights are what a run over rows comes to, interrupted or not.
func Weights(rows [][]byte, epochs int) []byte {
	seen := sha256.New()
	for range max(epochs, 1) {
		for _, row := range rows {
			seen.Write(row)
		}
	}
	return weights(seen.Sum(nil))
}

// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// The files of an adapter, as PEFT's save_pretrained writes them.
const (
	configFile  = "adapter_config.json"
	weightsFile = "adapter_model.safetensors"
)

// maxConfigBytes and maxHeaderBytes bound what is read into memory, and the
// header bound is that of the safetensors format itself. maxWeightBytes only
// keeps sums of offsets within an int64.
const (
	maxConfigBytes = 1 << 20
	maxHeaderBytes = 100 << 20
	maxWeightBytes = 1 << 50
)

// adapterFiles are the two files of an adapter, found whole.
type adapterFiles struct {
	config  []byte
	weights file
	peft    peftConfig
}

// file is a file on disk.
type file struct {
	path string
	size int64 // bytes
}

// peftConfig is what we read of adapter_config.json.
type peftConfig struct {
	PeftType string `json:"peft_type"`
	Base     string `json:"base_model_name_or_path"`
	Revision string `json:"revision"`
}

// base is the model the adapter belongs to, for people.
func (f adapterFiles) base() string {
	if f.peft.Base == "" {
		return "an adapter"
	}
	return "an adapter of " + f.peft.Base
}

// open finds the two files and refuses what is missing or damaged, all of it
// in one message.
func open(dir string) (adapterFiles, error) {
	var missing []string
	for _, name := range []string{configFile, weightsFile} {
		info, err := os.Stat(filepath.Join(dir, name))
		switch {
		case errors.Is(err, os.ErrNotExist):
			missing = append(missing, name)
		case err != nil:
			return adapterFiles{}, fmt.Errorf("looking for the adapter: %w", err)
		case !info.Mode().IsRegular():
			return adapterFiles{}, refused("%s in %s is not a file", name, dir)
		}
	}
	if len(missing) > 0 {
		return adapterFiles{}, unfinished("%s holds no adapter: %s missing; the trainer has not finished, or did not save one",
			dir, strings.Join(missing, " and "))
	}
	var f adapterFiles
	var err error
	if f.config, f.peft, err = readConfig(filepath.Join(dir, configFile)); err != nil {
		return adapterFiles{}, err
	}
	if f.weights, err = checkWeights(filepath.Join(dir, weightsFile)); err != nil {
		return adapterFiles{}, err
	}
	return f, nil
}

func readConfig(path string) ([]byte, peftConfig, error) {
	r, err := os.Open(path)
	if err != nil {
		return nil, peftConfig{}, fmt.Errorf("opening the adapter's configuration: %w", err)
	}
	defer r.Close()
	raw, err := io.ReadAll(io.LimitReader(r, maxConfigBytes+1))
	if err != nil {
		return nil, peftConfig{}, fmt.Errorf("reading the adapter's configuration: %w", err)
	}
	var c peftConfig
	if err := json.Unmarshal(raw, &c); err != nil || len(raw) > maxConfigBytes {
		return nil, peftConfig{}, unfinished("%s is not a JSON object as PEFT writes it", configFile)
	}
	if c.PeftType != "LORA" {
		return nil, peftConfig{}, refused("%s has peft_type %q: only LORA adapters can be served", configFile, c.PeftType)
	}
	return raw, c, nil
}

// checkWeights reads the header of a safetensors file and refuses a file that
// is shorter or longer than the header says: a trainer that was killed while
// saving leaves one. It refuses weights that a training has left alone or broken.
// https://github.com/huggingface/safetensors#format
func checkWeights(path string) (file, error) {
	r, err := os.Open(path)
	if err != nil {
		return file{}, fmt.Errorf("opening the adapter's weights: %w", err)
	}
	defer r.Close()
	info, err := r.Stat()
	if err != nil {
		return file{}, fmt.Errorf("looking at the adapter's weights: %w", err)
	}
	h, err := readHeader(r)
	switch {
	case err != nil:
		return file{}, unfinished("%s is damaged: %v", weightsFile, err)
	case h.size() != info.Size():
		return file{}, unfinished("%s is damaged: it has %d bytes, its header says %d", weightsFile, info.Size(), h.size())
	case len(h.tensors) == 0:
		return file{}, unfinished("%s holds no tensor", weightsFile)
	}
	if err := learnt(r, h); err != nil {
		return file{}, err
	}
	return file{path: path, size: info.Size()}, nil
}

// layout is what the header of a safetensors file says.
type layout struct {
	data    int64 // where the data begins, in bytes
	tensors []tensor
}

// tensor is a matrix and where its data is, in bytes from where the data begins.
type tensor struct {
	name     string
	dtype    string
	from, to int64
}

// size is how many bytes the whole file has.
func (h layout) size() int64 {
	end := h.data
	for _, t := range h.tensors {
		end = max(end, h.data+t.to)
	}
	return end
}

func readHeader(r io.Reader) (layout, error) {
	var length uint64
	if err := binary.Read(r, binary.LittleEndian, &length); err != nil {
		return layout{}, errors.New("it ends before its header")
	}
	if length > maxHeaderBytes {
		return layout{}, errors.New("its header is not one of safetensors")
	}
	text := make([]byte, length)
	if _, err := io.ReadFull(r, text); err != nil {
		return layout{}, errors.New("it ends within its header")
	}
	var entries map[string]json.RawMessage
	if err := json.Unmarshal(text, &entries); err != nil {
		return layout{}, errors.New("its header is not JSON")
	}
	h := layout{data: 8 + int64(length)}
	for _, name := range slices.Sorted(maps.Keys(entries)) {
		if name == "__metadata__" {
			continue
		}
		var entry struct {
			Type    string   `json:"dtype"`
			Offsets [2]int64 `json:"data_offsets"`
		}
		err := json.Unmarshal(entries[name], &entry)
		if from, to := entry.Offsets[0], entry.Offsets[1]; err != nil || from < 0 || to < from || to > maxWeightBytes {
			return layout{}, fmt.Errorf("its header has no valid offsets for tensor %q", name)
		}
		h.tensors = append(h.tensors, tensor{name, entry.Type, entry.Offsets[0], entry.Offsets[1]})
	}
	return h, nil
}

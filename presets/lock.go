// SPDX-License-Identifier: Apache-2.0

package presets

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/gpu/fit"
)

// A lock file is a model file for a model outside the catalogue, made once from
// the model's own config.json and kept in Git, so that no plan asks a model hub.

// LockOptions say what config.json does not.
type LockOptions struct {
	// ID is the repository id, owner/name.
	ID string
	// WeightBytes is the size of one copy of the weight files, 0 unknown:
	// metadata.total_size of model.safetensors.index.json.
	WeightBytes int64
	// Revision is the commit of the model repository, "" unknown.
	Revision string
	// License is the identifier of its licence, "" unknown.
	License string
	// Gated says that the model hub asks for a token.
	Gated bool
}

// Lock makes a lock file from a model's config.json. What the file does not say
// is left out, not guessed.
func Lock(config []byte, o LockOptions) ([]byte, error) {
	c, err := readConfig(config)
	if err != nil {
		return nil, err
	}
	d := document{
		ID: o.ID, License: o.License, Architecture: c.architecture(), Revision: o.Revision, Gated: o.Gated,
		Weights: weights{Bytes: o.WeightBytes}, Shape: c.shape(),
		Sources: []string{"config.json of the model"},
	}
	if q := c.QuantizationConfig; q != nil {
		d.Weights.Quantization = strings.ToLower(q.QuantMethod)
		if d.Weights.Quantization == "compressed-tensors" {
			d.Weights.Quantization = strings.ToLower(q.Format)
		}
	}
	if o.WeightBytes > 0 {
		d.Sources = append(d.Sources, "weights: size of the weight files")
	}
	if slices.Contains(ungatedArchitectures, d.Architecture) {
		d.Note = "intermediate is left out: the feed-forward part has two matrices, and no formula here covers tuning it"
	}
	if _, err := d.lock(); err != nil {
		return nil, err
	}
	text, err := yaml.Marshal(d)
	if err != nil {
		return nil, fmt.Errorf("writing the lock file of %s: %w", o.ID, err)
	}
	return append([]byte("# Made by `espalier presets lock`; what is absent is unknown and is judged so.\n"), text...), nil
}

// WeightsOf reads the size of the weights from model.safetensors.index.json.
func WeightsOf(index []byte) (int64, error) {
	var file struct {
		Metadata struct {
			TotalSize json.Number `json:"total_size"`
		} `json:"metadata"`
	}
	if err := json.Unmarshal(index, &file); err != nil {
		return 0, fmt.Errorf("decoding model.safetensors.index.json: %w", err)
	}
	size, err := file.Metadata.TotalSize.Float64()
	if err != nil || size <= 0 || size > 1<<52 {
		return 0, errors.New("model.safetensors.index.json has no metadata.total_size")
	}
	return int64(size), nil
}

// maxLock bounds a lock file in bytes: one that is written here has under 2 KiB.
const maxLock = 64 << 10

var (
	validID     = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]*/[A-Za-z0-9][A-Za-z0-9._-]*$`)
	validCommit = regexp.MustCompile(`^[0-9a-f]{40}$`)
	validParser = regexp.MustCompile(`^[a-z0-9][a-z0-9_.-]*$`)
)

// DecodeLock reads a lock file. It holds facts on one model: what a file of the
// catalogue tells the runtime beyond that is no part of it, since whoever
// writes Git would then set arguments that the configuration refuses.
func DecodeLock(text []byte) (Preset, error) {
	if len(text) > maxLock {
		return Preset{}, fmt.Errorf("larger than %d KiB: not a lock file", maxLock>>10)
	}
	d, err := decode(text)
	if err != nil {
		return Preset{}, err
	}
	return d.lock()
}

// lock checks a model file by the rules of lock files.
func (d document) lock() (Preset, error) {
	if err := d.locked(); err != nil {
		return Preset{}, err
	}
	p, err := d.preset()
	if err != nil {
		return Preset{}, err
	}
	// One file of several, or a mistaken unit: sized by it, the model would not load.
	if whole := p.Model.Params() * 2; d.Weights.Quantization == "" && float64(p.Model.WeightBytes) < leastExplained*whole {
		return Preset{}, fmt.Errorf("weights of %s GiB are too little for this shape, which has %.1f GiB in 16 bit: want the size of all weight files together",
			fit.GiB(p.Model.WeightBytes), whole/(1<<30))
	}
	return p, nil
}

// locked checks what a lock file says beside its shape.
func (d document) locked() error {
	switch {
	case !validID.MatchString(d.ID):
		return fmt.Errorf("id is %.100q: want owner/name", d.ID)
	case d.ShortName != "":
		return errors.New("shortName: requests use the last part of the id as the model's name; remove it")
	case len(d.Serving.Args) > 0:
		return errors.New("serving.args: engine arguments belong into the ConfigMap that config names; remove it")
	case d.Serving.ChatTemplate != "":
		return errors.New("serving.chatTemplate: the model's own is used; remove it")
	case d.Revision != "" && !validCommit.MatchString(d.Revision):
		return errors.New("revision: want the 40 hexadecimal digits of a commit: a branch or tag can move")
	}
	for _, parser := range []string{d.Serving.ToolParser, d.Serving.ReasoningParser} {
		if parser != "" && !validParser.MatchString(parser) {
			return fmt.Errorf("serving: %.60q is no name of a parser of vLLM, such as hermes", parser)
		}
	}
	return nil
}

// leastExplained is the share of the shape's size below which the size of the
// weights is taken for a mistake. It leaves room for a shape that counts more
// than there is, such as a third matrix of a feed-forward part.
const leastExplained = 0.6

// values are what the library quotes of a text that it does not like.
var values = regexp.MustCompile("(?s) `.*?`( into )|(anchor) '.*?'|(invalid map key).*")

// withoutValues is an error of the library on one line, without the values: a file may
// hold what its author took for a secret.
func withoutValues(err error) string {
	return strings.Join(strings.Fields(values.ReplaceAllString(err.Error(), "$1$2$3")), " ")
}

// decode reads one model file, and nothing after it.
func decode(text []byte) (document, error) {
	var d document
	decoder := yaml.NewDecoder(bytes.NewReader(text))
	decoder.KnownFields(true)
	err := decoder.Decode(&d)
	if errors.Is(err, io.EOF) {
		return d, errors.New("it is empty")
	}
	if err != nil {
		return d, fmt.Errorf("decoding a model file: %s", withoutValues(err))
	}
	if err := decoder.Decode(&document{}); !errors.Is(err, io.EOF) {
		return d, errors.New("more than one document: a file describes one model")
	}
	return d, nil
}

// SPDX-License-Identifier: Apache-2.0

package runtimes

import (
	"fmt"
	"slices"
	"strings"
	"sync"

	"sigs.k8s.io/yaml"
)

// TransformersModel is a model that KAITO's transformers engine is started with.
type TransformersModel struct {
	// ID of its repository.
	ID string `json:"id"`
	// ChatTemplate is a file of the image; "": the model's own.
	ChatTemplate string `json:"chatTemplate,omitempty"`
}

// transformersModels panics on a malformed file: it is part of the binary and a test
// loads it.
var transformersModels = sync.OnceValue(func() []TransformersModel {
	text, err := files.ReadFile("transformers/" + KAITOTransformers + "-" + kaitoTransformers.Version + ".yaml")
	if err != nil {
		panic("presets/runtimes: " + err.Error())
	}
	models, err := decodeTransformers(text)
	if err != nil {
		panic("presets/runtimes: " + err.Error())
	}
	return models
})

func decodeTransformers(text []byte) ([]TransformersModel, error) {
	var doc struct {
		Models []TransformersModel `json:"models"`
	}
	if err := yaml.UnmarshalStrict(text, &doc); err != nil {
		return nil, fmt.Errorf("parsing models of transformers: %w", err)
	}
	return doc.Models, nil
}

// TransformersModels lists the models that KAITO's transformers engine is started with.
func TransformersModels() []TransformersModel { return slices.Clone(transformersModels()) }

// Transformers is how KAITO's transformers engine is started with a model, by the id of
// its repository, in any case; false: KAITO has no parameters for it.
func Transformers(id string) (TransformersModel, bool) {
	for _, m := range transformersModels() {
		if strings.EqualFold(m.ID, id) {
			return m, true
		}
	}
	return TransformersModel{}, false
}

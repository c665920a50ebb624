// SPDX-License-Identifier: Apache-2.0

package runtimes_test

import (
	"testing"

	"github.com/espalier-dev/espalier/presets"
	"github.com/espalier-dev/espalier/presets/runtimes"
)

// TestTransformersModels: the list is KAITO's, and each model of it is in the catalogue.
func TestTransformersModels(t *testing.T) {
	if n := len(runtimes.TransformersModels()); n != 20 {
		t.Errorf("%d models, and KAITO v0.12 has 20", n)
	}
	for _, m := range runtimes.TransformersModels() {
		if _, known := presets.Lookup(m.ID); !known {
			t.Errorf("%s is in no catalogue", m.ID)
		}
	}
	if _, known := runtimes.Transformers("MICROSOFT/phi-4"); !known {
		t.Error("the id of a repository has no case")
	}
}

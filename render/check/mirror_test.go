// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"testing"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMirrorIsNoInput: another registry brings the same image, so that a finished
// tuning run is not repeated and nothing is resolved anew.
func TestMirrorIsNoInput(t *testing.T) {
	for name, runtime := range map[string]*v1alpha1.RuntimeSpec{
		"Unpinned": nil,
		"Pinned":   {Name: "vllm", Version: "0.26.0"},
	} {
		t.Run(name, func(t *testing.T) {
			w := serving("Standard_NC24ads_A100_v4")
			w.Spec.Runtime = runtime
			before := check.Digest(w, nil)
			mirrored := v1alpha1.RuntimeSpec{}
			if runtime != nil {
				mirrored = *runtime
			}
			mirrored.Mirror = "mirror.example.com"
			w.Spec.Runtime = &mirrored
			if after := check.Digest(w, nil); after != before {
				t.Errorf("the digest was %s and is %s with a mirror", before, after)
			}
		})
	}
}

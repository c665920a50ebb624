// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// TestRuntimeKaito: KAITO's base image has no pin, so the spec has to name it, and
// it only serves.
func TestRuntimeKaito(t *testing.T) {
	const (
		serves = "  inference: {preset: phi-4}\n"
		tunes  = "  tuning: {preset: phi-4, method: qlora, input: {claim: a}, output: {claim: b}}\n"
		image  = `, image: "registry.example.com/kaito-base@sha256:` + "0000000000000000000000000000000000000000000000000000000000000000" + `", cuda: "12.9"`
	)
	for name, tc := range map[string]struct{ reason, runtime, task, want string }{
		"Named":   {"version, image and CUDA say all there is to say", `{name: kaito, version: "0.5.0"` + image + "}", serves, ""},
		"NoImage": {"no digest of it is known here", `{name: kaito, version: "0.5.0"}`, serves, "spec.runtime.image: no digest"},
		"Tunes":   {"its trainer resumes nothing", `{name: kaito, version: "0.5.0"` + image + "}", tunes, "spec.runtime.name: kaito serves and does not tune"},
	} {
		t.Run(name, func(t *testing.T) {
			d, found := repolayout.Decode([]byte("apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\n"+
				"spec:\n  resource: {instanceType: A}\n"+tc.task+"  runtime: "+tc.runtime+"\n"), nil)
			if d.Workspace != nil {
				found = repolayout.ValidateWorkspace(d.Workspace, nil)
			}
			if tc.want == "" && len(found) > 0 {
				t.Errorf("%s: %v", tc.reason, found)
			}
			if tc.want != "" && (len(found) != 1 || !strings.Contains(found[0].Message, tc.want)) {
				t.Errorf("%s: %v, want %q", tc.reason, found, tc.want)
			}
		})
	}
}

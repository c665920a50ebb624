// SPDX-License-Identifier: Apache-2.0

package repolayout

import "github.com/espalier-dev/espalier/repo-layout/v1alpha1"

// GoesOn says in a message what becomes of a tuning run whose pod goes: "it goes on from
// its last checkpoint".
func GoesOn(spec v1alpha1.WorkspaceSpec) string {
	if spec.Resumes() {
		return "goes on from its last checkpoint"
	}
	return "begins again from the base model" // KAITO's trainer keeps no checkpoint
}

// SPDX-License-Identifier: Apache-2.0

package render

import (
	"crypto/sha256"
	"encoding/hex"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// lineage are the arguments that have the image of an adapter say what it was made of.
// The commit is not among them but in an annotation of the pod, which the controller adds
// where it creates the Job: what is rendered is the same at every commit that changes no
// input.
func (j job) lineage(config string) []string {
	sum := sha256.Sum256([]byte(config))
	pairs := [][2]string{
		// The digest tells a later look at the registry that this run is published.
		{repolayout.AnnotationInputDigest, j.digest},
		{repolayout.AnnotationTunedBy, j.namespace + "/" + j.name},
		{repolayout.AnnotationBaseModel, j.Assessment.Preset.ID},
		{repolayout.AnnotationBaseRevision, j.Assessment.Resolved.ModelRevision},
		{repolayout.AnnotationTrainerImage, j.image()},
		{repolayout.AnnotationConfigDigest, "sha256:" + hex.EncodeToString(sum[:])},
	}
	var args []string
	for _, p := range pairs {
		if p[1] != "" {
			args = append(args, "--annotation", p[0]+"="+p[1])
		}
	}
	return append(args, "--data", dataPath, "--revision", "$(RUN_REVISION)")
}

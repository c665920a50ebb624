// SPDX-License-Identifier: Apache-2.0

package repolayout

import "strings"

// Annotations of the image of an adapter: what it was made of, for whoever finds the
// image and not the repository.
const (
	// AnnotationBaseModel and AnnotationBaseRevision are the model that was tuned.
	AnnotationBaseModel    = "espalier.dev/base-model"
	AnnotationBaseRevision = "espalier.dev/base-revision"
	// AnnotationTunedBy is the Workspace, namespace/name.
	AnnotationTunedBy = "espalier.dev/workspace"
	// AnnotationTrainerImage is the image that trained, by digest.
	AnnotationTrainerImage = "espalier.dev/trainer-image"
	// AnnotationConfigDigest is that of the trainer's configuration as it was rendered.
	AnnotationConfigDigest = "espalier.dev/config-digest"
	// AnnotationDataDigest is that of the list of all data files, as sha256sum prints it
	// in the order of their names; AnnotationDataFiles is the list as JSON, where it is short.
	AnnotationDataDigest = "espalier.dev/data-digest"
	AnnotationDataFiles  = "espalier.dev/data-files"
	// AnnotationCommit is the commit that last changed the Workspace when its Job was
	// created: OCI's own name for it.
	AnnotationCommit = "org.opencontainers.image.revision"
)

// CommitOf is the hash in a revision such as main@sha1:0123…, "" where there is none.
func CommitOf(revision string) string {
	_, commit, _ := strings.Cut(revision[strings.LastIndex(revision, "@")+1:], ":")
	return commit
}

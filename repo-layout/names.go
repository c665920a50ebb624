// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"crypto/sha256"
	"encoding/hex"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/internal/strict"
)

// Nearest returns the known name that was probably meant by one that is not among them,
// "" when none is near.
func Nearest(name string, known []string) string { return strict.Nearest(name, slices.Clone(known)) }

// hashLength is the number of hex digits that tell cut names apart: 32 bits.
const hashLength = 8

// ShortName returns name if it has at most limit bytes; else its beginning and
// a hash of the whole, joined by a dash, so that two long names stay two names.
func ShortName(limit int, name string) string {
	if len(name) <= limit {
		return name
	}
	sum := sha256.Sum256([]byte(name))
	head := strings.TrimRight(name[:limit-hashLength-1], "-.")
	return head + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// VolumeName is a name of a volume that is made of the name of an object, which may be
// longer, and may have dots where a volume has none.
func VolumeName(name string) string {
	plain := strings.ReplaceAll(name, ".", "-")
	if plain == name {
		return ShortName(volumeName, name)
	}
	sum := sha256.Sum256([]byte(name))
	return ShortName(volumeName-hashLength-1, plain) + "-" + hex.EncodeToString(sum[:])[:hashLength]
}

// volumeName is how many bytes the name of a volume may have.
const volumeName = 63

// MembersName is the headless Service, and the NetworkPolicy, of the pods of a
// model that takes several nodes.
func MembersName(workspace string) string { return workspace + "-nodes" }

// RunName is the name of a tuning Job: the Workspace's, and the beginning of
// the digest that identifies the run.
func RunName(workspace, digest string) string {
	return workspace + "-" + shortDigest(digest)
}

// RunFolder is the folder of a run on the claim that it works on: one must not go on
// from the checkpoints of another. What it has trained is in out below it.
func RunFolder(digest string) string { return shortDigest(digest) }

// RevisionName is the name of the ControllerRevision that keeps what a workload's
// pods were rendered to, by what they were rendered from.
func RevisionName(workload, digest string) string {
	return workload + "-pods-" + shortDigest(digest)
}

// WorkClaimName is the claim that a tuning run works on.
func WorkClaimName(workspace string) string { return workspace + "-work" }

func shortDigest(digest string) string {
	digest = strings.TrimPrefix(digest, "sha256:")
	if len(digest) > hashLength {
		return digest[:hashLength]
	}
	return digest
}

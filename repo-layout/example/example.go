// SPDX-License-Identifier: Apache-2.0

// Package example is a complete sample repository: the one that `espalier init`
// writes, that the demo pushes, and that tests read as golden input.
//
// It holds files only. What they mean is decided by repolayout.Decode, and a
// test keeps every document valid.
package example

import "embed"

// Files is the sample repository. models is the path that a RepoSync builds,
// and clusters/demo/reposync.yaml the RepoSync.
//
//go:embed README.md models clusters
var Files embed.FS

// Paths within Files.
const (
	// Root is the folder of the root kustomization, RepoSync's spec.path.
	Root = "models"
	// Sync is the RepoSync that follows the repository.
	Sync = "clusters/demo/reposync.yaml"
)

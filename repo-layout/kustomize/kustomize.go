// SPDX-License-Identifier: Apache-2.0

// Package kustomize is what Kustomize has to know of our kinds and of those of
// kaito.sh: which of their fields name other objects, and which of their lists
// merge by a key.
//
// Espalier gives it to every build by itself. A repository that carries the same
// two files builds to the same bytes with plain Kustomize, kubectl and Flux; they
// are data here, and run nothing.
package kustomize

import (
	"crypto/sha256"
	_ "embed"
	"encoding/hex"
	"slices"
	"strings"
)

// Names of the files in a repository.
const (
	NamesFile  = "names.yaml"
	SchemaFile = "merge-keys.yaml"
)

//go:embed names.yaml
var names []byte

//go:embed merge-keys.yaml
var schema []byte

// released are the SHA-256 of every pair of files that a release has carried: a
// copy in a repository stays good when Espalier is upgraded.
//
//go:embed released.txt
var released string

// Names is the transformer configuration (field configurations of a
// kustomization).
func Names() []byte { return slices.Clone(names) }

// Schema is the OpenAPI schema (field openapi.path of a kustomization).
func Schema() []byte { return slices.Clone(schema) }

// IsNames says whether a file is the transformer configuration, of this release
// or an earlier one.
func IsNames(text []byte) bool { return known(NamesFile, text) }

// IsSchema says the same of the schema.
func IsSchema(text []byte) bool { return known(SchemaFile, text) }

func known(file string, text []byte) bool {
	sum := sha256.Sum256(text)
	return slices.Contains(strings.Split(released, "\n"), hex.EncodeToString(sum[:])+"  "+file)
}

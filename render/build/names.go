// SPDX-License-Identifier: Apache-2.0

package build

import config "github.com/espalier-dev/espalier/repo-layout/kustomize"

// NameReferences returns the transformer configuration that every build is
// given, for repo-layout/example and for people who build with kubectl.
func NameReferences() []byte { return config.Names() }

// MergeKeys returns the schema with the merge keys of our kinds, likewise.
func MergeKeys() []byte { return config.Schema() }

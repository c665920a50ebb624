// SPDX-License-Identifier: Apache-2.0

package build

import _ "embed"

// nameReferences is given to every build as a Kustomize transformer
// configuration.
//
//go:embed names.yaml
var nameReferences []byte

// NameReferences returns the configuration, for repo-layout/example and for
// people who build with kubectl.
func NameReferences() []byte { return append([]byte(nil), nameReferences...) }

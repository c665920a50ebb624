// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// inputProblems judges a ConfigMap, Secret or claim, which never becomes a type
// of ours. readable says that Git holds it in plain text.
func inputProblems(kind string, tree map[string]any, readable bool) []finding.Problem {
	meta, _ := tree["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	v := validator{}
	if name == "" {
		v.refuse(finding.NameInvalid, "metadata.name", "a name is required; generateName cannot be kept in Git")
	}
	v.reference("metadata.name", kind, name)
	if kind == "Secret" {
		v.secret(tree, readable)
	}
	return v.problems
}

func (v *validator) secret(tree map[string]any, readable bool) {
	if tree["type"] == string(corev1.SecretTypeServiceAccountToken) {
		v.refuse(finding.SecretType, "type", "Kubernetes would fill this Secret with the token of a service account, which no repository may ask for")
	}
	if readable && (tree["data"] != nil || tree["stringData"] != nil) {
		v.warn(finding.SecretInGit, "", "whoever can read the repository can read this Secret: "+
			"encrypt it with SOPS, or let an external secrets operator bring it into the cluster and name it here only")
	}
}

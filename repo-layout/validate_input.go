// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// inputProblems judges a ConfigMap, Secret or claim, which never becomes a type
// of ours.
func inputProblems(kind string, tree map[string]any) []finding.Problem {
	meta, _ := tree["metadata"].(map[string]any)
	name, _ := meta["name"].(string)
	v := validator{}
	if name == "" {
		v.refuse(finding.NameInvalid, "metadata.name", "a name is required; generateName cannot be kept in Git")
	}
	v.reference("metadata.name", kind, name)
	if kind == "Secret" {
		v.secret(tree)
	}
	return v.problems
}

func (v *validator) secret(tree map[string]any) {
	if tree["type"] == string(corev1.SecretTypeServiceAccountToken) {
		v.refuse(finding.SecretType, "type", "Kubernetes would fill this Secret with the token of a service account, which no repository may ask for")
	}
	if tree["data"] != nil || tree["stringData"] != nil {
		v.warn(finding.SecretInGit, "", "whoever can read the repository can read this Secret: "+
			"let an external secrets operator or Flux with SOPS bring it into the cluster, and name it here only")
	}
}

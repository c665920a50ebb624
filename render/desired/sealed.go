// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// sealed says of a Secret whose values SOPS encrypted that they are not known here,
// or that nobody will ever know them.
func (d Document) sealed(sync *v1alpha1.RepoSync) v1alpha1.Finding {
	p := finding.Warningf(finding.NotDecrypted, "", "not checked: SOPS encrypted its values, and only the controller has the key (spec.decryption of the RepoSync)")
	if sync != nil && sync.Spec.Decryption == nil {
		p = finding.Errorf(finding.EncryptedSecret, "", "SOPS encrypted it, and RepoSync %s/%s has no key: name the Secret with the private key in spec.decryption, "+
			"{provider: sops, secretRef: {name: …}}, or {provider: sops} where Azure Key Vault has it", sync.Namespace, sync.Name)
	}
	return p.At(d.Position, d.Kind()+"/"+d.ObjectName())
}

// readable leaves out what is said of Secrets that everybody can read, in a unit where
// what is read was decrypted.
func readable(problems []v1alpha1.Finding) []v1alpha1.Finding {
	said := func(f v1alpha1.Finding) bool { return f.Code == finding.SecretInGit }
	if !slices.ContainsFunc(problems, said) {
		return problems
	}
	return slices.DeleteFunc(slices.Clone(problems), said)
}

// secretFields are the fields of an object that SOPS encrypted, or has: what looks like
// a variable there is a part of a secret, and whoever has no key cannot see it. beside:
// its unit has encrypted files, of which a patch or a generator may have brought
// something to any Secret.
func secretFields(object *yaml.Node, beside bool) []string {
	var head struct {
		Kind string
		SOPS any `yaml:"sops"`
	}
	if object.Decode(&head) != nil || head.Kind != "Secret" {
		return nil
	}
	if _, sealed := head.SOPS.(map[string]any); !sealed && !beside {
		return nil
	}
	return []string{"data", "stringData", "sops"}
}

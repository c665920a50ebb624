// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// DecryptionProvider is what files are encrypted with.
//
// +kubebuilder:validation:Enum=sops
type DecryptionProvider string

// DecryptionSOPS is SOPS, with age and OpenPGP keys.
const DecryptionSOPS DecryptionProvider = "sops"

// Decryption says how files of the repository are opened; the fields are Flux's.
type Decryption struct {
	// Provider is what the files are encrypted with: sops.
	Provider DecryptionProvider `json:"provider"`
	// SecretRef names a Secret of the namespace with private keys: age identities under
	// NAME.agekey, OpenPGP keys without a passphrase, armored, under NAME.asc. It is
	// watched: after a change everything encrypted is read anew.
	SecretRef LocalObjectReference `json:"secretRef"`
}

// SPDX-License-Identifier: Apache-2.0

package v1alpha1

// DecryptionProvider is what files are encrypted with.
//
// +kubebuilder:validation:Enum=sops
type DecryptionProvider string

// DecryptionSOPS is SOPS, with age keys, OpenPGP keys and Azure Key Vault.
const DecryptionSOPS DecryptionProvider = "sops"

// Decryption says how files of the repository are opened; the fields are Flux's.
type Decryption struct {
	// Provider is what the files are encrypted with: sops.
	Provider DecryptionProvider `json:"provider"`
	// SecretRef names a Secret of the namespace with private keys: age identities under
	// NAME.agekey, OpenPGP keys without a passphrase, armored, under NAME.asc. It is
	// watched: after a change everything encrypted is read anew. Absent: key vaults alone
	// are asked.
	SecretRef *LocalObjectReference `json:"secretRef,omitempty"`
	// ServiceAccountName is the ServiceAccount of the RepoSync's namespace, in this cluster,
	// whose workload identity Azure Key Vault is asked with. Empty: the account that the
	// RepoSync acts as, and the controller where it acts as that. With kubeConfig it acts
	// as nobody of this cluster, and vaults are asked only where an account is named here.
	// +kubebuilder:validation:MaxLength=253
	// +kubebuilder:validation:Pattern=`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`
	ServiceAccountName string `json:"serviceAccountName,omitempty"`
}

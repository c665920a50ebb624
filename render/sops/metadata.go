// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"crypto/subtle"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"
)

// maxRecipients bounds for how many keys a file is encrypted: each costs a try.
const maxRecipients = 64

// maxEncryptedKey bounds the data key as it is encrypted for one recipient, in bytes.
const maxEncryptedKey = 8 << 10

// maxExpression bounds the rule of what is encrypted, in bytes.
const maxExpression = 1 << 10

// plainSuffix ends the keys whose values stay as they are, where a file says nothing.
const plainSuffix = "_unencrypted"

// recipient is a key that a file is encrypted for.
type recipient struct {
	// Encrypted data key, armored.
	Encrypted string `json:"enc" yaml:"enc"`
}

func (r recipient) tooLong() bool { return len(r.Encrypted) > maxEncryptedKey }

// sealedBy is a key of Azure Key Vault that a file is encrypted for, with the data key,
// in base64 as it stands in URLs.
type sealedBy struct {
	VaultURL  string `json:"vault_url" yaml:"vault_url"`
	Name      string `json:"name" yaml:"name"`
	Version   string `json:"version" yaml:"version"`
	Encrypted string `json:"enc" yaml:"enc"`

	item string // of lines of NAME=value: which of the list this is
}

func (s sealedBy) tooLong() bool {
	return max(len(s.Encrypted), len(s.VaultURL), len(s.Name), len(s.Version)) > maxEncryptedKey
}

// metadata is what SOPS keeps in a file.
type metadata struct {
	Age       []recipient `json:"age" yaml:"age"`
	PGP       []recipient `json:"pgp" yaml:"pgp"`
	AWS       []any       `json:"kms" yaml:"kms"`
	GCP       []any       `json:"gcp_kms" yaml:"gcp_kms"`
	Azure     []sealedBy  `json:"azure_kv" yaml:"azure_kv"`
	Vault     []any       `json:"hc_vault" yaml:"hc_vault"`
	Huawei    []any       `json:"hckms" yaml:"hckms"`
	KeyGroups []any       `json:"key_groups" yaml:"key_groups"`

	LastModified  string `json:"lastmodified" yaml:"lastmodified"`
	MAC           string `json:"mac" yaml:"mac"`
	OnlyEncrypted bool   `json:"mac_only_encrypted" yaml:"mac_only_encrypted"`

	PlainSuffix      string `json:"unencrypted_suffix" yaml:"unencrypted_suffix"`
	EncryptedSuffix  string `json:"encrypted_suffix" yaml:"encrypted_suffix"`
	PlainRegex       string `json:"unencrypted_regex" yaml:"unencrypted_regex"`
	EncryptedRegex   string `json:"encrypted_regex" yaml:"encrypted_regex"`
	PlainComment     string `json:"unencrypted_comment_regex" yaml:"unencrypted_comment_regex"`
	EncryptedComment string `json:"encrypted_comment_regex" yaml:"encrypted_comment_regex"`
}

// rule says which values of a file are encrypted.
type rule struct {
	matches func(key string) bool
	// others are encrypted: those with no key on their way that matches.
	others bool
}

func (r rule) encrypts(path []string) bool { return slices.ContainsFunc(path, r.matches) != r.others }

// rule reads the one rule that a file may have.
func (m metadata) rule() (rule, error) {
	if m.PlainComment != "" || m.EncryptedComment != "" {
		return rule{}, errors.New("says by comments what is encrypted, which is not read: encrypt it anew with --encrypted-regex")
	}
	var rules []rule
	for _, r := range []struct {
		suffix, regex string
		others        bool
	}{{m.PlainSuffix, "", true}, {m.EncryptedSuffix, "", false}, {"", m.PlainRegex, true}, {"", m.EncryptedRegex, false}} {
		switch {
		case r.suffix != "":
			rules = append(rules, rule{func(key string) bool { return strings.HasSuffix(key, r.suffix) }, r.others})
		case len(r.regex) > maxExpression:
			return rule{}, fmt.Errorf("has an expression of what is encrypted of more than %d bytes: encrypt it anew with a shorter one", maxExpression)
		case r.regex != "":
			expression, err := regexp.Compile(r.regex)
			if err != nil {
				return rule{}, errors.New("has an expression of what is encrypted that is none: encrypt it anew")
			}
			rules = append(rules, rule{expression.MatchString, r.others})
		}
	}
	switch len(rules) {
	case 0:
		return rule{func(key string) bool { return strings.HasSuffix(key, plainSuffix) }, true}, nil
	case 1:
		return rules[0], nil
	}
	return rule{}, errors.New("has several rules of what is encrypted: encrypt it anew with one")
}

// verify compares the sum of all values with that of when they were encrypted.
func (m metadata) verify(key []byte, sum string) error {
	changed := errors.New("was changed after it was encrypted (its MAC does not match): restore it, or change it with sops edit")
	at, err := time.Parse(time.RFC3339, m.LastModified)
	if err != nil || m.MAC == "" {
		return changed
	}
	was, err := decryptValue(m.MAC, at.Format(time.RFC3339), key)
	if err != nil {
		return changed
	}
	if text, ok := was.(string); !ok || subtle.ConstantTimeCompare([]byte(text), []byte(sum)) != 1 {
		return changed
	}
	return nil
}

// others names the keys of services that a file is encrypted for.
func (m metadata) others() string {
	var names []string
	for _, s := range []struct {
		keys int
		name string
	}{{len(m.AWS), "AWS KMS"}, {len(m.GCP), "Google Cloud KMS"}, {len(m.Azure), "Azure Key Vault"}, {len(m.Vault), "HashiCorp Vault"}, {len(m.Huawei), "Huawei Cloud KMS"}} {
		if s.keys > 0 {
			names = append(names, s.name)
		}
	}
	return strings.Join(names, " and ")
}

// usable refuses what no key can help with. asks: key vaults are asked.
func (m metadata) usable(asks bool) error {
	services := m.others()
	switch {
	case len(m.KeyGroups) > 0:
		return errors.New("is encrypted for groups of keys, of which several are needed: that is not read; encrypt it for one group")
	case len(m.Age)+len(m.PGP)+len(m.Azure) > maxRecipients:
		return fmt.Errorf("is encrypted for more than %d keys", maxRecipients)
	case slices.ContainsFunc(slices.Concat(m.Age, m.PGP), recipient.tooLong), slices.ContainsFunc(m.Azure, sealedBy.tooLong):
		return fmt.Errorf("has a data key of more than %d bytes: encrypt it anew", maxEncryptedKey)
	case len(m.Age)+len(m.PGP) > 0, asks && len(m.Azure) > 0:
		return nil
	case services != "":
		return fmt.Errorf("is encrypted for %s alone, which is not asked: add an age recipient (sops rotate --add-age RECIPIENT --in-place)", services)
	}
	return errors.New("is encrypted for no age or OpenPGP key: add an age recipient (sops rotate --add-age RECIPIENT --in-place)")
}

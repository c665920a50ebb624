// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// TestEncrypted: what is said of documents that SOPS encrypted, by whoever has no key.
func TestEncrypted(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		text   string
		opened bool // built beside files that were decrypted
		sealed bool
		want   []string
	}{
		"Secret": {
			reason: "What is encrypted is not known here, and is judged by nobody: whether a RepoSync has the key, who knows the RepoSync says.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: 'ENC[AES256_GCM,x]'}\nsops: {}\n",
			sealed: true,
		},
		"ConfigMap": {
			reason: "What a ConfigMap says is shown in plans, statuses and reports.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: 'ENC[AES256_GCM,x]'}\nsops: {}\n",
			want:   []string{"5: error: sops: a ConfigMap may not be encrypted: plans, statuses and reports quote what it says; keep what is secret in a Secret, and this in plain text (EncryptedField)"},
		},
		"Workspace": {
			reason: "So is a Workspace.",
			text:   "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: a}\nspec: {resource: {instanceType: 'ENC[AES256_GCM,x]'}}\nsops: {}\n",
			want:   []string{"5: error: sops: a Workspace may not be encrypted: what it says is shown in plans, statuses and reports; keep what is secret in a Secret, and name that (EncryptedField)"},
		},
		"NoKind": {
			reason: "A kind that is none may be as long as its author likes, and is not repeated.",
			text:   "apiVersion: v1\nkind: my ENC[\nmetadata: {name: a}\ndata: {a: 'ENC[AES256_GCM,x]'}\nsops: {}\n",
			want:   []string{"5: error: sops: this may not be encrypted: what it says is shown in plans, statuses and reports; keep what is secret in a Secret, and name that (EncryptedField)"},
		},
		"Name": {
			reason: "The name of a Secret is shown.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: 'ENC[AES256_GCM,x]'}\nsops: {}\n",
			want:   []string{"3: error: metadata.name: this may not be encrypted: encrypt data and stringData alone: sops encrypt --encrypted-regex '^(data|stringData)$' (EncryptedField)"},
		},
		"All": {
			reason: "Nobody can tell what it is.",
			text:   "apiVersion: ENC[AES256_GCM,x]\nkind: ENC[AES256_GCM,x]\nsops: {}\n",
			want:   []string{"2: error: kind: SOPS encrypted more than the values, and nobody can tell what this is: encrypt data and stringData alone: sops encrypt --encrypted-regex '^(data|stringData)$' (EncryptedField)"},
		},
		"FileInConfigMap": {
			reason: "A generator has taken a file that nobody will read.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a.env: |\n    A=ENC[AES256_GCM,x]\n    sops_mac=ENC[AES256_GCM,y]\n",
			want:   []string{"1: error: a ConfigMap may not hold what SOPS encrypted: plans, statuses and reports quote what it says; take a Secret, or the file in plain text (EncryptedField)"},
		},
		"SpeaksOfSOPS": {
			reason: "Training data may speak of SOPS, and is not encrypted for that.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata:\n  a.jsonl: '{\"text\": \"sops: ENC[AES256_GCM,data:x]\"}'\n",
		},
		"MarkOfAnother": {
			reason: "The mark of what was decrypted is one of a Secret; elsewhere it is a field as any other.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: b}\nsops: decrypted\n",
			want:   []string{"5: error: sops: no such field; known are apiVersion, binaryData, data, immutable, kind, metadata (UnknownField)"},
		},
		"Generated": {
			reason: "A generator has put a whole file into a Secret.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\ndata: {a: c29wc19tYWM9RU5DW0FFUzI1Nl9HQ00seQo=}\n",
			sealed: true,
		},
		"Packed": {
			reason: "A Secret that was made a ConfigMap has such a file as the Secret had it.",
			text:   "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: a}\ndata: {a: c29wc19tYWM9RU5DW0FFUzI1Nl9HQ00seQo=}\n",
			want:   []string{"1: error: a ConfigMap may not hold what SOPS encrypted: plans, statuses and reports quote what it says; take a Secret, or the file in plain text (EncryptedField)"},
		},
		"Decrypted": {
			reason: "Of what was encrypted in Git nobody says that everybody can read it.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\nsops: decrypted\n",
			opened: true,
		},
		"MarkFromGit": {
			reason: "Anybody can write the mark.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\nsops: decrypted\n",
			want: []string{
				"1: warning: whoever can read the repository can read this Secret: encrypt it with SOPS, or let an external secrets operator bring it into the cluster and name it here only (SecretInGit)",
				"5: error: sops: no such field; known are apiVersion, data, immutable, kind, metadata, stringData, type (UnknownField)",
			},
		},
		"NothingEncrypted": {
			reason: "And so can a key that SOPS has not written.",
			text:   "apiVersion: v1\nkind: Secret\nmetadata: {name: a}\nstringData: {a: b}\nsops: {}\n",
			want: []string{
				"1: warning: whoever can read the repository can read this Secret: encrypt it with SOPS, or let an external secrets operator bring it into the cluster and name it here only (SecretInGit)",
				"5: error: sops: no such field; known are apiVersion, data, immutable, kind, metadata, stringData, type (UnknownField)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d, findings := decode(c.text)
			if c.opened {
				d, findings = repolayout.DecodeOpened([]byte(c.text), nil)
			}
			if diff := cmp.Diff(c.want, lines(findings)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
			if d.Encrypted != c.sealed || (d.Input == nil) != (len(c.want) > 0) {
				t.Errorf("%s: encrypted %t, input %v", c.reason, d.Encrypted, d.Input)
			}
			if d.Input != nil && d.Input.Object["sops"] != nil {
				t.Error("the API server would refuse the key sops")
			}
		})
	}
}

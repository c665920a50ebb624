// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"encoding/base64"
	"maps"
	"regexp"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

// What SOPS leaves in a document: its own key, and the beginning of each value.
const (
	sopsField = "sops"
	sopsValue = "ENC[AES256_GCM,"
)

// MarkDecrypted is what stands under the key sops of a document that was decrypted
// before it came here. DecodeOpened takes it for that.
const MarkDecrypted = "decrypted"

// encryptAlone is how a Secret is encrypted.
const encryptAlone = "encrypt data and stringData alone: sops encrypt --encrypted-regex '^(data|stringData)$'"

// mayHold are the fields of a Secret whose values may be encrypted.
var mayHold = []string{"data", "stringData"}

// EncryptedProblems says what is encrypted and may not be. Only Secrets are, and of
// them only what they hold: all else is shown, in plans, statuses and reports.
func EncryptedProblems(tree map[string]any) []finding.Problem {
	version, _ := tree["apiVersion"].(string)
	kind, _ := tree["kind"].(string)
	switch {
	case kind == "" || strings.HasPrefix(kind, sopsValue) || strings.HasPrefix(version, sopsValue):
		return []finding.Problem{finding.Errorf(finding.EncryptedField, "kind", "SOPS encrypted more than the values, and nobody can tell what this is: %s", encryptAlone)}
	case kind == "ConfigMap":
		return []finding.Problem{finding.Errorf(finding.EncryptedField, sopsField, "a ConfigMap may not be encrypted: plans, statuses and reports quote what it says; "+
			"keep what is secret in a Secret, and this in plain text")}
	case version != "v1" || kind != "Secret":
		return []finding.Problem{finding.Errorf(finding.EncryptedField, sopsField, "%s may not be encrypted: what it says is shown in plans, statuses and reports; "+
			"keep what is secret in a Secret, and name that", called(kind))}
	}
	var problems []finding.Problem
	for _, key := range sortedKeys(tree) {
		if key != sopsField && !slices.Contains(mayHold, key) {
			problems = append(problems, encryptedBelow(tree[key], key)...)
		}
	}
	return problems
}

// kindName is what the API server takes for the name of a kind.
var kindName = regexp.MustCompile(`^[A-Z][A-Za-z0-9]{0,62}$`)

// called is an object by its kind. A text that names none is not repeated.
func called(kind string) string {
	if kindName.MatchString(kind) {
		return "a " + kind
	}
	return "this"
}

// encryptedBelow finds encrypted values where none may be.
func encryptedBelow(v any, path string) (problems []finding.Problem) {
	switch v := v.(type) {
	case string:
		if strings.HasPrefix(v, sopsValue) {
			problems = append(problems, finding.Errorf(finding.EncryptedField, path, "this may not be encrypted: %s", encryptAlone))
		}
	case map[string]any:
		for _, key := range sortedKeys(v) {
			problems = append(problems, encryptedBelow(v[key], finding.Key(path, key))...)
		}
	case []any:
		for i, item := range v {
			problems = append(problems, encryptedBelow(item, finding.Index(path, i))...)
		}
	}
	return problems
}

// sealing is what is known of the encryption of a document.
type sealing int8

const (
	open   sealing = iota // it was never encrypted
	opened                // it was, and is no more
	sealed                // its values are not known
)

// unseal takes what SOPS keeps out of a document. marked: one that was decrypted has its
// mark.
func unseal(tree map[string]any, marked bool) (sealing, []finding.Problem) {
	own, there := tree[sopsField]
	switch {
	case !there:
		return open, nil
	case marked && own == MarkDecrypted && tree["kind"] == "Secret":
		delete(tree, sopsField)
		return opened, nil
	}
	if _, ok := own.(map[string]any); !ok {
		return open, nil // an unknown field as any other
	}
	problems := EncryptedProblems(tree)
	if len(problems) == 0 && !anyEncrypted(tree) {
		return open, nil // SOPS has not written that
	}
	delete(tree, sopsField)
	return sealed, problems
}

// anyEncrypted says whether a Secret has an encrypted value, or SOPS's sum of its values.
func anyEncrypted(tree map[string]any) bool {
	own, _ := tree[sopsField].(map[string]any)
	if mac, _ := own["mac"].(string); strings.HasPrefix(mac, sopsValue) {
		return true
	}
	for _, field := range mayHold {
		values, _ := tree[field].(map[string]any)
		for _, value := range values {
			if text, _ := value.(string); strings.HasPrefix(text, sopsValue) {
				return true
			}
		}
	}
	return false
}

// opaque is a Secret without the values that are not known, for whoever looks at
// their types.
func opaque(tree map[string]any) map[string]any {
	out := maps.Clone(tree)
	for _, field := range mayHold {
		values, ok := tree[field].(map[string]any)
		if !ok {
			continue
		}
		plain := maps.Clone(values)
		for key, value := range values {
			if text, ok := value.(string); ok && strings.HasPrefix(text, sopsValue) {
				plain[key] = ""
			}
		}
		out[field] = plain
	}
	return out
}

// holdsEncrypted says whether a value is a whole file that SOPS encrypted: what a
// generator takes.
func holdsEncrypted(tree map[string]any) bool {
	for _, field := range []string{"data", "binaryData", "stringData"} {
		values, _ := tree[field].(map[string]any)
		for _, value := range values {
			if text, ok := value.(string); ok && (EncryptedText(text) || EncryptedText(unpacked(text))) {
				return true
			}
		}
	}
	return false
}

// unpacked is what a text in base64 stands for, whatever field it is in: a Secret that
// was made a ConfigMap has it in one of text. "": it is none.
func unpacked(text string) string {
	raw, err := base64.StdEncoding.DecodeString(strings.Join(strings.Fields(text), ""))
	if err != nil {
		return ""
	}
	return string(raw)
}

// EncryptedText says whether a text is a file that SOPS encrypted, or a value of one.
// Text that speaks of SOPS, as training data may, is none.
func EncryptedText(text string) bool {
	switch {
	case strings.HasPrefix(text, sopsValue):
		return true
	case !strings.Contains(text, sopsValue):
		return false
	case strings.HasPrefix(strings.TrimSpace(text), "{"):
		return strings.Contains(text, `"mac": "`+sopsValue) || strings.Contains(text, `"mac":"`+sopsValue)
	}
	text = "\n" + text
	return strings.Contains(text, "\nsops_mac="+sopsValue) || strings.Contains(text, "\nsops:") && strings.Contains(text, " mac: "+sopsValue)
}

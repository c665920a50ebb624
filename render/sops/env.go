// SPDX-License-Identifier: Apache-2.0

package sops

import (
	"bytes"
	"errors"
	"regexp"
	"slices"
	"strings"
)

var errEnv = errors.New("is no file of NAME=value lines that sops has written: encrypt it anew")

// flat is how a key that is deeper is written in one line.
var flat = regexp.MustCompile(`^(age|pgp|kms|gcp_kms|azure_kv|hc_vault|hckms|key_groups)__list_([0-9]+)__map_(.+)$`)

// readEnv reads lines of NAME=value. A line break within a value is written \n.
func readEnv(text []byte) (*file, error) {
	lines := strings.Split(string(text), "\n")
	e := &envText{lines: lines, at: map[int]int{}}
	for n, line := range lines {
		name, value, ok := strings.Cut(line, "=")
		own, isOwn := strings.CutPrefix(name, field+"_")
		switch {
		case line == "" || line[0] == '#':
			continue
		case !ok:
			return nil, errEnv
		case isOwn:
			e.meta.set(own, value)
			continue
		}
		e.at[n] = len(e.leaves)
		e.leaves = append(e.leaves, leaf{path: []string{name}, value: strings.ReplaceAll(value, `\n`, "\n")})
	}
	e.write = e.plainText
	return &e.file, nil
}

// set takes one line of what SOPS keeps.
func (m *metadata) set(name, value string) {
	value = strings.ReplaceAll(value, `\n`, "\n")
	if parts := flat.FindStringSubmatch(name); parts != nil {
		if parts[1] == "azure_kv" {
			m.setVault(parts[2], parts[3], value)
			return
		}
		m.setKey(parts[1], parts[3], value)
		return
	}
	switch name {
	case "mac":
		m.MAC = value
	case "lastmodified":
		m.LastModified = value
	case "mac_only_encrypted":
		m.OnlyEncrypted = value == "true"
	case "unencrypted_suffix":
		m.PlainSuffix = value
	case "encrypted_suffix":
		m.EncryptedSuffix = value
	case "unencrypted_regex":
		m.PlainRegex = value
	case "encrypted_regex":
		m.EncryptedRegex = value
	case "unencrypted_comment_regex":
		m.PlainComment = value
	case "encrypted_comment_regex":
		m.EncryptedComment = value
	}
}

func (m *metadata) setKey(list, part, value string) {
	if list == "key_groups" {
		m.KeyGroups = append(m.KeyGroups, value)
		return
	}
	if part != "enc" {
		return
	}
	switch list {
	case "age":
		m.Age = append(m.Age, recipient{value})
	case "pgp":
		m.PGP = append(m.PGP, recipient{value})
	case "kms":
		m.AWS = append(m.AWS, value)
	case "gcp_kms":
		m.GCP = append(m.GCP, value)
	case "hc_vault":
		m.Vault = append(m.Vault, value)
	case "hckms":
		m.Huawei = append(m.Huawei, value)
	}
}

// setVault takes one line of the key of a vault, which has one for each of its parts.
func (m *metadata) setVault(item, part, value string) {
	at := slices.IndexFunc(m.Azure, func(s sealedBy) bool { return s.item == item })
	if at < 0 {
		if len(m.Azure) > maxRecipients {
			return // refused for their number
		}
		at = len(m.Azure)
		m.Azure = append(m.Azure, sealedBy{item: item})
	}
	switch s := &m.Azure[at]; part {
	case "vault_url":
		s.VaultURL = value
	case "name":
		s.Name = value
	case "version":
		s.Version = value
	case "enc":
		s.Encrypted = value
	}
}

// envText is such a file on its way to plain text.
type envText struct {
	file
	lines []string
	at    map[int]int // line → leaf
}

func (e *envText) plainText(values []any) ([]byte, error) {
	var out bytes.Buffer
	for n, line := range e.lines {
		switch i, isValue := e.at[n]; {
		case isValue:
			text, ok := values[i].(string)
			if !ok {
				text = strings.Trim(written(values[i]), `"`)
			}
			out.WriteString(e.leaves[i].path[0] + "=" + strings.ReplaceAll(text, "\n", `\n`))
		case strings.HasPrefix(line, "#"+string(marked)):
			out.WriteString("#")
		case !strings.HasPrefix(line, field+"_"):
			out.WriteString(line)
		}
		if n < len(e.lines)-1 {
			out.WriteByte('\n')
		}
	}
	return out.Bytes(), nil
}

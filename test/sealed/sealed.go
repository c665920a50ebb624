// SPDX-License-Identifier: Apache-2.0

// Package sealed encrypts files for tests as SOPS does, with keys that are made on
// the spot. It knows no more of the format than tests need: values that are text, age
// recipients, and one rule, that of a Secret.
//
// That the format is right is not shown here but by files that SOPS itself wrote, in
// render/sops/testdata.
package sealed

import (
	"bytes"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"crypto/sha512"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"

	"filippo.io/age"
	"filippo.io/age/armor"
	"go.yaml.in/yaml/v3"
)

// modified is when every file was encrypted.
const modified = "2026-11-26T00:00:00Z"

// Key is an age identity.
type Key struct{ identity *age.X25519Identity }

// NewKey makes one.
func NewKey() (Key, error) {
	identity, err := age.GenerateX25519Identity()
	return Key{identity}, err
}

// Private is what the entry NAME.agekey of a Secret holds.
func (k Key) Private() string { return "# of a test\n" + k.identity.String() + "\n" }

// YAML encrypts data and stringData of the documents of a text, all of whose values are
// text, for keys.
func YAML(text string, keys ...Key) (string, error) {
	var docs []*yaml.Node
	decoder := yaml.NewDecoder(strings.NewReader(text))
	for {
		var doc yaml.Node
		err := decoder.Decode(&doc)
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			return "", err
		}
		docs = append(docs, doc.Content[0])
	}
	s := newSeal()
	for _, doc := range docs {
		if err := s.walk(doc, nil); err != nil {
			return "", err
		}
	}
	meta, err := s.metadata(keys)
	if err != nil {
		return "", err
	}
	meta["encrypted_regex"] = "^(data|stringData)$"
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	for _, doc := range docs {
		var own yaml.Node
		if err := own.Encode(meta); err != nil {
			return "", err
		}
		doc.Content = append(doc.Content, &yaml.Node{Kind: yaml.ScalarNode, Value: "sops"}, &own)
		if err := encoder.Encode(doc); err != nil {
			return "", err
		}
	}
	return out.String(), nil
}

// Binary encrypts a file of any kind.
func Binary(content string, keys ...Key) (string, error) {
	s := newSeal()
	s.sum = append(s.sum, content...)
	meta, err := s.metadata(keys)
	if err != nil {
		return "", err
	}
	out, err := json.MarshalIndent(map[string]any{"data": s.encrypt(content, "data:"), "sops": meta}, "", "\t")
	return string(out) + "\n", err
}

// seal is one file on its way.
type seal struct {
	key []byte
	sum []byte
}

func newSeal() *seal {
	s := &seal{key: make([]byte, 32)}
	_, _ = rand.Read(s.key) // it never fails
	return s
}

func (s *seal) walk(n *yaml.Node, path []string) error {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if err := s.walk(n.Content[i+1], append(slices.Clip(path), n.Content[i].Value)); err != nil {
				return err
			}
		}
	case yaml.SequenceNode:
		for _, item := range n.Content {
			if err := s.walk(item, path); err != nil {
				return err
			}
		}
	case yaml.ScalarNode:
		if n.ShortTag() != "!!str" {
			return fmt.Errorf("line %d: only text is encrypted", n.Line)
		}
		s.sum = append(s.sum, n.Value...)
		if slices.Contains(path, "data") || slices.Contains(path, "stringData") {
			n.Value, n.Style = s.encrypt(n.Value, strings.Join(path, ":")+":"), 0
		}
	default:
		return fmt.Errorf("line %d: an alias", n.Line)
	}
	return nil
}

// encrypt one value of a place.
func (s *seal) encrypt(text, place string) string {
	block, err := aes.NewCipher(s.key)
	if err != nil {
		panic(err) // the key has its length
	}
	nonce := make([]byte, 32)
	_, _ = rand.Read(nonce)
	sealing, err := cipher.NewGCMWithNonceSize(block, len(nonce))
	if err != nil {
		panic(err)
	}
	out := sealing.Seal(nil, nonce, []byte(text), []byte(place))
	encode := base64.StdEncoding.EncodeToString
	body := len(out) - aes.BlockSize
	return fmt.Sprintf("ENC[AES256_GCM,data:%s,iv:%s,tag:%s,type:str]", encode(out[:body]), encode(nonce), encode(out[body:]))
}

// metadata is what SOPS keeps in a file.
func (s *seal) metadata(keys []Key) (map[string]any, error) {
	var recipients []any
	for _, k := range keys {
		var armored bytes.Buffer
		text := armor.NewWriter(&armored)
		w, err := age.Encrypt(text, k.identity.Recipient())
		if err != nil {
			return nil, err
		}
		_, err = w.Write(s.key)
		if err := errors.Join(err, w.Close(), text.Close()); err != nil {
			return nil, err
		}
		recipients = append(recipients, map[string]any{"recipient": k.identity.Recipient().String(), "enc": armored.String()})
	}
	return map[string]any{
		"age": recipients, "lastmodified": modified, "version": "3.13.2",
		"mac": s.encrypt(fmt.Sprintf("%X", sha512.Sum512(s.sum)), modified),
	}, nil
}

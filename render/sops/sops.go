// SPDX-License-Identifier: Apache-2.0

// Package sops reads files that SOPS has encrypted: with age or OpenPGP keys that
// are given, and without any as far as to say that they are encrypted.
//
// It decrypts in memory, puts nothing anywhere, and asks neither a network nor a
// disk nor a key agent: what it may use stands in Keys. An error of it never holds a
// part of a file, encrypted or not, nor of a key. Lines stay where they are, so that
// what is found in the plain text stands at the line of the file in Git.
//
// Why it is no library: docs/design/0059.
package sops

import (
	"bytes"
	"errors"
	"fmt"
	"path"
)

// field is the key that SOPS keeps its own under, in every format that has keys.
const field = "sops"

// marked is in every value that SOPS has encrypted.
var marked = []byte("ENC[AES256_GCM,")

// ErrNotForUs says that a file is encrypted for none of the keys.
var ErrNotForUs = errors.New("is encrypted for none of the keys that are there")

// format is how a file is written.
type format int8

const (
	plain format = iota
	yamlFile
	jsonFile
	binaryFile // JSON around a file of any kind
	envFile
	iniFile
)

// Is says whether text is a file that SOPS has encrypted.
func Is(name string, text []byte) bool { return formatOf(name, text) != plain }

// formatOf tells the format by what is there, and by the name what JSON is: a value
// named data, or a whole file.
func formatOf(name string, text []byte) format {
	if !bytes.Contains(text, marked) || !bytes.Contains(text, []byte(field)) {
		return plain
	}
	trimmed := bytes.TrimSpace(text)
	switch {
	case bytes.HasPrefix(trimmed, []byte("{")):
		members, err := parseJSON(text)
		switch {
		case err != nil || members.sops == nil:
			return plain
		case path.Ext(name) != ".json" && members.onlyData():
			return binaryFile
		}
		return jsonFile
	case hasLine(text, "sops_mac="):
		return envFile
	case hasLine(text, "[sops]"):
		return iniFile
	case hasLine(text, field+":"):
		return yamlFile
	}
	return plain
}

// hasLine says whether a line begins with a text.
func hasLine(text []byte, beginning string) bool {
	return bytes.HasPrefix(text, []byte(beginning)) || bytes.Contains(text, []byte("\n"+beginning))
}

// Decrypt returns the plain text of a file, and the text itself where it is not
// encrypted. The name, relative to the root of the tree, says what JSON is.
func (k *Keys) Decrypt(name string, text []byte) (decrypted []byte, was bool, err error) {
	var f *file
	switch formatOf(name, text) {
	case plain:
		return text, false, nil
	case yamlFile:
		f, err = readYAML(text)
	case jsonFile:
		f, err = readJSON(text)
	case binaryFile:
		f, err = readBinary(text)
	case envFile:
		f, err = readEnv(text)
	case iniFile:
		err = errors.New("is encrypted in the format ini, which is not read: encrypt it as a file of any kind, sops encrypt --input-type binary")
	}
	if err == nil {
		decrypted, err = k.open(f)
	}
	if err != nil {
		return nil, true, fmt.Errorf("%s %w", name, err)
	}
	return decrypted, true, nil
}

// file is an encrypted file taken apart.
type file struct {
	leaves []leaf // in the order of the file
	meta   metadata
	// write puts plain values in the places of the leaves.
	write func(values []any) ([]byte, error)
}

// leaf is one value of a file: text, int, float64, bool, time.Time or nil.
type leaf struct {
	path  []string // keys only: SOPS counts no items of lists
	value any
	start int // of the text in the file, with its quotes, where that is needed
	end   int
}

// open decrypts a file, and returns nothing of it unless all of it is what was
// encrypted.
func (k *Keys) open(f *file) ([]byte, error) {
	rule, err := f.meta.rule()
	if err != nil {
		return nil, err
	}
	key, err := k.dataKey(f.meta)
	if err != nil {
		return nil, err
	}
	values, sum, err := decryptAll(f, rule, key)
	if err != nil {
		return nil, err
	}
	if err := f.meta.verify(key, sum); err != nil {
		return nil, err
	}
	return f.write(values)
}

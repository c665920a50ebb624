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
	"strings"
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

// Bounds of one file, beyond what people encrypt: who pushes decides how long it takes
// to open one.
const (
	// maxBytes of an encrypted file: a Secret has at most 1 MiB.
	maxBytes = 512 << 10
	// maxLeaves is how many values it has.
	maxLeaves = 10_000
	// maxPath bounds the keys that lead to a value, in bytes: all of them are
	// authenticated with it.
	maxPath = 4 << 10
)

var (
	errLeaves = fmt.Errorf("is encrypted and has more than %d values: divide it", maxLeaves)
	errPath   = fmt.Errorf("is encrypted and has a value below keys of more than %d bytes: shorten them", maxPath)
)

// Decrypt returns the plain text of a file, and the text itself where it is not
// encrypted. The name, relative to the root of the tree, says what JSON is.
func (k *Keys) Decrypt(name string, text []byte) (decrypted []byte, was bool, err error) {
	if formatOf(name, text) == plain {
		return text, false, nil
	}
	t := newTries()
	o, err := k.decrypt(name, text, &t)
	return o.plain, true, err
}

// opened is a file in plain text.
type opened struct {
	plain   []byte
	secrets []string // what was encrypted in it, value by value
}

// decrypt opens an encrypted file.
func (k *Keys) decrypt(name string, text []byte, t *tries) (o opened, err error) {
	var f *file
	kind := formatOf(name, text)
	switch {
	case len(text) > maxBytes:
		err = fmt.Errorf("is encrypted and has more than %d bytes: divide it, or keep what is no secret in plain text", maxBytes)
	case kind == yamlFile:
		f, err = readYAML(text)
	case kind == jsonFile:
		f, err = readJSON(text)
	case kind == binaryFile:
		f, err = readBinary(text)
	case kind == envFile:
		f, err = readEnv(text)
	default:
		err = errors.New("is encrypted in the format ini, which is not read: encrypt it as a file of any kind, sops encrypt --input-type binary")
	}
	if err == nil {
		o, err = k.open(f, t)
	}
	if err != nil {
		return opened{}, fmt.Errorf("%s %w", name, err)
	}
	if kind == binaryFile || kind == envFile {
		o.secrets = append(o.secrets, linesOf(o.plain)...)
	}
	return o, nil
}

// linesOf are the lines of a file, and what stands behind their first equals sign: a
// generator takes them one by one.
func linesOf(text []byte) (all []string) {
	for line := range strings.Lines(string(text)) {
		all = append(all, line)
		if _, value, ok := strings.Cut(line, "="); ok {
			all = append(all, value)
		}
	}
	return all
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

// bounded says what is too much in a file.
func (f *file) bounded() error {
	if len(f.leaves) > maxLeaves {
		return errLeaves
	}
	for _, l := range f.leaves {
		size := 0
		for _, key := range l.path {
			size += len(key)
		}
		if size > maxPath {
			return errPath
		}
	}
	return nil
}

// open decrypts a file, and returns nothing of it unless all of it is what was
// encrypted.
func (k *Keys) open(f *file, t *tries) (opened, error) {
	if err := f.bounded(); err != nil {
		return opened{}, err
	}
	rule, err := f.meta.rule()
	if err != nil {
		return opened{}, err
	}
	key, err := k.dataKey(f.meta, t)
	if err != nil {
		return opened{}, err
	}
	all, err := decryptAll(f, rule, key)
	if err != nil {
		return opened{}, err
	}
	if err := f.meta.verify(key, all.sum); err != nil {
		return opened{}, err
	}
	text, err := f.write(all.values)
	return opened{text, all.secrets}, err
}

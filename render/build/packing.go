// SPDX-License-Identifier: Apache-2.0

package build

import (
	"encoding/binary"
	"encoding/hex"
	"strings"
)

// packing is texts and numbers in one piece, which unpacking takes apart in that order.
type packing []byte

// number adds one that is not below zero.
func (p *packing) number(n int) {
	*p = binary.AppendUvarint(*p, uint64(n)) //nolint:gosec // it is what it is
}

func (p *packing) text(texts ...string) {
	for _, s := range texts {
		p.number(len(s))
		*p = append(*p, s...)
	}
}

// path is a path of the tree, from a folder on where it is below that.
func (p *packing) path(dir, name string) {
	rest, below := strings.CutPrefix(name, dir+"/")
	if below {
		p.number(1)
	} else {
		p.number(0)
	}
	p.text(rest)
}

// packHash is a hash in bytes, where it is a number; "" for none.
func packHash(hash string) string {
	if hash == "" {
		return ""
	}
	if number, err := hex.DecodeString(hash); err == nil && hex.EncodeToString(number) == hash {
		return "#" + string(number)
	}
	return "=" + hash
}

// unpacking is what is left of a packing.
type unpacking string

func (u *unpacking) number() int64 {
	n, rest := unpackNumber(string(*u))
	*u = unpacking(rest)
	return n
}

func (u *unpacking) text() string {
	text, rest := unpackText(string(*u))
	*u = unpacking(rest)
	return text
}

func (u *unpacking) path(dir string) string {
	if below := u.number() == 1; below {
		return dir + "/" + u.text()
	}
	return strings.Clone(u.text()) // who is told of it shall not hold all
}

func unpackText(s string) (text, rest string) {
	n, s := unpackNumber(s)
	return s[:n], s[n:]
}

func unpackNumber(s string) (n int64, rest string) {
	for shift := 0; ; shift += 7 {
		b := s[0]
		s = s[1:]
		n |= int64(b&0x7f) << shift
		if b < 0x80 {
			return n, s
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package report

import (
	"encoding/json"
	"fmt"
	"hash/maphash"
	"strings"

	"go.yaml.in/yaml/v3"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// parts of a document that the message of a commit names where they have changed, in its
// order.
var parts = [...]string{"model", "revision", "instance", "price", "sizing", "resolved", "inference", "tuning", "conditions"}

// said is what a document says, as far as the next one is compared with it. It is held for
// every Workspace, and says nothing to another process.
type said struct {
	state State
	parts [len(parts)]uint32
}

var sums = maphash.MakeSeed()

// sumOf is a sum of texts in their order, for this process alone.
func sumOf(texts ...string) uint64 {
	var h maphash.Hash
	h.SetSeed(sums)
	for _, text := range texts {
		_, _ = h.WriteString(text) // it never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

func saidBy(d document) said {
	s := said{state: d.State}
	for i, part := range [...]any{
		d.Preset, d.Revision, []string{d.Instance, d.NodePool}, d.USDPerHour, d.Sizing, d.Resolved, d.Inference, d.Tuning, d.Conditions,
	} {
		text, err := json.Marshal(part)
		if err != nil {
			panic(fmt.Sprintf("encoding the %s of a document: %v", parts[i], err)) // strings, numbers and lists of them
		}
		s.parts[i] = uint32(maphash.Bytes(sums, text)) //nolint:gosec // G115: half of a hash is one
	}
	return s
}

// parse reads a document of a status branch back, as far as it can be read: a person may
// have edited it.
func parse(text []byte) *said {
	var d document
	if yaml.Unmarshal(text, &d) != nil {
		d = document{}
	}
	says := saidBy(d)
	return &says
}

func isDocument(path string) bool {
	return strings.HasSuffix(path, ".yaml") && path != repolayout.StatusOwnerFile
}

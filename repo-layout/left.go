// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"bytes"
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Left is what a container of a run leaves in its termination message.
type Left struct {
	// Adapter is the pushed one, by digest.
	Adapter string `json:"adapter,omitempty"`
	// Evaluation is what was measured.
	Evaluation *v1alpha1.EvaluationStatus `json:"evaluation,omitempty"`
	// Why says why the container failed or was refused, for people.
	Why string `json:"why,omitempty"`
}

// maxPlain is the longest message that is left as it is, in bytes. A kubelet keeps 4 KiB
// of one and 12 KiB of all containers of a pod, a like share of each: with what a mesh
// adds that is little more than this, and a message that is cut says nothing at all.
const maxPlain = 1024

// maxUnpacked bounds what is made of a message that is packed, in bytes.
const maxUnpacked = 64 << 10

// packed is a message that was too long, compressed.
type packed struct {
	Packed []byte `json:"packed"`
}

// Message is the text of a termination message.
func (l Left) Message() ([]byte, error) {
	text, err := json.Marshal(l)
	if err != nil {
		return nil, fmt.Errorf("encoding a termination message: %w", err)
	}
	if len(text) <= maxPlain {
		return text, nil
	}
	var b bytes.Buffer
	w, err := gzip.NewWriterLevel(&b, gzip.BestCompression)
	if err == nil {
		_, err = w.Write(text)
	}
	if err == nil {
		err = w.Close()
	}
	if err != nil {
		return nil, fmt.Errorf("compressing a termination message: %w", err)
	}
	return json.Marshal(packed{b.Bytes()})
}

// ReadLeft reads a termination message; false where it is none of ours.
func ReadLeft(message string) (Left, bool) {
	var is struct {
		Left
		packed
	}
	if json.Unmarshal([]byte(message), &is) != nil {
		return Left{}, false
	}
	if len(is.Packed) == 0 {
		return is.Left, true
	}
	r, err := gzip.NewReader(bytes.NewReader(is.Packed))
	if err != nil {
		return Left{}, false
	}
	var l Left
	text, err := io.ReadAll(io.LimitReader(r, maxUnpacked))
	if err != nil || json.Unmarshal(text, &l) != nil {
		return Left{}, false
	}
	return l, true
}

// SPDX-License-Identifier: Apache-2.0

package quota

import (
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"time"
)

// Key is the entry of a ConfigMap that holds a Snapshot.
const Key = "quota.json"

// Write writes a snapshot as it is published.
func Write(s *Snapshot) ([]byte, error) {
	text, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("writing the quota: %w", err)
	}
	return append(text, '\n'), nil
}

// maxSnapshot bounds what is read, in bytes: a region has some hundred sizes.
const maxSnapshot = 1 << 20

// Read reads a snapshot that Write wrote. It may be older or newer than this
// program: fields that are not known are left out.
func Read(text []byte) (*Snapshot, error) {
	if len(text) > maxSnapshot {
		return nil, fmt.Errorf("the quota takes %d bytes, and at most %d are read", len(text), maxSnapshot)
	}
	var s Snapshot
	if err := json.Unmarshal(text, &s); err != nil {
		return nil, errors.New("the quota is not what `espalier pools quota -o json` writes")
	}
	if s.Location == "" || s.UsageAt.IsZero() && s.SizesAt.IsZero() {
		return nil, errors.New("the quota names no location or was never read: write it with `espalier pools quota -o json`")
	}
	return &s, nil
}

// Differs says whether two snapshots say something else, whenever they were read.
func (s *Snapshot) Differs(o *Snapshot) bool {
	if s == nil || o == nil {
		return s != o
	}
	a, b := *s, *o
	a.UsageAt, a.SizesAt, b.UsageAt, b.SizesAt = time.Time{}, time.Time{}, time.Time{}, time.Time{}
	return !reflect.DeepEqual(a, b)
}

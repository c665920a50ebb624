// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"bytes"
	"errors"
	"io"
	"strings"
	"testing"
)

// TestEvents: a watch has no end, and one event of it has.
func TestEvents(t *testing.T) {
	event := strings.Repeat("x", maxEvent/4) + "\n"
	for name, c := range map[string]struct {
		reason string
		body   io.Reader
		want   error
	}{
		"Many":    {"However many there are.", strings.NewReader(strings.Repeat(event, 10)), nil},
		"Largest": {"One as large as may be.", strings.NewReader(strings.Repeat("x", maxEvent-1) + "\n" + event), nil},
		"Endless": {"One that does not end would be held whole.", io.MultiReader(strings.NewReader(event), endless{}), errTooLarge},
	} {
		t.Run(name, func(t *testing.T) {
			n, err := io.Copy(io.Discard, &eventful{io.NopCloser(c.body), maxEvent})
			if !errors.Is(err, c.want) || n > 11*maxEvent {
				t.Errorf("%s\nread %d bytes: %v", c.reason, n, err)
			}
		})
	}
}

// endless is a text without a line's end.
type endless struct{}

func (endless) Read(p []byte) (int, error) { return copy(p, bytes.Repeat([]byte("x"), len(p))), nil }

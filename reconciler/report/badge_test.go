// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"math"
	"strconv"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// texts are the letters of a badge; whatever is no well-formed XML fails.
func texts(t *testing.T, svg []byte) []string {
	t.Helper()
	var found []string
	d := xml.NewDecoder(bytes.NewReader(svg))
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err != nil {
			t.Fatalf("%v\n%s", err, svg)
		}
		switch x := token.(type) {
		case xml.StartElement:
			if strings.Contains(" svg title path g text ", " "+x.Name.Local+" ") {
				break
			}
			t.Errorf("element %s", x.Name.Local)
		case xml.CharData:
			if text := strings.TrimSpace(string(x)); text != "" {
				found = append(found, text)
			}
		}
	}
}

func TestBadge(t *testing.T) {
	const evil = `"><script>alert(1)</script>&<a href='x'>` + "\u202e\x00"
	for name, c := range map[string]struct {
		reason string
		name   string
		want   string
	}{
		"Plain":   {"The name and the word.", "phi-4-mini", "phi-4-mini"},
		"Longest": {"A name takes 63 characters and fits.", strings.Repeat("m", 63), strings.Repeat("m", 63)},
		"Hostile": {"Nothing that a name holds becomes an element or an attribute.", evil, `"><script>alert(1)</script>&<a href='x'>` + "\ufffd\ufffd"},
	} {
		t.Run(name, func(t *testing.T) {
			svg := badge(c.name, Ready)
			got := texts(t, svg)
			if len(got) != 3 || got[1] != c.want || got[2] != "Ready" || got[0] != c.want+": Ready" {
				t.Errorf("%s\ngot %q", c.reason, got)
			}
			if !bytes.Equal(svg, badge(c.name, Ready)) || len(svg) > 2048 {
				t.Errorf("%s\n%d bytes, and the same each time?", c.reason, len(svg))
			}
		})
	}
}

// TestBadgeContrast: white letters are read on each colour, as WCAG measures it.
func TestBadgeContrast(t *testing.T) {
	for state := range glyphs {
		for _, colour := range []string{colours[state], badgeLeft} {
			if got := 1.05 / (luminance(t, colour) + 0.05); got < 4.5 {
				t.Errorf("%s: white on %q has a contrast of %.2f, want 4.5", state, colour, got)
			}
		}
	}
}

func luminance(t *testing.T, colour string) float64 {
	t.Helper()
	var sum float64
	for i, weight := range []float64{0.2126, 0.7152, 0.0722} {
		n, err := strconv.ParseUint(colour[1+2*i:3+2*i], 16, 8)
		if err != nil {
			t.Fatal(err)
		}
		c := float64(n) / 255
		if c = math.Pow((c+0.055)/1.055, 2.4); n < 11 {
			c = float64(n) / 255 / 12.92
		}
		sum += weight * c
	}
	return sum
}

// TestBadgeFollowsTheState: whatever else changes leaves the badge as it is, and it
// goes with its Workspace.
func TestBadgeFollowsTheState(t *testing.T) {
	server := serve(t, gitserver.Options{})
	path := repolayout.StatusBadge("models", "phi-4-mini")
	at := func() string {
		t.Helper()
		files, err := server.Files(repo, branch)
		if err != nil {
			t.Fatal(err)
		}
		return files[path]
	}
	write(t, target(server), snapshot(progressing("phi-4-mini"), progressing("other")))
	waits := at()
	later := progressing("phi-4-mini")
	later.Status.Conditions[0].Message = "1 of 2 nodes has joined"
	later.Status.Conditions[0].LastTransitionTime = metav1.NewTime(time.Unix(2_000_000_000, 0))
	later.Status.Revision = "main@sha1:" + strings.Repeat("f", 40)
	if result := write(t, target(server), snapshot(onNodes(later, "0.526"), progressing("other"))); !result.Changed || at() != waits {
		t.Errorf("the state is the same, and so is the badge:\n%s", at())
	}
	write(t, target(server), snapshot(served(), progressing("other")))
	if ready := at(); ready == waits || !strings.Contains(ready, "phi-4-mini: Ready") {
		t.Errorf("the state has changed: %s", ready)
	}
	write(t, target(server), snapshot(progressing("other")))
	if gone := at(); gone != "" {
		t.Errorf("the Workspace is gone: %s", gone)
	}
	if message := log(t, server)[0].Message; strings.Count(message, "phi-4-mini") != 1 {
		t.Errorf("a badge is told of with its Workspace, and not by itself:\n%s", message)
	}
}

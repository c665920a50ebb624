// SPDX-License-Identifier: Apache-2.0

package report

import (
	"bytes"
	"encoding/xml"
	"fmt"
	"math"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/markdown"
)

// colours of the right half of a badge. Each has a contrast to white of at least
// 4.5, as WCAG asks of small text, and the word is there beside the colour.
var colours = map[State]string{
	Ready: "#1a7f37", Progressing: "#0b62c1", Refused: "#b35900", Failed: "#c62828", Suspended: "#5f6b7a", Deleting: "#6e4a9e",
}

const (
	badgeLeft   = "#373e47"
	badgeHeight = 20
	badgePad    = 7  // pixels beside each text
	maxBadge    = 63 // characters of a name: a DNS label is no longer
)

// badge is a picture of where a Workspace stands: its name and one word. It holds
// nothing else, so that it changes with the state alone.
func badge(name string, state State) []byte {
	name = markdown.Clean(name, maxBadge)
	left, right := width(name)+2*badgePad, width(string(state))+2*badgePad
	title, name := escape(name+": "+string(state)), escape(name)
	var b bytes.Buffer
	fmt.Fprintf(&b, "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"%d\" height=\"%d\" role=\"img\" aria-label=\"%s\">\n", left+right, badgeHeight, title)
	fmt.Fprintf(&b, "<title>%s</title>\n", title)
	// Two shapes with round outer corners: a clip path would need an id, and pages
	// that put several badges into one document need ids to differ.
	fmt.Fprintf(&b, "<path fill=\"%s\" d=\"M3 0H%dV%dH3A3 3 0 0 1 0 %dV3A3 3 0 0 1 3 0\"/>\n", badgeLeft, left, badgeHeight, badgeHeight-3)
	fmt.Fprintf(&b, "<path fill=\"%s\" d=\"M%d 0H%dA3 3 0 0 1 %d 3V%dA3 3 0 0 1 %d %dH%d\"/>\n",
		colours[state], left, left+right-3, left+right, badgeHeight-3, left+right-3, badgeHeight, left)
	b.WriteString("<g fill=\"#fff\" font-family=\"Verdana,DejaVu Sans,Geneva,sans-serif\" font-size=\"11\">\n")
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"14\" textLength=\"%d\">%s</text>\n", badgePad, left-2*badgePad, name)
	fmt.Fprintf(&b, "<text x=\"%d\" y=\"14\" textLength=\"%d\">%s</text>\n", left+badgePad, right-2*badgePad, state)
	b.WriteString("</g>\n</svg>\n")
	return b.Bytes()
}

func escape(s string) string {
	var b strings.Builder
	_ = xml.EscapeText(&b, []byte(s)) // a Builder takes everything
	return b.String()
}

// widths of characters of Verdana at 11 pixels, in tenths of a pixel. Every reader
// fits the text to their sum, whatever font it has.
var widths = map[rune]int{
	'a': 66, 'b': 69, 'c': 57, 'd': 69, 'e': 66, 'f': 39, 'g': 69, 'h': 70, 'i': 30, 'j': 38, 'k': 65, 'l': 30, 'm': 107,
	'n': 70, 'o': 67, 'p': 69, 'q': 69, 'r': 47, 's': 57, 't': 43, 'u': 70, 'v': 65, 'w': 90, 'x': 65, 'y': 65, 'z': 58,
	'-': 50, '.': 40,
}

// width of a text in whole pixels.
func width(s string) int {
	tenths := 0
	for _, r := range s {
		w, known := widths[r]
		if !known {
			w = 75 // capitals and digits, on average
		}
		tenths += w
	}
	return int(math.Ceil(float64(tenths) / 10))
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"regexp"
	"strings"
)

// Bitbucket shows HTML as it is written, so what is hidden or folded elsewhere would
// be read there. A definition of a link that nobody uses shows nothing on any forge:
// a hidden line is written as one, and a folded part stays open below a title. What
// is read back is as it was.

// dialectRoom is what a comment may grow by, in bytes: a folded part takes 5 more, and
// no comment that a forge takes has four hundred.
const dialectRoom = 2048

var (
	hiddenLine = regexp.MustCompile(`(?m)^<!-- (.*) -->$`)
	foldLine   = regexp.MustCompile(`(?m)^<details><summary>(.*)</summary>$`)
	foldEnd    = regexp.MustCompile(`(?m)^</details>$`)

	plainFold   = regexp.MustCompile(`(?m)^\n\[//\]: # \(fold\)\n\n\*\*(.*)\*\*$`)
	plainEnd    = regexp.MustCompile(`(?m)^\n\[//\]: # \(end of fold\)$`)
	plainHidden = regexp.MustCompile(`(?m)^\[//\]: # \((.*)\)$`)
)

// toPlain writes a comment without HTML.
func toPlain(body string) string {
	body = hiddenLine.ReplaceAllString(body, "[//]: # ($1)")
	body = foldLine.ReplaceAllString(body, "\n[//]: # (fold)\n\n**$1**")
	return foldEnd.ReplaceAllString(body, "\n[//]: # (end of fold)")
}

// fromPlain is the comment as it was before toPlain.
func fromPlain(text string) string {
	text = strings.ReplaceAll(text, "\r\n", "\n")
	text = plainFold.ReplaceAllString(text, "<details><summary>$1</summary>")
	text = plainEnd.ReplaceAllString(text, "</details>")
	return plainHidden.ReplaceAllString(text, "<!-- $1 -->")
}

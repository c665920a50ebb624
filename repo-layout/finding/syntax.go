// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
	"unicode/utf8"
)

// Bounds of YAML text, far beyond what any Kubernetes object needs.
const (
	// MaxDepth is how deep mappings and lists may be nested.
	MaxDepth = 100
	// MaxKey is the longest key of a mapping in bytes: the longest of
	// Kubernetes, an annotation's, has 317.
	MaxKey = 1024
)

var lineInMessage = regexp.MustCompile(`^line (\d+): `)

// fromParser are the messages of the parser of go.yaml.in/yaml/v3, which counts
// lines from 0 and leaves a 0 out; its scanner counts from 1.
var fromParser = regexp.MustCompile(`^(did not find expected (<document start>|node content|'-' indicator|key|',' or '[\]}]')` +
	`|found undefined tag handle|found duplicate %(YAML|TAG) directive|found incompatible YAML document)`)

// fromReader are the messages of its reader, which knows no lines.
var fromReader = regexp.MustCompile(`^(control characters are not allowed|(invalid|incomplete) .*(UTF-|Unicode))`)

// remedies complete what the library says, by a part of its message.
var remedies = []struct{ part, remedy string }{
	{"cannot start any token", "indent with spaces, never tabs, and quote text that begins with a special character"},
	{"control characters", "remove the character, or write it as an escape in double quotes"},
	{"UTF-8", "save the file as UTF-8"},
	{"UTF-16", "save the file as UTF-8"},
	{"did not find expected key", "check the indentation, and quote text that holds a colon or a quote"},
	{"mapping values are not allowed", "check the indentation, and quote text that holds a colon"},
	{"did not find expected ',' or", "a bracket is not closed, or a comma is missing"},
	{"unexpected end of stream", "a quote or bracket is not closed"},
	{"exceeded max depth", "close the brackets"},
	{"unknown anchor", "an alias names an anchor of the same document"},
}

// Syntax takes the error of go.yaml.in/yaml/v3 over a text apart: the line of the
// text, from 1, and one sentence with the remedy. Line 0: not known. What is
// missing at the end of the text is placed on the last line that there is.
func Syntax(text []byte, err error) (line int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := lineInMessage.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	switch {
	case fromParser.MatchString(message):
		line++
	case fromReader.MatchString(message):
		line = unreadable(text)
	}
	for _, r := range remedies {
		if strings.Contains(message, r.part) {
			message += "; " + r.remedy
			break
		}
	}
	return min(line, bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))+1), "this is no YAML: " + message
}

// unreadable is the line of the first character that YAML does not have, 0 when
// there is none.
func unreadable(text []byte) int {
	line := 1
	for len(text) > 0 {
		r, size := utf8.DecodeRune(text)
		switch {
		case r == '\n':
			line++
		case r == utf8.RuneError && size == 1, r < ' ' && r != '\t' && r != '\r', r == 0x7f, r >= 0x80 && r < 0xa0 && r != 0x85:
			return line
		}
		text = text[size:]
	}
	return 0
}

// SPDX-License-Identifier: Apache-2.0

package finding

import (
	"bytes"
	"regexp"
	"strconv"
	"strings"
)

var lineInMessage = regexp.MustCompile(`^line (\d+): `)

// fromParser are the messages of the parser of go.yaml.in/yaml/v3, which counts
// lines from 0 and leaves a 0 out; its scanner counts from 1.
var fromParser = regexp.MustCompile(`^(did not find expected (<document start>|node content|'-' indicator|key|',' or '[\]}]')` +
	`|found undefined tag handle|found duplicate %(YAML|TAG) directive|found incompatible YAML document)`)

// Syntax takes the error of go.yaml.in/yaml/v3 over a text apart: the line of the
// text, from 1, and the message without it. Line 0: not known. What is missing at
// the end of the text is placed on the last line that there is.
func Syntax(text []byte, err error) (line int, message string) {
	message = strings.TrimPrefix(err.Error(), "yaml: ")
	if m := lineInMessage.FindStringSubmatch(message); m != nil {
		line, _ = strconv.Atoi(m[1])
		message = message[len(m[0]):]
	}
	if fromParser.MatchString(message) {
		line++
	}
	return min(line, bytes.Count(bytes.TrimRight(text, "\n"), []byte("\n"))+1), message
}

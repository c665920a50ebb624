// SPDX-License-Identifier: Apache-2.0

package strict

import (
	"fmt"
	"regexp"
	"strings"
)

// placeholders are what examples leave for the reader to fill in, and variables
// that nobody substitutes.
var placeholders = regexp.MustCompile(`<[^<>]*>|\$\{[^}]*\}|\$\([^)]*\)|\{\{.*\}\}|\{[A-Z][A-Z0-9_]*\}|\$[A-Z][A-Z0-9_]{2,}` +
	`|(^|[^A-Za-z0-9])(?i:your[-_](acr|registry|image|model|secret|repo|repository|account|storage|token|org|name|namespace)\b)` +
	`|(^|[^A-Za-z0-9])[A-Z0-9_]+_HERE\b|(^|[^A-Za-z0-9])(?i:your[a-z]*(registry|acr))\b`)

// Placeholder says of a value with something left to fill in what that is and what to
// do, "" of others.
func Placeholder(value string) string {
	found := placeholders.FindString(value)
	if found == "" {
		return ""
	}
	remedy := "fill it in"
	if strings.HasPrefix(found, "$") {
		remedy = "write the value itself, or set the variable in spec.postBuild.substitute of the RepoSync"
	}
	return fmt.Sprintf("%s is a placeholder: %s", strings.TrimLeft(found, "/ :[(\"'"), remedy)
}

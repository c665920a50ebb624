// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
)

const findingsHead = `# Findings

What ` + "`espalier validate`, `espalier plan`" + `, conditions and the pull-request comment say, by the code in brackets at the end of
each line. An error is what the controllers refuse; a warning is applied all the same. The codes are stable: scripts may
match on them. The same texts are the help of the rules in ` + "`espalier validate -o sarif`" + `.

This page is generated from ` + "`repo-layout/finding`" + ` by ` + "`make generate`" + `.
`

// findingsPage is the reference of all codes. Each row has an anchor, the code in
// lower case.
func findingsPage() []byte {
	var page bytes.Buffer
	page.WriteString(findingsHead)
	group := ""
	for _, r := range finding.Rules() {
		if r.Group != group {
			group = r.Group
			fmt.Fprintf(&page, "\n## %s\n\n| code | severity | meaning | what to do |\n|---|---|---|---|\n", group)
		}
		fmt.Fprintf(&page, "| <a id=%q></a>`%s` | %s | %s | %s |\n", strings.ToLower(r.Code), r.Code, r.Severity, cell(r.Meaning), cell(r.Remedy))
	}
	return page.Bytes()
}

func cell(text string) string { return strings.ReplaceAll(text, "|", `\|`) }

// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"fmt"
	"strings"
	"testing"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// BenchmarkValidate10000 decodes and validates 10,000 Workspaces of one file,
// half of them KAITO's, a tenth with a mistake.
func BenchmarkValidate10000(b *testing.B) {
	var text strings.Builder
	for i := range 10_000 {
		name := fmt.Sprintf("{name: ws-%d}", i)
		switch {
		case i%10 == 0:
			text.WriteString("---\n" + strings.Replace(header, "{name: a}", name, 1) + "  resource: {instancetype: A}\n" + serves)
		case i%2 == 0:
			text.WriteString("---\n" + strings.Replace(header, "{name: a}", name, 1) + onA100 + tunes + fromURL + intoClaim)
		default:
			text.WriteString("---\napiVersion: kaito.sh/v1alpha1\nkind: Workspace\nmetadata: " + name + "\nresource: {labelSelector: {matchLabels: {app: a}}}\n" +
				"inference: {preset: {name: phi-4}}\n")
		}
	}
	b.ReportAllocs()
	for b.Loop() {
		findings := 0
		for _, doc := range repolayout.Split("f.yaml", []byte(text.String())) {
			_, found := repolayout.Decode(doc.Text, doc)
			findings += len(found)
		}
		if findings != 1000 {
			b.Fatalf("%d findings", findings)
		}
	}
}

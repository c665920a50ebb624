// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"bytes"
	"regexp"
	"strings"

	"github.com/pmezard/go-difflib/difflib"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/yaml"
)

// maxDiffLines bounds what is compared line by line: beyond it, comparing takes
// longer than anybody reads.
const maxDiffLines = 4000

// query is the query of an address, which may be a credential.
var query = regexp.MustCompile(`(https?://[^\s"'?]+)\?[^\s"']+`)

// diff compares rendered objects as text in the unified form, "" when they are
// the same. Nothing of a Secret is among them: they hold names of Secrets only,
// and addresses are shown without their query.
func diff(was, is []*unstructured.Unstructured) string {
	a, b := lines(was), lines(is)
	if len(a) > maxDiffLines || len(b) > maxDiffLines {
		return "(too large to compare line by line)\n"
	}
	text, err := difflib.GetUnifiedDiffString(difflib.UnifiedDiff{A: a, B: b, Context: 3})
	if err != nil {
		return "" // writing to memory does not fail
	}
	return text
}

// lines is the text of objects, each with a line of its own before it.
func lines(objects []*unstructured.Unstructured) []string {
	var text bytes.Buffer
	for _, o := range objects {
		text.WriteString("--- # " + o.GetKind() + " " + o.GetName() + "\n")
		content, err := yaml.Marshal(o.Object)
		if err != nil {
			continue // what was rendered from YAML can be written as YAML
		}
		text.Write(query.ReplaceAll(content, []byte("$1?…")))
	}
	if text.Len() == 0 {
		return nil
	}
	return difflib.SplitLines(strings.TrimSuffix(text.String(), "\n"))
}

// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"bytes"
	"errors"
	"io"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// patches checks their form: what they may change is judged where they are
// applied, by render.
func (v *validator) patches(list []v1alpha1.Patch) {
	v.atMost("spec.patches", len(list), maxPatches)
	for i, p := range list {
		at := finding.Index("spec.patches", i)
		if p.Target != nil && p.Target.Name != "" {
			if _, err := regexp.Compile(p.Target.Name); err != nil {
				v.refuse(finding.PatchInvalid, at+".target.name", "want a name or a regular expression of one")
			}
		}
		if why := patchProblem(p); why != "" {
			v.refuse(finding.PatchInvalid, at+".patch", "%s", why)
		}
	}
}

// patchProblem says why a patch cannot be applied to anything, "" when it may.
func patchProblem(p v1alpha1.Patch) string {
	if strings.TrimSpace(p.Patch) == "" {
		return "the patch is empty: write a strategic merge patch or a list of JSON 6902 operations, as YAML"
	}
	d := yaml.NewDecoder(bytes.NewReader([]byte(p.Patch)))
	for {
		var doc yaml.Node
		if err := d.Decode(&doc); errors.Is(err, io.EOF) {
			return ""
		} else if err != nil {
			return "the patch is no YAML: " + strings.TrimPrefix(err.Error(), "yaml: ")
		}
		if why := documentProblem(&doc, p.Target); why != "" {
			return why
		}
	}
}

func documentProblem(doc *yaml.Node, target *v1alpha1.PatchTarget) string {
	if len(doc.Content) != 1 {
		return ""
	}
	switch root := doc.Content[0]; root.Kind {
	case yaml.MappingNode:
		if target == nil && scalarAt(root, "kind") == "" {
			return "a patch without target needs apiVersion, kind and metadata.name of what it changes"
		}
		return ""
	case yaml.SequenceNode:
		if target == nil || target.Kind == "" && target.Name == "" {
			return "a list of JSON 6902 operations needs a target with kind or name"
		}
		return operationsProblem(root)
	}
	return "want a mapping (strategic merge patch) or a list (JSON 6902)"
}

func operationsProblem(list *yaml.Node) string {
	known := []string{"add", "remove", "replace", "move", "copy", "test"}
	for _, op := range list.Content {
		if !slices.Contains(known, scalarAt(op, "op")) {
			return "every operation needs op, one of " + strings.Join(known, ", ")
		}
		if !strings.HasPrefix(scalarAt(op, "path"), "/") {
			return "every operation needs path, which begins with /"
		}
	}
	return ""
}

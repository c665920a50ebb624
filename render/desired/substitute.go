// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"bytes"
	"errors"
	"fmt"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// keepsVariables is the label or annotation by which an object keeps its text as
// it is; Flux's own key, so that a document means the same to both.
const keepsVariables = "kustomize.toolkit.fluxcd.io/substitute"

// maxSubstituted bounds an object with its variables in place, in bytes.
const maxSubstituted = 1 << 20

// maxSigns bounds the dollar signs of an object: the library takes a time that grows
// with their square.
const maxSigns = 1 << 14

// variablesOf are those of a RepoSync; nil: none, and text that looks like one
// stays.
func variablesOf(sync *v1alpha1.RepoSync) map[string]v1alpha1.VariableValue {
	if sync == nil || sync.Spec.PostBuild == nil {
		return nil
	}
	return sync.Spec.PostBuild.Substitute
}

// withVariables puts the variables into the values of an object, as Flux does
// after its build, and returns what to decode. A variable that is not set and has no
// default is a finding: it is not taken for empty. Values are put into the place of
// values, and can add no field.
func withVariables(t Text, variables map[string]v1alpha1.VariableValue) ([]byte, []v1alpha1.Finding) {
	text := t.YAML
	if variables == nil || !bytes.Contains(text, []byte("$")) {
		return text, nil
	}
	var document yaml.Node
	if yaml.Unmarshal(text, &document) != nil || len(document.Content) != 1 || keepsItsText(document.Content[0]) {
		return text, nil // what does not parse, decoding says
	}
	s := substitution{variables: variables, position: t.Position, except: secretFields(document.Content[0], t.Encrypted)}
	s.walk(document.Content[0], "")
	if s.findings != nil || !s.changed {
		return text, s.findings
	}
	var out bytes.Buffer
	encoder := yaml.NewEncoder(&out)
	encoder.SetIndent(2)
	if err := encoder.Encode(document.Content[0]); err != nil {
		s.refuse(finding.VariableInvalid, "", "with its variables in place it is no YAML: %v", err)
		return text, s.findings
	}
	return out.Bytes(), nil
}

// keepsItsText says whether a label or an annotation takes the object out.
func keepsItsText(object *yaml.Node) bool {
	var head struct {
		Metadata struct{ Labels, Annotations map[string]string }
	}
	if object.Decode(&head) != nil {
		return false
	}
	return head.Metadata.Labels[keepsVariables] == "disabled" || head.Metadata.Annotations[keepsVariables] == "disabled"
}

// substitution goes through one object.
type substitution struct {
	variables map[string]v1alpha1.VariableValue
	position  repolayout.Position
	except    []string // fields of the object that keep their text
	changed   bool
	size      int // bytes of the values so far
	signs     int // dollar signs in them
	findings  []v1alpha1.Finding
}

func (s *substitution) walk(n *yaml.Node, path string) {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if path == "" && slices.Contains(s.except, n.Content[i].Value) {
				continue
			}
			s.walk(n.Content[i+1], finding.Key(path, n.Content[i].Value))
		}
	case yaml.SequenceNode:
		for i, item := range n.Content {
			s.walk(item, finding.Index(path, i))
		}
	case yaml.ScalarNode:
		if strings.Contains(n.Value, "$") {
			s.scalar(n, path)
		}
	}
}

// scalar replaces one value. What was written without quotes may become a number
// or a boolean, but for the maps of text.
func (s *substitution) scalar(n *yaml.Node, path string) {
	if s.signs += strings.Count(n.Value, "$"); s.signs > maxSigns {
		s.refuse(finding.VariableInvalid, path, "the object has more than %d dollar signs: annotate it with %s: disabled, or use fewer", maxSigns, keepsVariables)
		return
	}
	value, unset, err := expand(n.Value, s.variables, maxSubstituted-s.size)
	s.size += len(value)
	switch {
	case errors.Is(err, errTooLong):
		s.tooLarge(path)
	case errors.Is(err, errFunction):
		s.refuse(finding.VariableInvalid, path, "%v: give it smaller numbers, or write the value itself", err)
	case err != nil && unset != "":
		s.refuse(finding.VariableUnset, path, "${%s} is not set: add %s to spec.postBuild.substitute of the RepoSync, give it a default with ${%s:=…}, or write $${%s} for the text itself",
			unset, unset, unset, unset)
	case err != nil:
		s.refuse(finding.VariableInvalid, path, "what follows a $ is no variable: write $$ for the sign itself, or annotate the object with %s: disabled", keepsVariables)
	case value != n.Value:
		s.changed, n.Value = true, value
		if n.Style == 0 && !heldAsText(path) {
			n.Tag = ""
		}
	}
}

// heldAsText says whether all values of a map are text.
func heldAsText(path string) bool {
	for _, m := range []string{"data", "metadata"} {
		if strings.HasPrefix(path, m+".") || strings.HasPrefix(path, m+"[") {
			return true
		}
	}
	return false
}

func (s *substitution) tooLarge(path string) {
	s.refuse(finding.VariableInvalid, path, "with its variables in place the object may have more than %d bytes: use fewer, or shorten their values", maxSubstituted)
}

func (s *substitution) refuse(code, path, format string, args ...any) {
	f := v1alpha1.Finding{Severity: finding.Error, Code: code, Message: fmt.Sprintf(format, args...)}
	if path != "" {
		f.Message = path + ": " + f.Message
	}
	if s.position != nil {
		f.File, f.Line = s.position.At(path)
	}
	s.findings = append(s.findings, f)
}

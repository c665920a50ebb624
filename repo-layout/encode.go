// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"encoding/json"
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/repo-layout/kaito"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Encode writes a decoded document in its native form, as it would be kept in
// Git: without status and without the empty parts that Go's encoder adds.
// Decode reads it back to the same.
func Encode(d Decoded) ([]byte, error) {
	var in any
	switch {
	case d.Workspace != nil:
		w := d.Workspace.DeepCopy()
		w.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind))
		delete(w.Annotations, kaito.AnnotationConvertedFrom)
		in = w
	case d.Pool != nil:
		p := d.Pool.DeepCopy()
		p.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind))
		in = p
	case d.Input != nil:
		in = d.Input.Object
	default:
		return nil, errors.New("encoding a document: there is none")
	}
	raw, err := json.Marshal(in)
	if err != nil {
		return nil, fmt.Errorf("encoding a document: %w", err)
	}
	var tree map[string]any
	if err := json.Unmarshal(raw, &tree); err != nil {
		return nil, fmt.Errorf("encoding a document: %w", err)
	}
	dropServerFields(tree)
	text, err := yaml.Marshal(tree)
	if err != nil {
		return nil, fmt.Errorf("encoding a document: %w", err)
	}
	return text, nil
}

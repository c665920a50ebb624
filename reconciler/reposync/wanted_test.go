// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestWantedIsNamed: kind, namespace and name are those of the object, which are not held
// beside its inventory entry.
func TestWantedIsNamed(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		kind   schema.GroupVersionKind
		key    client.ObjectKey
	}{
		"Ours":       {"A kind of ours has a group.", v1alpha1.GroupVersion.WithKind("Workspace"), client.ObjectKey{Namespace: "models", Name: "phi"}},
		"Core":       {"A kind of v1 has none.", schema.GroupVersionKind{Version: "v1", Kind: "ConfigMap"}, client.ObjectKey{Namespace: "models", Name: "phi-1.2"}},
		"Underlined": {"The API server says that this is no name, of the name as it was written.", schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, client.ObjectKey{Namespace: "models", Name: "a_b__c_"}},
		"NoNames":    {"Where no namespace is known there is none.", schema.GroupVersionKind{Version: "v1", Kind: "Secret"}, client.ObjectKey{Name: "hf"}},
	} {
		t.Run(name, func(t *testing.T) {
			o := &unstructured.Unstructured{}
			o.SetGroupVersionKind(c.kind)
			o.SetNamespace(c.key.Namespace)
			o.SetName(c.key.Name)
			w := &wanted{entry: inventory.Entry(o, "unit")}
			if w.kind() != c.kind || w.key() != c.key {
				t.Errorf("%s\ngot %v %v, want %v %v", c.reason, w.kind(), w.key(), c.kind, c.key)
			}
		})
	}
	if w := (&wanted{}); w.kind().Kind != "" || w.key().Name != "" {
		t.Errorf("what has no entry has no name, and not %v %v", w.kind(), w.key())
	}
}

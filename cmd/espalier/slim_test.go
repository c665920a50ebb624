// SPDX-License-Identifier: Apache-2.0

package main

import (
	"maps"
	"slices"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestSlim: what the caches leave out is what nobody reads there; a Workspace keeps its
// annotations, all of which may be asked for.
func TestSlim(t *testing.T) {
	about := func() metav1.ObjectMeta {
		return metav1.ObjectMeta{
			Name: "settings", Annotations: map[string]string{corev1.LastAppliedConfigAnnotation: "{}", "a": "b"},
			ManagedFields: []metav1.ManagedFieldsEntry{{Manager: "kubectl"}},
		}
	}
	for name, c := range map[string]struct {
		reason string
		object metav1.Object
		want   []string
	}{
		"Metadata": {"Of every ConfigMap and Secret of the cluster.", &metav1.PartialObjectMetadata{ObjectMeta: about()}, []string{"a"}},
		"Whole":    {"Of a kind of ours.", &v1alpha1.Workspace{ObjectMeta: about()}, []string{"a", corev1.LastAppliedConfigAnnotation}},
	} {
		t.Run(name, func(t *testing.T) {
			if _, err := slim(c.object); err != nil {
				t.Fatal(err)
			}
			if got := slices.Sorted(maps.Keys(c.object.GetAnnotations())); !slices.Equal(got, c.want) || c.object.GetManagedFields() != nil {
				t.Errorf("%s\nleft are %v and %v", c.reason, got, c.object.GetManagedFields())
			}
		})
	}
}

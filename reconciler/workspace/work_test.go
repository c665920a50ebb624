// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

func TestOfCommit(t *testing.T) {
	for name, c := range map[string]struct {
		reason, revision string
		want             map[string]string
	}{
		"Known":   {"The pods of a Job that is created know the commit.", "main@sha1:0123", map[string]string{"espalier.dev/input-digest": "sha256:1", "espalier.dev/revision": "main@sha1:0123"}},
		"Unknown": {"Flux has applied the Workspace, which says no commit then.", "", map[string]string{"espalier.dev/input-digest": "sha256:1"}},
	} {
		t.Run(name, func(t *testing.T) {
			job := &unstructured.Unstructured{Object: map[string]any{"spec": map[string]any{"template": map[string]any{
				"metadata": map[string]any{"annotations": map[string]any{"espalier.dev/input-digest": "sha256:1"}},
			}}}}
			if err := ofCommit(job, c.revision); err != nil {
				t.Fatal(err)
			}
			got, _, err := unstructured.NestedStringMap(job.Object, "spec", "template", "metadata", "annotations")
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, got); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
		})
	}
}

// TestOnce: a Job that is there is not written again, whatever the cache has seen of it.
// Its pods are immutable, and would be of another commit.
func TestOnce(t *testing.T) {
	live := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{UID: "1"}}
	if _, err := once(t.Context(), nil, &unstructured.Unstructured{}, live); err != nil { // a nil client writes nothing
		t.Error(err)
	}
}

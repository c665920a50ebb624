// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/slim"
)

// slimmed reads as the caches of a controller do: what these worlds go through is gone
// through with what the caches hold of nodes and pools.
type slimmed struct{ client.Client }

// noteOfOthers is an annotation of somebody else, which no cache holds: every node of these worlds
// has it as long as it is there.
const noteOfOthers = "machine.example.com/of"

// withForeign is a node as others have made it.
func withForeign(n *corev1.Node) *corev1.Node {
	metav1.SetMetaDataAnnotation(&n.ObjectMeta, noteOfOthers, "somebody")
	return n
}

// keepsForeign says of a node that was written that what others noted on it is still there.
func keepsForeign(t *testing.T, n *corev1.Node) {
	t.Helper()
	if n.Annotations[noteOfOthers] != "somebody" {
		t.Errorf("node %s lost what others noted on it: %v", n.Name, n.Annotations)
	}
}

// Get implements client.Reader.
func (s slimmed) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	if err := s.Client.Get(ctx, key, into, opts...); err != nil {
		return err
	}
	_, err := slim.Transform(into)
	return err
}

// List implements client.Reader.
func (s slimmed) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	if err := s.Client.List(ctx, list, opts...); err != nil {
		return err
	}
	return meta.EachListItem(list, func(o runtime.Object) error {
		_, err := slim.Transform(o)
		return err
	})
}

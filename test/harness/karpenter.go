// SPDX-License-Identifier: Apache-2.0

package harness

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/test/cluster"
)

// KarpenterClass is the node class that StartKarpenter makes, as --karpenter-node-class
// names it.
const KarpenterClass = "karpenter.kwok.sh/KWOKNodeClass/default"

// StartKarpenter starts Karpenter in the cluster of the Stand, with a simulated cloud that
// offers some instance types, and makes a node class.
func (s *Stand) StartKarpenter(ctx context.Context, types ...cluster.InstanceType) error {
	if err := s.Cluster.StartKarpenter(ctx, types); err != nil {
		return err
	}
	class := []byte("apiVersion: karpenter.kwok.sh/v1alpha1\nkind: KWOKNodeClass\nmetadata: {name: default}\n")
	if _, err := s.Cluster.KubectlInput(ctx, class, "apply", "-f", "-"); err != nil {
		return fmt.Errorf("making the node class: %w", err)
	}
	return nil
}

// OfKarpenter are the objects of a kind that Karpenter keeps, with some labels: NodePools,
// NodeClaims, and the Nodes that it has made. Where it was never started there are none.
func (s *Stand) OfKarpenter(ctx context.Context, kind string, labels map[string]string) ([]unstructured.Unstructured, error) {
	version, options := schema.GroupVersion{Group: "karpenter.sh", Version: "v1"}, []client.ListOption{client.MatchingLabels(labels)}
	if kind == "Node" {
		version, options = schema.GroupVersion{Version: "v1"}, append(options, client.HasLabels{"karpenter.sh/nodepool"})
	}
	list := &unstructured.UnstructuredList{}
	list.SetGroupVersionKind(version.WithKind(kind + "List"))
	err := s.Client.List(ctx, list, options...)
	switch {
	case meta.IsNoMatchError(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("listing each %s of Karpenter: %w", kind, err)
	}
	return list.Items, nil
}

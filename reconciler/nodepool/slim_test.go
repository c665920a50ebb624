// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/slim"
)

// slimmed reads as the caches of a controller do: what these worlds go through is gone
// through with what the caches hold of nodes and pools.
type slimmed struct{ client.Client }

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

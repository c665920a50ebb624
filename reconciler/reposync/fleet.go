// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"fmt"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/reconciler/slim"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// workspaces lists those of a place as its cache holds them. They are not to be changed: a
// copy of thousands costs more than all else of a pass.
func (at place) workspaces(ctx context.Context, which ...client.ListOption) ([]*v1alpha1.Workspace, error) {
	if at.held != nil {
		return slim.List(ctx, at.held, &v1alpha1.Workspace{}, which...)
	}
	list := &v1alpha1.WorkspaceList{}
	if err := at.client.List(ctx, list, append(which, client.UnsafeDisableDeepCopy)...); err != nil {
		return nil, err
	}
	found := make([]*v1alpha1.Workspace, len(list.Items)) // none is not unread
	for i := range found {
		found[i] = &list.Items[i]
	}
	return found, nil
}

// prices are those of the pools that Workspaces share, each read once. One that is gone has
// none.
func (at place) prices(ctx context.Context, of []*v1alpha1.Workspace) (map[types.NamespacedName]string, error) {
	prices := map[types.NamespacedName]string{}
	for _, w := range of {
		key, shared := report.SharedPool(w)
		if !shared {
			continue
		}
		if _, known := prices[key]; known {
			continue
		}
		pool := &v1alpha1.GPUNodePool{}
		if err := at.client.Get(ctx, key, pool); client.IgnoreNotFound(err) != nil {
			return nil, fmt.Errorf("reading the price of GPUNodePool %s: %w", key, err)
		}
		prices[key] = report.PoolPrice(pool)
	}
	return prices, nil
}

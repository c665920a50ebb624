// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"context"
	"fmt"

	selected "k8s.io/apimachinery/pkg/labels"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// List lists the objects of a kind that a cache of all namespaces holds: these themselves,
// in no order, where a client copies the structs of all into a list. They are not to be
// changed. Of options it takes a namespace and a selector of labels.
func List[T client.Object](ctx context.Context, informers cache.Informers, of T, opts ...client.ListOption) ([]T, error) {
	informer, err := informers.GetInformer(ctx, of)
	if err != nil {
		return nil, fmt.Errorf("listing %T: %w", of, err)
	}
	watched, ok := informer.(interface{ GetIndexer() toolscache.Indexer })
	if !ok {
		return nil, fmt.Errorf("listing %T: a cache of some namespaces has no index of its own", of)
	}
	asked := (&client.ListOptions{}).ApplyOptions(opts)
	held := watched.GetIndexer().List()
	found := make([]T, 0, len(held))
	for _, in := range held {
		o, ok := in.(T)
		if !ok {
			return nil, fmt.Errorf("listing %T: the cache holds a %T", of, in)
		}
		if asked.Namespace != "" && o.GetNamespace() != asked.Namespace || asked.LabelSelector != nil && !asked.LabelSelector.Matches(selected.Set(o.GetLabels())) {
			continue
		}
		found = append(found, o)
	}
	return found, nil
}

// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"context"
	"fmt"

	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Scope is how an index is asked.
type Scope bool

// The values of Scope.
const (
	// WithinNamespace is asked with client.InNamespace alone.
	WithinNamespace Scope = false
	// Everywhere is asked without a namespace alone.
	Everywhere Scope = true
)

// Index indexes a namespaced kind for client.MatchingFields, as the FieldIndexer of a manager
// does, which keeps every key twice, for both scopes: half a KiB more of each object. The
// form of the keys is that of controller-runtime's cache; TestIndex asks such a cache.
func Index(ctx context.Context, informers cache.Informers, of client.Object, field string, scope Scope, values client.IndexerFunc) error {
	informer, err := informers.GetInformer(ctx, of, cache.BlockUntilSynced(false))
	if err != nil {
		return fmt.Errorf("indexing %T by %s: %w", of, field, err)
	}
	if err := informer.AddIndexers(toolscache.Indexers{"field:" + field: keysOf(scope, values)}); err != nil {
		return fmt.Errorf("indexing %T by %s: %w", of, field, err)
	}
	return nil
}

func keysOf(scope Scope, values client.IndexerFunc) toolscache.IndexFunc {
	return func(in any) ([]string, error) {
		o, ok := in.(client.Object)
		if !ok {
			return nil, fmt.Errorf("%T is no object", in)
		}
		o = Whole(o)
		namespace := o.GetNamespace()
		if scope == Everywhere {
			namespace = "__all_namespaces"
		}
		found := values(o)
		keys := make([]string, len(found))
		for i, value := range found {
			keys[i] = namespace + "/" + value
		}
		return keys, nil
	}
}

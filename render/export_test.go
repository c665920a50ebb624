// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// BothWays builds the children, before the user's patches, the quick way and by a
// run of Kustomize. ok is false where there is no quick way.
func BothWays(ctx context.Context, in Input) (quick, whole []*unstructured.Unstructured, ok bool, err error) {
	l, err := in.job().layer()
	if err != nil {
		return nil, nil, false, err
	}
	if quick, ok, err = l.quick(ctx); err != nil {
		return nil, nil, false, err
	}
	whole, err = l.run(ctx, nil)
	return quick, whole, ok, err
}

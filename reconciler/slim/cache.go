// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"context"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// NewCache is cache.New for caches whose transform is Transform: what is packed there is
// read as a copy, which is whole, also by who would do without one.
func NewCache(config *rest.Config, opts cache.Options) (cache.Cache, error) {
	held, err := cache.New(config, opts)
	if err != nil {
		return nil, err
	}
	return unpacking{held}, nil
}

type unpacking struct{ cache.Cache }

// Get implements client.Reader.
func (u unpacking) Get(ctx context.Context, key client.ObjectKey, into client.Object, opts ...client.GetOption) error {
	switch into.(type) {
	case *appsv1.Deployment, *metav1.PartialObjectMetadata, *v1alpha1.GPUNodePool:
		opts = append(opts, copied{})
	}
	return u.Cache.Get(ctx, key, into, opts...)
}

// List implements client.Reader.
func (u unpacking) List(ctx context.Context, into client.ObjectList, opts ...client.ListOption) error {
	switch into.(type) {
	case *appsv1.DeploymentList, *metav1.PartialObjectMetadataList, *v1alpha1.GPUNodePoolList:
		opts = append(opts, copied{})
	}
	return u.Cache.List(ctx, into, opts...)
}

// copied has what is read copied.
type copied struct{}

// ApplyToGet implements client.GetOption.
func (copied) ApplyToGet(o *client.GetOptions) { o.UnsafeDisableDeepCopy = ptr.To(false) }

// ApplyToList implements client.ListOption.
func (copied) ApplyToList(o *client.ListOptions) { o.UnsafeDisableDeepCopy = ptr.To(false) }

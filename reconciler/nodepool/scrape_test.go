// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"fmt"
	"runtime"
	"testing"

	"github.com/prometheus/client_golang/prometheus"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/scale"
)

// poolCache lists pools as a cache does: copied, unless it is told that nobody changes them.
type poolCache struct {
	client.Reader
	pools []v1alpha1.GPUNodePool
}

func (c *poolCache) List(_ context.Context, into client.ObjectList, opts ...client.ListOption) error {
	o := client.ListOptions{}
	o.ApplyOptions(opts)
	list := into.(*v1alpha1.GPUNodePoolList)
	list.Items = make([]v1alpha1.GPUNodePool, len(c.pools))
	for i := range c.pools {
		list.Items[i] = c.pools[i]
		if o.UnsafeDisableDeepCopy == nil || !*o.UnsafeDisableDeepCopy {
			c.pools[i].DeepCopyInto(&list.Items[i])
		}
	}
	return nil
}

// BenchmarkScrape prints what the metrics of 10,000 pools take while they are told: in all,
// and at once.
func BenchmarkScrape(b *testing.B) {
	const n = 10_000
	held := &poolCache{}
	for i := range n {
		p := gpuPool(subject, t4)
		p.Name = fmt.Sprintf("phi-%05d", i)
		p.Spec.Provider = v1alpha1.ProviderExisting
		p.Spec.NodeLabels = map[string]string{"rack": "a"}
		p.Status = v1alpha1.GPUNodePoolStatus{Phase: v1alpha1.PhaseReady, GPUs: &v1alpha1.GPUCount{Expected: 1, Allocatable: 1}}
		held.pools = append(held.pools, *p)
	}
	registry := prometheus.NewRegistry()
	registry.MustRegister(NewMetrics(held))
	b.ReportAllocs()
	for b.Loop() {
		before := scale.InUse()
		told, err := registry.Gather()
		if err != nil {
			b.Fatal(err)
		}
		b.ReportMetric(float64(scale.InUse()-before)/1e6, "MB-at-once")
		runtime.KeepAlive(told)
	}
	runtime.KeepAlive(held)
}

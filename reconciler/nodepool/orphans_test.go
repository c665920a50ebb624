// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"k8s.io/client-go/tools/events"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// clouds is a Marker that a test speaks through.
type clouds struct{ pools []pool.Marked }

func (c *clouds) Marked(context.Context, time.Duration) ([]pool.Marked, error) { return c.pools, nil }

// TestOrphanWatch: what two looks saw is told once and counted while it is there;
// what one saw may be on its way.
func TestOrphanWatch(t *testing.T) {
	w := newWorld(t)
	w.create(gpuPool("kept", t4))
	w.create(gpuPool("restored", t4))
	of := func(name, uid, object string) pool.Marked {
		return pool.Marked{Name: name, UID: uid, Installation: installation, Object: object, Candidate: v1alpha1.Candidate{InstanceType: t4}, Count: 2, State: pool.StateSucceeded}
	}
	cloud := &clouds{[]pool.Marked{of("gkept", "uid-kept", "team-a/kept"), of("glost", "uid-gone", "team-b/lost"), of("gold", "uid-before", "team-a/restored")}}
	other := of("gother", "uid-x", "team-a/x")
	other.Installation = "another"
	cloud.pools = append(cloud.pools, other)
	said := events.NewFakeRecorder(8)
	metrics := NewMetrics(w.kube)
	watch := NewOrphanWatch(cloud, w.kube, Deps{Installation: installation, Events: said, Metrics: metrics, Region: "eastus"})
	look := func() {
		t.Helper()
		if err := watch.Look(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	series := func() int {
		return testutil.CollectAndCount(metrics.orphans) + testutil.CollectAndCount(metrics.orphanUSD)
	}
	look()
	if len(said.Events) != 0 || series() != 0 {
		t.Errorf("told after one look: %d events, %d series", len(said.Events), series())
	}
	look()
	look()
	if len(said.Events) != 2 || series() != 4 {
		t.Fatalf("%d events, %d series, want one and two for each of two orphans", len(said.Events), series())
	}
	for _, want := range []string{"Warning OrphanReattach Node pool gold", "Warning OrphanNoObject Node pool glost, 2 of Standard_NC4as_T4_v3 at $1.052/h, was made for GPUNodePool team-b/lost"} {
		if got := <-said.Events; !strings.HasPrefix(got, want) {
			t.Errorf("event %q, want %q", got, want)
		}
	}
	if err := testutil.CollectAndCompare(metrics.orphans, strings.NewReader(`
# HELP espalier_gpu_pool_orphan_nodes Nodes of node pools in the cloud that no GPUNodePool answers for.
# TYPE espalier_gpu_pool_orphan_nodes gauge
espalier_gpu_pool_orphan_nodes{instance_type="Standard_NC4as_T4_v3",object="team-a/restored",pool="gold",reason="Reattach"} 2
espalier_gpu_pool_orphan_nodes{instance_type="Standard_NC4as_T4_v3",object="team-b/lost",pool="glost",reason="NoObject"} 2
`)); err != nil {
		t.Error(err)
	}
	cloud.pools = cloud.pools[:1]
	look()
	if series() != 0 {
		t.Errorf("%d series of orphans that are gone", series())
	}
}

// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/quota"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// listSizes makes Compute list every size, for everybody and everywhere.
func (w *world) listSizes() {
	for _, size := range []string{t4, a100, h100} {
		w.arm.ListSKU(fakearm.SKU{Name: size, Zones: []string{"1", "2", "3"}})
	}
}

// TestForeseen: what the cloud lists rules candidates out before they are ordered,
// in the words of its own refusals, and no order is wasted.
func TestForeseen(t *testing.T) {
	cases := map[string]struct {
		reason string
		pool   *v1alpha1.GPUNodePool
		cloud  func(*fakearm.Server)
		class  pool.Class
		said   string
	}{
		"FamilyQuota": {
			reason: "The same sentence as the refusal has: family, limit, used, needed and where to ask.",
			pool:   gpuPool("p", a100, t4), cloud: func(s *fakearm.Server) { s.SetQuota(hardware[a100].Family, 12) },
			class: pool.ClassFamilyQuota,
			said:  "Quota of standardNCADSA100v4Family in eastus is 12 vCPUs, 0 are used and 24 more are needed; ask for more at https://aka.ms/ProdportalCRP, or add a candidate of another family",
		},
		"SpotQuota": {
			reason: "Spot machines have a quota of their own, and on demand may be had all the same.",
			pool:   gpuPool("p", a100+"/spot", t4), cloud: func(s *fakearm.Server) { s.SetQuota(fakearm.QuotaSpot, 3) },
			class: pool.ClassSpotQuota, said: "Quota of LowPriorityCores in eastus is 3 vCPUs, 0 are used and 24 more are needed",
		},
		"NotOffered": {
			reason: "A size that the region does not list is not ordered.",
			pool:   gpuPool("p", h100, t4), cloud: func(s *fakearm.Server) { s.ListSKU(fakearm.SKU{Name: h100, Hidden: true}) },
			class: pool.ClassSKU, said: "Standard_NC40ads_H100_v5 is not offered in eastus; add a candidate of another size",
		},
		"NotForSubscription": {
			reason: "A restricted size is not ordered at any priority.",
			pool:   gpuPool("p", h100, t4), cloud: func(s *fakearm.Server) { s.ListSKU(fakearm.SKU{Name: h100, Forbidden: true}) },
			class: pool.ClassSKUSubscription, said: "NotAvailableForSubscription",
		},
		"OtherZones": {
			reason: "Where none of the zones has the size, those that do are named.",
			pool: func() *v1alpha1.GPUNodePool {
				p := gpuPool("p", h100, t4)
				p.Spec.Candidates[0].Zones = []string{"1"}
				return p
			}(),
			cloud: func(s *fakearm.Server) { s.ListSKU(fakearm.SKU{Name: h100, Zones: []string{"2", "3"}}) },
			class: pool.ClassCandidate, said: "in zones 2, 3 of eastus, and the candidate names zone 1",
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.listSizes()
			tc.cloud(w.arm)
			w.create(tc.pool)
			w.drive(&life{}, []string{"p"}, w.ready("p"))
			st := w.get("p").Status
			if len(st.Skipped) != 1 || st.Skipped[0].Class != string(tc.class) || !strings.Contains(st.Skipped[0].Message, tc.said) {
				t.Errorf("%s\nskipped %+v, want %s with %q", tc.reason, st.Skipped, tc.class, tc.said)
			}
			if st.Candidate.InstanceType != t4 || st.Candidate.Attempt != 1 || len(w.arm.Ordered()) != 1 {
				t.Errorf("%s\nended on %+v after orders of %v", tc.reason, st.Candidate, w.arm.Ordered())
			}
			for _, r := range w.arm.Requests() {
				if r.Kind == http.MethodPut && r.Status >= 400 {
					t.Errorf("%s\nan order was wasted: %+v", tc.reason, r)
				}
			}
		})
	}
}

// TestForeseenNothing: where no candidate can be had, nothing is ordered at all,
// and the pool wakes when its quota may have been raised.
func TestForeseenNothing(t *testing.T) {
	w := newWorld(t)
	w.listSizes()
	w.arm.SetQuota(hardware[a100].Family, 12)
	w.create(gpuPool("p", a100))
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseExhausted))
	w.want(v1alpha1.ConditionStalled, metav1.ConditionTrue, string(pool.ClassFamilyQuota), "is 12 vCPUs, 0 are used and 24 more are needed")
	if n := w.arm.Counts()[http.MethodPut]; n != 0 {
		t.Errorf("%d orders, want none", n)
	}
	w.arm.SetQuota(hardware[a100].Family, 24)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
}

// TestSomeZones: a size that is offered in one of two zones is ordered in that
// one, and the spec's candidate is still the one in use.
func TestSomeZones(t *testing.T) {
	w := newWorld(t)
	w.arm.ListSKU(fakearm.SKU{Name: a100, Zones: []string{"1", "2"}, Restricted: []string{"2"}})
	p := gpuPool("p", a100)
	p.Spec.Candidates[0].Zones = []string{"1", "2"}
	w.create(p)
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	if got := w.arm.Pools()[0].Zones; len(got) != 1 || got[0] != "1" {
		t.Errorf("ordered in zones %v, want 1", got)
	}
	name := w.get("p").Status.PoolName
	lost := w.get("p")
	lost.Status = v1alpha1.GPUNodePoolStatus{ObservedGeneration: -1}
	if err := w.kube.Status().Update(w.ctx, lost); err != nil {
		t.Fatal(err)
	}
	w.drive(&life{}, []string{"p"}, w.ready("p"))
	st := w.get("p").Status
	if st.PoolName != name || len(w.arm.Ordered()) != 1 {
		t.Errorf("after the status was lost: pool %s, want %s; ordered %v", st.PoolName, name, w.arm.Ordered())
	}
	if diff := cmp.Diff([][]string{{"1", "2"}, {"1"}}, [][]string{st.Candidate.Zones, st.Candidate.OfferedZones}); diff != "" {
		t.Errorf("zones of the candidate and of the attempt: -want +got\n%s", diff)
	}
}

// offering is a Forecaster that a test speaks through.
type offering struct {
	of  *quota.Snapshot
	err error
}

func (o *offering) Offers(context.Context) (*quota.Snapshot, error) { return o.of, o.err }

// TestPublish: what the cloud lists is written when it says something new, and
// once an hour else.
func TestPublish(t *testing.T) {
	w := newWorld(t)
	name := types.NamespacedName{Namespace: "espalier-system", Name: "espalier-quota"}
	source := &offering{}
	p := Publisher{Client: w.kube, Live: w.kube, Offers: source, Name: name, Clock: w.arm.Now}
	held := func() *quota.Snapshot {
		m := &corev1.ConfigMap{}
		if err := w.kube.Get(w.ctx, name, m); err != nil {
			return nil
		}
		s, err := quota.Read([]byte(m.Data[quota.Key]))
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	publish := func(used int, err error) *quota.Snapshot {
		source.of = &quota.Snapshot{Location: "eastus", UsageAt: w.arm.Now().UTC(), Usages: []quota.Usage{{Name: "cores", Limit: 100, Used: used}}}
		source.err = err
		if err != nil {
			source.of = nil
		}
		if got := p.Publish(w.ctx); (got != nil) != (err != nil) {
			t.Fatalf("publishing: %v", got)
		}
		w.arm.Advance(10 * time.Minute)
		return held()
	}
	if got := publish(0, errors.New("no")); got != nil {
		t.Errorf("without an answer nothing is written: %+v", got)
	}
	first := publish(4, nil)
	if first == nil || first.Usages[0].Used != 4 {
		t.Fatalf("published %+v", first)
	}
	if again := publish(4, nil); !again.UsageAt.Equal(first.UsageAt) {
		t.Error("written anew although nothing changed")
	}
	if more := publish(8, nil); more.Usages[0].Used != 8 {
		t.Errorf("a change is written at once: %+v", more)
	}
	before := held()
	w.arm.Advance(time.Hour)
	if later := publish(8, nil); !later.UsageAt.After(before.UsageAt) {
		t.Error("after an hour it says that it is still so")
	}
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"encoding/json"
	"fmt"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fleetOf are the objects of n Workspaces with a ConfigMap each.
func fleetOf(n int) []v1alpha1.InventoryEntry {
	var all []v1alpha1.InventoryEntry
	for i := range n {
		name := fmt.Sprintf("model-%05d", i)
		unit := "clusters/production/workspaces/" + name
		all = append(all,
			v1alpha1.InventoryEntry{ID: "models_" + name + "_espalier.dev_Workspace", Version: "v1alpha1", Unit: unit},
			v1alpha1.InventoryEntry{ID: fmt.Sprintf("models_%s-%010x__ConfigMap", name, i*2654435761), Version: "v1", Unit: unit})
	}
	return inventory.Union(all)
}

// TestLargeInventory: the API server takes and gives back inventories beyond what etcd
// takes as a list, and a status write that is not about them is small.
func TestLargeInventory(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(scheme); err != nil {
		t.Fatal(err)
	}
	c, err := client.New(shared.Get(t).Config, client.Options{Scheme: scheme})
	if err != nil {
		t.Fatal(err)
	}
	for _, workspaces := range []int{10_000, 30_000} {
		t.Run(fmt.Sprint(workspaces), func(t *testing.T) {
			m, entries := &inventory.Memory{}, fleetOf(workspaces)
			s := &v1alpha1.RepoSync{
				ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: fmt.Sprintf("fleet-%d", workspaces)},
				Spec:       v1alpha1.RepoSyncSpec{Path: "workspaces", Interval: metav1.Duration{Duration: time.Hour}, Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: "https://example.com/models.git"}}},
			}
			if err := c.Create(t.Context(), s); err != nil {
				t.Fatal(err)
			}
			write := func(change func()) int {
				t.Helper()
				before := s.DeepCopy()
				if err := m.Unpack(s); err != nil {
					t.Fatal(err)
				}
				change()
				if err := m.Pack(before, s); err != nil {
					t.Fatal(err)
				}
				patch := client.MergeFromWithOptions(before, client.MergeFromWithOptimisticLock{})
				data, err := patch.Data(s)
				if err != nil {
					t.Fatal(err)
				}
				if err := c.Status().Patch(t.Context(), s, patch); err != nil {
					t.Fatal(err)
				}
				return len(data)
			}
			whole := write(func() { s.Status.Inventory = entries })
			small := write(func() { s.Status.Workspaces = fmt.Sprintf("1/%d", workspaces) })
			one := write(func() { s.Status.Inventory = s.Status.Inventory[1:] })
			list, err := json.Marshal(entries)
			if err != nil {
				t.Fatal(err)
			}
			t.Logf("%d entries: a list of %d KiB; written with %d KiB, with %d bytes when only a count changes, with %d KiB when one entry does", len(entries), len(list)>>10, whole>>10, small, one>>10)
			if small > 1<<10 || whole > 1<<20 {
				t.Errorf("patches of %d and %d bytes", whole, small)
			}
			read := &v1alpha1.RepoSync{}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), read); err != nil {
				t.Fatal(err)
			}
			if err := (&inventory.Memory{}).Unpack(read); err != nil || !cmp.Equal(read.Status.Inventory, entries[1:]) {
				t.Errorf("%d entries come back, %v", len(read.Status.Inventory), err)
			}
		})
	}
	t.Run("AsAList", func(t *testing.T) {
		s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "default", Name: "fleet-10000"}}
		if err := c.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
			t.Fatal(err)
		}
		before := s.DeepCopy()
		s.Status.Inventory, s.Status.PackedInventory = fleetOf(10_000), nil
		if err := c.Status().Patch(t.Context(), s, client.MergeFrom(before)); err == nil {
			t.Error("the API server takes the list as it is: it need not be packed any more")
		} else {
			t.Log(err)
		}
	})
}

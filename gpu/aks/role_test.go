// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"encoding/json"
	"net/http"
	"os"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/gpu/quota"
)

// TestRole: the roles that the page tells people to make, on the cluster and on the
// subscription, have what the code asks for, and nothing more.
func TestRole(t *testing.T) {
	page, err := os.ReadFile("../../docs/aks.md")
	if err != nil {
		t.Fatal(err)
	}
	var roles []string
	for _, rest := range strings.Split(string(page), "```json\n")[1:] {
		block, _, _ := strings.Cut(rest, "```")
		var role struct{ Actions []string }
		if err := json.Unmarshal([]byte(block), &role); err != nil {
			t.Fatal(err)
		}
		roles = append(roles, role.Actions...)
	}
	if diff := cmp.Diff(Actions, roles); diff != "" {
		t.Errorf("the roles of docs/aks.md: -want +got\n%s", diff)
	}
	const pools = "Microsoft.ContainerService/managedClusters/agentPools/"
	actions := map[string]string{
		"LIST": pools + "read", http.MethodGet: pools + "read", http.MethodPut: pools + "write", http.MethodDelete: pools + "delete",
		"REMOVE": pools + "deleteMachines/action", "MACHINES": pools + "machines/read",
		"CLUSTER": "Microsoft.ContainerService/managedClusters/read",
		"USAGE":   "Microsoft.Compute/locations/usages/read", "SKUS": "Microsoft.Compute/skus/read",
	}
	arm, p := start(t)
	tgt := targetOf("a", 1)
	tgt.Replicas = 3
	must[*quota.Snapshot](t)(p.Offers(t.Context()))
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(4 * time.Minute)
	tgt.Shrink, tgt.Replicas, tgt.Registered, tgt.Remove = true, 1, arm.Pools()[0].Machines[:2], arm.Pools()[0].Machines[:1]
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(4 * time.Minute)
	must[pool.Step](t)(p.Delete(t.Context(), tgt))
	var used []string
	for _, r := range arm.Requests() {
		if r.Kind != "TOKEN" {
			used = append(used, actions[r.Kind])
		}
	}
	if diff := cmp.Diff(slices.Sorted(slices.Values(Actions)), slices.Compact(slices.Sorted(slices.Values(used)))); diff != "" {
		t.Errorf("what a pool's life asks of Azure: -want +got\n%s", diff)
	}
}

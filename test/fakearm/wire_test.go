// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"context"
	"net/http"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
)

// slowCluster takes longer to forget a node than AKS takes to delete a pool.
type slowCluster struct{ server **Server }

func (slowCluster) Create(context.Context, *corev1.Node) error { return nil }
func (slowCluster) SetGPUs(context.Context, string, int) error { return nil }
func (c slowCluster) Delete(context.Context, string) error {
	s := *c.server
	s.clock = s.clock.Add(time.Hour)
	return nil
}

// TestSlowCluster: an operation ends however long its first step takes. One that
// never did held the cluster against every other pool.
func TestSlowCluster(t *testing.T) {
	for name, c := range map[string]struct {
		reason             string
		method, path, body string
		left               int // machines; -1: no pool
	}{
		"Delete": {"the nodes go before the pool is gone", http.MethodDelete, "", "", -1},
		"DeleteMachines": {
			"the nodes go before the scale set has forgotten them", http.MethodPost, "/deleteMachines", `{"machineNames": ["MACHINE"]}`, 1,
		},
	} {
		t.Run(name, func(t *testing.T) {
			var s *Server
			s, err := Start(Options{
				Sizes: func(string) (Hardware, bool) { return Hardware{GPUs: 1}, true }, Nodes: slowCluster{&s},
				CreateDelay: time.Minute, DeleteDelay: time.Minute, Manual: true,
			})
			if err != nil {
				t.Fatal(err)
			}
			t.Cleanup(s.Close)
			ask(t, s, http.MethodPut, "", `{"properties": {"count": 2, "vmSize": "x", "mode": "User"}}`)
			s.Advance(time.Minute)
			pools := s.Pools()
			if len(pools) != 1 || len(pools[0].Machines) != 2 {
				t.Fatalf("want a pool of two machines: %+v", pools)
			}
			ask(t, s, c.method, c.path, strings.ReplaceAll(c.body, "MACHINE", pools[0].Machines[0]))
			s.Advance(time.Hour)
			pools = s.Pools()
			switch {
			case c.left < 0 && len(pools) > 0:
				t.Errorf("%s: %+v", c.reason, pools)
			case c.left >= 0 && (len(pools) != 1 || pools[0].State != "Succeeded" || len(pools[0].Machines) != c.left):
				t.Errorf("%s: %+v", c.reason, pools)
			}
		})
	}
}

// ask sends one request about the agent pool "gpu", and wants it accepted.
func ask(t *testing.T, s *Server, method, below, body string) {
	t.Helper()
	url := s.URL + "/subscriptions/" + Subscription + "/resourceGroups/" + ResourceGroup +
		"/providers/Microsoft.ContainerService/managedClusters/" + Cluster + "/agentPools/gpu" + below + "?api-version=2025-03-01"
	r, err := http.NewRequestWithContext(t.Context(), method, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Authorization", "Bearer "+Token)
	r.Header.Set("Content-Type", "application/json")
	answer, err := s.Client().Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if answer.StatusCode >= http.StatusBadRequest {
		t.Fatalf("%s: %s", method, answer.Status)
	}
}

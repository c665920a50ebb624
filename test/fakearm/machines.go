// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
)

func (p *agentPool) names() []string {
	var names []string
	for _, m := range p.machines {
		names = append(names, m.name)
	}
	return names
}

func (s *Server) serveMachines(a *answer) {
	p := s.pools[a.pool]
	if p == nil {
		s.serveGet(a) // says that it is not there
		return
	}
	value := []any{}
	for _, name := range p.names() {
		value = append(value, map[string]any{
			"id":   fmt.Sprintf("/subscriptions/%s/resourcegroups/%s/providers/Microsoft.ContainerService/managedClusters/%s/agentPools/%s/machines/%s", Subscription, ResourceGroup, Cluster, p.name, name),
			"name": name, "type": "Microsoft.ContainerService/managedClusters/agentPools/machines", "properties": map[string]any{},
		})
	}
	a.json(http.StatusOK, map[string]any{"value": value})
}

// serveRemove deletes machines by name. As with AKS there is no precondition and
// no drain. What the pool's state is meanwhile is documented nowhere, so it is
// the one that is worst to misread: that of a pool that is deleted as a whole.
func (s *Server) serveRemove(a *answer) {
	var in struct {
		MachineNames []string `json:"machineNames"`
	}
	p := s.pools[a.pool]
	if p == nil {
		s.serveGet(a)
		return
	}
	if json.Unmarshal(a.body, &in) != nil || len(in.MachineNames) == 0 {
		a.fault(*invalid("InvalidParameter", "machineNames is required."))
		return
	}
	for _, name := range in.MachineNames {
		if !slices.Contains(p.names(), name) {
			a.fault(*invalid("InvalidParameter", "Machine "+name+" is not in agent pool "+p.name+"."))
			return
		}
	}
	if p.autoscales() {
		s.fights = append(s.fights, fmt.Sprintf("machines of %s were removed while the autoscaler counts them", p.name))
	}
	if f := s.busy(a.pool); f != nil {
		a.fault(*f)
		return
	}
	if !settled(p.state()) {
		a.fault(Fault{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: fmt.Sprintf(
			"Operation is not allowed: Another agentpool operation (%s - %s) is in progress, please wait for it to finish before starting a new operation.", p.name, p.state())})
		return
	}
	s.begin(a, s.removeMachines(p, in.MachineNames))
	s.settle() // once the operation is the pool's: its steps ask for that
	a.json(http.StatusAccepted, nil)
}

func (s *Server) removeMachines(p *agentPool, names []string) *operation {
	p.props["provisioningState"] = "Deleting"
	op := &operation{doing: "DeletingMachines"}
	for _, name := range names {
		s.after(0, func() error { return s.removeNode(name) })
	}
	s.after(s.opt.DeleteDelay, func() error {
		if p.op != op {
			return nil
		}
		p.machines = slices.DeleteFunc(p.machines, func(m machine) bool { return slices.Contains(names, m.name) })
		p.props["count"] = float64(len(p.machines))
		s.finish(p, op)
		return nil
	})
	return op
}

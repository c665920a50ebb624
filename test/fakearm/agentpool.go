// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"fmt"
	"maps"
	"net/http"
	"slices"
	"strings"
)

// agentPool is one pool, its properties as they are on the wire.
type agentPool struct {
	name  string
	etag  string
	props map[string]any
	op    *operation // the last one

	machines []machine
	serial   int // of the next machine: a scale set gives no number twice
}

// machine is a virtual machine of a pool; most of them join the cluster.
type machine struct{ name string }

// operation is an asynchronous operation and how it ended.
type operation struct {
	id     string
	doing  string
	status string // empty: under way
	fault  *Fault
}

func (p *agentPool) state() string {
	s, _ := p.props["provisioningState"].(string)
	return s
}

func (p *agentPool) count() int { return p.number("count") }

func (p *agentPool) number(property string) int {
	n, _ := p.props[property].(float64)
	return int(n)
}

// wire is the pool as a GET returns it; Azure lowers the case of some segments.
func (s *Server) wire(p *agentPool) map[string]any {
	props := maps.Clone(p.props)
	if !s.faults.noETags {
		props["eTag"] = p.etag
	}
	return map[string]any{
		"id":   fmt.Sprintf("/subscriptions/%s/resourcegroups/%s/providers/Microsoft.ContainerService/managedClusters/%s/agentPools/%s", Subscription, ResourceGroup, Cluster, p.name),
		"name": p.name, "type": "Microsoft.ContainerService/managedClusters/agentPools", "properties": props,
	}
}

func (p *agentPool) view() Pool {
	str := func(key string) string { v, _ := p.props[key].(string); return v }
	return Pool{
		Name: p.name, VMSize: str("vmSize"), State: str("provisioningState"), Mode: str("mode"), Priority: str("scaleSetPriority"), ETag: p.etag,
		Count: p.count(), Zones: list(p.props["availabilityZones"]), Taints: list(p.props["nodeTaints"]),
		Tags: stringMap(p.props["tags"]), Labels: stringMap(p.props["nodeLabels"]), Machines: p.names(), Props: maps.Clone(p.props),
	}
}

// create makes the machines; they join when creating is over.
func (s *Server) create(p *agentPool) *operation {
	p.props["provisioningState"] = "Creating"
	joins, gpus := !s.faults.noNodes, !s.faults.noGPUs
	op := &operation{doing: fmt.Sprintf("CreatingAgentPool: 0/%d nodes completed", p.count())}
	if len(s.faults.async) > 0 {
		op.fault = &s.faults.async[0]
		s.faults.async = s.faults.async[1:]
	}
	s.after(s.opt.CreateDelay, func() error {
		if p.op != op {
			return nil // preempted by a delete
		}
		if op.fault == nil {
			if err := s.fill(p, joins, gpus); err != nil {
				return err
			}
		}
		s.finish(p, op)
		if s.opt.Background > 0 {
			s.background("Updating", s.opt.Background)
		}
		return nil
	})
	return op
}

// scale brings the machines to the pool's count; where some are too many, the
// scale set takes the last ones, whatever runs on them.
func (s *Server) scale(p *agentPool) *operation {
	p.props["provisioningState"] = "Scaling"
	op := &operation{doing: "ScalingAgentPool"}
	joins, gpus := !s.faults.noNodes, !s.faults.noGPUs
	s.after(s.opt.CreateDelay, func() error {
		if p.op != op {
			return nil
		}
		if op.fault != nil {
			s.finish(p, op)
			return nil
		}
		if err := s.fill(p, joins, gpus); err != nil {
			return err
		}
		for len(p.machines) > p.count() {
			if err := s.removeNode(p.machines[len(p.machines)-1].name); err != nil {
				return err
			}
			p.machines = p.machines[:len(p.machines)-1]
		}
		s.finish(p, op)
		return nil
	})
	return op
}

// updated changes settings of machines that stay.
func (s *Server) updated(p *agentPool) *operation {
	p.props["provisioningState"] = "Updating"
	op := &operation{doing: "UpdatingAgentPool"}
	s.after(s.opt.CreateDelay/4, func() error {
		if p.op == op {
			s.finish(p, op)
		}
		return nil
	})
	return op
}

// remove deletes the pool; its nodes go first.
func (s *Server) remove(p *agentPool) *operation {
	p.props["provisioningState"] = "Deleting"
	s.removeNodes(p)
	op := &operation{doing: "DeletingAgentPool"}
	s.after(s.opt.DeleteDelay, func() error {
		if p.op == op && s.pools[p.name] == p {
			delete(s.pools, p.name)
		}
		op.status = "Succeeded"
		return nil
	})
	return op
}

// begin registers an operation and announces it, with a long signed URL.
func (s *Server) begin(a *answer, op *operation) {
	s.serial++
	op.id = fmt.Sprintf("op-%d", s.serial)
	s.ops[op.id] = op
	p := s.pools[a.pool]
	p.op, p.etag = op, s.nextETag()
	delete(p.props, "status")
	a.w.Header().Set("Azure-AsyncOperation", fmt.Sprintf("%s/subscriptions/%s/providers/Microsoft.ContainerService/locations/%s/operations/%s?api-version=2025-03-01&t=1&c=%s&s=signature",
		s.URL, Subscription, Location, op.id, strings.Repeat("A", 4096)))
}

// finish ends an operation; a failed one leaves a Failed pool that says why.
func (s *Server) finish(p *agentPool, op *operation) {
	p.etag = s.nextETag()
	op.status, p.props["provisioningState"] = "Succeeded", "Succeeded"
	if op.fault == nil {
		return
	}
	op.status, p.props["provisioningState"] = "Failed", "Failed"
	p.props["status"] = map[string]any{"provisioningError": map[string]any{
		"code":    "ReconcileVMSSAgentPoolFailed",
		"message": fmt.Sprintf("Code=%q Message=%q", op.fault.Code, op.fault.Message),
	}}
}

func (s *Server) serveOperation(a *answer, id string) {
	op := s.ops[id]
	switch {
	case op == nil:
		a.fault(Fault{Status: http.StatusNotFound, Code: "NotFound", Message: "operation expired"})
	case op.status == "":
		a.json(http.StatusOK, map[string]any{"name": id, "status": op.doing, "startTime": "2026-01-01T00:00:00Z"})
	case op.status == "Failed":
		a.json(http.StatusOK, map[string]any{"name": id, "status": "Failed", "error": map[string]any{"code": op.fault.Code, "message": op.fault.Message}})
	default:
		a.json(http.StatusOK, map[string]any{"name": id, "status": op.status})
	}
}

func (s *Server) nextETag() string {
	s.serial++
	return fmt.Sprintf("etag-%d", s.serial)
}

func list(v any) []string {
	items, _ := v.([]any)
	var out []string
	for _, i := range items {
		if str, ok := i.(string); ok {
			out = append(out, str)
		}
	}
	slices.Sort(out)
	return out
}

func stringMap(v any) map[string]string {
	in, _ := v.(map[string]any)
	out := map[string]string{}
	for k, i := range in {
		if str, ok := i.(string); ok {
			out[k] = str
		}
	}
	return out
}

func anyMap(in map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range in {
		out[k] = v
	}
	return out
}

// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"fmt"
	"slices"
)

// The cluster autoscaler of AKS, as far as a caller of ARM sees it. When pods need
// nodes is for a test to say.

func (p *agentPool) autoscales() bool { return p.props["enableAutoScaling"] == true }

// Autoscale lets the autoscaler bring a pool to a number of machines, within its
// bounds. Where some are too many the last ones go: that no pod runs on them is
// the caller's business. A failure that was lined up with FailNextCreateAsync
// leaves a Failed pool without them.
func (s *Server) Autoscale(pool string, machines int) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pool]
	switch {
	case p == nil || !p.autoscales():
		return fmt.Errorf("fakearm: %s is no pool of an autoscaler", pool)
	case !settled(p.state()):
		return fmt.Errorf("fakearm: %s is %s", pool, p.state())
	}
	machines = min(max(machines, p.number("minCount")), p.number("maxCount"))
	p.props["count"] = float64(machines)
	p.etag = s.nextETag()
	op := s.scale(p)
	if len(s.faults.async) > 0 {
		op.fault = &s.faults.async[0]
		s.faults.async = s.faults.async[1:]
	}
	p.op = op
	return nil
}

// Fights are the writes of what the autoscaler has: there should be none.
func (s *Server) Fights() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.fights)
}

// SetProperty changes a property of a pool behind everybody's back, as a person
// may; nil removes it.
func (s *Server) SetProperty(pool, property string, value any) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pool]
	if p == nil {
		return
	}
	delete(p.props, property)
	if value != nil {
		p.props[property] = value
	}
	p.etag = s.nextETag()
}

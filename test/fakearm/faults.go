// SPDX-License-Identifier: Apache-2.0

package fakearm

import (
	"fmt"
	"maps"
	"net/http"
	"time"
)

// Fault is an answer that is not the good one.
type Fault struct {
	Status     int
	Code       string
	Message    string
	RetryAfter time.Duration
	Cut        bool // the connection is cut before the request is read
	Lost       bool // the request is carried out and its answer is lost
}

// Texts of AKS, as recorded or documented.
const (
	MessageBusy       = "Operation is not allowed: Another operation (Updating) is in progress, please wait for it to finish before starting a new operation. See https://aka.ms/aks-pending-operation for more details"
	MessageAllocation = "Allocation failed. We do not have sufficient capacity for the requested VM size in this region. Read more about improving likelihood of allocation success at https://aka.ms/allocation-guidance"
	MessageSKU        = "The requested VM size for resource 'Following SKUs have failed for Capacity Restrictions: %s' is currently not available in location '%s'. Please try another size or deploy to a different location or different zone. See https://aka.ms/azureskunotavailable for details."
	messageQuota      = "Operation could not be completed as it results in exceeding approved %s Cores quota. Additional details - Deployment Model: Resource Manager, Location: %s, Current Limit: %d, Current Usage: %d, Additional Required: %d, (Minimum) New Limit Required: %d. Submit a request for Quota increase at https://aka.ms/ProdportalCRP by specifying parameters listed in the ‘Details’ section for deployment to succeed."
)

// Quota is the fault of a family whose quota is used up.
func Quota(family string, limit, used, needed int) Fault {
	return Fault{Status: http.StatusBadRequest, Code: "OperationNotAllowed", Message: fmt.Sprintf(messageQuota, family, Location, limit, used, needed, used+needed)}
}

// Busy is the fault of a cluster that runs another operation.
func Busy() Fault {
	return Fault{Status: http.StatusConflict, Code: "OperationNotAllowed", Message: MessageBusy}
}

// Throttled is the fault of too many requests.
func Throttled(retryAfter time.Duration) Fault {
	return Fault{Status: http.StatusTooManyRequests, Code: "Throttled", Message: "The request was throttled.", RetryAfter: retryAfter}
}

// SKUNotAvailable is the fault of a size that the region does not offer now.
func SKUNotAvailable(vmSize string) Fault {
	return Fault{Status: http.StatusBadRequest, Code: "SkuNotAvailable", Message: fmt.Sprintf(MessageSKU, vmSize, Location)}
}

// AllocationFailed is the fault of a region without machines; it usually comes
// asynchronously.
func AllocationFailed() Fault {
	return Fault{Code: "AllocationFailed", Message: MessageAllocation}
}

type faults struct {
	next    map[string][]Fault // by kind of request
	async   []Fault            // of the next creates
	refused map[string]Fault   // by VM size
	noNodes bool
	noGPUs  bool
	noETags bool
}

// FailNext makes the next request of a kind (LIST, GET, PUT, DELETE) fail.
// Several calls line up.
func (s *Server) FailNext(kind string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.faults.next == nil {
		s.faults.next = map[string][]Fault{}
	}
	s.faults.next[kind] = append(s.faults.next[kind], f)
}

// Waiting says whether a fault waits for a request of a kind.
func (s *Server) Waiting(kind string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.faults.next[kind]) > 0
}

// Forgive takes back every fault that waits for its request.
func (s *Server) Forgive() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.next, s.faults.async = nil, nil
}

// FailNextCreate makes the next create fail in its synchronous part.
func (s *Server) FailNextCreate(code, message string, status int) {
	s.FailNext("PUT", Fault{Status: status, Code: code, Message: message})
}

// FailNextCreateAsync lets the next create begin and its operation fail: a
// Failed pool stays behind.
func (s *Server) FailNextCreateAsync(f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.async = append(s.faults.async, f)
}

// Refuse makes every create of a size fail, until Allow.
func (s *Server) Refuse(vmSize string, f Fault) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.refused[vmSize] = f
}

// Allow takes Refuse back.
func (s *Server) Allow(vmSize string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.faults.refused, vmSize)
}

// NodesJoin says whether the machines of pools created from now on join the
// cluster; they do until told otherwise.
func (s *Server) NodesJoin(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.noNodes = !yes
}

// NodesOfferGPUs says whether nodes that join from now on offer their GPUs; they
// do until told otherwise.
func (s *Server) NodesOfferGPUs(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.noGPUs = !yes
}

// SendETags says whether pools are told with their ETags; they are until told
// otherwise. AKS left them out until September 2025.
func (s *Server) SendETags(yes bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.faults.noETags = !yes
}

// Evict takes one node of a pool away, as a spot eviction does.
func (s *Server) Evict(pool string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	p := s.pools[pool]
	if p == nil || len(p.machines) == 0 {
		return
	}
	last := p.machines[len(p.machines)-1]
	p.machines = p.machines[:len(p.machines)-1]
	s.after(0, func() error { return s.removeNode(last.name) })
	s.settle()
}

// Touch changes a pool's ETag, as an operation on its cluster does.
func (s *Server) Touch(pool string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[pool]; p != nil {
		p.etag = s.nextETag()
	}
}

// BeginClusterOperation makes the cluster change itself for a while, as an
// upgrade, an add-on or a person does: no pool can be changed meanwhile.
func (s *Server) BeginClusterOperation(doing string, lasts time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.background(doing, lasts)
}

func (s *Server) background(doing string, lasts time.Duration) {
	s.cluster = doing
	s.after(lasts, func() error {
		s.cluster = ""
		for _, p := range s.pools {
			p.etag = s.nextETag()
		}
		return nil
	})
}

// SetTag changes a tag behind everybody's back, as a person may.
func (s *Server) SetTag(pool, key, value string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[pool]; p != nil {
		tags, _ := p.props["tags"].(map[string]any)
		tags = maps.Clone(tags)
		tags[key] = value
		p.props["tags"] = tags
		p.etag = s.nextETag()
	}
}

// SetState sets a pool's provisioning state, as an operation of somebody else
// does while it lasts.
func (s *Server) SetState(pool, state string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[pool]; p != nil {
		p.props["provisioningState"] = state
	}
}

// Remove makes a pool and its nodes vanish, as a person's delete does.
func (s *Server) Remove(pool string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if p := s.pools[pool]; p != nil {
		s.removeNodes(p)
		delete(s.pools, pool)
		s.settle()
	}
}

// AddPool adds a pool that is not ours.
func (s *Server) AddPool(name, vmSize string, tags, labels map[string]string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.pools[name] = &agentPool{name: name, etag: s.nextETag(), props: map[string]any{
		"mode": "User", "vmSize": vmSize, "count": 1.0, "provisioningState": "Succeeded", "tags": anyMap(tags), "nodeLabels": anyMap(labels),
	}}
}

// take takes the next fault of a kind of request, if there is one.
func (f *faults) take(kind string) (Fault, bool) {
	line := f.next[kind]
	if len(line) == 0 {
		return Fault{}, false
	}
	f.next[kind] = line[1:]
	return line[0], true
}

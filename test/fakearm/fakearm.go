// SPDX-License-Identifier: Apache-2.0

// Package fakearm is an Azure Resource Manager with one AKS cluster, for tests
// and the demo: it speaks the recorded protocol of agent pools over TLS (201 and
// an asynchronous operation, odd states, ETags, preconditions, one operation at a
// time, top-level error bodies) and issues tokens, so that the real SDK client
// with a real azidentity credential drives it without knowing.
//
// Its agent pools appear as Kubernetes nodes through a NodeSink. Time is the
// wall clock's, or stands still until a test advances it. It is no part of the
// product.
package fakearm

import (
	"encoding/pem"
	"fmt"
	"io"
	"log"
	"maps"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"time"
)

// What the server answers to, where Options names nothing else.
const (
	Subscription  = "00000000-0000-0000-0000-00000000e5a1"
	ResourceGroup = "espalier-demo"
	Cluster       = "aks-demo"
	Location      = "eastus"
	Tenant        = "11111111-1111-1111-1111-11111111e5a1"
	clientID      = "22222222-2222-2222-2222-22222222e5a1"
	clientSecret  = "not-a-secret"
)

// Hardware is one machine size, as its nodes report it.
type Hardware struct {
	GPUs      int
	VCPUs     int
	MemoryGiB float64
	Family    string // quota family, for the text of quota errors
}

// Options are the settings of a Server.
type Options struct {
	// Sizes are the machine sizes on offer; a size that is not is refused.
	Sizes func(vmSize string) (Hardware, bool)
	// CreateDelay is how long creating takes; nodes join at its end.
	CreateDelay time.Duration
	// GPUDelay is how long a node takes from joining to allocatable GPUs.
	GPUDelay time.Duration
	// DeleteDelay is how long deleting takes; the nodes go at its beginning.
	DeleteDelay time.Duration
	// Background is how long the cluster updates itself after each create, for
	// its add-ons: no pool can be changed meanwhile, and every ETag is new after it.
	Background time.Duration
	// Limits makes the server throttle as AKS does.
	Limits bool
	// Nodes is where the nodes of agent pools appear; nil: nowhere.
	Nodes NodeSink
	// NodesReady makes nodes Ready by themselves; else kwok does it.
	NodesReady bool
	// Manual stops the clock: it moves by Advance only.
	Manual bool
	// Address to listen on; empty: any port of the loopback interface.
	Address string
}

// Server is a running fake.
type Server struct {
	URL string

	opt  Options
	http *httptest.Server
	stop chan struct{}
	done sync.WaitGroup

	mu      sync.Mutex
	clock   time.Time // when Manual
	events  []event
	pools   map[string]*agentPool
	ops     map[string]*operation
	serial  int
	faults  faults
	cluster string // the operation of the cluster itself that is under way
	buckets map[string]*bucket
	limits  map[string]int // quota in vCPUs by family; without an entry there is none
	skus    []SKU
	log     []Request
	ordered []string // names of pools ever created by a request
	created []Pool   // the same as they were ordered
	fights  []string // writes of what the autoscaler has
	sinkErr error
}

// event is something that happens when its time has come.
type event struct {
	at time.Time
	do func() error
}

// Request is one request that was answered.
type Request struct {
	Kind   string // LIST, GET, PUT, DELETE, MACHINES, REMOVE, OPERATION, CLUSTER, USAGE, SKUS, TOKEN
	Pool   string
	Status int // 0: the connection was cut
}

// tick is how often the wall clock is looked at.
const tick = 100 * time.Millisecond

// retrySink is the pause after the cluster could not take a node.
const retrySink = time.Second

// Start runs a Server with a system pool of somebody else in its cluster.
func Start(opt Options) (*Server, error) {
	if opt.Sizes == nil {
		return nil, fmt.Errorf("fakearm: Options.Sizes is required")
	}
	s := &Server{
		opt: opt, stop: make(chan struct{}), clock: time.Date(2026, 1, 5, 9, 0, 0, 0, time.UTC),
		pools: map[string]*agentPool{}, ops: map[string]*operation{}, faults: faults{refused: map[string]Fault{}},
		buckets: map[string]*bucket{}, limits: map[string]int{},
	}
	s.pools["nodepool1"] = &agentPool{name: "nodepool1", etag: "system", props: map[string]any{
		"mode": "System", "vmSize": "Standard_D4s_v5", "count": 1.0, "provisioningState": "Succeeded", "type": "VirtualMachineScaleSets", "osType": "Linux",
	}}
	s.http = httptest.NewUnstartedServer(s)
	s.http.Config.ErrorLog = log.New(io.Discard, "", 0) // connections are cut on purpose
	if opt.Address != "" {
		l, err := net.Listen("tcp", opt.Address)
		if err != nil {
			return nil, fmt.Errorf("listening: %w", err)
		}
		s.http.Listener = l
	}
	s.http.StartTLS()
	s.URL = s.http.URL
	if !opt.Manual {
		s.done.Go(s.run)
	}
	return s, nil
}

// run looks at the wall clock until the server is closed.
func (s *Server) run() {
	t := time.NewTicker(tick)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			s.Advance(0)
		case <-s.stop:
			return
		}
	}
}

// Close stops the server.
func (s *Server) Close() {
	close(s.stop)
	s.done.Wait()
	s.http.Close()
}

// Client is an HTTP client that trusts the server.
func (s *Server) Client() *http.Client { return s.http.Client() }

// CAPEM is the certificate authority of the server, in PEM.
func (s *Server) CAPEM() []byte {
	return pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.http.Certificate().Raw})
}

// Flags writes the certificate authority into dir and returns the controller's
// flags that point at the server.
func (s *Server) Flags(dir string) ([]string, error) {
	file := filepath.Join(dir, "azure-ca.pem")
	if err := os.WriteFile(file, s.CAPEM(), 0o600); err != nil {
		return nil, fmt.Errorf("writing the certificate authority: %w", err)
	}
	return []string{
		"--azure-subscription-id=" + Subscription, "--azure-resource-group=" + ResourceGroup, "--azure-cluster-name=" + Cluster,
		"--azure-endpoint=" + s.URL, "--azure-ca-file=" + file,
	}, nil
}

// Env is the environment that makes azidentity take its tokens here.
func (s *Server) Env() []string {
	return []string{
		"AZURE_AUTHORITY_HOST=" + s.URL + "/", "AZURE_TENANT_ID=" + Tenant,
		"AZURE_CLIENT_ID=" + clientID, "AZURE_CLIENT_SECRET=" + clientSecret,
	}
}

// Now is the server's time.
func (s *Server) Now() time.Time {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.now()
}

func (s *Server) now() time.Time {
	if s.opt.Manual {
		return s.clock
	}
	return time.Now()
}

// Advance moves a stopped clock, and lets happen what is due.
func (s *Server) Advance(d time.Duration) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.clock = s.clock.Add(d)
	s.settle()
}

// settle runs the events that are due, in order of their time.
func (s *Server) settle() {
	for {
		slices.SortStableFunc(s.events, func(a, b event) int { return a.at.Compare(b.at) })
		if len(s.events) == 0 || s.events[0].at.After(s.now()) {
			return
		}
		e := s.events[0]
		s.events = s.events[1:]
		if err := e.do(); err != nil {
			s.sinkErr = err
			s.events = append(s.events, event{s.now().Add(retrySink), e.do})
		}
	}
}

func (s *Server) after(d time.Duration, do func() error) {
	s.events = append(s.events, event{s.now().Add(d), do})
}

// Pool is an agent pool, for assertions.
type Pool struct {
	Name, VMSize, State, Mode, Priority, ETag string
	Count                                     int
	Zones                                     []string
	Tags, Labels                              map[string]string
	Taints                                    []string
	Machines                                  []string // names, joined or not
	Props                                     map[string]any
}

// Pools are the agent pools that exist, by name; without the system pool.
func (s *Server) Pools() []Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.settle()
	var out []Pool
	for _, name := range slices.Sorted(maps.Keys(s.pools)) {
		if p := s.pools[name].view(); p.Mode != "System" {
			out = append(out, p)
		}
	}
	return out
}

// Ordered are the names of the agent pools ever created, in order.
func (s *Server) Ordered() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.ordered)
}

// Created are the agent pools ever ordered, as they were ordered; those that
// are gone stay in the list.
func (s *Server) Created() []Pool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.created)
}

// Requests is the log of what was asked, in order.
func (s *Server) Requests() []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log)
}

// RequestsAfter is the log without its first requests.
func (s *Server) RequestsAfter(first int) []Request {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.log[first:])
}

// Changes is a number that grows with every change of an agent pool.
func (s *Server) Changes() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.serial
}

// Counts is how often each kind of request was made.
func (s *Server) Counts() map[string]int {
	out := map[string]int{}
	for _, r := range s.Requests() {
		out[r.Kind]++
	}
	return out
}

// Err is the last error of the NodeSink; it was tried again.
func (s *Server) Err() error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.sinkErr
}

// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"slices"
	"sync"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// lister shares one LIST among all pools of the cluster: AKS allows one read a
// second for a whole subscription.
type lister struct {
	clock func() time.Time
	fetch func(context.Context) ([]*armcontainerservice.AgentPool, error)

	began int // LISTs begun; guarded by count
	count sync.Mutex

	mu    sync.Mutex
	seq   int // the LIST that pools came from
	at    time.Time
	valid bool
	pools []*armcontainerservice.AgentPool
}

// get returns a list at most maxAge old. A LIST that began after the call is
// always fresh enough, so those who wait for one share it.
func (l *lister) get(ctx context.Context, maxAge time.Duration) ([]*armcontainerservice.AgentPool, error) {
	asked := l.begun(0)
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.valid && (l.seq > asked || maxAge > 0 && l.clock().Sub(l.at) < maxAge) {
		return l.pools, nil
	}
	at, seq := l.clock(), l.begun(1)
	pools, err := l.fetch(ctx)
	if err != nil {
		return nil, err
	}
	l.pools, l.at, l.seq, l.valid = pools, at, seq, true
	return pools, nil
}

func (l *lister) begun(more int) int {
	l.count.Lock()
	defer l.count.Unlock()
	l.began += more
	return l.began
}

// forget makes the next get ask the cloud: something was changed.
func (l *lister) forget() {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.valid = false
}

// patience is how long a waiting pool keeps its place without asking again. It
// is longer than the longest pause after a busy answer.
const patience = 2 * time.Minute

// gate lets one mutation at a time through, first come, first served. It is
// memory only: after a restart the list of pools says what is under way, and
// the queue forms anew. A place belongs to a GPUNodePool by its UID, whatever
// the attempt is called.
type gate struct {
	clock func() time.Time

	mu      sync.Mutex
	running string // name of the pool whose turn it is
	queue   []waiter
	closed  time.Time // until when nobody may go: the cloud said so
	why     string    // in its words
}

type waiter struct {
	uid, name string
	seen      time.Time
}

// enter returns empty if the caller may go, else who is ahead. Whoever may go
// must leave.
func (g *gate) enter(uid, name string) (ahead string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	now := g.clock()
	g.queue = slices.DeleteFunc(g.queue, func(w waiter) bool { return now.Sub(w.seen) > patience })
	at := slices.IndexFunc(g.queue, func(w waiter) bool { return w.uid == uid })
	if at < 0 {
		g.queue, at = append(g.queue, waiter{uid: uid}), len(g.queue)
	}
	g.queue[at].seen, g.queue[at].name = now, name
	if g.running != "" {
		return g.running
	}
	if at > 0 {
		return g.queue[0].name
	}
	g.running = name
	return ""
}

// shut closes the gate for a while: what the cloud refused to one pool it would
// refuse to all, and each of them would ask.
func (g *gate) shut(wait time.Duration, why string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed, g.why = g.clock().Add(wait), why
}

// shutFor is how long the gate stays closed; 0: it is open.
func (g *gate) shutFor() (time.Duration, string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	return max(g.closed.Sub(g.clock()), 0), g.why
}

// leave ends a turn. done gives the place in the queue up; otherwise it is kept.
func (g *gate) leave(uid string, done bool) {
	g.mu.Lock()
	g.running = ""
	g.mu.Unlock()
	if done {
		g.drop(uid)
	}
}

// drop gives up the place of a GPUNodePool that wants nothing any more: nobody
// waits for one that is gone.
func (g *gate) drop(uid string) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.queue = slices.DeleteFunc(g.queue, func(w waiter) bool { return w.uid == uid })
}

// calm remembers that the cloud throttles reads: they share one bucket, so that
// what one pool was told holds for all.
type calm struct {
	clock func() time.Time

	mu    sync.Mutex
	until time.Time
}

// wait is the failure of a read that is not even tried; nil: it may be.
func (c *calm) wait() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	if left := c.until.Sub(c.clock()); left > 0 {
		return &pool.Failure{Class: pool.ClassThrottled, Text: textThrottled, RetryAfter: left}
	}
	return nil
}

// heed takes note of a failure, and returns it.
func (c *calm) heed(f *pool.Failure) error {
	if f.Class == pool.ClassThrottled {
		c.mu.Lock()
		defer c.mu.Unlock()
		c.until = c.clock().Add(max(f.RetryAfter, time.Second))
	}
	return f
}

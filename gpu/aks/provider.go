// SPDX-License-Identifier: Apache-2.0

// Package aks provides GPU nodes from the agent pools of one AKS cluster, through
// armcontainerservice. What it decides is small: whether a pool is ours, whether
// the cluster is free for another operation, and what an error of the cloud means.
//
// It never keeps a poller: an operation is begun and its outcome read from the
// pool's provisioning state, so a restart loses nothing. It never writes to a
// pool that does not carry our marks, and never mutates without a precondition.
package aks

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/to"
	"github.com/Azure/azure-sdk-for-go/sdk/resourcemanager/containerservice/armcontainerservice/v8"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// Config says which cluster's agent pools are managed, and how it is reached.
type Config struct {
	SubscriptionID, ResourceGroup, ClusterName string
	Endpoint                                   string              // of Azure Resource Manager; empty: Cloud's
	Audience                                   string              // of its tokens; empty: the public cloud's
	Cloud                                      cloud.Configuration // zero: the public cloud
	Credential                                 azcore.TokenCredential
	Transport                                  policy.Transporter // nil: the SDK's
	// MaxInFlight bounds the operations on agent pools of the cluster, ours and
	// others'; 0 means 1, because AKS serialises or preempts more.
	MaxInFlight int
	// ListTTL is how old the list of pools may be when looking for operations
	// under way; 0 means 10 s.
	ListTTL time.Duration
	// ReadRetries is how often a read that failed is tried again at once; 0 means
	// 3, and less than 0 never. Mutations are never tried again at once.
	ReadRetries int32
	Clock       func() time.Time // nil: time.Now
	// Env is the environment that the credential was made from, to say what is wrong
	// with it; nil: the process's.
	Env func(string) string
}

// Provider is a pool.Provider over one AKS cluster.
type Provider struct {
	cfg      Config
	reads    *armcontainerservice.AgentPoolsClient // retries by itself
	machines *armcontainerservice.MachinesClient   // as reads
	writes   *armcontainerservice.AgentPoolsClient // never does: we requeue
	list     *lister
	gate     *gate
	calm     *calm
	freed    *freed
	market   *market
}

var _ pool.Provider = (*Provider)(nil)

// Waits inside the SDK block a worker, so they are short; what the cloud asks
// beyond them is honoured by requeueing.
const (
	readRetries   = 3
	readRetryWait = 5 * time.Second
	callTimeout   = 90 * time.Second // a create validates for about 8 s before it answers
)

// maxPools is how many agent pools AKS allows in a cluster.
const maxPools = 100

// New returns a Provider; it makes no request.
func New(cfg Config) (*Provider, error) {
	switch {
	case cfg.SubscriptionID == "" || cfg.ResourceGroup == "" || cfg.ClusterName == "":
		return nil, errors.New("subscription, resource group and cluster name of the AKS cluster are all required")
	case cfg.Credential == nil:
		return nil, errors.New("a credential is required")
	}
	cfg = cfg.filled()
	reads, err := factory(cfg, policy.RetryOptions{MaxRetries: cfg.ReadRetries, MaxRetryDelay: readRetryWait})
	if err != nil {
		return nil, err
	}
	writes, err := factory(cfg, policy.RetryOptions{MaxRetries: -1})
	if err != nil {
		return nil, err
	}
	p := &Provider{
		cfg: cfg, reads: reads.NewAgentPoolsClient(), machines: reads.NewMachinesClient(), writes: writes.NewAgentPoolsClient(),
		gate: &gate{clock: cfg.Clock}, calm: &calm{clock: cfg.Clock}, freed: &freed{clock: cfg.Clock},
	}
	if p.market, err = newMarket(cfg, p.freed); err != nil {
		return nil, err
	}
	p.list = &lister{clock: cfg.Clock, fetch: p.fetch}
	return p, nil
}

// filled has the defaults of what is left open.
func (c Config) filled() Config {
	if c.Clock == nil {
		c.Clock = time.Now
	}
	if c.Env == nil {
		c.Env = os.Getenv
	}
	c.MaxInFlight = cmp.Or(c.MaxInFlight, 1)
	c.ListTTL = cmp.Or(c.ListTTL, 10*time.Second)
	c.ReadRetries = cmp.Or(c.ReadRetries, readRetries)
	return c
}

// classify says what an error of a call means now.
func (c Config) classify(err error) *pool.Failure { return Classify(err, c.Clock(), c.Env) }

// fetch lists the cluster's agent pools: one request for up to a hundred pools,
// shared by every GPUNodePool.
func (p *Provider) fetch(ctx context.Context) ([]*armcontainerservice.AgentPool, error) {
	if err := p.calm.wait(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	var all []*armcontainerservice.AgentPool
	for pages := p.reads.NewListPager(p.cfg.ResourceGroup, p.cfg.ClusterName, nil); pages.More(); {
		page, err := pages.NextPage(ctx)
		if err != nil {
			return nil, p.calm.heed(p.cfg.classify(err))
		}
		all = append(all, page.Value...)
	}
	p.freed.look(all)
	return all, nil
}

// get reads one pool live; nil: the cloud says 404.
func (p *Provider) get(ctx context.Context, name string) (*armcontainerservice.AgentPool, error) {
	if err := p.calm.wait(); err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	got, err := p.reads.Get(ctx, p.cfg.ResourceGroup, p.cfg.ClusterName, name, nil)
	var re *azcore.ResponseError
	if errors.As(err, &re) && re.StatusCode == http.StatusNotFound && !clusterMissing(re.ErrorCode) {
		return nil, nil
	}
	if err != nil {
		return nil, p.calm.heed(p.cfg.classify(err))
	}
	return &got.AgentPool, nil
}

// clusterMissing tells a cluster or group that is not there, or not named
// rightly, from a pool that is not: only the latter means that nothing is left.
func clusterMissing(code string) bool {
	switch code {
	case "ResourceGroupNotFound", "ResourceNotFound", "ParentResourceNotFound", "SubscriptionNotFound":
		return true
	}
	return false
}

// Observe reads the target's pool from the shared list, or live where the
// target asks for it.
func (p *Provider) Observe(ctx context.Context, t pool.Target) (pool.Observation, error) {
	pools, err := p.list.get(ctx, t.MaxAge)
	if err != nil {
		return pool.Observation{}, fmt.Errorf("listing agent pools: %w", err)
	}
	o := pool.Observation{Leftovers: leftovers(pools, t)}
	if t.PoolName == "" {
		o.Fresh = t.MaxAge == 0
		return o, nil
	}
	found := find(pools, t.PoolName)
	if t.MaxAge == 0 {
		if found, err = p.get(ctx, t.PoolName); err != nil {
			return pool.Observation{}, fmt.Errorf("reading agent pool %s: %w", t.PoolName, err)
		}
		o.Fresh = true
	}
	o.NodeSelector = selector(t.PoolName)
	if found == nil {
		if t.Deleting {
			p.gate.drop(t.UID) // it waited for its turn to be created, and is wanted no more
		}
		return o, nil
	}
	props := properties(found)
	o.Exists = true
	o.NotOwned = foreign(found, t)
	o.Owned = o.NotOwned == ""
	o.State = state(deref(props.ProvisioningState))
	o.Count, o.Autoscaled = deref(props.Count), deref(props.EnableAutoScaling)
	o.Drift, o.Behind = drift(props, t), behind(props, t)
	if props.Status != nil && o.State == pool.StateFailed {
		o.Failure = ClassifyProvisioning(props.Status.ProvisioningError)
	}
	return o, nil
}

// Ensure creates the pool, or changes it in place, if the cluster is free.
func (p *Provider) Ensure(ctx context.Context, t pool.Target) (pool.Step, error) {
	return p.turn(ctx, t, p.ensure)
}

func (p *Provider) ensure(ctx context.Context, t pool.Target) (pool.Step, error) {
	found, err := p.get(ctx, t.PoolName)
	if err != nil {
		return pool.StepNone, fmt.Errorf("reading agent pool %s: %w", t.PoolName, err)
	}
	if found == nil {
		return p.create(ctx, t)
	}
	if why := foreign(found, t); why != "" {
		return pool.StepNone, &pool.Failure{Class: pool.ClassOwnership, Text: why}
	}
	props := properties(found)
	now := state(deref(props.ProvisioningState))
	if now != pool.StateSucceeded && now != pool.StateFailed {
		return pool.StepNone, nil
	}
	if t.Replace != "" {
		return p.remove(ctx, t.PoolName, []string{t.Replace})
	}
	return p.adjust(ctx, t, found)
}

// adjust changes the number of nodes, or else what can be changed in place.
func (p *Provider) adjust(ctx context.Context, t pool.Target, found *armcontainerservice.AgentPool) (pool.Step, error) {
	a, has, want := autoscale(t), deref(properties(found).Count), t.Replicas
	switch {
	case deref(properties(found).EnableAutoScaling):
		return p.tune(ctx, t, found) // the count is AKS's
	case a != nil && has < a.Min:
		want = a.Min // first, and by itself
	case a != nil && (!t.Shrink || has <= want):
		return p.tune(ctx, t, found) // the count is about to be AKS's
	case has > want && !t.Shrink:
		return pool.StepNone, nil // more came since it was decided: nobody has looked at what runs on them
	case has > want:
		return p.shrink(ctx, t, found)
	case has == want && !t.Mend:
		return p.tune(ctx, t, found)
	}
	return p.scale(ctx, t, found, want)
}

// create orders a pool, where the cluster has room for one more.
func (p *Provider) create(ctx context.Context, t pool.Target) (pool.Step, error) {
	pools, err := p.list.get(ctx, p.cfg.ListTTL)
	if err != nil {
		return pool.StepNone, fmt.Errorf("listing agent pools: %w", err)
	}
	if len(pools) >= maxPools {
		return pool.StepNone, &pool.Failure{Class: pool.ClassPoolLimit, Text: fmt.Sprintf("The cluster has %d node pools, which is the most that AKS allows", len(pools))}
	}
	err = p.put(ctx, t.PoolName, desired(t), &armcontainerservice.AgentPoolsClientBeginCreateOrUpdateOptions{IfNoneMatch: to.Ptr("*")})
	if err != nil {
		return pool.StepNone, fmt.Errorf("creating agent pool %s: %w", t.PoolName, err)
	}
	return pool.StepCreated, nil
}

// put begins a create or update and drops the poller: the provisioning state
// tells the outcome, to this process or to the next.
func (p *Provider) put(ctx context.Context, name string, body armcontainerservice.AgentPool, o *armcontainerservice.AgentPoolsClientBeginCreateOrUpdateOptions) error {
	defer p.list.forget()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := p.writes.BeginCreateOrUpdate(ctx, p.cfg.ResourceGroup, p.cfg.ClusterName, name, body, o); err != nil {
		return p.cfg.classify(err)
	}
	return nil
}

// over writes over a pool as it was read.
func (p *Provider) over(ctx context.Context, name string, found *armcontainerservice.AgentPool, next armcontainerservice.AgentPool) error {
	read, err := etag(found)
	if err != nil {
		return err
	}
	return p.put(ctx, name, next, &armcontainerservice.AgentPoolsClientBeginCreateOrUpdateOptions{IfMatch: read})
}

// etag is what a change of a pool rests on. Without it AKS takes any, and what
// somebody else changed since the pool was read would be lost.
func etag(found *armcontainerservice.AgentPool) (*string, error) {
	if e := properties(found).ETag; deref(e) != "" {
		return e, nil
	}
	return nil, &pool.Failure{Class: pool.ClassTransient, Text: "AKS gave no ETag of the node pool, so it cannot be changed safely"}
}

// Delete begins to delete the target's pool, after a live look that it is ours.
func (p *Provider) Delete(ctx context.Context, t pool.Target) (pool.Step, error) {
	return p.turn(ctx, t, p.delete)
}

func (p *Provider) delete(ctx context.Context, t pool.Target) (pool.Step, error) {
	found, err := p.get(ctx, t.PoolName)
	if err != nil {
		return pool.StepNone, fmt.Errorf("reading agent pool %s: %w", t.PoolName, err)
	}
	if found == nil {
		return pool.StepGone, nil
	}
	if why := foreign(found, t); why != "" {
		return pool.StepNone, &pool.Failure{Class: pool.ClassOwnership, Text: why}
	}
	props := properties(found)
	if state(deref(props.ProvisioningState)) == pool.StateDeleting {
		return pool.StepNone, nil
	}
	read, err := etag(found)
	if err != nil {
		return pool.StepNone, fmt.Errorf("deleting agent pool %s: %w", t.PoolName, err)
	}
	defer p.list.forget()
	ctx, cancel := context.WithTimeout(ctx, callTimeout)
	defer cancel()
	if _, err := p.writes.BeginDelete(ctx, p.cfg.ResourceGroup, p.cfg.ClusterName, t.PoolName, &armcontainerservice.AgentPoolsClientBeginDeleteOptions{IfMatch: read}); err != nil {
		return pool.StepNone, fmt.Errorf("deleting agent pool %s: %w", t.PoolName, p.cfg.classify(err))
	}
	return pool.StepDeleted, nil
}

// busyPause is how long nobody asks after the cloud said that the cluster is
// busy: what it does by itself shows in no pool's state.
const busyPause = 20 * time.Second

// turn takes the cluster for one mutation: nobody of ours is ahead in the queue,
// and the cluster runs no operation on another pool. Whom the cloud sends away
// keeps the place, and nobody else asks meanwhile.
func (p *Provider) turn(ctx context.Context, t pool.Target, do func(context.Context, pool.Target) (pool.Step, error)) (pool.Step, error) {
	if ahead := p.gate.enter(t.UID, t.PoolName); ahead != "" {
		return pool.StepNone, &pool.Failure{Class: pool.ClassBusy, Text: "Other node pools are ahead in the queue of the cluster"}
	}
	keep := true
	defer func() { p.gate.leave(t.UID, !keep) }()
	if wait, why := p.gate.shutFor(); wait > 0 {
		return pool.StepNone, &pool.Failure{Class: pool.ClassBusy, Text: why, RetryAfter: wait}
	}
	pools, err := p.list.get(ctx, p.cfg.ListTTL)
	if err != nil {
		return pool.StepNone, fmt.Errorf("listing agent pools: %w", err)
	}
	if busy := inFlight(pools, t.PoolName); len(busy) >= p.cfg.MaxInFlight {
		return pool.StepNone, &pool.Failure{Class: pool.ClassBusy, Text: "The cluster runs another operation: node pool " + busy[0]}
	}
	step, err := do(ctx, t)
	if err == nil && (step == pool.StepNone || step == pool.StepGone) {
		p.list.forget() // it was asked for by a list that is behind
	}
	var f *pool.Failure
	keep = errors.As(err, &f) && (f.Class == pool.ClassBusy || f.Class == pool.ClassThrottled)
	if keep {
		p.gate.shut(max(f.RetryAfter, busyPause), f.Text)
	}
	return step, err
}

// SPDX-License-Identifier: Apache-2.0

// Package remote reaches the clusters that RepoSyncs name by a kubeconfig, or by a
// ConfigMap that says which ServiceAccount signs in to which cluster: one connection for
// each Secret or ConfigMap and namespace, shared by the RepoSyncs that use it and closed
// with the last. It watches there what this hub has applied, and knows whether the
// cluster is there at all, so that nobody waits for one that is not.
//
// It decides nothing of what is applied. Nothing that a kubeconfig or such a ConfigMap
// holds, its address included, leaves it in words (docs/design/0069, 0080).
package remote

import (
	"context"
	"errors"
	"maps"
	"net"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Options are what Clusters are made of.
type Options struct {
	// Hub is the identity of this cluster, which marks what it applies in others.
	Hub string
	// Client has the metadata of this cluster's Secrets and ConfigMaps, and makes tokens of
	// its accounts. Reader reads past its cache.
	Client client.Client
	Reader client.Reader
	// Scheme of the kinds that are read and written.
	Scheme *runtime.Scheme
	// Default is the --default-service-account.
	Default string
	Allowed
	// Azure is who signs in by provider azure; the zero value is its public cloud.
	Azure Azure
	// UserAgent, and how many requests a second each cluster gets at most.
	UserAgent string
	QPS       float32
	Burst     int

	dial func(ctx context.Context, network, address string) (net.Conn, error) // nil: as usual; tests know no DNS
}

// Clusters are the clusters of kubeconfigs that are in use.
type Clusters struct {
	Options
	begin func() (context.Context, context.CancelFunc) // of a connection, which outlives every call
	news  chan event.TypedGenericEvent[News]

	mu   sync.Mutex
	uses map[types.UID]use
	open map[string]*Cluster
}

// use is what a RepoSync uses.
type use struct {
	sync    types.NamespacedName
	from    string // what names the cluster
	version string // of the Secret or ConfigMap, and what of it is used how
	key     string
	asked   time.Time // when a cloud was asked where the cluster is; zero: nobody was
}

// askAgain is how often a cloud is asked where a cluster is that is not to be had: it may
// have been made anew.
const askAgain = 5 * time.Minute

// stale says that the cluster may be somewhere else by now.
func (u use) stale(is *Cluster) bool {
	return !u.asked.IsZero() && is.Down() != nil && time.Since(u.asked) > askAgain
}

// New returns Clusters whose connections end with ctx.
func New(ctx context.Context, o Options) *Clusters {
	return &Clusters{
		Options: o, begin: func() (context.Context, context.CancelFunc) { return context.WithCancel(ctx) },
		news: make(chan event.TypedGenericEvent[News]), uses: map[types.UID]use{}, open: map[string]*Cluster{},
	}
}

// News is that something happened in another cluster to what a RepoSync applied there.
type News struct {
	Sync types.NamespacedName
	// Was and Is are an object before and after; nil where it was not or is no more. Both
	// are nil where the cluster itself is away, or there again.
	Was, Is client.Object
}

// News of all clusters.
func (c *Clusters) News() <-chan event.TypedGenericEvent[News] { return c.news }

// Of is the cluster of a RepoSync with spec.kubeConfig, where it is to be had. The first
// time it is asked for it is waited for, within the limits of a request.
func (c *Clusters) Of(ctx context.Context, s *v1alpha1.RepoSync) (*Cluster, error) {
	cluster, err := c.use(ctx, s)
	if err != nil {
		if !c.keeps(s, err) {
			c.Release(s.UID)
		}
		return nil, err
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if !cluster.wasTried(limited) {
		if ctx.Err() != nil {
			return nil, ctx.Err()
		}
		return nil, cluster.unreachable("it does not answer in time")
	}
	if err := cluster.Down(); err != nil {
		return nil, err
	}
	return cluster, nil
}

// keeps says whether a connection stays open that nobody may use now, because it is not
// known where it leads: what waiting cures costs no watch and no cache. A Secret or
// ConfigMap that was taken away, that leads nowhere, that may not be read or that is named
// no more keeps none, nor does an identity that is refused.
func (c *Clusters) keeps(s *v1alpha1.RepoSync, err error) bool {
	var refused *signInError
	if errors.As(err, &refused) && !refused.of.Retry {
		return false
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.uses[s.UID].from == fromOf(s) && fault.Reason(err, "") != v1alpha1.ReasonKubeConfigInvalid && !apierrors.IsForbidden(err)
}

// fromOf is what a RepoSync names, and for which namespace.
func fromOf(s *v1alpha1.RepoSync) string { return nameOf(s) + "\n" + desired.Target(s) }

// use finds or opens the cluster. While its Secret or ConfigMap does not change it is not
// read.
func (c *Clusters) use(ctx context.Context, s *v1alpha1.RepoSync) (*Cluster, error) {
	version, err := c.version(ctx, s)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	was := c.uses[s.UID]
	cluster := c.open[was.key]
	c.mu.Unlock()
	if was.version == version && cluster != nil && !was.stale(cluster) {
		return cluster, nil
	}
	to, err := c.wayTo(ctx, s)
	if err != nil {
		return nil, err
	}
	now := use{sync: client.ObjectKeyFromObject(s), from: fromOf(s), version: version, key: fromOf(s) + "\n" + to.sum, asked: to.asked}
	return c.change(s, now, to)
}

// change lets a RepoSync use another cluster than before, or the same by a Secret or
// ConfigMap that was written anew.
func (c *Clusters) change(s *v1alpha1.RepoSync, now use, to way) (*Cluster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cluster := c.open[now.key]
	was := c.uses[s.UID]
	switch {
	case cluster == nil:
		var err error
		if cluster, err = c.connect(s, now.key, to); err != nil {
			return nil, err
		}
	case was.key == now.key && was.version != now.version:
		cluster.signs.hasten() // somebody has changed something, of whoever signs in it may be
	}
	c.uses[s.UID] = now
	c.sweep()
	return cluster, nil
}

func (c *Clusters) connect(s *v1alpha1.RepoSync, key string, to way) (*Cluster, error) {
	cluster, err := c.newCluster(to.config, sourceOf(s), desired.Target(s))
	if err != nil {
		return nil, invalid(s, err)
	}
	ctx, cancel := c.begin()
	cluster.cancel = cancel
	cluster.moved = func(n News) { c.tell(ctx, n) }
	cluster.turned = func() { go c.tellUsers(ctx, key) }
	c.open[key] = cluster
	go cluster.run(ctx)
	return cluster, nil
}

// Release ends what a RepoSync uses. Without Clusters nobody uses any.
func (c *Clusters) Release(uid types.UID) {
	if c == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if _, used := c.uses[uid]; used {
		delete(c.uses, uid)
		c.sweep()
	}
}

// sweep closes what nobody uses.
func (c *Clusters) sweep() {
	used := map[string]bool{}
	for _, u := range c.uses {
		used[u.key] = true
	}
	maps.DeleteFunc(c.open, func(key string, cluster *Cluster) bool {
		if !used[key] {
			cluster.cancel()
		}
		return !used[key]
	})
}

func (c *Clusters) tellUsers(ctx context.Context, key string) {
	c.mu.Lock()
	var users []types.NamespacedName
	for _, u := range c.uses {
		if u.key == key {
			users = append(users, u.sync)
		}
	}
	c.mu.Unlock()
	for _, user := range users {
		c.tell(ctx, News{Sync: user})
	}
}

func (c *Clusters) tell(ctx context.Context, n News) {
	select {
	case c.news <- event.TypedGenericEvent[News]{Object: n}:
	case <-ctx.Done():
	}
}

// ownerOf is the RepoSync of this hub that has applied an object.
func ownerOf(o client.Object) types.NamespacedName {
	return types.NamespacedName{Namespace: o.GetLabels()[repolayout.LabelSyncNamespace], Name: o.GetLabels()[repolayout.LabelSyncName]}
}

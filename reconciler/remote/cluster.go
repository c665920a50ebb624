// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"sync/atomic"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/types"
	utilnet "k8s.io/apimachinery/pkg/util/net"
	"k8s.io/client-go/rest"
	toolscache "k8s.io/client-go/tools/cache"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/slim"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// How often a cluster is asked whether it is there. A watch whose connection is lost
// without a word tells nobody: this one request is what notices.
const (
	beat      = 20 * time.Second
	askFirst  = time.Second // again, when it is away
	askMost   = 30 * time.Second
	syncLimit = 15 * time.Second // of the first look at its Workspaces
)

// Cluster is one that a Secret or ConfigMap leads to, as one namespace of it. Its Workspaces and
// node pools that this hub has applied are watched, and nothing else of it.
type Cluster struct {
	// Client reads Workspaces and node pools from what is watched, and knows of
	// nothing else; it writes as whoever signs in.
	Client client.Client
	// Reader reads past that.
	Reader client.Reader
	// Accounts are those of the cluster, which may be acted as.
	Accounts *account.Clients
	// Namespace is the one that is watched.
	Namespace string

	of      source
	plain   client.Client
	watched cache.Cache
	moved   func(News) // is told of each change
	turned  func()     // is told that it is away, or there again
	cancel  context.CancelFunc
	idle    func()
	signs   *lease // nil: a kubeconfig says who does

	tried   chan struct{} // closed when it is known whether it is there
	missed  atomic.Bool   // whether somebody has ceased to wait for it, and is to be told
	nudge   chan struct{}
	started bool        // the watches
	doubt   atomic.Bool // whether it may still watch

	mu   sync.Mutex
	id   string
	away error
}

// errNew stands for what was not asked yet.
var errNew = errors.New("it was not asked yet")

// newCluster makes what is needed to speak to a cluster, and speaks to nobody.
func (o Options) newCluster(config *rest.Config, of source, namespace string) (*Cluster, error) {
	config.UserAgent, config.QPS, config.Burst, config.Dial = o.UserAgent, o.QPS, o.Burst, o.dial
	config.WarningHandler = rest.NoWarnings{}
	bound(config)
	transport, err := rest.HTTPClientFor(config)
	if err != nil { // a certificate or key that is none: what it says may quote it
		return nil, errors.New("its certificates or key cannot be read: try it with kubectl --kubeconfig FILE get namespaces")
	}
	mapper := kinds()
	c := &Cluster{
		Namespace: namespace, of: of, idle: func() { utilnet.CloseIdleConnectionsFor(transport.Transport) },
		signs: leaseOf(transport.Transport), tried: make(chan struct{}), nudge: make(chan struct{}, 1), away: errNew,
	}
	if c.watched, err = slim.NewCache(config, c.watching(o, transport, mapper)); err != nil {
		return nil, errors.New("no client can be made of it")
	}
	options := client.Options{HTTPClient: transport, Scheme: o.Scheme, Mapper: mapper}
	if c.plain, err = client.New(config, options); err != nil {
		return nil, errors.New("no client can be made of it")
	}
	options.Cache = &client.CacheOptions{Reader: c.watched}
	cached, err := client.New(config, options)
	if err != nil {
		return nil, errors.New("no client can be made of it")
	}
	c.Client, c.Reader = guarded{cached, c, true}, guarded{c.plain, c, true}
	c.Accounts = account.New(account.Options{
		Config: config, Client: c.Client, Reader: c.Reader, Default: o.Default,
		Impersonator: of.actor,
		Wrap:         func(acting client.Client) client.Client { return guarded{acting, c, false} },
	})
	return c, nil
}

func (c *Cluster) watching(o Options, transport *http.Client, mapper meta.RESTMapper) cache.Options {
	return cache.Options{
		Scheme: o.Scheme, Mapper: mapper, HTTPClient: transport,
		DefaultNamespaces:           map[string]cache.Config{c.Namespace: {}},
		DefaultLabelSelector:        labels.SelectorFromSet(labels.Set{repolayout.LabelSyncHub: o.Hub}),
		DefaultTransform:            slim.Transform,
		ReaderFailOnMissingInformer: true,
		// The usual one logs the address.
		DefaultWatchErrorHandler: func(_ context.Context, _ *toolscache.Reflector, err error) {
			if !apierrors.IsResourceExpired(err) && !apierrors.IsGone(err) {
				c.doubt.Store(true)
				c.wonder()
			}
		},
	}
}

// ID is the UID of the cluster's namespace kube-system.
func (c *Cluster) ID() string {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.id
}

// Down says why the cluster is not to be had, nil where it is.
func (c *Cluster) Down() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.away
}

// lost notes that a request has found the cluster away.
func (c *Cluster) lost(err error) {
	c.mu.Lock()
	first := c.away == nil
	if first {
		c.away = err
	}
	c.mu.Unlock()
	if first {
		c.turned()
		c.wonder()
	}
}

// wasTried waits until it is known whether the cluster is there. Who ceases to wait is
// told of it by its news.
func (c *Cluster) wasTried(ctx context.Context) bool {
	select {
	case <-c.tried:
		return true
	case <-ctx.Done():
	}
	c.missed.Store(true)
	select {
	case <-c.tried:
		return true
	default:
		return false
	}
}

// wonder has the cluster asked now.
func (c *Cluster) wonder() {
	select {
	case c.nudge <- struct{}{}:
	default:
	}
}

// run asks the cluster again and again, until ctx ends.
func (c *Cluster) run(ctx context.Context) {
	defer c.idle()
	wait := askFirst
	for first := true; ; first = false {
		err := c.look(ctx)
		c.signs.heard(err)
		if ctx.Err() != nil {
			if first {
				close(c.tried)
			}
			return
		}
		changed := c.note(err)
		if first {
			close(c.tried)
			changed = c.missed.Load()
		}
		if changed {
			c.turned()
		}
		next, there := beat, err == nil
		if !there {
			next, wait = wait, min(2*wait, askMost)
		}
		if !c.rest(ctx, next, there) {
			return
		}
		switch {
		case there && c.Down() == nil:
			wait = askFirst
		case there: // to whoever asks who it is it answers, and not to others
			if !c.rest(ctx, wait, false) {
				return
			}
			wait = min(2*wait, askMost)
		}
	}
}

// rest waits; of a cluster that is there, a doubt ends it.
func (c *Cluster) rest(ctx context.Context, d time.Duration, there bool) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	nudge := c.nudge
	if !there {
		nudge = nil
	}
	select {
	case <-ctx.Done():
		return false
	case <-timer.C:
	case <-nudge:
	}
	return true
}

// note says whether the answer is another than before.
func (c *Cluster) note(err error) bool {
	c.mu.Lock()
	defer c.mu.Unlock()
	changed := (c.away == nil) != (err == nil) || err != nil && c.away.Error() != err.Error()
	c.away = err
	return changed
}

// look asks who the cluster is, and where it was away or a watch has failed what the
// account may do there.
func (c *Cluster) look(ctx context.Context) error {
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	if err := c.identify(limited); err != nil {
		return err
	}
	if doubted := c.doubt.Swap(false); c.Down() == nil && !doubted {
		return nil
	}
	if err := c.mayWatch(limited); err != nil {
		return err
	}
	if err := c.knows(limited); err != nil {
		return err
	}
	return c.watch(ctx)
}

func (c *Cluster) identify(ctx context.Context) error {
	ns := &metav1.PartialObjectMetadata{}
	ns.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Namespace"))
	err := c.plain.Get(ctx, types.NamespacedName{Name: metav1.NamespaceSystem}, ns)
	if apierrors.IsForbidden(err) {
		return fault.Stopf(v1alpha1.ReasonAccessDenied, "the cluster of %s cannot be told from others, because its account may not get the namespace kube-system there: %s; %s", c.of.name, needsRole, meanwhile)
	}
	if err != nil {
		return c.retold(fmt.Errorf("asking who the cluster of %s is: %w", c.of.name, err))
	}
	if ns.UID == "" { // "" is this cluster
		return c.unreachable("what answers there is no Kubernetes API server")
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.id = string(ns.UID)
	return nil
}

// mayWatch asks for the rights that watching needs: a watch that is refused says so
// nowhere but in a log.
func (c *Cluster) mayWatch(ctx context.Context) error {
	var missing []account.Need
	for _, kind := range []string{v1alpha1.WorkspaceKind, v1alpha1.GPUNodePoolKind} {
		for _, verb := range []string{"get", "list", "watch"} {
			need := account.To(verb, v1alpha1.GroupVersion.WithKind(kind), c.Namespace)
			review := &authorizationv1.SelfSubjectAccessReview{Spec: authorizationv1.SelfSubjectAccessReviewSpec{ResourceAttributes: &authorizationv1.ResourceAttributes{
				Namespace: need.Namespace, Verb: need.Verb, Group: need.Group, Resource: need.Resource,
			}}}
			if err := c.plain.Create(ctx, review); err != nil {
				return c.retold(fmt.Errorf("asking what the account of %s may do: %w", c.of.name, err))
			}
			if !review.Status.Allowed {
				missing = append(missing, need)
			}
		}
	}
	if len(missing) > 0 {
		return fault.Stopf(v1alpha1.ReasonAccessDenied, "the account of %s may not %s of its cluster: %s; %s", c.of.name, account.Text(missing), needsRole, meanwhile)
	}
	return nil
}

// knows sees that the cluster has the kinds of Espalier: a watch of one that is not
// there, or that was taken away, says so nowhere but in a log.
func (c *Cluster) knows(ctx context.Context) error {
	for _, list := range []client.ObjectList{&v1alpha1.WorkspaceList{}, &v1alpha1.GPUNodePoolList{}} {
		if err := c.plain.List(ctx, list, client.InNamespace(c.Namespace), client.Limit(1)); err != nil {
			return c.retold(fmt.Errorf("looking at the cluster of %s: %w", c.of.name, err))
		}
	}
	return nil
}

// watch begins to watch, where it was not begun, and waits for the first look.
func (c *Cluster) watch(ctx context.Context) error {
	if !c.started {
		if err := c.begin(ctx); err != nil {
			return fmt.Errorf("watching what was applied to the cluster of %s: %w", c.of.name, err)
		}
		c.started = true
	}
	limited, cancel := context.WithTimeout(ctx, syncLimit)
	defer cancel()
	if !c.watched.WaitForCacheSync(limited) {
		return c.unreachable("its Workspaces are not listed in time")
	}
	return nil
}

// begin has both kinds watched, or neither.
func (c *Cluster) begin(ctx context.Context) error {
	var informers []cache.Informer
	for _, o := range []client.Object{&v1alpha1.Workspace{}, &v1alpha1.GPUNodePool{}} {
		informer, err := c.watched.GetInformer(ctx, o, cache.BlockUntilSynced(false))
		if err != nil {
			return err
		}
		informers = append(informers, informer)
	}
	for _, informer := range informers {
		if _, err := informer.AddEventHandler(c.tells()); err != nil {
			return err
		}
	}
	go func() { _ = c.watched.Start(ctx) }() // it ends with ctx and no error
	return nil
}

func (c *Cluster) tells() toolscache.ResourceEventHandler {
	return toolscache.ResourceEventHandlerFuncs{
		AddFunc: func(o any) { c.tell(nil, o) }, UpdateFunc: c.tell, DeleteFunc: func(o any) { c.tell(o, nil) },
	}
}

// tell tells of an object to whoever has applied it, by its labels before and after.
func (c *Cluster) tell(was, is any) {
	if gone, ok := was.(toolscache.DeletedFinalStateUnknown); ok {
		was = gone.Obj
	}
	n := News{}
	n.Was, _ = was.(client.Object)
	n.Is, _ = is.(client.Object)
	var told types.NamespacedName
	for _, o := range []client.Object{n.Is, n.Was} {
		if o == nil || ownerOf(o) == told {
			continue
		}
		n.Sync, told = ownerOf(o), ownerOf(o)
		c.moved(n)
	}
}

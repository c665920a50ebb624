// SPDX-License-Identifier: Apache-2.0

// Package remote reaches the clusters that RepoSyncs name by a kubeconfig: one
// connection for each Secret and namespace, shared by the RepoSyncs that use it and
// closed with the last. It watches there what this hub has applied, and knows whether
// the cluster is there at all, so that nobody waits for one that is not.
//
// It decides nothing of what is applied. Nothing that a kubeconfig holds, its address
// included, leaves it in words (docs/design/0069).
package remote

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"maps"
	"strings"
	"sync"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	// Client has the metadata of this cluster's Secrets, and Reader reads past it.
	Client client.Client
	Reader client.Reader
	// Scheme of the kinds that are read and written.
	Scheme *runtime.Scheme
	// Default is the --default-service-account.
	Default string
	Allowed
	// UserAgent, and how many requests a second each cluster gets at most.
	UserAgent string
	QPS       float32
	Burst     int
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
	version string // of the Secret, and what of it is used how
	key     string
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
		c.Release(s.UID) // a Secret that was taken away counts no more
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

// use finds or opens the cluster. While its Secret does not change it is not read.
func (c *Clusters) use(ctx context.Context, s *v1alpha1.RepoSync) (*Cluster, error) {
	version, err := c.version(ctx, s)
	if err != nil {
		return nil, err
	}
	c.mu.Lock()
	was := c.uses[s.UID]
	cluster := c.open[was.key]
	c.mu.Unlock()
	if was.version == version && cluster != nil {
		return cluster, nil
	}
	kubeconfig, err := c.kubeconfig(ctx, s)
	if err != nil {
		return nil, err
	}
	sum := sha256.Sum256(kubeconfig)
	now := use{client.ObjectKeyFromObject(s), version, strings.Join([]string{nameOf(s), desired.Target(s), hex.EncodeToString(sum[:])}, "\n")}
	return c.change(s, now, kubeconfig)
}

// change lets a RepoSync use another cluster than before, or the same by a Secret that
// was written anew.
func (c *Clusters) change(s *v1alpha1.RepoSync, now use, kubeconfig []byte) (*Cluster, error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	cluster := c.open[now.key]
	if cluster == nil {
		var err error
		if cluster, err = c.connect(s, now.key, kubeconfig); err != nil {
			return nil, err
		}
	}
	c.uses[s.UID] = now
	c.sweep()
	return cluster, nil
}

func (c *Clusters) connect(s *v1alpha1.RepoSync, key string, kubeconfig []byte) (*Cluster, error) {
	config, err := c.Parse(kubeconfig)
	if err != nil {
		return nil, invalid(s, err)
	}
	cluster, err := c.newCluster(config, nameOf(s), desired.Target(s))
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

// version tells one state of the Secret from another, without reading it.
func (c *Clusters) version(ctx context.Context, s *v1alpha1.RepoSync) (string, error) {
	ref := s.Spec.KubeConfig.SecretRef
	secret := &metav1.PartialObjectMetadata{}
	secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
	switch err := c.Client.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: ref.Name}, secret); {
	case apierrors.IsNotFound(err):
		return "missing", nil // the read that follows says so, past the cache
	case err != nil:
		return "", fmt.Errorf("reading the metadata of %s: %w", nameOf(s), err)
	}
	return strings.Join([]string{string(secret.UID), secret.ResourceVersion, ref.Name, ref.Key, desired.Target(s)}, "/"), nil
}

// Keys of a kubeconfig in a Secret, where none is named; they are Flux's.
var keys = []string{"value", "value.yaml"}

func (c *Clusters) kubeconfig(ctx context.Context, s *v1alpha1.RepoSync) ([]byte, error) {
	ref, secret := s.Spec.KubeConfig.SecretRef, &corev1.Secret{}
	err := c.Reader.Get(ctx, types.NamespacedName{Namespace: s.Namespace, Name: ref.Name}, secret)
	if apierrors.IsNotFound(err) {
		return nil, fault.Retry(v1alpha1.ReasonKubeConfigInvalid, fmt.Errorf("%s does not exist: create it with a kubeconfig under the key value; %s", nameOf(s), meanwhile))
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s: %w", nameOf(s), err)
	}
	named := keys
	if ref.Key != "" {
		named = []string{ref.Key}
	}
	for _, key := range named {
		if kubeconfig := secret.Data[key]; len(kubeconfig) > 0 {
			return kubeconfig, nil
		}
	}
	return nil, invalid(s, fmt.Errorf("it has no kubeconfig under the key %s: write it there, or name its key in spec.kubeConfig.secretRef.key", strings.Join(named, " or ")))
}

func invalid(s *v1alpha1.RepoSync, err error) error {
	return fault.Stopf(v1alpha1.ReasonKubeConfigInvalid, "%s: %w; %s", nameOf(s), err, meanwhile)
}

func nameOf(s *v1alpha1.RepoSync) string {
	return fmt.Sprintf("Secret %s/%s (spec.kubeConfig)", s.Namespace, s.Spec.KubeConfig.SecretRef.Name)
}

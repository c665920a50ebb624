// SPDX-License-Identifier: Apache-2.0

// Package karpenter provides GPU nodes by NodeClaims, of which Karpenter (AKS
// node auto-provisioning, EKS, any other that follows its core API) or
// gpu-provisioner makes nodes. It orders one NodeClaim a node, in a NodePool that
// Karpenter itself adds nothing to, or writes a NodePool for each candidate that
// Karpenter fills as pods wait, and reads back from NodePools, NodeClaims and
// Events how far they are and why one was given up.
//
// It never writes to an object that does not carry our marks, never mutates
// without a precondition, and holds each NodeClaim by a finalizer, so that a
// failed one is seen although Karpenter deletes it. Karpenter drains and deletes
// the machines; this package only asks it to.
package karpenter

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// deploy/rbac/karpenter/role.yaml is generated from these lines.
//
// +kubebuilder:rbac:groups=karpenter.sh,resources=nodepools;nodeclaims,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups=karpenter.sh,resources=nodepools;nodeclaims,verbs=patch
// +kubebuilder:rbac:groups=karpenter.azure.com,resources=aksnodeclasses,verbs=get;list;watch;create;delete
// +kubebuilder:rbac:groups="",resources=events,verbs=list

// Kinds that are read and written.
var (
	NodeClaim    = schema.GroupKind{Group: "karpenter.sh", Kind: "NodeClaim"}
	NodePool     = schema.GroupKind{Group: "karpenter.sh", Kind: "NodePool"}
	AKSNodeClass = schema.GroupKind{Group: "karpenter.azure.com", Kind: "AKSNodeClass"}
)

// groupKAITO is the group of gpu-provisioner's node class. Its NodeClaims belong
// to no NodePool, and each becomes an agent pool of AKS.
const groupKAITO = "kaito.sh"

// Config says how a cluster with NodeClaims is reached.
type Config struct {
	Client client.Client // reads from a cache that is watched, writes
	Live   client.Reader // reads from the API server: before every mutation, and Events
	// Classes are the node classes that pools may name, as the installation allows
	// them; the first is the default. None: each attempt gets an AKSNodeClass of
	// its own, where the cluster has the kind.
	Classes []v1alpha1.NodeClassReference
	Sizes   pool.Catalog     // what an instance type promises
	Region  string           // of the cluster: AKS zones are named REGION-1
	Clock   func() time.Time // nil: time.Now
}

// Provider is a pool.Provider over the NodeClaims of one cluster.
type Provider struct {
	cfg   Config
	mu    sync.Mutex
	kinds map[schema.GroupKind]served
}

// served is what was found of a kind, and until when its absence is believed.
type served struct {
	version string // "": the cluster does not have it
	until   time.Time
}

var _ pool.Provider = (*Provider)(nil)

// absentFor is how long a kind that the cluster does not have is not asked for
// again.
const absentFor = time.Minute

// New returns a Provider; it makes no request.
func New(cfg Config) (*Provider, error) {
	if cfg.Client == nil || cfg.Live == nil || cfg.Sizes == nil {
		return nil, errors.New("a client, a live reader and a catalogue are all required")
	}
	if cfg.Clock == nil {
		cfg.Clock = time.Now
	}
	return &Provider{cfg: cfg, kinds: map[schema.GroupKind]served{}}, nil
}

// version is the version of a kind that the cluster serves; "": none.
func (p *Provider) version(kind schema.GroupKind) (string, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	known, asked := p.kinds[kind]
	if asked && (known.version != "" || p.cfg.Clock().Before(known.until)) {
		return known.version, nil
	}
	mapping, err := p.cfg.Client.RESTMapper().RESTMapping(kind)
	switch {
	case meta.IsNoMatchError(err):
		p.kinds[kind] = served{until: p.cfg.Clock().Add(absentFor)}
		return "", nil
	case err != nil:
		return "", fmt.Errorf("looking for kind %s: %w", kind, err)
	}
	p.kinds[kind] = served{version: mapping.GroupVersionKind.Version}
	return mapping.GroupVersionKind.Version, nil
}

// list reads the objects of a kind that carry the marks of the target's pool,
// whatever their attempt; none where the cluster lacks the kind.
func (p *Provider) list(ctx context.Context, from client.Reader, kind schema.GroupKind, t pool.Target) ([]unstructured.Unstructured, error) {
	version, err := p.version(kind)
	if err != nil || version == "" {
		return nil, err
	}
	found := &unstructured.UnstructuredList{}
	found.SetGroupVersionKind(kind.WithVersion(version).GroupVersion().WithKind(kind.Kind + "List"))
	err = from.List(ctx, found, client.MatchingLabels{LabelOwner: t.UID, LabelInstallation: t.Installation})
	if err != nil {
		return nil, fmt.Errorf("listing %ss: %w", kind.Kind, err)
	}
	slices.SortFunc(found.Items, func(a, b unstructured.Unstructured) int { return strings.Compare(a.GetName(), b.GetName()) })
	return found.Items, nil
}

// gather reads everything of the target's pool.
func (p *Provider) gather(ctx context.Context, from client.Reader, t pool.Target) (things, error) {
	version, err := p.version(NodeClaim)
	if err != nil {
		return things{}, err
	}
	if version == "" {
		return things{}, &pool.Failure{Class: pool.ClassPrerequisite, Text: "this cluster has no kind NodeClaim (karpenter.sh): install Karpenter, turn node auto-provisioning on, or install gpu-provisioner"}
	}
	var all things
	claims, err := p.list(ctx, from, NodeClaim, t)
	if err != nil {
		return things{}, err
	}
	for i := range claims {
		all.claims = append(all.claims, readClaim(&claims[i]))
	}
	pools, err := p.list(ctx, from, NodePool, t)
	if err != nil {
		return things{}, err
	}
	for i := range pools {
		all.pools = append(all.pools, readNodePool(&pools[i]))
	}
	if all.classes, err = p.list(ctx, from, AKSNodeClass, t); err != nil {
		return things{}, err
	}
	return all, nil
}

// class is the node class of a target; own says that it is ours to make.
func (p *Provider) class(t pool.Target) (ref v1alpha1.NodeClassReference, own bool, err error) {
	switch {
	case t.NodeClass != nil && !slices.Contains(p.cfg.Classes, *t.NodeClass):
		return ref, false, &pool.Failure{Class: pool.ClassPrerequisite, Text: fmt.Sprintf("the node class %s is none of those that the controller allows: start it with --karpenter-node-class %s", t.NodeClass, t.NodeClass)}
	case t.NodeClass != nil:
		return *t.NodeClass, false, nil
	case len(p.cfg.Classes) > 0:
		return p.cfg.Classes[0], false, nil
	}
	version, err := p.version(AKSNodeClass)
	if err != nil {
		return ref, false, err
	}
	if version == "" {
		return ref, false, &pool.Failure{Class: pool.ClassPrerequisite, Text: "no node class is known: start the controller with --karpenter-node-class GROUP/KIND/NAME"}
	}
	return v1alpha1.NodeClassReference{Group: AKSNodeClass.Group, Kind: AKSNodeClass.Kind, Name: t.PoolName}, true, nil
}

// Observe reads what there is of the target, from the cache or live.
func (p *Provider) Observe(ctx context.Context, t pool.Target) (pool.Observation, error) {
	var from client.Reader = p.cfg.Client
	if t.MaxAge == 0 {
		from = p.cfg.Live
	}
	all, err := p.gather(ctx, from, t)
	if err != nil {
		return pool.Observation{}, err
	}
	o := pool.Observation{Fresh: t.MaxAge == 0, Leftovers: all.leftovers(t), Held: all.held()}
	if t.PoolName == "" {
		return o, nil
	}
	o.NodeSelector = selector(t.UID, t.Attempt)
	mine := all.of(t.Attempt)
	if t.ByPods {
		o.Exists = !mine.empty()
		o.Owned = o.Exists
		return o, p.judgeLanes(ctx, &o, t, mine)
	}
	if foreign, err := p.taken(ctx, from, mine, t); err != nil || foreign != "" {
		o.Exists, o.NotOwned = foreign != "", foreign
		return o, err
	}
	if mine.empty() {
		return o, nil
	}
	o.Exists, o.Owned = true, true
	events, err := p.events(ctx, mine)
	if err != nil {
		return pool.Observation{}, err
	}
	mine.judge(&o, t, events, p.cfg.Clock())
	if ref, _, err := p.class(t); err == nil {
		o.Drift = mine.drift(t, ref)
	}
	return o, nil
}

// taken says that the NodePool of the target's name is not ours.
func (p *Provider) taken(ctx context.Context, from client.Reader, mine things, t pool.Target) (string, error) {
	version, err := p.version(NodePool)
	if err != nil || version == "" || len(mine.pools) > 0 {
		return "", err
	}
	found, err := p.get(ctx, from, NodePool, t.PoolName)
	if err != nil || found == nil {
		return "", err
	}
	return foreign(found, t), nil
}

// get reads one object; nil: there is none.
func (p *Provider) get(ctx context.Context, from client.Reader, kind schema.GroupKind, name string) (*unstructured.Unstructured, error) {
	version, err := p.version(kind)
	if err != nil {
		return nil, err
	}
	found := &unstructured.Unstructured{}
	found.SetGroupVersionKind(kind.WithVersion(version))
	err = from.Get(ctx, client.ObjectKey{Name: name}, found)
	if apierrors.IsNotFound(err) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", kind.Kind, name, err)
	}
	return found, nil
}

// create makes an object, or says whose the one is that is there.
func (p *Provider) create(ctx context.Context, o *unstructured.Unstructured, t pool.Target) error {
	err := p.cfg.Client.Create(ctx, o, client.FieldOwner(repolayout.FieldManager))
	switch {
	case err == nil:
		return nil
	case apierrors.IsAlreadyExists(err):
		found, err := p.get(ctx, p.cfg.Live, o.GroupVersionKind().GroupKind(), o.GetName())
		if err != nil {
			return err
		}
		if found != nil && foreign(found, t) != "" {
			return &pool.Failure{Class: pool.ClassOwnership, Text: fmt.Sprintf("%s %s: %s", o.GetKind(), o.GetName(), foreign(found, t))}
		}
		return nil // it is ours: somebody, perhaps this process before a crash, was faster
	case apierrors.IsInvalid(err), apierrors.IsBadRequest(err):
		return &pool.Failure{Class: pool.ClassSpec, Text: line(fmt.Sprintf("the API server refuses %s %s: %v", o.GetKind(), o.GetName(), err))}
	case apierrors.IsForbidden(err):
		return &pool.Failure{Class: pool.ClassAuth, Text: line(fmt.Sprintf("creating %s %s: %v", o.GetKind(), o.GetName(), err))}
	}
	return fmt.Errorf("creating %s %s: %w", o.GetKind(), o.GetName(), err)
}

// remove deletes an object as it was read: one that was made anew meanwhile, or
// changed, stays.
func (p *Provider) remove(ctx context.Context, kind schema.GroupKind, name string, like identity) error {
	o, err := p.blank(kind, name)
	if err != nil {
		return err
	}
	err = p.cfg.Client.Delete(ctx, o, client.Preconditions{UID: &like.uid, ResourceVersion: &like.version})
	if apierrors.IsConflict(err) {
		return &pool.Failure{Class: pool.ClassPrecondition, Text: fmt.Sprintf("%s %s has changed since it was read", kind.Kind, name)}
	}
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s %s: %w", kind.Kind, name, err)
	}
	return nil
}

func (p *Provider) blank(kind schema.GroupKind, name string) (*unstructured.Unstructured, error) {
	version, err := p.version(kind)
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(kind.WithVersion(version))
	o.SetName(name)
	return o, err
}

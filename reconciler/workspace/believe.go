// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/hashicorp/golang-lru/v2/simplelru"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
)

// Inputs are read past the cache, and what was read is believed in later passes over the
// same generation of a Workspace (docs/design/0082).

const (
	heldBytes = 8 << 20 // of the content of inputs that is held
	heldEach  = 300     // what holding an input takes beside its content
	// heldAhead is how long what was read may be later than what the watch of it has: after a
	// backup of the cluster was put back, versions begin again below those that were read.
	heldAhead = time.Minute
)

// errInputMoved ends a pass that would have written what rests on an input that is another
// by now: the next one, at once, reads all of them.
var errInputMoved = errors.New("an input has changed under the pass")

// inputKey is the name of an input.
type inputKey struct{ kind, namespace, name string }

// readInput is an input as it was read past the cache. Its content is shared: nobody changes it.
type readInput struct {
	key     inputKey
	uid     types.UID
	version uint64
	text    string // the version as it was written
	at      time.Time
	data    map[string]string
	binary  map[string][]byte
}

// inputOf is an input that was read now.
func inputOf(kind string, o metav1.Object, now time.Time) *readInput {
	return &readInput{key: inputKey{kind, o.GetNamespace(), o.GetName()}, uid: o.GetUID(), version: apply.Version(o), text: o.GetResourceVersion(), at: now}
}

// behind says that another was read of a later state, and not long before.
func (i *readInput) behind(other *readInput) bool {
	return i.version < other.version && i.at.Sub(other.at) < heldAhead
}

// stillAs says that the watch knows of nothing later than what was read.
func (i *readInput) stillAs(watched metav1.Object, now time.Time) bool {
	version := apply.Version(watched)
	return watched.GetUID() == i.uid && version > 0 && (version == i.version || version < i.version && now.Sub(i.at) < heldAhead)
}

func (i *readInput) size() int {
	n := heldEach
	for key, value := range i.data {
		n += len(key) + len(value)
	}
	for key, value := range i.binary {
		n += len(key) + len(value)
	}
	return n
}

// readInputs are inputs as they were read last, those that were used last as far as they
// have room.
type readInputs struct {
	mu    sync.Mutex
	of    *simplelru.LRU[inputKey, *readInput]
	bytes int
}

func newReadInputs() *readInputs {
	h := &readInputs{}
	var err error
	h.of, err = simplelru.NewLRU(heldBytes/heldEach, func(_ inputKey, in *readInput) { h.bytes -= in.size() })
	if err != nil {
		panic(fmt.Sprintf("holding inputs: %v", err)) // their number is a constant
	}
	return h
}

func (h *readInputs) get(key inputKey) *readInput {
	h.mu.Lock()
	defer h.mu.Unlock()
	in, _ := h.of.Get(key)
	return in
}

// put holds an input, unless another pass has read a later one meanwhile: versions grow
// with every write of the cluster.
func (h *readInputs) put(in *readInput) {
	h.mu.Lock()
	defer h.mu.Unlock()
	if held, ok := h.of.Peek(in.key); ok && in.behind(held) {
		return
	}
	h.of.Remove(in.key)
	if in.version == 0 || in.size() > heldBytes/4 {
		return
	}
	h.of.Add(in.key, in)
	for h.bytes += in.size(); h.bytes > heldBytes; {
		h.of.RemoveOldest()
	}
}

func (h *readInputs) drop(key inputKey) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.of.Remove(key)
}

// mayBelieve says that a pass need not read past the cache what an earlier one of this
// generation has read. One that may begin work, or ask for nodes, reads everything.
func (r *Reconciler) mayBelieve(p *pass) bool {
	return r.knownOf(p.ws).read == p.ws.Generation && p.pool != nil && (p.works() || !p.poolReady() && !p.queued())
}

// works says that the workload is there.
func (p *pass) works() bool {
	return p.deployment != nil || len(p.sets) > 0 || p.job() != nil
}

// believed is an input as it was read last, nil where it is to be read: the watch of its
// metadata knows of nothing later. The watch may not have heard of what was read yet.
func (r *Reconciler) believed(ctx context.Context, p *pass, kind, name string) *readInput {
	if !p.believes {
		return nil
	}
	key := inputKey{kind, p.ws.Namespace, name}
	held := r.read.get(key)
	if held == nil {
		return nil
	}
	watched := metadataOf(kind)
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: p.ws.Namespace, Name: name}, watched, client.UnsafeDisableDeepCopy) // nobody changes it
	if err != nil || !held.stillAs(watched, r.Clock()) {
		return nil
	}
	p.onTrust = append(p.onTrust, held)
	return held
}

// confirm sees, before pods are started, replaced or ended and before nodes are asked for,
// that what the pass believes of its inputs is so: a watch may be behind.
func (r *Reconciler) confirm(ctx context.Context, p *pass) error {
	for _, in := range p.onTrust {
		live := metadataOf(in.key.kind)
		err := r.Reader.Get(ctx, types.NamespacedName{Namespace: in.key.namespace, Name: in.key.name}, live)
		if client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("reading %s %s/%s: %w", in.key.kind, in.key.namespace, in.key.name, err)
		}
		if apierrors.IsNotFound(err) || live.UID != in.uid || live.ResourceVersion != in.text {
			r.read.drop(in.key)
			r.knownOf(p.ws).read = 0
			return errInputMoved
		}
	}
	p.onTrust = nil
	return nil
}

// confirmed is an applier of what rests on inputs.
func (r *Reconciler) confirmed(p *pass, write applier) applier {
	return func(ctx context.Context, c client.Client, desired *unstructured.Unstructured, live client.Object) (*unstructured.Unstructured, error) {
		if err := r.confirm(ctx, p); err != nil {
			return nil, err
		}
		return write(ctx, c, desired, live)
	}
}

// applyWork applies a child by which pods start, or for which nodes are bought.
func (r *Reconciler) applyWork(ctx context.Context, p *pass, child *unstructured.Unstructured, write applier) (*unstructured.Unstructured, error) {
	return r.applyChildBy(ctx, p.ws, child, r.confirmed(p, write))
}

func metadataOf(kind string) *metav1.PartialObjectMetadata {
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kind))
	return o
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// Inputs are read past the cache, and what was read is believed in later passes over the
// same generation of a Workspace (docs/design/0082).

// heldAhead is how long what was read may be later than what the watch of it has: after a
// backup of the cluster was put back, versions begin again below those that were read.
const heldAhead = time.Minute

// errInputMoved ends a pass that would have written what rests on an input that is another
// by now: the next one, at once, reads all of them.
var errInputMoved = errors.New("an input has changed under the pass")

// trusted is an input that a pass has taken as it was read by an earlier one.
type trusted struct {
	key inputKey
	readInput
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

// believed is an input as it was read last, false where it is to be read: the watch of its
// metadata knows of nothing later. The watch may not have heard of what was read yet.
func (r *Reconciler) believed(ctx context.Context, p *pass, kind, name string) (readInput, bool) {
	if !p.believes {
		return readInput{}, false
	}
	key := inputKey{kind, p.ws.Namespace, name}
	held, ok := r.read.get(key)
	if !ok {
		return readInput{}, false
	}
	watched := metadataOf(kind)
	err := r.Client.Get(ctx, types.NamespacedName{Namespace: p.ws.Namespace, Name: name}, watched, client.UnsafeDisableDeepCopy) // nobody changes it
	if err != nil || !held.stillAs(watched, r.Clock()) {
		return readInput{}, false
	}
	p.onTrust = append(p.onTrust, trusted{key, held})
	return held, true
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
		if apierrors.IsNotFound(err) || !in.is(live) {
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

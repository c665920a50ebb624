// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
)

// callLimit is how long one request may take: whoever waits for it is a worker that
// others need.
const callLimit = 10 * time.Second

// passLimit is how long one pass may ask a cluster, from its first request on: one that
// answers each request a little before its limit would hold a worker for hours.
const passLimit = 2 * time.Minute

type allowanceKey struct{}

// allowance is what is left to a pass.
type allowance struct {
	mu   sync.Mutex
	ends time.Time
}

// Limited returns the context of a pass, in which requests to another cluster end when
// passLimit is over. Nothing else does.
func Limited(ctx context.Context) context.Context {
	return context.WithValue(ctx, allowanceKey{}, &allowance{})
}

// isUsedUp says that a pass has asked for long enough.
func isUsedUp(ctx context.Context) bool {
	a, ok := ctx.Value(allowanceKey{}).(*allowance)
	if !ok {
		return false
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ends.IsZero() {
		a.ends = time.Now().Add(passLimit)
	}
	return !time.Now().Before(a.ends)
}

// guarded is a client whose requests end in time, whose errors hold no address, and
// which asks nothing of a cluster that is known to be away.
type guarded struct {
	client.Client
	of *Cluster
	// own is the account that signs in itself: what it may not do, its Role lacks.
	own bool
}

func (g guarded) do(ctx context.Context, call func(context.Context) error) error {
	if err := g.of.Down(); err != nil {
		return err
	}
	if isUsedUp(ctx) {
		return g.of.tooSlow()
	}
	limited, cancel := context.WithTimeout(ctx, callLimit)
	defer cancel()
	err := call(limited)
	if ctx.Err() != nil {
		return ctx.Err() // the pass is over, and nothing is wrong with the cluster
	}
	err = g.of.retold(err)
	if fault.Reason(err, "") != "" {
		g.of.lost(err)
	}
	if g.own && apierrors.IsForbidden(err) {
		return fmt.Errorf("%w; %s", err, needsRole)
	}
	return err
}

const needsRole = "the account that signs in there needs the rights that docs/remote-clusters.md has as YAML"

// Get implements client.Reader.
func (g guarded) Get(ctx context.Context, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.Get(ctx, key, o, opts...) })
}

// List implements client.Reader.
func (g guarded) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.List(ctx, list, opts...) })
}

// Apply implements client.Writer, as all that follow.
func (g guarded) Apply(ctx context.Context, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.Apply(ctx, o, opts...) })
}

// Create implements client.Writer.
func (g guarded) Create(ctx context.Context, o client.Object, opts ...client.CreateOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.Create(ctx, o, opts...) })
}

// Delete implements client.Writer.
func (g guarded) Delete(ctx context.Context, o client.Object, opts ...client.DeleteOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.Delete(ctx, o, opts...) })
}

// Update implements client.Writer.
func (g guarded) Update(ctx context.Context, o client.Object, opts ...client.UpdateOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.Update(ctx, o, opts...) })
}

// Patch implements client.Writer.
func (g guarded) Patch(ctx context.Context, o client.Object, patch client.Patch, opts ...client.PatchOption) error {
	return g.do(ctx, func(ctx context.Context) error { return g.Client.Patch(ctx, o, patch, opts...) })
}

// SPDX-License-Identifier: Apache-2.0

// Package existing provides GPU nodes that are there already: on premises, or
// made by someone else's tooling. It selects them by the pool's nodeLabels.
//
// It never creates, changes or deletes anything, in a cloud or in the cluster;
// replicas is the least number of nodes that must be usable. What they are is
// judged in gpu/pool, by what GPU feature discovery says of them.
package existing

import (
	"context"
	"maps"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// Provider is a pool.Provider over nodes that exist.
type Provider struct{}

var _ pool.Provider = Provider{}

// Observe returns the selector of the nodes: what they are, the cluster knows.
func (Provider) Observe(_ context.Context, t pool.Target) (pool.Observation, error) {
	return pool.Observation{External: true, Fresh: true, State: pool.StateSucceeded, NodeSelector: maps.Clone(t.NodeLabels)}, nil
}

// Ensure does nothing.
func (Provider) Ensure(context.Context, pool.Target) (pool.Step, error) { return pool.StepNone, nil }

// Delete does nothing.
func (Provider) Delete(context.Context, pool.Target) (pool.Step, error) { return pool.StepNone, nil }

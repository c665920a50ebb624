// SPDX-License-Identifier: Apache-2.0

// Package shard divides RepoSyncs and Workspaces among controllers by a label
// selector, as Flux's controllers are divided.
//
// It decides what a controller acts on, not what it sees: every controller has all
// objects in its cache, because what one shard does may hang on an object of another.
package shard

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"

	"k8s.io/apimachinery/pkg/labels"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/predicate"
)

// Label is the label by which RepoSyncs are divided. What a RepoSync applies gets its
// value, so that it is of the same shard.
const Label = "sharding.fluxcd.io/key"

// Shard is the part of the objects that a controller acts on; nil is all of them.
type Shard struct{ selector labels.Selector }

// Parse reads a label selector, such as sharding.fluxcd.io/key=shard1. None is nil.
func Parse(text string) (*Shard, error) {
	if text == "" {
		return nil, nil
	}
	selector, err := labels.Parse(text)
	if err != nil {
		return nil, fmt.Errorf("%q is no label selector: %w", text, err)
	}
	return &Shard{selector: selector}, nil
}

// Has says that an object is of this shard.
func (s *Shard) Has(o client.Object) bool {
	return s == nil || s.selector.Matches(labels.Set(o.GetLabels()))
}

// Predicate lets through what is of this shard and passes another predicate, and what
// has come into it.
func (s *Shard) Predicate(asked predicate.Predicate) predicate.Predicate {
	if s == nil {
		return asked
	}
	return predicate.And(predicate.NewPredicateFuncs(s.Has), predicate.Or(asked, predicate.LabelChangedPredicate{}))
}

// Left lets through what has left the shard just now: what is held for it is given up.
func (s *Shard) Left() predicate.Predicate {
	return predicate.Funcs{
		CreateFunc:  func(event.CreateEvent) bool { return false },
		DeleteFunc:  func(event.DeleteEvent) bool { return false },
		GenericFunc: func(event.GenericEvent) bool { return false },
		UpdateFunc:  func(e event.UpdateEvent) bool { return s.Has(e.ObjectOld) && !s.Has(e.ObjectNew) },
	}
}

// Lease is the name of the Lease of this shard's leader: that of the controllers that
// are not divided, and a digest of the selector.
func (s *Shard) Lease(name string) string {
	if s == nil {
		return name
	}
	sum := sha256.Sum256([]byte(s.selector.String()))
	return name + "-" + hex.EncodeToString(sum[:4])
}

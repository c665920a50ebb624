// SPDX-License-Identifier: Apache-2.0

package inventory

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"slices"
	"strings"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// The guard against deleting much at once: at most this many objects, or this
// share of the inventory where that is more, go with one revision unasked.
const (
	pruneAtMost  = 2
	prunePercent = 25
)

// Lengths of the two parts of a PruneToken, in hex digits.
const (
	tokenCommit  = 12
	tokenObjects = 8
)

// PruneInput is what a decision to prune rests on.
type PruneInput struct {
	Inventory []v1alpha1.InventoryEntry // what earlier revisions applied
	Wanted    []v1alpha1.InventoryEntry // what this revision holds
	Failed    int                       // units or documents of this revision that failed
	Commit    string                    // of this revision
	Approved  string                    // the PruneToken that a person set
	Disabled  bool                      // spec.prune is false
}

// PruneDecision says what to delete, or why nothing is deleted.
type PruneDecision struct {
	Delete []v1alpha1.InventoryEntry
	// Keep stays in the inventory although Git dropped it.
	Keep []v1alpha1.InventoryEntry
	// HeldReason, HeldFact and HeldMessage are set when a person must approve: the
	// fact alone, and the message with what to do in the cluster.
	HeldReason, HeldFact, HeldMessage string
}

// DecidePrune is the guard of pruning. While anything fails, nothing is pruned:
// what is missing may only be broken. A revision that holds nothing, or would
// remove much, waits for a person.
func DecidePrune(in PruneInput) PruneDecision {
	stale := Stale(in.Inventory, in.Wanted)
	switch {
	case len(stale) == 0:
		return PruneDecision{}
	case in.Disabled:
		// Out of the inventory, into the hands of whoever runs the cluster.
		return PruneDecision{}
	case in.Failed > 0:
		return PruneDecision{Keep: stale}
	case in.Approved == PruneToken(in.Commit, stale):
		return PruneDecision{Delete: stale}
	case len(in.Wanted) == 0:
		return held(stale, v1alpha1.ReasonNothingBuilt, in,
			fmt.Sprintf("This revision holds nothing: deleting all %d objects is held", len(stale)))
	}
	removed, all := weighty(stale), weighty(in.Inventory)
	if allowed := max(pruneAtMost, all*prunePercent/100); removed > allowed {
		return held(stale, v1alpha1.ReasonTooMuchToPrune, in,
			fmt.Sprintf("This revision drops %d of %d objects, more than the %d that go unasked: deleting is held", removed, all, allowed))
	}
	return PruneDecision{Delete: stale}
}

func held(stale []v1alpha1.InventoryEntry, reason string, in PruneInput, what string) PruneDecision {
	return PruneDecision{
		Keep:       stale,
		HeldReason: reason,
		HeldFact:   what,
		HeldMessage: fmt.Sprintf("%s. Put them back, or approve with: kubectl annotate --overwrite reposync NAME %s=%s",
			what, repolayout.AnnotationApprovePrune, PruneToken(in.Commit, stale)),
	}
}

// PruneToken names one prune: what is deleted, and the commit that dropped it.
// Whoever approves it approves neither another commit nor more deletions at
// this one, for example after spec.path was changed.
func PruneToken(commit string, stale []v1alpha1.InventoryEntry) string {
	ids := make([]string, len(stale))
	for i, e := range stale {
		ids[i] = e.ID
	}
	slices.Sort(ids)
	sum := sha256.Sum256([]byte(strings.Join(ids, "\n")))
	return commit[:min(len(commit), tokenCommit)] + "-" + hex.EncodeToString(sum[:])[:tokenObjects]
}

// weighty counts the entries whose loss costs something. ConfigMaps and Secrets
// are left out: a generator renames them with every change of content.
func weighty(entries []v1alpha1.InventoryEntry) int {
	n := 0
	for _, e := range entries {
		if k := kindOf(e); k != "ConfigMap" && k != "Secret" {
			n++
		}
	}
	return n
}

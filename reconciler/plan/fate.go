// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"

	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// fates says what becomes of objects that head no longer has, by the rule that
// the controller prunes by.
type fates struct {
	others   bool   // something else applies: its prune decides
	failed   int    // errors in head, while which nothing is pruned
	disabled bool   // spec.prune is false
	held     string // why a person must approve
	objects  int    // that head drops
}

// decideFates asks the guard of pruning as if base were what is in the cluster.
func (c *comparer) decideFates() fates {
	f := fates{failed: countErrors(c.head.State.Findings)}
	if s := c.head.Sync; s != nil && s.ReportsOnly() {
		f.others = true
		return f
	}
	if s := c.head.Sync; s != nil {
		f.disabled = s.Spec.Prune != nil && !*s.Spec.Prune
	}
	was, is := entries(c.base.State), entries(c.head.State)
	f.objects = len(inventory.Stale(was, is))
	f.held = inventory.DecidePrune(inventory.PruneInput{
		Inventory: was, Wanted: is, Failed: f.failed, Commit: c.head.Commit, Disabled: f.disabled,
	}).HeldFact
	if f.held != "" {
		c.dangers = append(c.dangers, finding.Warningf(PruneHeld, "",
			"%s. It goes on when a person approves it with the token that the condition PruneHeld of the RepoSync shows after the merge, or when they are put back", f.held).At(fixedPlace{file: c.synced()}, ""))
	}
	return f
}

// synced is the folder that the RepoSync builds.
func (c *comparer) synced() string {
	if s := c.head.Sync; s != nil {
		return s.Spec.Path
	}
	return ""
}

func countErrors(findings []v1alpha1.Finding) int {
	n := 0
	for _, f := range findings {
		if f.Severity == finding.Error {
			n++
		}
	}
	return n
}

// of says what becomes of a document that head no longer has.
func (f fates) of(d desired.Document) Effect {
	annotations, goesOn, costs := map[string]string{}, "it runs on", " and goes on costing"
	switch {
	case d.Workspace != nil:
		annotations = d.Workspace.Annotations
	case d.Pool != nil:
		annotations = d.Pool.Annotations
	case d.Input != nil:
		annotations, goesOn, costs = d.Input.GetAnnotations(), "it stays", ""
	}
	switch {
	case f.others:
		return Effect{Kind: Deleted}
	case f.disabled:
		return Effect{Kind: Kept, Message: "the RepoSync does not prune: it stays in the cluster" + costs + ", and no longer follows Git"}
	case f.failed > 0:
		return Effect{Kind: Kept, Message: fmt.Sprintf("nothing is pruned while %s: %s as it is", counted(f.failed, "error stands in what is built", "errors stand in what is built"), goesOn)}
	case f.held != "":
		return Effect{Kind: Held, Message: "deleting is held until a person approves it: it runs on, and goes on costing"}
	case annotations[repolayout.AnnotationPrune] == "disabled":
		return Effect{Kind: Kept, Message: "its annotation " + repolayout.AnnotationPrune + " keeps it in the cluster"}
	}
	return Effect{Kind: Deleted}
}

// entries is the inventory that a revision would leave.
func entries(s desired.State) []v1alpha1.InventoryEntry {
	var list []v1alpha1.InventoryEntry
	for _, d := range s.Documents {
		if !d.Collides {
			list = append(list, entryOf(d))
		}
	}
	return list
}

func entryOf(d desired.Document) v1alpha1.InventoryEntry {
	if d.Input != nil {
		return inventory.Entry(d.Input, d.Unit)
	}
	o := &unstructured.Unstructured{}
	o.SetGroupVersionKind(schema.GroupVersionKind{Group: v1alpha1.Group, Version: v1alpha1.GroupVersion.Version, Kind: d.Kind()})
	o.SetNamespace(d.Namespace())
	o.SetName(d.ObjectName())
	return inventory.Entry(o, d.Unit)
}

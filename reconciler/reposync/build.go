// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// built is what a commit says, for one RepoSync's generation.
type built struct {
	revision   string
	generation int64
	shard      string // the label that what is wanted got of the RepoSync
	keys       string // version of the Secret that decrypted it
	wanted     []*wanted
	entries    []v1alpha1.InventoryEntry // of these, sorted; see inventory
	findings   []v1alpha1.Finding
}

// inventory has an entry for all that is wanted, sorted by ID. Nobody changes it.
func (b *built) inventory() []v1alpha1.InventoryEntry {
	if b.entries == nil {
		b.entries = inventory.Union(entriesOf(b.wanted))
	}
	return b.entries
}

// build builds the commit unit by unit and decodes every document. What fails,
// fails alone: it becomes a finding, and the others proceed.
func (r *Reconciler) build(ctx context.Context, p *pass) error {
	k, s := p.kept, p.sync
	if err := r.mayTarget(s); err != nil {
		return err
	}
	keys, err := r.keysVersion(ctx, s)
	if err != nil {
		return err
	}
	if !k.built.of(s, k.commit.Revision, keys) {
		if err := r.rebuild(ctx, p, keys); err != nil {
			return err
		}
	}
	s.Status.Findings = inStatus(k.built.findings[:min(len(k.built.findings), maxFindings)])
	return nil
}

// of says whether this is what a revision was built to, for a RepoSync as it is and
// with the keys that there are.
func (b built) of(s *v1alpha1.RepoSync, revision, keys string) bool {
	return b.revision == revision && b.generation == s.Generation && b.shard == s.Labels[shard.Label] && b.keys == keys
}

// rebuild builds, with what the cache of builds has of it.
func (r *Reconciler) rebuild(ctx context.Context, p *pass, keys string) error {
	k, s := p.kept, p.sync
	tree, asked, err := r.decrypting(ctx, s, k.commit.Tree)
	if err != nil {
		return err
	}
	defer asked.Close()
	units, err := r.Builds.Build(ctx, tree, s.Spec.Path, build.DefaultLimits())
	// A path that is gone is a revision that holds nothing, which the guard
	// of pruning judges; where nothing was ever applied it is a mistake.
	if err != nil && (!errors.Is(err, build.ErrNoPath) || len(s.Status.Inventory) == 0) {
		k.built, s.Status.Findings = built{}, nil
		return fault.Stop(v1alpha1.ReasonBuildFailed, fmt.Errorf("building %s: %w", k.commit.Revision, err))
	}
	if err := undecrypted(s, asked, units); err != nil {
		k.built, s.Status.Findings = built{}, nil
		return err
	}
	if k.built.generation != s.Generation || k.built.shard != s.Labels[shard.Label] {
		k.assembled = assembled{} // another spec makes something else of the same documents
	}
	if k.built.keys != keys {
		k.allowed = permission{} // a revision may hold other names
	}
	k.built = k.assembled.assemble(s, r.hubOf(s), k.commit.Revision, units)
	k.built.keys = keys
	return nil
}

// assembled is what was made of documents for one generation of a RepoSync.
type assembled struct {
	units desired.Memory            // of each document the *wanted
	needs map[string][]account.Need // of children, by their text: there are few kinds of Workspaces
	count uint32                    // of the assemblies
}

// assemble makes what is wanted of the documents of every unit, and takes what
// was made of them for the commit before.
func (a *assembled) assemble(s *v1alpha1.RepoSync, hub, revision string, units []build.Unit) built {
	b := built{revision: revision, generation: s.Generation, shard: s.Labels[shard.Label]}
	list, findings := a.units.Make(s, units, func(d desired.Document) any {
		w := prepare(s, hub, d)
		w.children = a.share(w.children)
		return w
	})
	if len(list) > 0 {
		b.wanted = make([]*wanted, len(list))
	}
	for i, of := range list {
		w := of.(*wanted)
		w.there = w.there && w.listed == a.count // while it collided with another no event of it counted
		w.listed = a.count + 1
		b.wanted[i] = w
	}
	a.count++
	b.findings = findings
	errorsFirst(b.findings)
	return b
}

// share is the same list of rights for all Workspaces that need the same.
func (a *assembled) share(needs []account.Need) []account.Need {
	if a.needs == nil {
		a.needs = map[string][]account.Need{}
	}
	text := account.Text(needs)
	if known, ok := a.needs[text]; ok {
		return known
	}
	a.needs[text] = needs
	return needs
}

// inStatus are findings as a status has them, without what mends them: a status that
// is read back is to be the same.
func inStatus(findings []v1alpha1.Finding) []v1alpha1.Finding {
	kept := slices.Clone(findings)
	for i := range kept {
		kept[i].Fix = v1alpha1.Fix{}
	}
	return kept
}

// errorsFirst keeps the order otherwise: what is cut off a status must not be
// the reason it fails.
func errorsFirst(findings []v1alpha1.Finding) {
	slices.SortStableFunc(findings, func(a, b v1alpha1.Finding) int {
		return strings.Compare(a.Severity, b.Severity) // error before warning
	})
}

// toUnstructured converts one of our kinds; it cannot fail on a decoded one.
func toUnstructured(o any, kind string) *unstructured.Unstructured {
	content, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		panic(fmt.Sprintf("converting a decoded %s: %v", kind, err))
	}
	u := &unstructured.Unstructured{Object: content}
	u.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(kind))
	unstructured.RemoveNestedField(u.Object, "status")
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	return u
}

func setLabels(o *unstructured.Unstructured, more map[string]string) {
	labels := o.GetLabels()
	if labels == nil {
		labels = map[string]string{}
	}
	for k, v := range more {
		labels[k] = v
	}
	o.SetLabels(labels)
}

func setAnnotations(o *unstructured.Unstructured, more map[string]string) {
	annotations := o.GetAnnotations()
	if annotations == nil {
		annotations = map[string]string{}
	}
	for k, v := range more {
		annotations[k] = v
	}
	o.SetAnnotations(annotations)
}

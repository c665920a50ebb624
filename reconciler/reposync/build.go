// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// built is what a commit says, for one RepoSync's generation.
type built struct {
	revision   string
	generation int64
	wanted     []wanted
	findings   []v1alpha1.Finding
}

// wanted is an object that the commit wants in the cluster.
type wanted struct {
	object *unstructured.Unstructured
	entry  v1alpha1.InventoryEntry
	file   string
	line   int

	document string // as the build names it in findings
}

// build builds the commit unit by unit and decodes every document. What fails,
// fails alone: it becomes a finding, and the others proceed.
func (r *Reconciler) build(ctx context.Context, p *pass) error {
	k, s := p.kept, p.sync
	if target := Target(s); !r.mayWrite(s, target) {
		return fault.Stopf(v1alpha1.ReasonTargetNamespaceNotAllowed,
			"spec.targetNamespace %s is not this RepoSync's namespace, and the controller does not allow it: move the RepoSync there, or start the controller with --allow-target-namespace=%s", target, target)
	}
	if k.built.revision != k.commit.Revision || k.built.generation != s.Generation {
		units, err := build.Build(ctx, k.commit.Tree, s.Spec.Path, build.DefaultLimits())
		// A path that is gone is a revision that holds nothing, which the guard
		// of pruning judges; where nothing was ever applied it is a mistake.
		if err != nil && (!errors.Is(err, build.ErrNoPath) || len(s.Status.Inventory) == 0) {
			k.built, s.Status.Findings = built{}, nil
			return fault.Stop(v1alpha1.ReasonBuildFailed, fmt.Errorf("building %s: %w", k.commit.Revision, err))
		}
		k.built = assemble(s, k.commit.Revision, units)
	}
	s.Status.Findings = k.built.findings[:min(len(k.built.findings), maxFindings)]
	return nil
}

// Target is the one namespace that a RepoSync writes to.
func Target(s *v1alpha1.RepoSync) string {
	if s.Spec.TargetNamespace != "" {
		return s.Spec.TargetNamespace
	}
	return s.Namespace
}

// CheckNamespace says why an object may not be where it wants to be, nil when it
// may. A RepoSync in a file may leave its own namespace to kubectl: then nothing
// can be said.
func CheckNamespace(s *v1alpha1.RepoSync, namespace string, pos repolayout.Position) *v1alpha1.Finding {
	if namespace == "" || Target(s) == "" || namespace == Target(s) {
		return nil
	}
	file, line := pos.At("metadata.namespace")
	return &v1alpha1.Finding{Severity: finding.Error, Code: "NamespaceNotAllowed", File: file, Line: line, Message: fmt.Sprintf(
		"metadata.namespace is not %s, the only one that RepoSync %s/%s writes to: drop it, or set spec.targetNamespace of the RepoSync", Target(s), s.Namespace, s.Name)}
}

// assemble decodes the objects of every unit into what is wanted. Of two
// documents that stand for one object neither is applied: nobody can say which
// was meant.
func assemble(s *v1alpha1.RepoSync, revision string, units []build.Unit) built {
	b := built{revision: revision, generation: s.Generation}
	var entries []repolayout.Entry
	for _, u := range units {
		b.findings = append(b.findings, u.Findings...)
		for _, o := range u.Objects {
			decoded, findings := repolayout.Decode(o.YAML, o)
			b.findings = append(b.findings, findings...)
			if finding.Refused(findings) {
				continue
			}
			entries = append(entries, repolayout.Entry{Decoded: decoded, Position: o})
			w, refusal := prepare(s, revision, decoded, o)
			if refusal != nil {
				b.findings = append(b.findings, *refusal)
				continue
			}
			w.entry.Unit, w.document = u.Path, o.String()
			b.wanted = append(b.wanted, w)
		}
	}
	b.findings = append(b.findings, repolayout.Collisions(entries)...)
	times, collided := map[string]int{}, map[string]bool{}
	for _, w := range b.wanted {
		times[w.entry.ID]++
	}
	for _, f := range b.findings {
		if f.Code == finding.NameCollision { // found by the build already, which kept the first
			collided[f.Object] = true
		}
	}
	errorsFirst(b.findings)
	b.wanted = slices.DeleteFunc(b.wanted, func(w wanted) bool { return times[w.entry.ID] > 1 || collided[w.document] })
	return b
}

// errorsFirst keeps the order otherwise: what is cut off a status must not be
// the reason it fails.
func errorsFirst(findings []v1alpha1.Finding) {
	slices.SortStableFunc(findings, func(a, b v1alpha1.Finding) int {
		return strings.Compare(a.Severity, b.Severity) // error before warning
	})
}

// prepare turns a decoded document into the object to apply: substituted, in
// its namespace, and marked with where it comes from.
func prepare(s *v1alpha1.RepoSync, revision string, d repolayout.Decoded, pos repolayout.Position) (wanted, *v1alpha1.Finding) {
	o := d.Input
	switch {
	case d.Workspace != nil:
		Substitute(d.Workspace, s.Spec.Substitutions)
		o = toUnstructured(d.Workspace, v1alpha1.WorkspaceKind)
	case d.Pool != nil:
		o = toUnstructured(d.Pool, v1alpha1.GPUNodePoolKind)
	}
	if refusal := CheckNamespace(s, o.GetNamespace(), pos); refusal != nil {
		return wanted{}, refusal
	}
	o.SetNamespace(Target(s))
	setLabels(o, map[string]string{
		repolayout.LabelSyncName:      s.Name,
		repolayout.LabelSyncNamespace: s.Namespace,
	})
	file, line := pos.At("")
	setAnnotations(o, map[string]string{
		repolayout.AnnotationDigest:   digestOf(o),
		repolayout.AnnotationRevision: revision,
		repolayout.AnnotationSource:   finding.Location(file, line),
	})
	return wanted{object: o, entry: inventory.Entry(o, ""), file: file, line: line}, nil
}

// Substitute moves a Workspace from one instance type to another, and leaves a
// note of it for the reader of its status.
func Substitute(w *v1alpha1.Workspace, table map[string]string) {
	var moved []string
	replace := func(instance *string) {
		if to, ok := table[*instance]; ok {
			moved = append(moved, *instance+"="+to)
			*instance = to
		}
	}
	replace(&w.Spec.Resource.InstanceType)
	for i := range w.Spec.Resource.Candidates {
		replace(&w.Spec.Resource.Candidates[i].InstanceType)
	}
	if len(moved) == 0 {
		return
	}
	if w.Annotations == nil {
		w.Annotations = map[string]string{}
	}
	w.Annotations[repolayout.AnnotationSubstituted] = strings.Join(moved, ",")
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

// digestOf is the digest of an object's content; JSON sorts its maps.
func digestOf(o *unstructured.Unstructured) string {
	content, err := json.Marshal(o.Object)
	if err != nil {
		panic(fmt.Sprintf("marshalling %s: %v", apply.Describe(o), err))
	}
	sum := sha256.Sum256(content)
	return "sha256:" + hex.EncodeToString(sum[:])
}

// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"path"
	"strings"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ImageRepository is where an image is, registry and repository without tag and
// digest; "" for what is no image.
func ImageRepository(image string) string {
	ref, err := name.ParseReference(image)
	if err != nil {
		return ""
	}
	return ref.Context().Name()
}

// Pinned says whether an image is named by digest.
func Pinned(image string) bool { return strings.Contains(image, "@sha256:") }

// PromotedAdapters are the adapters of an inference Workspace that a tuning
// Workspace promotes to, by index: those from the repository it pushes to.
func PromotedAdapters(tuning, inference *v1alpha1.Workspace) []int {
	t, s := tuning.Spec.Tuning, inference.Spec.Inference
	if t == nil || t.Promote == nil || s == nil || t.Promote.To != inference.Name {
		return nil
	}
	from := ImageRepository(t.Output.Image)
	var found []int
	for i, a := range s.Adapters {
		if from != "" && ImageRepository(a.Image) == from {
			found = append(found, i)
		}
	}
	return found
}

// TrainedAdapters are the adapters of an inference Workspace that name, by its tag, the
// very image that a tuning Workspace pushes to, by index.
func TrainedAdapters(tuning, inference *v1alpha1.Workspace) []int {
	t, s := tuning.Spec.Tuning, inference.Spec.Inference
	if t == nil || s == nil || t.Output.Image == "" {
		return nil
	}
	to, err := name.ParseReference(t.Output.Image)
	if err != nil {
		return nil
	}
	var found []int
	for i, a := range s.Adapters {
		if from, err := name.ParseReference(a.Image); err == nil && a.Image != "" && !Pinned(a.Image) && from.Name() == to.Name() {
			found = append(found, i)
		}
	}
	return found
}

// Promotions finds tuning Workspaces whose adapter could be promoted nowhere, and
// services that name by tag what one trains and nobody promotes. A run that promotes to a
// Workspace of other files is only warned about.
func Promotions(entries []Entry) []v1alpha1.Finding {
	workspaces := map[string][]*v1alpha1.Workspace{}
	for _, e := range entries {
		if w := e.Workspace; w != nil {
			workspaces[w.Name] = append(workspaces[w.Name], w)
		}
	}
	findings := unpinned(entries)
	for _, e := range entries {
		w := e.Workspace
		if w == nil || w.Spec.Tuning == nil || w.Spec.Tuning.Promote == nil || w.Spec.Tuning.Promote.To == "" {
			continue
		}
		if p := promotion(w, sameNamespace(w, workspaces[w.Spec.Tuning.Promote.To])); p != nil {
			findings = append(findings, p.At(e.Position, object(v1alpha1.WorkspaceKind, w.Namespace, w.Name)))
		}
	}
	finding.Sort(findings)
	return findings
}

// unpinned finds adapters by the tag that another Workspace of these files pushes to, where
// no pull request brings the digest.
func unpinned(entries []Entry) []v1alpha1.Finding {
	var findings []v1alpha1.Finding
	for _, service := range entries {
		if service.Workspace == nil || service.Workspace.Spec.Inference == nil || len(service.Workspace.Spec.Inference.Adapters) == 0 {
			continue
		}
		for _, run := range entries {
			if run.Workspace != nil {
				findings = append(findings, byTag(run.Workspace, service)...)
			}
		}
	}
	return findings
}

// byTag are the adapters of a service that name the tag that a run pushes to.
func byTag(run *v1alpha1.Workspace, service Entry) []v1alpha1.Finding {
	to := service.Workspace
	if !alike(run.Namespace, to.Namespace) || len(PromotedAdapters(run, to)) > 0 {
		return nil
	}
	var findings []v1alpha1.Finding
	for _, i := range TrainedAdapters(run, to) {
		p := finding.Warningf(finding.AdapterNotPinned, finding.Index("spec.inference.adapters", i)+".image",
			"Workspace %s pushes to this tag, so that Git does not say which of its adapters is served, and a new one reaches no pod: name its digest, or let the run propose it by spec.tuning.promote {to: %s}",
			run.Name, to.Name)
		findings = append(findings, p.At(service.Position, object(v1alpha1.WorkspaceKind, to.Namespace, to.Name)))
	}
	return findings
}

// alike says that two namespaces may be the same: one that is left open is set elsewhere.
func alike(a, b string) bool { return a == b || a == "" || b == "" }

func sameNamespace(w *v1alpha1.Workspace, list []*v1alpha1.Workspace) *v1alpha1.Workspace {
	for _, other := range list {
		if alike(other.Namespace, w.Namespace) {
			return other
		}
	}
	return nil
}

// promotion says what is in the way of a promotion; nil: nothing. The run is not
// held up for it, so that it is a warning.
func promotion(w, to *v1alpha1.Workspace) *finding.Problem {
	const field = "spec.tuning.promote.to"
	t := w.Spec.Tuning
	from := ImageRepository(t.Output.Image)
	var p finding.Problem
	switch {
	case to == nil:
		p = finding.Warningf(finding.PromotionInvalid, field, "no Workspace %s is among these files, so the adapter would be promoted nowhere", t.Promote.To)
	case to.Spec.Inference == nil:
		p = finding.Warningf(finding.PromotionInvalid, field, "%s does not serve a model: name an inference Workspace", to.Name)
	case !sameModel(w, to):
		p = finding.Warningf(finding.PromotionInvalid, field, "%s serves %s, and an adapter of %s does not belong to it", to.Name, modelOf(to), modelOf(w))
	case len(PromotedAdapters(w, to)) == 0:
		p = finding.Warningf(finding.PromotionInvalid, field, "%s has no adapter from %s: add {name: %s, image: '%s'} to its spec.inference.adapters",
			to.Name, from, w.Name, t.Output.Image)
	case len(PromotedAdapters(w, to)) > 1:
		p = finding.Warningf(finding.PromotionInvalid, field, "%s has %d adapters from %s, and which of them is meant is not known: push to a repository of its own",
			to.Name, len(PromotedAdapters(w, to)), from)
	default:
		return nil
	}
	return &p
}

// sameModel compares the names of models: with or without who published it.
func sameModel(a, b *v1alpha1.Workspace) bool {
	short := func(w *v1alpha1.Workspace) string { return strings.ToLower(path.Base(modelOf(w))) }
	return short(a) == short(b)
}

func modelOf(w *v1alpha1.Workspace) string {
	if m := w.Spec.Model(); m != nil {
		return m.ModelName()
	}
	return "a pod of its own"
}

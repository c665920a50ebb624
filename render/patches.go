// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"reflect"
	"regexp"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// maxPatchBytes and maxPatchExpansion bound a user's patch: a Workspace is at
// most 1.5 MiB as a whole.
const (
	maxPatchBytes     = 256 << 10
	maxPatchExpansion = 64 << 10
)

// patched applies the user's patches and refuses what a tenant may not change.
// The error names the first patch that does it.
func (l layer) patched(ctx context.Context, own []*unstructured.Unstructured, patches []v1alpha1.Patch) ([]*unstructured.Unstructured, error) {
	for i, p := range patches {
		if err := checkText(p.Patch); err != nil {
			return nil, patchError(i, err)
		}
	}
	out, err := l.permitted(ctx, own, patches)
	if err == nil {
		return out, nil
	}
	for i := range patches {
		if _, err := l.permitted(ctx, own, patches[:i+1]); err != nil {
			return nil, patchError(i, err)
		}
	}
	return nil, fmt.Errorf("spec.patches: %w", err)
}

func patchError(i int, err error) error {
	return fmt.Errorf("spec.patches[%d]: %s", i, strings.Join(strings.Fields(err.Error()), " "))
}

// checkText refuses what would grow before Kustomize sees it.
func checkText(text string) error {
	if len(text) > maxPatchBytes {
		return fmt.Errorf("larger than %d bytes", maxPatchBytes)
	}
	docs, err := yamltext.Parse([]byte(text), maxPatchExpansion)
	if err != nil {
		return err
	}
	for _, d := range docs {
		for _, operation := range d.Content {
			if op := yamltext.Field(operation, "op"); op != nil && (op.Value == "copy" || op.Value == "move") {
				return fmt.Errorf("operation %q is not allowed: write the value", op.Value)
			}
		}
	}
	return nil
}

func (l layer) permitted(ctx context.Context, own []*unstructured.Unstructured, patches []v1alpha1.Patch) ([]*unstructured.Unstructured, error) {
	out, err := l.build(ctx, patches)
	if err != nil {
		return nil, errors.New(strings.ReplaceAll(err.Error(), ownFolder, "the rendered objects"))
	}
	if err := sameObjects(own, out); err != nil {
		return nil, err
	}
	before := map[string]*unstructured.Unstructured{}
	for _, o := range own {
		before[identity(o)] = o
	}
	for _, o := range out { // in another order, perhaps: two may have changed their kinds
		was := before[identity(o)]
		if err := permitted(was, o); err != nil {
			return nil, fmt.Errorf("%s %s: %w", o.GetKind(), o.GetName(), err)
		}
		keepOrder(was, o)
	}
	return out, nil
}

// initContainers are where a workload has them.
var initContainers = []string{"spec", "template", "spec", "initContainers"}

// keepOrder puts the init containers that a workload had before it was patched into the
// order that they had: a strategic merge patch moves those that it names to the front,
// and each needs what the one before has left. What a patch adds stays before all of ours
// that it was put before.
func keepOrder(own, out *unstructured.Unstructured) {
	before, _, _ := unstructured.NestedSlice(own.Object, initContainers...)
	list, _, err := unstructured.NestedSlice(out.Object, initContainers...)
	if err != nil || len(list) == 0 {
		return
	}
	place := func(c any) int { return slices.IndexFunc(before, func(b any) bool { return nameOf(b) == nameOf(c) }) }
	type placed struct {
		at        int
		container any
	}
	var order []placed
	first := 2 * len(before) // the first of ours behind, in the order that they had
	for _, c := range slices.Backward(list) {
		at := first
		if p := place(c); p >= 0 {
			at, first = 2*p+1, min(first, 2*p)
		}
		order = append(order, placed{at, c})
	}
	slices.Reverse(order)
	slices.SortStableFunc(order, func(a, b placed) int { return a.at - b.at })
	for i := range order {
		list[i] = order[i].container
	}
	_ = unstructured.SetNestedSlice(out.Object, list, initContainers...) // a list was there
}

// nameOf is the name of an element of a list; "" where it has none.
func nameOf(element any) string {
	o, _ := element.(object)
	name, _ := o["name"].(string)
	return name
}

// idle are the patches whose target selects none of the objects, by index. A patch
// without a target that finds nothing is refused by Kustomize itself.
func idle(objects []*unstructured.Unstructured, patches []v1alpha1.Patch) []int {
	var list []int
	for i, p := range patches {
		if p.Target != nil && !slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool { return selects(*p.Target, o) }) {
			list = append(list, i)
		}
	}
	return list
}

// selects says what Kustomize does: a kind is compared as it is, and a name is a
// regular expression for the whole of one.
func selects(t v1alpha1.PatchTarget, o *unstructured.Unstructured) bool {
	if t.Kind != "" && t.Kind != o.GetKind() {
		return false
	}
	name, err := regexp.Compile("^(?:" + t.Name + ")$")
	return err == nil && (t.Name == "" || name.MatchString(o.GetName()))
}

// identity is what tells children apart.
func identity(o *unstructured.Unstructured) string {
	return o.GetAPIVersion() + " " + o.GetKind() + " " + o.GetNamespace() + "/" + o.GetName()
}

// sameObjects refuses added, removed and renamed objects.
func sameObjects(own, out []*unstructured.Unstructured) error {
	names := map[string]bool{}
	for _, o := range own {
		names[identity(o)] = true
	}
	for _, o := range out {
		if !names[identity(o)] {
			return fmt.Errorf("it adds or renames an object: there is no %s among the rendered ones", identity(o))
		}
		delete(names, identity(o))
	}
	for _, o := range own {
		if names[identity(o)] {
			return fmt.Errorf("it removes %s", identity(o))
		}
	}
	return nil
}

// permitted compares an object with what was rendered before the patches.
func permitted(own, out *unstructured.Unstructured) error {
	if len(out.GetOwnerReferences()) > 0 || len(out.GetFinalizers()) > 0 {
		return errors.New("owner references and finalizers are Espalier's")
	}
	if err := ourKeys("labels", own.GetLabels(), out.GetLabels()); err != nil {
		return err
	}
	if err := ourKeys("annotations", own.GetAnnotations(), out.GetAnnotations()); err != nil {
		return err
	}
	if err := cmp.Or(permittedKeys(out), permittedFields(own, out), permittedRoute(own, out), permittedPolicy(own, out), permittedGPUs(own, out)); err != nil {
		return err
	}
	template, ok, err := unstructured.NestedMap(out.Object, "spec", "template")
	if err != nil || !ok {
		return err
	}
	before, _, err := unstructured.NestedMap(own.Object, "spec", "template")
	if err != nil {
		return err
	}
	return permittedPod(before, template)
}

// ourKeys refuses changes to labels or annotations that Espalier reads.
func ourKeys(what string, own, out map[string]string) error {
	all := maps.Clone(out)
	if all == nil {
		all = map[string]string{}
	}
	for k := range own {
		all[k] = out[k]
	}
	for k := range all {
		_, ours := own[k]
		if (ours || reserved(k)) && own[k] != out[k] {
			return fmt.Errorf("%s %s is Espalier's", what, k)
		}
	}
	return nil
}

func reserved(key string) bool {
	domain, _, _ := strings.Cut(key, "/")
	return domain == v1alpha1.Group || strings.HasSuffix(domain, "."+v1alpha1.Group) || domain == "app.kubernetes.io"
}

// permittedPod checks a pod template: our labels and digest, the node selector
// that keeps Workspaces off each other's nodes, and nothing that reaches the
// host or the API server (the Pod Security level baseline, and no token).
func permittedPod(own, out object) error {
	ownMeta, outMeta := unstructured.Unstructured{Object: own}, unstructured.Unstructured{Object: out}
	if err := ourKeys("pod labels", ownMeta.GetLabels(), outMeta.GetLabels()); err != nil {
		return err
	}
	annotations := outMeta.GetAnnotations()
	if err := cmp.Or(ourKeys("pod annotations", ownMeta.GetAnnotations(), annotations), confinedAnnotations(annotations)); err != nil {
		return err
	}
	ownSpec, _, _ := unstructured.NestedMap(own, "spec")
	outSpec, ok, err := unstructured.NestedMap(out, "spec")
	if err != nil || !ok {
		return errors.New("the pod has no spec")
	}
	ownNodes, _, _ := unstructured.NestedStringMap(ownSpec, "nodeSelector")
	outNodes, _, err := unstructured.NestedStringMap(outSpec, "nodeSelector")
	if err != nil {
		return err
	}
	for key, value := range ownNodes {
		if outNodes[key] != value {
			return fmt.Errorf("nodeSelector %s keeps the pods on their own nodes", key)
		}
	}
	if v := outNodes[repolayout.LabelPool]; v != ownNodes[repolayout.LabelPool] {
		return fmt.Errorf("nodeSelector %s chooses nodes of another pool", repolayout.LabelPool)
	}
	if err := readsHost(ownSpec, outSpec); err != nil {
		return err
	}
	outSpec["volumes"] = foreign(outSpec["volumes"], ownSpec["volumes"])
	if account := ownSpec["serviceAccountName"]; account != nil && outSpec["serviceAccountName"] == account {
		delete(outSpec, "serviceAccountName") // ours, which the controller allows
	}
	return confined(outSpec)
}

// readsHost sees that a folder of the node, which pods of others mount too, is
// mounted for reading: a volume of that kind cannot say so itself.
func readsHost(own, out object) error {
	host := map[any]bool{}
	for _, v := range objects(own["volumes"]) {
		host[v["name"]] = v["hostPath"] != nil
	}
	for _, list := range podContainers {
		for _, c := range objects(out[list]) {
			for _, m := range objects(c["volumeMounts"]) {
				if host[m["name"]] && m["readOnly"] != true {
					return fmt.Errorf("container %v: volume %v is a folder of the node, which others read too: mount it for reading alone (readOnly: true)", c["name"], m["name"])
				}
			}
		}
	}
	return nil
}

// foreign are the volumes that a patch has brought or changed: one of ours projects
// the token of a trainer, as it stands.
func foreign(volumes, own any) []any {
	var changed []any
	for _, v := range objects(volumes) {
		if !slices.ContainsFunc(objects(own), func(o object) bool { return reflect.DeepEqual(o, v) }) {
			changed = append(changed, v)
		}
	}
	return changed
}

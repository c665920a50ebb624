// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"fmt"
	"path"
	"slices"
	"strings"
	"sync"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/espalier-dev/espalier/render/internal/kustomize"
)

// quick builds the layer without a run of Kustomize for every Workspace: its
// base and components are built by Kustomize once for all of them, and the
// generated patches are merged by Kustomize's own merge. ok is false for what it
// has no way for, copies over several nodes above all; a run of Kustomize then
// gives the same, which a test compares.
func (l layer) quick(ctx context.Context) (objects []*unstructured.Unstructured, ok bool, err error) {
	base, err := l.built(ctx)
	if err != nil {
		return nil, false, err
	}
	all := make([]*resource.Resource, 0, len(base)+len(l.objects))
	for _, r := range base {
		all = append(all, r.DeepCopy())
	}
	if ok, err := l.merge(base, all); !ok || err != nil {
		return nil, false, err
	}
	for _, o := range l.objects {
		r, err := resources.FromMap(o)
		if err != nil {
			return nil, false, fmt.Errorf("reading a generated object: %w", err)
		}
		all = append(all, r)
	}
	for _, r := range all {
		o, err := unstructuredOf(r)
		if err != nil {
			return nil, false, err
		}
		if !l.finish(o) {
			return nil, false, nil
		}
		objects = append(objects, o)
	}
	if !l.operate(base, objects) || l.namesBase(objects) {
		return nil, false, nil
	}
	return ordered(objects), true, nil
}

// resources makes Kustomize's objects of ours.
var resources = provider.NewDefaultDepProvider().GetResourceFactory()

// bases are built bases by runtime, version and components. They are only read.
var bases sync.Map // string → []*resource.Resource

// built is the base with the components, as Kustomize builds it.
func (l layer) built(ctx context.Context) ([]*resource.Resource, error) {
	key := strings.Join(append([]string{l.id, l.folder}, l.components...), " ")
	if known, ok := bases.Load(key); ok {
		return known.([]*resource.Resource), nil
	}
	files := filesys.MakeFsInMemory()
	if err := copyTree(files, baseFolder, l.base); err != nil {
		return nil, err
	}
	k := newKustomization()
	k.Resources = []string{path.Join("..", baseFolder, l.folder)}
	for _, c := range l.components {
		k.Components = append(k.Components, path.Join("..", baseFolder, c))
	}
	if err := write(files, path.Join(ownFolder, "kustomization.yaml"), k); err != nil {
		return nil, err
	}
	built, err := kustomize.Run(ctx, 0, files, ownFolder)
	if err != nil {
		return nil, err
	}
	known, _ := bases.LoadOrStore(key, built.Resources())
	return known.([]*resource.Resource), nil
}

// at is the object of the base that a patch is for, -1 when that is not clear.
func (p patch) at(base []*resource.Resource) int {
	found := -1
	for i, r := range base {
		if r.GetKind() != p.kind || r.GetName() != p.name {
			continue
		}
		if found >= 0 {
			return -1
		}
		found = i
	}
	return found
}

// merge merges the strategic merge patches into copies of the base's objects.
func (l layer) merge(base, all []*resource.Resource) (ok bool, err error) {
	for _, p := range l.patches {
		at := p.at(base)
		if at < 0 {
			return false, nil
		}
		if len(p.body) == 0 {
			continue
		}
		body := object{"apiVersion": versions[p.kind], "kind": p.kind}
		for key, value := range p.body {
			body[key] = value
		}
		patch, err := resources.FromMap(body)
		if err != nil {
			return false, fmt.Errorf("reading a generated patch: %w", err)
		}
		patch.AllowNameChange()
		if err := all[at].ApplySmPatch(patch); err != nil {
			return false, fmt.Errorf("merging a generated patch: %w", err)
		}
		all[at].RemoveBuildAnnotations()
	}
	return true, nil
}

// templated kinds have the labels of the layer in their pod template too.
var templated = map[string]bool{"Deployment": true, "Job": true}

// untemplated kinds have none.
var untemplated = map[string]bool{
	"ConfigMap": true, "GPUNodePool": true, "PersistentVolumeClaim": true, "PodDisruptionBudget": true, "Service": true,
	KindServiceMonitor: true, "NetworkPolicy": true, KindRoute: true, KindInferencePool: true, KindHPA: true, KindScaledObject: true,
}

// finish puts an object into its namespace and labels it, as the layer's
// kustomization would; false for a kind that it does not know.
func (l layer) finish(o *unstructured.Unstructured) bool {
	kind := o.GetKind()
	if !templated[kind] && !untemplated[kind] {
		return false
	}
	o.SetNamespace(l.namespace)
	paths := [][]string{{"metadata", "labels"}}
	if templated[kind] {
		paths = append(paths, []string{"spec", "template", "metadata", "labels"})
	}
	for _, p := range paths {
		labels, _, err := unstructured.NestedStringMap(o.Object, p...)
		if err != nil {
			return false
		}
		if labels == nil {
			labels = map[string]string{}
		}
		for key, value := range l.labels {
			labels[key] = value
		}
		if err := unstructured.SetNestedStringMap(o.Object, labels, p...); err != nil {
			return false
		}
	}
	dropEmptyInit(o)
	return true
}

// operate appends to lists, which is the one JSON 6902 operation that the
// generated patches have.
func (l layer) operate(base []*resource.Resource, objects []*unstructured.Unstructured) bool {
	for _, p := range l.patches {
		for _, operation := range p.operations {
			at := p.at(base)
			list, appends := strings.CutSuffix(fmt.Sprint(operation["path"]), "/-")
			if at < 0 || operation["op"] != "add" || !appends || !appendTo(objects[at].Object, strings.Split(list[1:], "/"), operation["value"]) {
				return false
			}
		}
	}
	return true
}

func appendTo(o object, list []string, value any) bool {
	items, found, err := unstructured.NestedSlice(o, list...)
	item, isObject := value.(object)
	if err != nil || !found || !isObject {
		return false
	}
	return unstructured.SetNestedSlice(o, append(items, item), list...) == nil
}

// namesBase says whether a text in an object is the name that a patched object
// has in the base: Kustomize would follow it.
func (l layer) namesBase(objects []*unstructured.Unstructured) bool {
	names := map[string]bool{}
	for _, p := range l.patches {
		names[p.name] = true
	}
	return slices.ContainsFunc(objects, func(o *unstructured.Unstructured) bool { return says(o.Object, names) })
}

func says(value any, names map[string]bool) bool {
	switch v := value.(type) {
	case string:
		return names[v]
	case object:
		for _, inner := range v {
			if says(inner, names) {
				return true
			}
		}
	case []any:
		for _, inner := range v {
			if says(inner, names) {
				return true
			}
		}
	}
	return false
}

// unstructuredOf is a resource as the API machinery has it: numbers are int64 or
// float64.
func unstructuredOf(r *resource.Resource) (*unstructured.Unstructured, error) {
	content := object{}
	if err := r.YNode().Decode(&content); err != nil {
		return nil, fmt.Errorf("reading %s %s: %w", r.GetKind(), r.GetName(), err)
	}
	return &unstructured.Unstructured{Object: machinery(content).(object)}, nil
}

func machinery(value any) any {
	switch v := value.(type) {
	case int:
		return int64(v)
	case object:
		for key, inner := range v {
			v[key] = machinery(inner)
		}
	case []any:
		for i, inner := range v {
			v[i] = machinery(inner)
		}
	}
	return value
}

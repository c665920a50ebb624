// SPDX-License-Identifier: Apache-2.0

package render

import (
	"context"
	"fmt"
	"io/fs"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	"sigs.k8s.io/kustomize/kyaml/resid"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/internal/kustomize"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// object is a Kubernetes object, or a patch of one.
type object = map[string]any

// layer is a generated kustomization over a base of presets/runtimes.
type layer struct {
	base fs.FS
	// id of the base: runtime and version.
	id string
	// folder of the base that has the kustomization; "" is its root.
	folder          string
	name, namespace string
	labels          map[string]string
	// objects beside those of the base; components of the base, by folder.
	objects    []object
	components []string
	// patches are strategic merge patches; name is what the object is called in
	// the base, the patch's own metadata.name what it is called from then on.
	patches []patch
}

type patch struct {
	kind string
	name string // in the base
	body object
	// operations are JSON 6902, for lists that merge by no key.
	operations []object
}

// versions of the kinds in bases.
var versions = map[string]string{
	"Deployment": "apps/v1", "Job": "batch/v1", "Service": "v1", "PersistentVolumeClaim": "v1",
	"PodDisruptionBudget": "policy/v1", "StatefulSet": "apps/v1", "NetworkPolicy": "networking.k8s.io/v1",
}

// Folders of the file system that Kustomize sees.
const (
	baseFolder  = "/base"
	ownFolder   = "/own"
	usersFolder = "/users"
)

// build renders the layer, and the user's patches over it.
func (l layer) build(ctx context.Context, users []v1alpha1.Patch) ([]*unstructured.Unstructured, error) {
	if len(users) > 0 {
		return l.run(ctx, users)
	}
	key, err := l.key()
	if err != nil {
		return nil, err
	}
	if objects, err := layers.get(key); len(objects) > 0 || err != nil {
		return objects, err
	}
	objects, ok, err := l.quick(ctx)
	if err == nil && !ok {
		objects, err = l.run(ctx, nil)
	}
	if err != nil {
		return nil, err
	}
	return objects, layers.put(key, l.id, objects)
}

// run has Kustomize do it all.
func (l layer) run(ctx context.Context, users []v1alpha1.Patch) ([]*unstructured.Unstructured, error) {
	files := filesys.MakeFsInMemory()
	if err := copyTree(files, baseFolder, l.base); err != nil {
		return nil, err
	}
	own, err := l.kustomization(files)
	if err != nil {
		return nil, err
	}
	if err := write(files, path.Join(ownFolder, "kustomization.yaml"), own); err != nil {
		return nil, err
	}
	root := ownFolder
	if len(users) > 0 {
		root = usersFolder
		if err := write(files, path.Join(root, "kustomization.yaml"), overlay(users)); err != nil {
			return nil, err
		}
	}
	built, err := kustomize.Run(ctx, 0, files, root)
	if err != nil {
		return nil, err
	}
	return convert(built)
}

func newKustomization() types.Kustomization {
	return types.Kustomization{TypeMeta: types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind}}
}

func (l layer) kustomization(files filesys.FileSystem) (types.Kustomization, error) {
	k := newKustomization()
	k.Namespace = l.namespace
	k.Resources = []string{path.Join("..", baseFolder, l.folder)}
	for i, o := range l.objects {
		name := fmt.Sprintf("object-%d.yaml", i)
		if err := write(files, path.Join(ownFolder, name), o); err != nil {
			return k, err
		}
		k.Resources = append(k.Resources, name)
	}
	for _, c := range l.components {
		k.Components = append(k.Components, path.Join("..", baseFolder, c))
	}
	k.Labels = []types.Label{{Pairs: l.labels, IncludeTemplates: true}}
	for _, p := range l.patches {
		p.body["apiVersion"], p.body["kind"] = versions[p.kind], p.kind
		for _, body := range []any{p.body, p.operations} {
			text, err := yaml.Marshal(body)
			if err != nil {
				return k, err
			}
			if s := strings.TrimSpace(string(text)); s == "null" || s == "[]" || s == "{}" {
				continue
			}
			k.Patches = append(k.Patches, types.Patch{
				Patch:   string(text),
				Target:  &types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: p.kind}, Name: p.name}},
				Options: &types.PatchArgs{AllowNameChange: true},
			})
		}
	}
	return k, nil
}

// overlay is the kustomization of the user's patches.
func overlay(users []v1alpha1.Patch) types.Kustomization {
	k := newKustomization()
	k.Resources = []string{path.Join("..", ownFolder)}
	for _, u := range users {
		p := types.Patch{Patch: u.Patch}
		if u.Target != nil {
			p.Target = &types.Selector{ResId: resid.ResId{Gvk: resid.Gvk{Kind: u.Target.Kind}, Name: u.Target.Name}}
		}
		k.Patches = append(k.Patches, p)
	}
	return k
}

func write(files filesys.FileSystem, name string, value any) error {
	text, err := yaml.Marshal(value)
	if err != nil {
		return fmt.Errorf("writing %s: %w", name, err)
	}
	return files.WriteFile(name, text)
}

func copyTree(files filesys.FileSystem, to string, tree fs.FS) error {
	return fs.WalkDir(tree, ".", func(name string, e fs.DirEntry, err error) error {
		if err != nil || e.IsDir() {
			return err
		}
		text, err := fs.ReadFile(tree, name)
		if err != nil {
			return fmt.Errorf("reading the base: %w", err)
		}
		return files.WriteFile(path.Join(to, name), text)
	})
}

// convert returns the objects of a build in the order to apply them.
func convert(built resmap.ResMap) ([]*unstructured.Unstructured, error) {
	var objects []*unstructured.Unstructured
	for _, r := range built.Resources() {
		text, err := r.MarshalJSON()
		if err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", r.GetKind(), r.GetName(), err)
		}
		o := &unstructured.Unstructured{}
		if err := o.UnmarshalJSON(text); err != nil {
			return nil, fmt.Errorf("reading %s %s: %w", r.GetKind(), r.GetName(), err)
		}
		dropEmptyInit(o)
		objects = append(objects, o)
	}
	return ordered(objects), nil
}

func ordered(objects []*unstructured.Unstructured) []*unstructured.Unstructured {
	slices.SortStableFunc(objects, func(a, b *unstructured.Unstructured) int {
		if c := rank(a) - rank(b); c != 0 {
			return c
		}
		return strings.Compare(a.GetName(), b.GetName())
	})
	return objects
}

// dropEmptyInit removes the empty list that is left where a patch deleted the
// only init container.
func dropEmptyInit(o *unstructured.Unstructured) {
	pod := []string{"spec", "template", "spec"}
	if list, ok, _ := unstructured.NestedSlice(o.Object, append(pod, "initContainers")...); ok && len(list) == 0 {
		unstructured.RemoveNestedField(o.Object, append(pod, "initContainers")...)
	}
}

// order to apply in: what others wait for first.
var order = []string{v1alpha1.GPUNodePoolKind, "ConfigMap", "PersistentVolumeClaim", "Service"}

func rank(o *unstructured.Unstructured) int {
	if i := slices.Index(order, o.GetKind()); i >= 0 {
		return i
	}
	return len(order)
}

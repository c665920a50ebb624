// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"maps"
	"path"
	"slices"
	"strings"

	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/internal/kustomize"
	"github.com/espalier-dev/espalier/render/internal/yamltext"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Folders of the file system that Kustomize sees. The user's tree is a folder
// beside ours, so that no name of theirs can meet one of ours.
const (
	treeFolder    = "/tree"
	wrapperFolder = "/espalier"
)

// unit builds one unit.
func (s *source) unit(ctx context.Context, p plan) Unit {
	u := Unit{Path: p.path, Findings: p.problems}
	if len(p.problems) > 0 {
		return u
	}
	sc := newScan(s)
	if p.file {
		if u.Findings = s.notKubernetes(p.path); u.Findings != nil {
			return u
		}
		sc.file(p.path, true, p.from)
	} else if err := sc.kustomization(p.path, p.from).check(s.limits); err != nil {
		sc.refused(err, p.from)
	}
	finding.Sort(sc.problems)
	u.Findings = sc.problems
	u.Reads = slices.Sorted(maps.Keys(sc.files))
	if finding.Refused(u.Findings) {
		return u
	}
	objects, err := sc.run(ctx, p)
	if err == nil {
		u.Objects, err = s.objects(objects, sc.files, p)
	}
	if err != nil {
		u.Objects = nil
		u.Findings = append(u.Findings, asFinding(err, p.from))
	}
	return u
}

// notKubernetes is a warning when no document of a file claims to be a
// Kubernetes object: repositories hold other YAML too.
func (s *source) notKubernetes(file string) []v1alpha1.Finding {
	docs, err := s.documents(file)
	if err != nil {
		return nil // the scan says what is wrong
	}
	for _, d := range docs {
		if yamltext.Field(d, "apiVersion") != nil || yamltext.Field(d, "kind") != nil {
			return nil
		}
	}
	return []v1alpha1.Finding{{
		Severity: finding.Warning, Code: NotAnObject, File: file, Line: 1,
		Message: "no document with apiVersion and kind: the file is left out",
	}}
}

// run has Kustomize build a kustomization of ours that lists the unit, as the
// root kustomization would.
func (s *scan) run(ctx context.Context, p plan) (resmap.ResMap, error) {
	wrapper := types.Kustomization{
		TypeMeta:       types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources:      []string{path.Join("..", treeFolder, p.path)},
		Configurations: []string{"names.yaml"},
		BuildMetadata:  []string{types.OriginAnnotations},
	}
	if p.root {
		// Both act in the root kustomization only, which is now ours.
		own := s.rootKustomization(p)
		wrapper.SortOptions = own.SortOptions
		wrapper.BuildMetadata = append(wrapper.BuildMetadata, own.BuildMetadata...)
	}
	text, err := sigsyaml.Marshal(wrapper)
	if err != nil {
		return nil, err
	}
	files := filesys.MakeFsInMemory()
	write := func(name string, content []byte) {
		if err == nil {
			err = files.WriteFile(name, content)
		}
	}
	write(path.Join(wrapperFolder, "kustomization.yaml"), text)
	write(path.Join(wrapperFolder, "names.yaml"), nameReferences)
	for _, name := range slices.Sorted(maps.Keys(s.files)) {
		write(path.Join(treeFolder, name), s.files[name])
	}
	if err != nil {
		return nil, err
	}
	objects, err := kustomize.Run(ctx, files, wrapperFolder)
	switch {
	case ctx.Err() != nil:
		return nil, refuse(BuildTimeout, "the build was given up before it ended")
	case err != nil:
		return nil, refuse(BuildFailed, "%s", explain(err))
	}
	return objects, nil
}

func (s *scan) rootKustomization(p plan) types.Kustomization {
	var k types.Kustomization
	if err := k.Unmarshal(s.files[p.from.file]); err != nil {
		return types.Kustomization{} // the scan has decoded it before
	}
	return k
}

// explain makes one line of an error of Kustomize, with paths as they are in
// the repository.
func explain(err error) string {
	text := err.Error()
	for _, ours := range []string{"'.." + treeFolder + "/", "'" + treeFolder + "/"} {
		text = strings.ReplaceAll(text, ours, "'")
	}
	text = strings.ReplaceAll(text, treeFolder+"/", "")
	// The outermost layers speak of our wrapper and say nothing.
	text = strings.TrimPrefix(text, "accumulating resources: ")
	return cut(oneLine(text), 600)
}

func oneLine(text string) string { return strings.Join(strings.Fields(text), " ") }

// cut shortens a text to a number of bytes, at a rune.
func cut(text string, limit int) string {
	if len(text) <= limit {
		return text
	}
	return strings.ToValidUTF8(text[:limit], "") + "…"
}

// objects takes the result of a build apart.
func (s *source) objects(built resmap.ResMap, files map[string][]byte, p plan) ([]Object, error) {
	origins := origins{source: s, files: files}
	keep := p.root && slices.Contains(origins.metadata(p.from.file), types.OriginAnnotations)
	var list []Object
	var total int64
	for _, r := range built.Resources() {
		origin, err := r.GetOrigin()
		if err != nil {
			return nil, err
		}
		if !keep {
			if err := r.SetOrigin(nil); err != nil {
				return nil, err
			}
		}
		text, err := r.AsYAML()
		if err != nil {
			return nil, refuse(BuildFailed, "writing %s %s: %s", r.GetKind(), r.GetName(), oneLine(err.Error()))
		}
		if total += int64(len(text)); total > s.limits.OutputBytes {
			return nil, refuse(TooLarge, "the unit builds to more than %d bytes", s.limits.OutputBytes)
		}
		o := Object{YAML: text, group: r.GetGvk().Group, kind: r.GetKind(), namespace: r.GetNamespace(), name: r.GetName()}
		o.position = origins.position(origin, o)
		list = append(list, o)
	}
	return list, nil
}

// collisions reports objects that two units build: each alone is fine, a build
// of the whole would refuse them, and the two would overwrite each other.
func collisions(units []Unit) {
	type id struct{ group, kind, namespace, name string }
	first := map[id]string{}
	for i := range units {
		for _, o := range units[i].Objects {
			key := id{o.group, o.kind, o.namespace, o.name}
			other, taken := first[key]
			if !taken {
				first[key] = units[i].Path
				continue
			}
			file, line := o.At("metadata.name")
			units[i].Findings = append(units[i].Findings, v1alpha1.Finding{
				Severity: finding.Error, Code: DuplicateObject, File: file, Line: line, Object: o.String(),
				Message: o.String() + " is in " + other + " too: give one of them another name",
			})
		}
		if finding.Refused(units[i].Findings) {
			units[i].Objects = nil
		}
	}
}

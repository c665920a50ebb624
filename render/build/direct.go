// SPDX-License-Identifier: Apache-2.0

package build

import (
	"path"
	"path/filepath"
	"slices"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"
)

// direct is the unit's own kustomization with what ours would say written into it,
// and with the files of its plain bases in their place; false where that may be
// another build. In a small overlay Kustomize spends nearly all of its time on
// settings, which it merges for each kustomization on the way, and on reading those
// that we add: one kustomization is left of three, and what of ours may matter.
// TestDirectIsWhole compares the two.
func (w work) direct() (rootFile, bool) {
	file, own, ok := w.own()
	if !ok {
		return rootFile{}, false
	}
	names, err := namesFor(w.files)
	if err != nil {
		return rootFile{}, false
	}
	if names != nil {
		own.Configurations = []string{path.Join(wrapperFolder, namesFile)}
	}
	own.BuildMetadata = []string{types.OriginAnnotations}
	if !w.plan.root {
		own.SortOptions = nil // acts in the root kustomization only
	}
	if own.Resources, ok = w.inPlace(own.Resources); !ok {
		return rootFile{}, false
	}
	text, err := sigsyaml.Marshal(own)
	return rootFile{path.Join(treeFolder, w.plan.path), path.Join(treeFolder, file), text, names}, err == nil
}

// own is the unit's kustomization and its file; false where it says something that
// ours would say otherwise, or what the root of a build says for itself.
func (w work) own() (file string, own types.Kustomization, ok bool) {
	if w.plan.file {
		return "", own, false
	}
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if _, there := w.files[path.Join(w.plan.path, name)]; there {
			file = path.Join(w.plan.path, name)
		}
	}
	own = w.kustomization(file)
	return file, own, own.Kind != types.ComponentKind && len(own.Resources) > 0 && len(own.Configurations) == 0 &&
		(!w.plan.root || len(own.BuildMetadata) == 0)
}

// inPlace lists the files of plain bases where the bases are listed.
func (w work) inPlace(references []string) ([]string, bool) {
	list := make([]string, 0, len(references))
	for _, reference := range references {
		p, err := resolve(w.plan.path, reference)
		if err != nil {
			return nil, false
		}
		files, plain := w.listed(p)
		if !plain {
			list = append(list, reference)
			continue
		}
		for _, file := range files {
			relative, err := filepath.Rel(w.plan.path, file)
			if err != nil || looksRemote.MatchString(relative) {
				return nil, false
			}
			list = append(list, relative)
		}
	}
	return list, true
}

// listed are the files of a base that only lists, in its order; false for anything else.
func (w work) listed(dir string) ([]string, bool) {
	l, ok := w.plain[dir]
	if !ok || len(l.Resources) == 0 || len(l.ConfigMapGenerator)+len(l.SecretGenerator) > 0 {
		return nil, false
	}
	var files []string
	for _, reference := range l.Resources {
		p, err := resolve(dir, reference)
		if err != nil {
			return nil, false
		}
		more := []string{p}
		if _, isFile := w.docs[p]; !isFile {
			if more, ok = w.listed(p); !ok {
				return nil, false
			}
		}
		files = slices.Concat(files, more)
	}
	return files, true
}

// SPDX-License-Identifier: Apache-2.0

package build

import (
	"bytes"
	"path"
	"path/filepath"
	"slices"

	"sigs.k8s.io/kustomize/api/konfig"
	"sigs.k8s.io/kustomize/api/types"
	sigsyaml "sigs.k8s.io/yaml"
)

// direct is the unit's own kustomization with what ours would say written into it,
// and with the files of its plain bases in their place; false where that may be
// another build. Then, and where it is refused, the whole is built.
//
// In a small overlay Kustomize spends nearly all of its time on settings, which it
// merges for each kustomization on the way, and on reading those that we add: one
// kustomization is left of three, and what of ours may matter. TestDirectIsWhole
// compares the two.
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
// ours would say otherwise, or what the root of a build says for itself, and where
// anything of the unit is sealed or unusual.
func (w work) own() (file string, own types.Kustomization, ok bool) {
	if w.plan.file || len(w.secret.files) > 0 {
		return "", own, false
	}
	for _, name := range konfig.RecognizedKustomizationFileNames() {
		if _, there := w.files[path.Join(w.plan.path, name)]; there {
			file = path.Join(w.plan.path, name)
		}
	}
	if w.tells(path.Base(file)) {
		return "", own, false
	}
	own = w.kustomization(file)
	return file, own, own.Kind != types.ComponentKind && len(own.Resources) > 0 && len(own.Configurations) == 0 &&
		(!w.plan.root || len(own.BuildMetadata) == 0)
}

// marks are what tells two ways of a build apart: annotations that Kustomize keeps
// while it builds, tags by which words are written otherwise, and line breaks that
// YAML 1.1 alone knows.
var marks = []string{"config.kubernetes.io/", "binary", "%TAG", "\u0085", "\u2028", "\u2029"}

// tells says whether a file of the unit has one of the marks, or may read the unit's
// own kustomization, by this name, as data. Within a kustomization a name may be
// escaped too.
func (w work) tells(kustomization string) bool {
	for name, text := range w.files {
		if slices.Contains(konfig.RecognizedKustomizationFileNames(), path.Base(name)) && bytes.IndexByte(text, '\\') >= 0 {
			return true
		}
		if bytes.Contains(text, []byte(kustomization)) || slices.ContainsFunc(marks, func(m string) bool { return bytes.Contains(text, []byte(m)) }) {
			return true
		}
	}
	return false
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

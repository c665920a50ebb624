// SPDX-License-Identifier: Apache-2.0

package build

import (
	"errors"
	"io/fs"

	"sigs.k8s.io/kustomize/api/ifc"
	"sigs.k8s.io/kustomize/api/kv"
	"sigs.k8s.io/kustomize/api/provider"
	"sigs.k8s.io/kustomize/api/resource"
)

// library makes objects as Kustomize's own generators do: by their code.
var library = provider.NewDefaultDepProvider()

// generate makes the ConfigMaps and Secrets of a kustomization.
func (u *plainUnit) generate(dir string, l lister) bool {
	values := kv.NewLoader(folderLoader{work: u.work, dir: dir}, library.GetFieldValidator())
	factory := library.GetResourceFactory()
	for i := range l.ConfigMapGenerator {
		args := l.ConfigMapGenerator[i]
		made, err := factory.MakeConfigMap(values, &args)
		if err != nil || !u.generated(made, l.file, i) {
			return false
		}
	}
	for i := range l.SecretGenerator {
		args := l.SecretGenerator[i]
		made, err := factory.MakeSecret(values, &args)
		if err != nil || !u.generated(made, l.file, i) {
			return false
		}
	}
	return true
}

// generated takes a generated object, with its name as it will be.
func (u *plainUnit) generated(made *resource.Resource, file string, i int) bool {
	kind, entry := made.GetKind(), made.GetName()
	name := entry
	if made.NeedHashSuffix() {
		hash, err := made.Hash(library.GetResourceFactory().Hasher())
		if err != nil {
			return false
		}
		name += "-" + hash
		u.renamed[[2]string{kind, entry}] = name
	}
	made.RemoveBuildAnnotations()
	tree, ok := plainObject(made.YNode())
	if !ok {
		return false
	}
	meta, _ := tree["metadata"].(map[string]any)
	meta["name"] = name
	m := madeObject{tree: tree, file: file, entry: entry}
	if written := items(u.work.docs[file][0], generators[kind]); i < len(written) {
		m.line = written[i].Line
		if kind == "ConfigMap" {
			m.entries = entriesOf(written[i], file)
		}
	}
	u.made = append(u.made, m)
	return true
}

// folderLoader reads files of the unit relative to a folder, for generators.
type folderLoader struct {
	ifc.Loader // nothing else is asked of it
	work       work
	dir        string
}

func (l folderLoader) Load(reference string) ([]byte, error) {
	p, err := resolve(l.dir, reference)
	if err != nil {
		return nil, err
	}
	content, ok := l.work.files[p]
	if !ok {
		return nil, errors.Join(fs.ErrNotExist, errors.New(p))
	}
	return content, nil
}

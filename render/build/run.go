// SPDX-License-Identifier: Apache-2.0

package build

import (
	"context"
	"errors"
	"maps"
	"path"
	"regexp"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"
	"sigs.k8s.io/kustomize/api/resmap"
	"sigs.k8s.io/kustomize/api/types"
	"sigs.k8s.io/kustomize/kyaml/filesys"
	sigsyaml "sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/render/internal/kustomize"
	config "github.com/espalier-dev/espalier/repo-layout/kustomize"
)

// Folders of the file system that Kustomize sees. The user's tree is a folder
// beside ours, so that no name of theirs can meet one of ours.
const (
	treeFolder    = "/tree"
	wrapperFolder = "/espalier"
	namesFile     = "names.yaml" // in ours: what refers to what
)

// work is what building one unit needs once everything is read.
type work struct {
	plan   plan
	limits Limits
	files  map[string][]byte
	docs   map[string][]*yaml.Node // the YAML files among them
	plain  map[string]lister       // kustomizations that only list and generate, by folder
	secret *secrets
}

// rootFile is a kustomization that Kustomize is to build: in root, where its text
// is written to file, with the names that it may need beside our own files.
type rootFile struct {
	root, file  string
	text, names []byte
}

// built is what Kustomize has made of a unit.
type built struct {
	objects resmap.ResMap
	root    string // the folder that origins are relative to
}

// inTree is the path in the tree of one that Kustomize gives.
func (b built) inTree(p string) string {
	return strings.TrimPrefix(path.Join(b.root, p), treeFolder+"/")
}

// run has Kustomize build the unit. A mistake is told of in the words of the build
// that has every kustomization in it as it was written.
func (w work) run(ctx context.Context) (built, error) {
	if direct, ok := w.direct(); ok {
		b, err := w.kustomize(ctx, direct)
		if err == nil || isTimeout(err) {
			return b, err
		}
	}
	whole, err := w.whole()
	if err != nil {
		return built{}, err
	}
	return w.kustomize(ctx, whole)
}

// kustomize has Kustomize build one kustomization over the files of the unit.
func (w work) kustomize(ctx context.Context, f rootFile) (built, error) {
	files, err := w.fileSystem(f)
	if err != nil {
		return built{}, err
	}
	objects, err := kustomize.Run(ctx, w.limits.Time, files, f.root)
	switch {
	case ctx.Err() != nil, errors.Is(err, kustomize.ErrTime):
		return built{}, refuse(BuildTimeout, "the build was given up before it ended")
	case err != nil:
		return built{}, refuse(BuildFailed, "%s", explain(err))
	}
	return built{objects, f.root}, nil
}

func isTimeout(err error) bool {
	var r *refusal
	return errors.As(err, &r) && r.code == BuildTimeout
}

// fileSystem is what Kustomize sees.
func (w work) fileSystem(f rootFile) (filesys.FileSystem, error) {
	files := filesys.MakeFsInMemory()
	for _, name := range slices.Sorted(maps.Keys(w.files)) {
		if err := files.WriteFile(path.Join(treeFolder, name), w.files[name]); err != nil {
			return nil, err
		}
	}
	if err := files.WriteFile(path.Join(wrapperFolder, namesFile), f.names); err != nil {
		return nil, err
	}
	return files, files.WriteFile(f.file, f.text)
}

// whole is a kustomization of ours that lists the unit, as the root kustomization
// would.
func (w work) whole() (rootFile, error) {
	k := types.Kustomization{
		TypeMeta:       types.TypeMeta{APIVersion: types.KustomizationVersion, Kind: types.KustomizationKind},
		Resources:      []string{path.Join("..", treeFolder, w.plan.path)},
		Configurations: []string{namesFile},
		BuildMetadata:  []string{types.OriginAnnotations},
	}
	if w.plan.root {
		// Both act in the root kustomization only, which is now ours.
		own := w.kustomization(w.plan.from.file)
		k.SortOptions = own.SortOptions
		k.BuildMetadata = append(k.BuildMetadata, own.BuildMetadata...)
	}
	text, err := sigsyaml.Marshal(k)
	return rootFile{wrapperFolder, path.Join(wrapperFolder, "kustomization.yaml"), text, config.Names()}, err
}

// kustomization decodes a file that the scan has decoded before.
func (w work) kustomization(file string) types.Kustomization {
	var k types.Kustomization
	if err := k.Unmarshal(w.files[file]); err != nil {
		return types.Kustomization{} // a single file
	}
	return k
}

// pointers are printed in some errors of Kustomize: the same mistake must give
// the same message.
var pointers = regexp.MustCompile(`(&\{)?0x[0-9a-f]{6,}( 0x[0-9a-f]{6,})*\}?`)

// explain makes one line of an error of Kustomize, with paths as they are in
// the repository.
func explain(err error) string {
	text := pointers.ReplaceAllString(err.Error(), "…")
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
func (w work) objects(made built) ([]builtObject, error) {
	origins := newOrigins(w, made)
	keep := w.plan.root && slices.Contains(w.kustomization(w.plan.from.file).BuildMetadata, types.OriginAnnotations)
	list := make([]builtObject, 0, made.objects.Size())
	var total int64
	for _, r := range made.objects.Resources() {
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
		if total += int64(len(text)); total > w.limits.OutputBytes {
			return nil, refuse(TooLarge, "the unit builds to more than %d bytes", w.limits.OutputBytes)
		}
		o := &item{id: id{r.GetGvk().Group, r.GetKind(), r.GetNamespace(), r.GetName()}, text: string(text)}
		o.position = origins.position(origin, o)
		list = append(list, builtObject{o, o.tree(), w.secret.made(origin, made)})
	}
	return list, nil
}

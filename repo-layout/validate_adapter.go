// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"net/url"
	"path"
	"regexp"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Bounds of the lists of an adapter and of the sources of training data.
const (
	maxAdapterURLs = 16
	maxFiles       = 16
	maxItems       = 64
	maxKey         = 253 // of a key, or the path it gets
)

func (v *validator) adapters(path string, list []v1alpha1.Adapter) {
	v.atMost(path, len(list), maxAdapters)
	first := map[string]int{}
	for i, a := range list {
		at := finding.Index(path, i)
		v.adapter(at, a)
		if other, twice := first[a.Name]; twice && a.Name != "" {
			v.refuse(finding.AdapterDuplicate, at+".name", "adapter %d has this name as well, and requests could not tell them apart: rename one", other)
			continue
		}
		first[a.Name] = i
	}
}

func (v *validator) adapter(path string, a v1alpha1.Adapter) {
	if !v.placeholder(path+".name", a.Name) && (!plainName.MatchString(a.Name) || len(a.Name) > 63) {
		v.refuse(finding.AdapterInvalid, path+".name", "want at most 63 lower-case letters, digits and dashes: requests use the name as the model")
	}
	set := 0
	for _, one := range []bool{a.Image != "", a.Claim != "", len(a.URLs) > 0} {
		if one {
			set++
		}
	}
	switch {
	case set == 0:
		v.refuse(finding.AdapterSource, path, "say where the adapter comes from: exactly one of image, claim and urls is required")
	case set > 1:
		v.refuse(finding.AdapterSource, path, "exactly one of image, claim and urls is possible: keep one")
	}
	if a.Image != "" {
		v.image(path+".image", a.Image, imageRead)
	}
	v.references(path+".pullSecrets", "Secret", a.PullSecrets)
	if len(a.PullSecrets) > 0 && a.Image == "" && set > 0 {
		v.refuse(finding.AdapterSource, path+".pullSecrets", "they are for the registry of an image: remove them")
	}
	v.reference(path+".claim", "PersistentVolumeClaim", a.Claim)
	v.adapterPath(path+".path", a)
	v.adapterFiles(path+".urls", a.URLs)
}

// visible is a path below a folder: it leads nowhere above it, and no part of it is
// hidden.
var visible = regexp.MustCompile(`^[A-Za-z0-9_][A-Za-z0-9._-]*(/[A-Za-z0-9_][A-Za-z0-9._-]*)*$`)

func (v *validator) adapterPath(field string, a v1alpha1.Adapter) {
	switch {
	case a.Path == "" || v.placeholder(field, a.Path):
	case len(a.URLs) > 0:
		v.refuse(finding.AdapterSource, field, "is a folder of an image or a claim, and urls name the files themselves: remove path")
	case !visible.MatchString(a.Path) || len(a.Path) > maxFolder:
		v.refuse(finding.AdapterSource, field, "want a folder of the image or the claim such as support/v3: letters, digits, '-', '_' and '.', without / at the ends and without ..")
	}
}

// Files of an adapter as PEFT writes them.
const (
	adapterConfig  = "adapter_config.json"
	adapterWeights = "adapter_model.safetensors"
)

// adapterFiles checks the addresses of an adapter by the names of their files.
func (v *validator) adapterFiles(field string, addresses []string) {
	if len(addresses) == 0 {
		return
	}
	v.atMost(field, len(addresses), maxAdapterURLs)
	var names []string
	pinned := true
	for i, address := range addresses {
		at := finding.Index(field, i)
		v.url(at, address, fetched{"an adapter comes", "the adapter as an image with pullSecrets", "a new pod does not start"})
		name := urlFile(address)
		switch {
		case slices.Contains(names, name) && name != "":
			v.refuse(finding.AdapterSource, at, "another address names a file %s too: keep one", name)
		case archive(name):
			v.refuse(finding.AdapterSource, at, "%s is an archive, which nobody unpacks here: name the files themselves, %s and %s", name, adapterConfig, adapterWeights)
		case pickled(name):
			v.refuse(finding.AdapterSource, at, "%s can hold code that runs when it is read: save the adapter as %s", name, adapterWeights)
		}
		names = append(names, name)
		pinned = pinned && sha256Fragment.MatchString(address)
	}
	if !slices.Contains(names, adapterConfig) || !slices.Contains(names, adapterWeights) {
		v.refuse(finding.AdapterSource, field, "an adapter is %s and %s: name each by its address", adapterConfig, adapterWeights)
	}
	if !pinned {
		v.warn(finding.AdapterNotPinned, field, "a pod that starts later may load other files: end each address with #sha256= and the checksum of its file (sha256sum), or push the adapter as an image and name its digest")
	}
}

// sha256Fragment matches an address that holds the checksum of its file.
var sha256Fragment = regexp.MustCompile(`(?i)#sha256=[0-9a-f]{64}$`)

// urlFile is the name of the file that an address leads to.
func urlFile(address string) string {
	u, err := url.Parse(address)
	if err != nil || u.Path == "" || strings.HasSuffix(u.Path, "/") {
		return ""
	}
	return path.Base(u.Path)
}

func archive(name string) bool {
	return slices.Contains([]string{".zip", ".tar", ".tgz", ".gz", ".xz", ".bz2", ".zst"}, strings.ToLower(path.Ext(name)))
}

func pickled(name string) bool {
	return slices.Contains([]string{".bin", ".pt", ".pth", ".pkl", ".ckpt"}, strings.ToLower(path.Ext(name)))
}

// files checks ConfigMaps and Secrets whose keys are files.
func (v *validator) files(path string, list []v1alpha1.FileSource) {
	v.atMost(path, len(list), maxFiles)
	for i, f := range list {
		at := finding.Index(path, i)
		if (f.ConfigMap == "") == (f.Secret == "") {
			v.refuse(finding.InputAmbiguous, at, "name a configMap or a secret: exactly one of them")
		}
		v.reference(at+".configMap", "ConfigMap", f.ConfigMap)
		v.reference(at+".secret", "Secret", f.Secret)
		v.atMost(at+".items", len(f.Items), maxItems)
		for n, item := range f.Items {
			v.fileItem(finding.Index(at+".items", n), item)
		}
	}
}

var keyName = regexp.MustCompile(`^[-._a-zA-Z0-9]+$`)

func (v *validator) fileItem(path string, item v1alpha1.FileItem) {
	v.shorter(path+".key", item.Key, maxKey)
	v.shorter(path+".path", item.Path, maxKey)
	if !keyName.MatchString(item.Key) {
		v.refuse(finding.ReferenceInvalid, path+".key", "want a key of the ConfigMap or Secret: letters, digits, '-', '_' and '.'")
	}
	if !visible.MatchString(item.Path) {
		v.refuse(finding.ReferenceInvalid, path+".path", "want the file that the key becomes, such as train.jsonl: letters, digits, '-', '_' and '.', without / at the ends and without ..")
	}
}

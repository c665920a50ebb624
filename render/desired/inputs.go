// SPDX-License-Identifier: Apache-2.0

package desired

import (
	"maps"
	"path"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// inputs are what Workspaces may refer to; they share one namespace.
type inputs struct {
	there map[string]*Document // by kind/name
	// absent says of a pool that is named and not there what is known of it; "": nothing.
	absent map[string]string
}

func inputsOf(documents []Document, findings []v1alpha1.Finding) inputs {
	i := inputs{there: make(map[string]*Document, len(documents))}
	for n := range documents {
		if d := &documents[n]; d.Pool != nil || d.Input != nil {
			i.there[d.object] = d
		}
	}
	i.absent = i.absences(documents, findings)
	return i
}

// absences look for the pools that Workspaces name and that are not there: among those that
// cannot be read, and by names that are nearly the same.
func (i inputs) absences(documents []Document, findings []v1alpha1.Finding) map[string]string {
	absent := map[string]string{}
	for _, d := range documents {
		if d.Workspace == nil || d.Workspace.Spec.Resource.NodePool == "" {
			continue
		}
		if name := d.Workspace.Spec.Resource.NodePool; i.there[poolObject(name)] == nil {
			absent[name] = ""
		}
	}
	if len(absent) == 0 {
		return nil
	}
	misread := misreadPools(findings)
	names := slices.Collect(maps.Keys(misread))
	for object := range i.there {
		if name, isPool := strings.CutPrefix(object, poolObject("")); isPool {
			names = append(names, name)
		}
	}
	for name := range absent {
		if where, is := misread[name]; is {
			absent[name] = "cannot be used: " + where + " says why"
		} else if near := repolayout.Nearest(name, names); near != "" {
			absent[name] = "is not there: did you mean " + near + "?"
		}
	}
	return absent
}

// misreadPools are the pools that have errors, by name, with where the first of them is.
func misreadPools(findings []v1alpha1.Finding) map[string]string {
	misread := map[string]string{}
	for _, f := range findings {
		kind, object, _ := strings.Cut(f.Object, "/")
		name := path.Base(object)
		if _, known := misread[name]; kind == v1alpha1.GPUNodePoolKind && f.Severity == finding.Error && f.File != "" && !known {
			misread[name] = finding.Location(f.File, f.Line)
		}
	}
	return misread
}

// poolObject is kind/name of a pool.
func poolObject(name string) string { return v1alpha1.GPUNodePoolKind + "/" + name }

// configMap is the text in a ConfigMap, and of one with training data all of it; nil:
// Git does not hold it.
func (i inputs) configMap(name string, trained bool) map[string]string {
	d, ok := i.there["ConfigMap/"+name]
	switch {
	case !ok:
		return nil
	case trained:
		return contentOf(d.Input)
	}
	return dataOf(d.Input)
}

// pool is the one that a Workspace names, or what is known of one that is not there.
func (i inputs) pool(name string) (spec *v1alpha1.GPUNodePoolSpec, absent string) {
	if d, ok := i.there[poolObject(name)]; ok {
		return &d.Pool.Spec, ""
	}
	return nil, i.absent[name]
}

// accessModes of the claims that Git holds, by name.
func (i inputs) accessModes(claims []string) map[string][]string {
	modes := map[string][]string{}
	for _, claim := range claims {
		if d, ok := i.there["PersistentVolumeClaim/"+claim]; ok {
			modes[claim], _, _ = unstructured.NestedStringSlice(d.Input.Object, "spec", "accessModes")
		}
	}
	return modes
}

// secret is a digest of a Secret's content.
func (i inputs) secret(name string) (string, bool) {
	d, ok := i.there["Secret/"+name]
	if !ok {
		return "", false
	}
	return check.Sum(d.Input.Object["type"], d.Input.Object["data"], d.Input.Object["stringData"]), true
}

// dataOf is never nil: an empty ConfigMap is there.
func dataOf(configMap *unstructured.Unstructured) map[string]string {
	data, _, err := unstructured.NestedStringMap(configMap.Object, "data")
	if data == nil || err != nil {
		return map[string]string{}
	}
	return data
}

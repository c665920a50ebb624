// SPDX-License-Identifier: Apache-2.0

package main

import (
	"io/fs"
	"reflect"
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/render/build"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// proposal is the RepoSync of a head.
type proposal struct {
	sync     *v1alpha1.RepoSync // that head is built with
	broken   []v1alpha1.Finding // why its file cannot be used
	gone     bool               // base has the file, head has not
	unlisted []string           // where kustomizations of base list the file, and none of head does
	others   []string           // fields that it changes and that are left as they are
}

// syncOfHead is the RepoSync that head is built with: the cluster's, and where the
// pull request changes its file, what that says. It is somebody's proposal: only
// what to build and what to put for what is taken from it.
func syncOfHead(live *v1alpha1.RepoSync, r *revisions) proposal {
	inBase, _ := syncNamed(r.base.files, live)
	inHead, broken := syncNamed(r.head.files, live)
	switch {
	case len(inBase) == 0:
		return proposal{sync: live}
	case len(inHead) == 0:
		return proposal{sync: live, broken: broken, gone: len(broken) == 0}
	}
	was, is := inBase[0], inHead[0]
	p := proposal{sync: live.DeepCopy(), unlisted: r.unlisted(inBase, inHead)}
	to, from := &p.sync.Spec, is.Spec.DeepCopy()
	for _, field := range changedFields(was.Spec, is.Spec) {
		switch field {
		case "path":
			to.Path = from.Path
		case "targetNamespace":
			to.TargetNamespace = from.TargetNamespace
		case "substitutions":
			to.Substitutions = from.Substitutions
		case "prune":
			to.Prune = from.Prune
		case "postBuild":
			to.PostBuild = from.PostBuild
		case "defaults":
			to.Defaults = proposedDefaults(to.Defaults, from.Defaults)
			if !reflect.DeepEqual(budgetOf(was.Spec.Defaults), budgetOf(is.Spec.Defaults)) {
				p.others = append(p.others, "defaults.budget")
			}
		default:
			p.others = append(p.others, field)
		}
	}
	return p
}

// proposedDefaults are those of head, with the limit that the cluster has.
func proposedDefaults(live, proposed *v1alpha1.SyncDefaults) *v1alpha1.SyncDefaults {
	var d v1alpha1.SyncDefaults
	if proposed != nil {
		d = *proposed
	}
	d.Budget = budgetOf(live)
	if reflect.ValueOf(d).IsZero() {
		return nil
	}
	return &d
}

func budgetOf(d *v1alpha1.SyncDefaults) *v1alpha1.Budget {
	if d == nil {
		return nil
	}
	return d.Budget
}

// changedFields names the fields of a spec that differ, in order.
func changedFields(was, is v1alpha1.RepoSyncSpec) []string {
	var names []string
	a, b := reflect.ValueOf(was), reflect.ValueOf(is)
	for i := range a.NumField() {
		if !reflect.DeepEqual(a.Field(i).Interface(), b.Field(i).Interface()) {
			name, _, _ := strings.Cut(a.Type().Field(i).Tag.Get("json"), ",")
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// syncNamed finds the files of a RepoSync in a tree, the first of which counts, and
// what is wrong with it where there is none.
func syncNamed(files fs.FS, live *v1alpha1.RepoSync) ([]syncFile, []v1alpha1.Finding) {
	found, broken, err := syncsFor(files, ".")
	if err != nil {
		return nil, nil
	}
	// Without a namespace the file is for whichever it is applied to.
	found = slices.DeleteFunc(found, func(s syncFile) bool {
		return s.Namespace != live.Namespace && s.Namespace != "" || s.Name != live.Name
	})
	if len(found) > 0 {
		return found, nil
	}
	return nil, ofSync(broken, live)
}

// unlisted says where in base kustomizations list a RepoSync that none of head lists.
func (r *revisions) unlisted(was, is []syncFile) []string {
	if len(is) == 0 {
		return nil // it is gone, or cannot be read
	}
	in := func(t tree, syncs []syncFile) build.Holding {
		h := build.Holding{Tree: t.files}
		for _, s := range syncs {
			h.Files = append(h.Files, s.file)
		}
		return h
	}
	return build.Unlisted(in(r.base, was), in(r.head, is))
}

// ofSync are the findings about one RepoSync.
func ofSync(findings []v1alpha1.Finding, s *v1alpha1.RepoSync) []v1alpha1.Finding {
	var about []v1alpha1.Finding
	for _, f := range findings {
		if f.Object == v1alpha1.RepoSyncKind+"/"+s.Namespace+"/"+s.Name || f.Object == v1alpha1.RepoSyncKind+"/"+s.Name {
			about = append(about, f)
		}
	}
	return about
}

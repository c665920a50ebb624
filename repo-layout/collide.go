// SPDX-License-Identifier: Apache-2.0

package repolayout

import (
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Entry is a decoded document and where it came from.
type Entry struct {
	Decoded
	Position Position
}

// Collisions finds documents that stand for one object: a Workspace of ours and
// one of KAITO's with the same name, for example, which Kustomize cannot see. A
// document without a namespace goes where the others go, since a RepoSync writes
// to one namespace only.
func Collisions(entries []Entry) []v1alpha1.Finding {
	type named struct{ kind, name string }
	first := make(map[named]int, len(entries))
	more := map[named][]int{} // after the first: most names are there once
	var findings []v1alpha1.Finding
	for i, e := range entries {
		kind, namespace, name := e.identity()
		key := named{kind, name}
		at, taken := first[key]
		if !taken {
			first[key] = i
			continue
		}
		for _, other := range append([]int{at}, more[key]...) {
			if ns := entries[other].Namespace(); ns == namespace || ns == "" || namespace == "" {
				findings = append(findings, finding.Errorf(finding.NameCollision, "metadata.name",
					"%s stands for the same object: rename or remove one", entries[other].where()).At(e.Position, object(kind, namespace, name)))
				break
			}
		}
		more[key] = append(more[key], i)
	}
	finding.Sort(findings)
	return findings
}

// Namespace is what the document names as its namespace, "" when nothing.
func (d Decoded) Namespace() string {
	_, namespace, _ := d.identity()
	return namespace
}

func (e Entry) where() string {
	if e.Position != nil {
		if file, line := e.Position.At("metadata.name"); file != "" {
			return finding.Location(file, line)
		}
	}
	return "another document"
}

func (d Decoded) identity() (kind, namespace, name string) {
	switch {
	case d.Workspace != nil:
		return v1alpha1.WorkspaceKind, d.Workspace.Namespace, d.Workspace.Name
	case d.Pool != nil:
		return v1alpha1.GPUNodePoolKind, d.Pool.Namespace, d.Pool.Name
	case d.Input != nil:
		return d.Input.GetKind(), d.Input.GetNamespace(), d.Input.GetName()
	}
	return "", "", ""
}

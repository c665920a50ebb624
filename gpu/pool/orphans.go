// SPDX-License-Identifier: Apache-2.0

package pool

import (
	"cmp"
	"slices"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Marked is a node pool in the cloud that carries the marks of Espalier.
type Marked struct {
	Name         string             `json:"name"`         // in the cloud
	UID          string             `json:"ownerUID"`     // of the GPUNodePool that it was made for
	Installation string             `json:"installation"` // that made it
	Object       string             `json:"object"`       // namespace/name of that GPUNodePool
	Candidate    v1alpha1.Candidate `json:"candidate"`
	Count        int32              `json:"count"` // nodes
	State        State              `json:"state"`
}

// What an Orphan is.
const (
	OrphanNoObject = "NoObject" // nothing in the cluster answers for it
	OrphanReattach = "Reattach" // an object of its name has another UID, as after restoring a backup
)

// Orphan is a node pool of this installation that no GPUNodePool answers for.
type Orphan struct {
	Marked
	Reason string `json:"reason"`
}

// Orphans finds the pools of an installation whose GPUNodePool is not there. The
// cloud must be listed before the objects: a pool that was made in between then
// has its object. Nothing of it is deleted: that is for a person to decide.
func Orphans(cloud []Marked, installation string, objects []v1alpha1.GPUNodePool) []Orphan {
	var out []Orphan
	for _, m := range cloud {
		known := slices.ContainsFunc(objects, func(p v1alpha1.GPUNodePool) bool { return string(p.UID) == m.UID })
		if m.Installation != installation || known {
			continue
		}
		o := Orphan{Marked: m, Reason: OrphanNoObject}
		if slices.ContainsFunc(objects, func(p v1alpha1.GPUNodePool) bool { return p.Namespace+"/"+p.Name == m.Object }) {
			o.Reason = OrphanReattach
		}
		out = append(out, o)
	}
	slices.SortFunc(out, func(a, b Orphan) int { return cmp.Or(cmp.Compare(a.Object, b.Object), cmp.Compare(a.Name, b.Name)) })
	return out
}

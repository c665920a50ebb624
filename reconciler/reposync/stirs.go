// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/slim"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// stirs are the inventory IDs of objects of which events say that they may not be as Git
// says. "" is every object.
type stirs map[string]bool

var everything = stirs{"": true}

// maxStirs bounds what is held between two passes: of more than that all is compared.
const maxStirs = 1000

func (s stirs) all() bool { return s[""] }

// none says that each of them is known.
func (s stirs) none(known func(id string) bool) bool {
	for id := range s {
		if id == "" || !known(id) {
			return false
		}
	}
	return true
}

// stirring collects them by RepoSync until its next pass.
type stirring struct {
	mu sync.Mutex
	of map[types.NamespacedName]stirs
}

// add notes an object; "" is all of the RepoSync.
func (s *stirring) add(of types.NamespacedName, id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.of == nil {
		s.of = map[types.NamespacedName]stirs{}
	}
	had := s.of[of]
	switch {
	case had.all():
	case id == "", len(had) == maxStirs:
		s.of[of] = everything
	case had == nil:
		s.of[of] = stirs{id: true}
	default:
		had[id] = true
	}
}

// take are those of a RepoSync since it was asked last.
func (s *stirring) take(of types.NamespacedName) stirs {
	s.mu.Lock()
	defer s.mu.Unlock()
	had := s.of[of]
	delete(s.of, of)
	return had
}

// idOf is the inventory ID of an object as a watch has it; "" of one whose kind it does not
// say.
func idOf(o client.Object) string {
	group, kind := v1alpha1.Group, ""
	switch o := slim.Whole(o).(type) {
	case *v1alpha1.Workspace:
		kind = v1alpha1.WorkspaceKind
	case *v1alpha1.GPUNodePool:
		kind = v1alpha1.GPUNodePoolKind
	case *metav1.PartialObjectMetadata:
		gvk := o.GroupVersionKind()
		group, kind = gvk.Group, gvk.Kind
	}
	if kind == "" {
		return ""
	}
	return inventory.ID(group, kind, o.GetNamespace(), o.GetName())
}

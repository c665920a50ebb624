// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"encoding/json"
	"fmt"
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/reconciler/spoke"
	"github.com/espalier-dev/espalier/render/alike"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// wanted is an object that the commit wants in the cluster. Of thousands few are applied
// in a pass: what comparing them takes is at hand, and the whole is JSON until then.
type wanted struct {
	digest   string                  // of the object as Git says it
	packed   alike.Text              // the object as Git says it, in JSON
	entry    v1alpha1.InventoryEntry // names it: beside that no name of it is held
	children []account.Need          // rights that the children of a Workspace need
	file     string
	line     int
	there    bool       // it was found in the cluster as it is here: events say what happens to it
	listed   uint32     // by which assembly last
	told     *spoke.Git // of a Workspace in another cluster, where pull requests are told of it
}

// object is the whole, marked with where it comes from. It is the caller's to change.
func (w *wanted) object() *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	if err := o.UnmarshalJSON(w.packed.Bytes()); err != nil {
		panic(fmt.Sprintf("unpacking %s: %v", w, err)) // it was packed by us
	}
	w.mark(o)
	return o
}

// mark notes on an object where it comes from.
func (w *wanted) mark(o *unstructured.Unstructured) {
	setAnnotations(o, map[string]string{
		repolayout.AnnotationDigest: w.digest,
		repolayout.AnnotationSource: finding.Location(w.file, w.line),
	})
}

// kind of the object, as its entry says it.
func (w *wanted) kind() schema.GroupVersionKind {
	rest, kind := cutLast(w.entry.ID)
	_, group := cutLast(rest)
	return schema.GroupVersionKind{Group: group, Version: w.entry.Version, Kind: kind}
}

// key is namespace and name, likewise: only the name of what the API server will refuse
// has a mark in it like those between.
func (w *wanted) key() client.ObjectKey {
	rest, _ := cutLast(w.entry.ID)
	rest, _ = cutLast(rest)
	namespace, name, _ := strings.Cut(rest, "_")
	return client.ObjectKey{Namespace: namespace, Name: name}
}

func cutLast(id string) (before, after string) {
	i := max(strings.LastIndexByte(id, '_'), 0)
	return id[:i], strings.TrimPrefix(id[i:], "_")
}

// String names the object in messages: kind namespace/name.
func (w *wanted) String() string { return fmt.Sprintf("%s %s", w.kind().Kind, w.key()) }

// ours says that the kind is.
func (w *wanted) ours() bool { return w.kind().Group == v1alpha1.Group }

// prepare turns a document into the object to apply, marked with where it comes
// from, and for another cluster with this one. That one has shards of its own.
func prepare(s *v1alpha1.RepoSync, hub string, d desired.Document) *wanted {
	w := &wanted{}
	o := d.Input
	switch {
	case d.Workspace != nil:
		o = toUnstructured(d.Workspace, v1alpha1.WorkspaceKind)
		w.children = account.Children(d.Workspace)
	case d.Pool != nil:
		o = toUnstructured(d.Pool, v1alpha1.GPUNodePoolKind)
	}
	setLabels(o, map[string]string{
		repolayout.LabelSyncName:      s.Name,
		repolayout.LabelSyncNamespace: s.Namespace,
	})
	if hub != "" {
		setLabels(o, map[string]string{repolayout.LabelSyncHub: hub})
	} else if key := s.Labels[shard.Label]; key != "" {
		setLabels(o, map[string]string{shard.Label: key})
	}
	w.file, w.line = d.Position.At("")
	w.digest = apply.Digest(o)
	if hub != "" && d.Workspace != nil && s.Spec.Review != nil {
		w.told = spoke.GitOf(d.Workspace, finding.Location(w.file, w.line))
	}
	w.entry = inventory.Entry(o, d.Unit)
	w.pack(o)
	return w
}

// packs are what objects are told by, but for Secrets: nothing of one is held for others.
var packs alike.Texts

// pack takes an object in.
func (w *wanted) pack(o *unstructured.Unstructured) {
	packed, err := json.Marshal(o.Object)
	if err != nil {
		panic(fmt.Sprintf("packing %s: %v", apply.Describe(o), err)) // it was read from JSON
	}
	if o.GetKind() == "Secret" {
		w.packed = alike.Whole(packed)
		return
	}
	w.packed = packs.Keep(o.GetKind(), packed)
}

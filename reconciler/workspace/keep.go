// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// believedKept is how long what a ControllerRevision says is not read again: they are
// not watched, and one that somebody deleted is to be recorded again.
const believedKept = time.Hour

// keep lets the pods of a service be what they were first rendered to: a later
// release of Espalier, whose bases and catalogue may say something else, restarts
// none of them until the spec or an input changes (docs/design/0020).
func (r *Reconciler) keep(ctx context.Context, p *pass) error {
	if p.settled || p.ws.Spec.Inference == nil || p.askedKept || !p.mayServe() {
		return nil
	}
	p.askedKept = true
	for _, workload := range p.workloads() {
		if err := r.recall(ctx, p, workload); err != nil {
			return err
		}
	}
	return nil
}

// recall makes a workload what its ControllerRevision says that it was, where there is one.
func (r *Reconciler) recall(ctx context.Context, p *pass, workload *unstructured.Unstructured) error {
	known := r.knownOf(p.ws)
	key := p.revisionKey(workload, p.out.Pods)
	rendered := r.rendered(workload)
	if known.applied.at(revisionMark(key)) == rendered {
		p.kept[workload.GetName()] = true
		return nil
	}
	spec, err := r.keptSpec(ctx, p.ws, key)
	if err == nil && spec == nil && p.out.PodsUntold != "" {
		return r.adopt(ctx, p, workload)
	}
	if err != nil || spec == nil {
		return err
	}
	p.kept[workload.GetName()] = true
	maps.Copy(workload.Object["spec"].(map[string]any), spec)
	if r.rendered(workload) == rendered {
		known.applied.note(revisionMark(key), rendered) // it says what is rendered anyhow
	}
	return nil
}

// adopt makes a workload what was recorded before the digest told what its pool says of the
// pods, where that is what the pool says now. It is recorded by the digest that tells it then.
func (r *Reconciler) adopt(ctx context.Context, p *pass, workload *unstructured.Unstructured) error {
	spec, err := r.keptSpec(ctx, p.ws, p.revisionKey(workload, p.out.PodsUntold))
	now := workload.Object["spec"].(map[string]any)
	if err != nil || spec == nil || !reflect.DeepEqual(saidByPool(spec), saidByPool(now)) {
		return err
	}
	maps.Copy(now, spec)
	return nil
}

// saidByPool is what the nodes of a pool say of the pods of a workload: the machines that
// they choose, and which GPUs their containers take.
func saidByPool(spec map[string]any) []string {
	affinity, _, _ := unstructured.NestedMap(spec, "template", "spec", "affinity")
	said := []string{fmt.Sprint(affinity)}
	containers, _, _ := unstructured.NestedSlice(spec, "template", "spec", "containers")
	for _, c := range containers {
		container, _ := c.(map[string]any)
		limits, _, _ := unstructured.NestedMap(container, "resources", "limits")
		for _, name := range slices.Sorted(maps.Keys(limits)) {
			if strings.HasPrefix(name, "nvidia.com/") {
				said = append(said, name)
			}
		}
	}
	return said
}

// keptSpec is what a ControllerRevision of a Workspace says, nil where there is none.
func (r *Reconciler) keptSpec(ctx context.Context, ws *v1alpha1.Workspace, key client.ObjectKey) (map[string]any, error) {
	if !r.knownOf(ws).mayHave(key.Name) {
		return nil, nil
	}
	kept := &appsv1.ControllerRevision{}
	err := r.Reader.Get(ctx, key, kept)
	switch {
	case apierrors.IsNotFound(err):
		return nil, nil
	case err != nil:
		return nil, fmt.Errorf("reading ControllerRevision %s: %w", key, err)
	case !metav1.IsControlledBy(kept, ws):
		return nil, nil
	}
	spec := map[string]any{}
	if err := json.Unmarshal(kept.Data.Raw, &spec); err != nil {
		return nil, fmt.Errorf("decoding ControllerRevision %s, which may be deleted to render anew: %w", key, err)
	}
	return spec, nil
}

// revisionKey is the ControllerRevision of a workload whose pods have a digest.
func (p *pass) revisionKey(workload *unstructured.Unstructured, pods string) client.ObjectKey {
	return client.ObjectKey{Namespace: p.ws.Namespace, Name: repolayout.RevisionName(workload.GetName(), pods)}
}

// revisionMark is where the marks of a Workspace have what a ControllerRevision was
// found to say.
func revisionMark(key client.ObjectKey) string { return "ControllerRevision/" + key.Name }

// rendered is the mark of a ControllerRevision that was seen in this hour to say what a
// workload is rendered to.
func (r *Reconciler) rendered(workload *unstructured.Unstructured) apply.Mark {
	return apply.Noted(apply.Digest(workload) + fmt.Sprint(r.Clock().Truncate(believedKept).Unix()))
}

// workloads of a service, as they are rendered.
func (p *pass) workloads() []*unstructured.Unstructured {
	return append([]*unstructured.Unstructured{p.out.Workload}, p.out.Copies...)
}

// record keeps what was applied to a workload, once, and forgets what its pods
// were before.
func (r *Reconciler) record(ctx context.Context, p *pass, workload *unstructured.Unstructured) error {
	if p.kept[workload.GetName()] {
		return nil
	}
	revision, err := r.revision(p, workload)
	if err != nil {
		return err
	}
	err = account.Writer(ctx, r.Client).Create(ctx, revision)
	if err != nil { // it may be there all the same: an answer was lost, or another process made it
		r.knownOf(p.ws).complete = false
	}
	if apierrors.IsAlreadyExists(err) {
		err = r.recordAnew(ctx, p.ws, revision, err)
	}
	if err != nil && !apierrors.IsAlreadyExists(err) {
		return account.Explain(ctx, fmt.Errorf("keeping what %s was rendered to: %w", workload.GetName(), err))
	}
	if err == nil {
		known := r.knownOf(p.ws)
		known.applied.note(revisionMark(client.ObjectKeyFromObject(revision)), r.rendered(workload))
		known.has(revision)
	}
	return r.forget(ctx, p)
}

// recordAnew puts a record in the place of one that a former Workspace has left: what that
// one's pods were says nothing of these. taken is the answer that there is one; it stands
// where that is nobody's who has gone.
func (r *Reconciler) recordAnew(ctx context.Context, ws *v1alpha1.Workspace, revision *appsv1.ControllerRevision, taken error) error {
	there := &appsv1.ControllerRevision{}
	err := r.Reader.Get(ctx, client.ObjectKeyFromObject(revision), there)
	switch {
	case apierrors.IsNotFound(err), err == nil && !formers(there, ws):
		return taken
	case err != nil:
		return err
	}
	if err := r.remove(ctx, there, client.Preconditions{UID: &there.UID}); client.IgnoreNotFound(err) != nil {
		return err
	}
	return account.Writer(ctx, r.Client).Create(ctx, revision)
}

// revision holds the spec of a workload, but how many pods there are and how
// they are replaced.
func (r *Reconciler) revision(p *pass, workload *unstructured.Unstructured) (*appsv1.ControllerRevision, error) {
	spec := maps.Clone(workload.Object["spec"].(map[string]any))
	for _, changing := range []string{"replicas", "strategy", "updateStrategy"} {
		delete(spec, changing)
	}
	data, err := json.Marshal(spec)
	if err != nil {
		return nil, fmt.Errorf("encoding the spec of %s: %w", workload.GetName(), err)
	}
	revision := &appsv1.ControllerRevision{
		ObjectMeta: metav1.ObjectMeta{
			Namespace: p.ws.Namespace, Name: repolayout.RevisionName(workload.GetName(), p.out.Pods),
			Labels: map[string]string{repolayout.LabelWorkspace: p.ws.Name},
		},
		Data: runtime.RawExtension{Raw: data}, Revision: p.ws.Generation,
	}
	if err := controllerutil.SetControllerReference(p.ws, revision, r.Client.Scheme()); err != nil {
		return nil, fmt.Errorf("owning ControllerRevision %s: %w", revision.Name, err)
	}
	return revision, nil
}

// forget deletes what the pods of the Workspace were before.
func (r *Reconciler) forget(ctx context.Context, p *pass) error {
	current, k := map[string]bool{}, r.knownOf(p.ws)
	for _, workload := range p.workloads() {
		current[repolayout.RevisionName(workload.GetName(), p.out.Pods)] = true
	}
	if err := r.learn(ctx, p.ws, k); err != nil {
		return err
	}
	var left keptRevisions
	for _, old := range k.revisions.all() {
		if current[old.name] {
			left = left.with(old)
			continue
		}
		o := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: p.ws.Namespace, Name: old.name}}
		if err := r.remove(ctx, o, client.Preconditions{UID: &old.uid}); client.IgnoreNotFound(err) != nil {
			k.complete = false // another of that name, perhaps
			return fmt.Errorf("deleting ControllerRevision %s/%s: %w", p.ws.Namespace, old.name, err)
		}
		k.applied.forget(revisionMark(client.ObjectKeyFromObject(o)))
	}
	k.revisions = left
	return nil
}

// learn lists the ControllerRevisions of a Workspace where not all of them are known.
func (r *Reconciler) learn(ctx context.Context, ws *v1alpha1.Workspace, k *known) error {
	if k.complete {
		return nil
	}
	list := &metav1.PartialObjectMetadataList{}
	list.SetGroupVersionKind(appsv1.SchemeGroupVersion.WithKind("ControllerRevisionList"))
	if err := r.Reader.List(ctx, list, client.InNamespace(ws.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: ws.Name}); err != nil {
		return fmt.Errorf("listing the ControllerRevisions of Workspace %s/%s: %w", ws.Namespace, ws.Name, err)
	}
	k.revisions, k.complete = "", true
	for i := range list.Items {
		if o := &list.Items[i]; metav1.IsControlledBy(o, ws) {
			k.has(o)
		}
	}
	return nil
}

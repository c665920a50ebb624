// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// statefulSets reads the copies over several nodes that are there.
func (r *Reconciler) statefulSets(ctx context.Context, p *pass) error {
	list := &appsv1.StatefulSetList{}
	err := r.Client.List(ctx, list, client.InNamespace(p.ws.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: p.ws.Name})
	if err != nil {
		return fmt.Errorf("listing the StatefulSets of Workspace %s/%s: %w", p.ws.Namespace, p.ws.Name, err)
	}
	for _, s := range list.Items {
		if metav1.IsControlledBy(&s, p.ws) {
			p.sets = append(p.sets, s)
		}
	}
	return nil
}

// serve applies the workload of a service, and removes what an earlier number of
// copies, or of nodes for each, has left.
func (r *Reconciler) serve(ctx context.Context, p *pass) error {
	if !p.mayServe() {
		return nil
	}
	if err := r.keep(ctx, p); err != nil { // the nodes may have come in this very pass
		return err
	}
	if err := r.retire(ctx, p); err != nil {
		return err
	}
	was, sets := p.deployment, p.sets
	p.deployment, p.sets = nil, nil
	for _, child := range p.workloads() {
		applied, err := r.applyServing(ctx, p, was, child.DeepCopy())
		if err != nil {
			p.deployment, p.sets = was, sets // what is there is wound down where nothing may be written
			return err
		}
		if err := p.readBack(applied); err != nil {
			return err
		}
		if err := r.record(ctx, p, child); err != nil {
			return err
		}
	}
	p.rolled = p.otherPods(was, sets)
	return r.applyAutoscaler(ctx, p)
}

// otherPods says whether a workload was not there before it was applied, or was for other
// inputs: its pods were asked for just now.
func (p *pass) otherPods(was *appsv1.Deployment, sets []appsv1.StatefulSet) bool {
	had := inputsServed(was, sets)
	other := func(key string, template *corev1.PodTemplateSpec) bool {
		inputs, there := had[key]
		return !there || inputs != inputsOf(template)
	}
	return p.deployment != nil && other("Deployment/"+p.deployment.Name, &p.deployment.Spec.Template) ||
		slices.ContainsFunc(p.sets, func(s appsv1.StatefulSet) bool { return other("StatefulSet/"+s.Name, &s.Spec.Template) })
}

// inputsServed are the inputs of the workloads that are there, by kind and name.
func inputsServed(deployment *appsv1.Deployment, sets []appsv1.StatefulSet) map[string]string {
	had := map[string]string{}
	if deployment != nil {
		had["Deployment/"+deployment.Name] = inputsOf(&deployment.Spec.Template)
	}
	for i := range sets {
		had["StatefulSet/"+sets[i].Name] = inputsOf(&sets[i].Spec.Template)
	}
	return had
}

// servesThis says that the pods that are there have the inputs that are rendered now: to
// apply them, to as many copies as may be, asks for no others.
func (p *pass) servesThis() bool {
	had, same := inputsServed(p.deployment, p.sets), false
	if len(had) == 0 {
		return false
	}
	for _, w := range p.workloads() {
		has, there := had[w.GetKind()+"/"+w.GetName()]
		wanted, _, _ := unstructured.NestedString(w.Object, "spec", "template", "metadata", "annotations", repolayout.AnnotationInputDigest) // rendered: it is one
		if there && has != wanted {
			return false
		}
		same = same || there
	}
	return same
}

// mayServe says whether the workload is there, or may be made now.
func (p *pass) mayServe() bool {
	started := p.deployment != nil || len(p.sets) > 0
	return started || !p.ws.Spec.Suspend && (p.poolReady() || p.copies() == 0)
}

// readBack takes what was applied for what is there. It has the new generation,
// which its status does not speak of yet: observe must not take the old pods'
// readiness for the new ones'.
func (p *pass) readBack(applied *unstructured.Unstructured) error {
	var err error
	if applied.GetKind() == "StatefulSet" {
		set := appsv1.StatefulSet{}
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, &set)
		p.sets = append(p.sets, set)
	} else {
		p.deployment = &appsv1.Deployment{}
		err = runtime.DefaultUnstructuredConverter.FromUnstructured(applied.Object, p.deployment)
	}
	if err != nil {
		return fmt.Errorf("reading back %s: %w", apply.Describe(applied), err)
	}
	return nil
}

// retire deletes the workloads that are no longer rendered: their pods hold GPUs
// that the others need. What only pods of several nodes need goes before their
// StatefulSets, which say that it may be there.
func (r *Reconciler) retire(ctx context.Context, p *pass) error {
	kept := map[string]bool{}
	for _, o := range p.workloads() {
		kept[o.GetKind()+"/"+o.GetName()] = true
	}
	if !p.retires(kept) {
		return nil
	}
	if err := r.confirm(ctx, p); err != nil {
		return err
	}
	return r.deleteOthers(ctx, p, kept)
}

// deleteOthers deletes the workloads that are not kept.
func (r *Reconciler) deleteOthers(ctx context.Context, p *pass, kept map[string]bool) error {
	if p.deployment != nil && !kept["Deployment/"+p.deployment.Name] {
		if err := r.deleteDeployment(ctx, p); err != nil {
			return err
		}
	}
	if len(p.sets) > 0 && p.out.Workload.GetKind() != "StatefulSet" {
		if err := r.deleteMembers(ctx, p); err != nil {
			return err
		}
	}
	for i := range p.sets {
		if kept["StatefulSet/"+p.sets[i].Name] {
			continue
		}
		if err := r.deleteWorkload(ctx, &p.sets[i]); err != nil {
			return err
		}
	}
	return nil
}

// retires says that a workload is there that is not among those that are kept.
func (p *pass) retires(kept map[string]bool) bool {
	return p.deployment != nil && !kept["Deployment/"+p.deployment.Name] ||
		slices.ContainsFunc(p.sets, func(s appsv1.StatefulSet) bool { return !kept["StatefulSet/"+s.Name] })
}

// deleteMembers deletes the Service and the NetworkPolicy of pods over several
// nodes, where they are the Workspace's.
func (r *Reconciler) deleteMembers(ctx context.Context, p *pass) error {
	key := client.ObjectKey{Namespace: p.ws.Namespace, Name: repolayout.MembersName(p.ws.Name)}
	for _, o := range []client.Object{&corev1.Service{}, &networkingv1.NetworkPolicy{}} {
		err := r.Reader.Get(ctx, key, o)
		if apierrors.IsNotFound(err) {
			continue
		}
		if err != nil {
			return fmt.Errorf("reading %T %s: %w", o, key, err)
		}
		if !metav1.IsControlledBy(o, p.ws) {
			continue
		}
		if err := r.remove(ctx, o); client.IgnoreNotFound(err) != nil {
			return fmt.Errorf("deleting %T %s: %w", o, key, err)
		}
	}
	return nil
}

// deleteServing deletes the workload of a service.
func (r *Reconciler) deleteServing(ctx context.Context, p *pass) error {
	if p.deployment != nil {
		if err := r.deleteDeployment(ctx, p); err != nil {
			return err
		}
	}
	for i := range p.sets {
		if err := r.deleteWorkload(ctx, &p.sets[i]); err != nil {
			return err
		}
	}
	return nil
}

// deleteWorkload deletes a workload, its pods first.
func (r *Reconciler) deleteWorkload(ctx context.Context, o client.Object) error {
	if !o.GetDeletionTimestamp().IsZero() {
		return nil
	}
	err := r.remove(ctx, o, client.PropagationPolicy(metav1.DeletePropagationForeground))
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %T %s/%s: %w", o, o.GetNamespace(), o.GetName(), err)
	}
	return nil
}

// copies says how many copies of a model are wanted, answer, and are old.
type copies struct {
	want, answer, old int32
	enough            int32  // copies that must answer: as many as are wanted, or the fewest of an autoscaler
	current           bool   // the status speaks of what was applied last
	unseen            bool   // it speaks of what was there before
	scaling           string // "1 to 5 by load"; "" where the number is fixed
}

// countCopies reads them from the Deployment, or from a StatefulSet a copy.
func (p *pass) countCopies() copies {
	if d := p.deployment; d != nil && len(p.sets) == 0 {
		s, want := d.Status, ptr.Deref(d.Spec.Replicas, 1)
		c := copies{want: want, enough: want, answer: s.AvailableReplicas, old: s.Replicas - s.UpdatedReplicas}
		seen := s.ObservedGeneration >= d.Generation
		if p.scales() && want > 0 {
			a := p.ws.Spec.Inference.Autoscale
			c.enough = min(want, max(1, a.Least()))
			c.scaling = fmt.Sprintf("%d to %d by load", a.Least(), a.MaxReplicas)
			// Another number of copies is another generation, and no other version.
			seen = seen || !p.rolled && condition.Is(p.ws, v1alpha1.ConditionInferenceReady)
		}
		c.current, c.unseen = seen && s.UpdatedReplicas >= c.enough, !seen
		return c
	}
	c := copies{current: true}
	for i := range p.sets {
		c.addSet(&p.sets[i])
	}
	c.enough = c.want
	return c
}

// addSet counts one copy over several nodes: it answers when all of its pods are
// ready, of which the leader's says that the model is loaded.
func (c *copies) addSet(set *appsv1.StatefulSet) {
	pods, s := ptr.Deref(set.Spec.Replicas, 1), set.Status
	if pods > 0 {
		c.want++
	}
	seen := s.ObservedGeneration >= set.Generation
	c.current, c.unseen = c.current && seen && s.UpdatedReplicas >= pods, c.unseen || !seen
	if s.ReadyReplicas >= pods && pods > 0 {
		c.answer++
	}
	if s.UpdateRevision != s.CurrentRevision && s.UpdatedReplicas < s.Replicas {
		c.old++
	}
}

// done says that every copy is of the current version and answers.
func (c copies) done() bool { return c.want > 0 && c.current && c.answer >= c.enough && c.old <= 0 }

func (c copies) String() string {
	text := fmt.Sprintf("%d of %d replicas answer", c.answer, c.want)
	if c.unseen && c.answer > 0 {
		text += "; the last change is not rolled out yet"
	}
	if c.old > 0 {
		text += fmt.Sprintf("; %d are of the version before", c.old)
	}
	if c.scaling != "" {
		text += "; " + c.scaling
	}
	return text
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// autoscalers are the kinds that spec.replicas of a Deployment is given to. KEDA's
// comes first: it makes one of the others.
var autoscalers = []schema.GroupVersionKind{
	{Group: "keda.sh", Version: "v1alpha1", Kind: render.KindScaledObject},
	{Group: "autoscaling", Version: "v2", Kind: render.KindHPA},
}

// scales says that the number of copies follows the load.
func (p *pass) scales() bool {
	return p.ws.Spec.Inference != nil && p.ws.Spec.Inference.Autoscale != nil
}

// counted is the number of copies that an autoscaler asks for; nil where none
// does, or none has been able to yet.
func (p *pass) counted() *int32 {
	if !p.scales() || p.deployment == nil {
		return nil
	}
	return ptr.To(p.copies())
}

// copies of the service that are wanted now.
func (p *pass) copies() int32 {
	least, most := p.ws.Spec.Inference.Copies()
	if !p.scales() || p.deployment == nil {
		return least
	}
	return min(max(ptr.Deref(p.deployment.Spec.Replicas, 1), least), most)
}

// enoughNodes says that the nodes of the fewest copies can be used, while more
// are on their way: what answers goes on answering.
func (p *pass) enoughNodes() bool {
	if !p.scales() || p.pool.Status.Candidate == nil {
		return false
	}
	has, want := p.pool.Status.Candidate, p.candidate
	least, _ := p.ws.Spec.Inference.Copies()
	return has.InstanceType == want.InstanceType && has.Priority == want.Priority &&
		int(p.pool.Status.ReadyNodes) >= want.NodesFor(int(max(1, least)))
}

// applyServing applies a workload. Of a Deployment the number of copies is given
// to its autoscaler, or taken back from the one that had it.
func (r *Reconciler) applyServing(ctx context.Context, p *pass, was *appsv1.Deployment, child *unstructured.Unstructured) (*unstructured.Unstructured, error) {
	if child.GetKind() != "Deployment" {
		return r.applyWork(ctx, p, child, apply.Object)
	}
	had, has := scalerOf(was), ""
	if p.out.Autoscaler != nil {
		has = p.out.Autoscaler.GetKind()
	}
	if had != has || was == nil {
		if err := r.removeAutoscalers(ctx, p.ws, had, has); err != nil {
			return nil, err
		}
	}
	switch {
	case has != "":
		return r.applyWork(ctx, p, child, apply.Handing)
	case had != "":
		return r.applyWork(ctx, p, child, apply.TakingBack)
	}
	return r.applyWork(ctx, p, child, apply.Object)
}

// scalerOf is the kind of the autoscaler that a Deployment was given to.
func scalerOf(d *appsv1.Deployment) string {
	if d == nil {
		return ""
	}
	return d.Annotations[repolayout.AnnotationAutoscaler]
}

// inputsOf identifies what the pods of a workload are made from.
func inputsOf(pods *corev1.PodTemplateSpec) string {
	return pods.Annotations[repolayout.AnnotationInputDigest]
}

// removeAutoscalers removes the Workspace's autoscalers, all but the kind that is
// kept, and waits until they are gone: one that is at work may write once more. had is
// the kind that the Deployment is given to.
func (r *Reconciler) removeAutoscalers(ctx context.Context, ws *v1alpha1.Workspace, had, keep string) error {
	for _, kind := range autoscalers {
		if kind.Kind == keep || had == "" && r.noneIn(ctx, ws.Namespace, kind) {
			continue
		}
		left, err := r.removeAutoscaler(ctx, ws, kind)
		if err != nil {
			return err
		}
		if left {
			return fault.Wait(v1alpha1.ReasonProgressing, retryFirst, "%s %s is being removed before the number of copies is set", kind.Kind, ws.Name)
		}
	}
	return nil
}

// believedLacking is how long a cluster that lacked a kind is not asked for it again
// when its objects are to be removed: each question is a discovery. Whoever applies one
// asks.
const believedLacking = time.Minute

// place is a kind in a namespace.
type place struct {
	kind      schema.GroupVersionKind
	namespace string
}

// looked is when a namespace was looked into, and whether nothing of a kind was there.
type looked struct {
	at   time.Time
	none bool
}

// noneIn says that a namespace has no object of a kind: it is looked into once a minute, and
// not for each new Workspace. Not where autoscalers are applied, of which others make more.
func (r *Reconciler) noneIn(ctx context.Context, namespace string, kind schema.GroupVersionKind) bool {
	in := place{kind, namespace}
	was, ok := r.namespaces.Load(in)
	if ok && r.Clock().Before(was.(looked).at.Add(believedLacking)) {
		return was.(looked).none
	}
	if at, ok := r.lacking.Load(kind); ok && r.Clock().Before(at.(time.Time).Add(believedLacking)) {
		return false // removeAutoscaler knows that there is no such kind
	}
	at, one := r.Clock(), &metav1.PartialObjectMetadataList{}
	one.SetGroupVersionKind(kind.GroupVersion().WithKind(kind.Kind + "List"))
	if err := r.Reader.List(ctx, one, client.InNamespace(namespace), client.Limit(1)); err != nil {
		return false // whoever asks for the object by name says why
	}
	now := looked{at, len(one.Items) == 0}
	if ok {
		r.namespaces.CompareAndSwap(in, was, now) // else one was applied meanwhile
	} else {
		r.namespaces.LoadOrStore(in, now)
	}
	return now.none
}

// removeAutoscaler removes one that is the Workspace's, and says whether it, or
// what KEDA made of it, is still there.
func (r *Reconciler) removeAutoscaler(ctx context.Context, ws *v1alpha1.Workspace, kind schema.GroupVersionKind) (left bool, err error) {
	if lacking, ok := r.lacking.Load(kind); ok && r.Clock().Before(lacking.(time.Time).Add(believedLacking)) {
		return false, nil
	}
	o := &metav1.PartialObjectMetadata{}
	o.SetGroupVersionKind(kind)
	err = r.Reader.Get(ctx, client.ObjectKeyFromObject(ws), o)
	switch {
	case meta.IsNoMatchError(err):
		r.lacking.Store(kind, r.Clock())
		return false, nil
	case client.IgnoreNotFound(err) == nil && err != nil:
		return false, nil
	case err != nil:
		return false, fmt.Errorf("reading %s %s/%s: %w", kind.Kind, ws.Namespace, ws.Name, err)
	case !metav1.IsControlledBy(o, ws):
		owner := metav1.GetControllerOf(o)
		return owner != nil && owner.Kind == render.KindScaledObject && owner.Name == ws.Name, nil
	case !o.DeletionTimestamp.IsZero():
		return true, nil
	}
	if err := r.remove(ctx, o, client.Preconditions{UID: &o.UID}); client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("deleting %s %s/%s: %w", kind.Kind, ws.Namespace, ws.Name, err)
	}
	return true, nil
}

// applyAutoscaler applies it once there is something to scale.
func (r *Reconciler) applyAutoscaler(ctx context.Context, p *pass) error {
	scaler := p.out.Autoscaler
	if scaler == nil {
		return nil
	}
	r.lacking.Delete(scaler.GroupVersionKind())
	for _, kind := range autoscalers {
		r.namespaces.Store(place{kind, p.ws.Namespace}, looked{at: r.Clock()})
	}
	_, err := r.applyChild(ctx, p.ws, scaler.DeepCopy())
	if meta.IsNoMatchError(err) {
		return r.withoutKEDA(ctx, p)
	}
	return err
}

// withoutKEDA says that nothing scales the service, which serves all the same.
func (r *Reconciler) withoutKEDA(ctx context.Context, p *pass) error {
	if err := r.observe(ctx, p); err != nil {
		return err
	}
	message := "The cluster has no kind ScaledObject, so nothing scales the copies: install KEDA, or drop spec.inference.autoscale.keda to scale by a HorizontalPodAutoscaler"
	condition.False(p.ws, v1alpha1.ConditionWorkspaceReady, v1alpha1.ReasonInputMissing, message)
	return fault.Wait(v1alpha1.ReasonInputMissing, lookAgain, "%s", message)
}

// deleteDeployment deletes the Deployment of a service, and its autoscaler with
// it: that would take hold of the next one, whatever the spec says then.
func (r *Reconciler) deleteDeployment(ctx context.Context, p *pass) error {
	if scalerOf(p.deployment) != "" {
		for _, kind := range autoscalers {
			if _, err := r.removeAutoscaler(ctx, p.ws, kind); err != nil {
				return err
			}
		}
	}
	return r.deleteWorkload(ctx, p.deployment)
}

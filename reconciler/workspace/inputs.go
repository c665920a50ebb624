// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// children reads what is there of the Workspace's pool and workload.
func (r *Reconciler) children(ctx context.Context, p *pass) error {
	key := client.ObjectKeyFromObject(p.ws)
	pool := &v1alpha1.GPUNodePool{}
	poolKey := key
	if shared := p.ws.Spec.Resource.NodePool; shared != "" {
		poolKey.Name = shared
	}
	found, err := r.find(ctx, poolKey, pool)
	if err != nil {
		return err
	}
	if found {
		p.pool = pool
	}
	deployment := &appsv1.Deployment{}
	if found, err = r.find(ctx, key, deployment); err != nil {
		return err
	}
	if found && metav1.IsControlledBy(deployment, p.ws) {
		p.deployment = deployment
	}
	jobs := &batchv1.JobList{}
	if err := r.Client.List(ctx, jobs, client.InNamespace(key.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: key.Name}); err != nil {
		return fmt.Errorf("listing the Jobs of Workspace %s: %w", key, err)
	}
	for _, j := range jobs.Items {
		if metav1.IsControlledBy(&j, p.ws) {
			p.jobs = append(p.jobs, j)
		}
	}
	return nil
}

func (r *Reconciler) find(ctx context.Context, key types.NamespacedName, o client.Object) (bool, error) {
	err := r.Client.Get(ctx, key, o)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("reading %T %s: %w", o, key, err)
	}
	return err == nil, nil
}

// inputs reads the ConfigMap that the spec names and sees that its Secrets are
// there: no node is paid for while something the pods need is missing.
func (r *Reconciler) inputs(ctx context.Context, p *pass) error {
	if shared := p.ws.Spec.Resource.NodePool; shared != "" && p.pool == nil {
		return fault.Wait(v1alpha1.ReasonInputMissing, 0,
			"GPUNodePool %s/%s, which spec.resource.nodePool names, does not exist: declare it beside the Workspace", p.ws.Namespace, shared)
	}
	if name := p.ws.Spec.ConfigMap(); name != "" {
		cm := &corev1.ConfigMap{}
		if err := r.input(ctx, p.ws, "ConfigMap", name, cm); err != nil {
			return err
		}
		p.config = cm.Data
		if p.config == nil {
			p.config = map[string]string{}
		}
	}
	p.versions = map[string]string{}
	for _, name := range p.ws.Spec.Secrets() {
		secret := &metav1.PartialObjectMetadata{}
		secret.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind("Secret"))
		if err := r.input(ctx, p.ws, "Secret", name, secret); err != nil {
			return err
		}
		p.versions["Secret/"+name] = secret.ResourceVersion
	}
	return nil
}

func (r *Reconciler) input(ctx context.Context, ws *v1alpha1.Workspace, kind, name string, into client.Object) error {
	err := r.Reader.Get(ctx, types.NamespacedName{Namespace: ws.Namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return fault.Wait(v1alpha1.ReasonInputMissing, 0,
			"%s %s/%s, which the Workspace names, does not exist: no node is requested before it does", kind, ws.Namespace, name)
	}
	if err != nil {
		return fmt.Errorf("reading %s %s/%s: %w", kind, ws.Namespace, name, err)
	}
	return nil
}

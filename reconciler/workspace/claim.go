// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var (
	claimClass = []string{"spec", "storageClassName"}
	claimModes = []string{"spec", "accessModes"}
	claimSize  = []string{"spec", "resources", "requests", string(corev1.ResourceStorage)}
)

// applyClaim applies a claim for checkpoints. One that is there is only ever made
// larger: Kubernetes lets a claim neither shrink nor change its class.
func (r *Reconciler) applyClaim(ctx context.Context, ws *v1alpha1.Workspace, claim *unstructured.Unstructured) error {
	live := &corev1.PersistentVolumeClaim{}
	found, err := r.findLive(ctx, client.ObjectKey{Namespace: ws.Namespace, Name: claim.GetName()}, live)
	if err != nil {
		return err
	}
	grows := false
	if found {
		if grows, err = fitClaim(claim, live); err != nil {
			return err
		}
	}
	_, err = r.applyChild(ctx, ws, claim)
	if grows && apierrors.IsForbidden(err) && !fault.IsTerminal(err) { // the class, and not a right that is missing
		return fault.Stopf(v1alpha1.ReasonClaimTooSmall,
			"%s is smaller than this run needs, and its storage class lets no claim grow: %s; once nothing on it is wanted: kubectl delete pvc -n %s %s",
			apply.Describe(claim), err, ws.Namespace, claim.GetName())
	}
	return err
}

// findLive reads past the cache, which holds no claims.
func (r *Reconciler) findLive(ctx context.Context, key client.ObjectKey, o client.Object) (bool, error) {
	err := r.Reader.Get(ctx, key, o)
	if client.IgnoreNotFound(err) != nil {
		return false, fmt.Errorf("reading %T %s: %w", o, key, err)
	}
	return err == nil, nil
}

// fitClaim keeps the class and the access modes of the claim that is there, and its
// size where the wanted one is smaller. It says whether the claim is to grow.
func fitClaim(wanted *unstructured.Unstructured, live *corev1.PersistentVolumeClaim) (grows bool, err error) {
	modes := make([]string, 0, len(live.Spec.AccessModes))
	for _, mode := range live.Spec.AccessModes {
		modes = append(modes, string(mode))
	}
	if err := unstructured.SetNestedStringSlice(wanted.Object, modes, claimModes...); err != nil {
		return false, fmt.Errorf("keeping the access modes of claim %s: %w", live.Name, err)
	}
	unstructured.RemoveNestedField(wanted.Object, claimClass...)
	if class := live.Spec.StorageClassName; class != nil {
		if err := unstructured.SetNestedField(wanted.Object, *class, claimClass...); err != nil {
			return false, fmt.Errorf("keeping the class of claim %s: %w", live.Name, err)
		}
	}
	text, _, err := unstructured.NestedString(wanted.Object, claimSize...)
	if err != nil {
		return false, fmt.Errorf("reading the size of claim %s: %w", live.Name, err)
	}
	size, err := resource.ParseQuantity(text)
	if err != nil {
		return false, fmt.Errorf("reading the size of claim %s: %w", live.Name, err)
	}
	has := live.Spec.Resources.Requests[corev1.ResourceStorage]
	if size.Cmp(has) > 0 {
		return true, nil
	}
	if err := unstructured.SetNestedField(wanted.Object, has.String(), claimSize...); err != nil {
		return false, fmt.Errorf("keeping the size of claim %s: %w", live.Name, err)
	}
	return false, nil
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"slices"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const kindAccount = "ServiceAccount"

// azureClient is the annotation by which Azure's webhook knows whose identity a
// ServiceAccount is.
const azureClient = "azure.workload.identity/client-id"

// identities sees that the ServiceAccounts that pods run as are there, and that Azure's
// webhook will give them an identity: without one a run would be paid for and not pushed.
// What Amazon and Google make of an account need not stand on it.
func (r *Reconciler) identities(ctx context.Context, ws *v1alpha1.Workspace) error {
	for _, name := range ws.Spec.ServiceAccounts() {
		account := &metav1.PartialObjectMetadata{}
		account.SetGroupVersionKind(corev1.SchemeGroupVersion.WithKind(kindAccount))
		if err := r.input(ctx, ws, kindAccount, name, account); err != nil {
			return err
		}
		onAzure := slices.ContainsFunc(ws.Spec.SignedIn(), func(image string) bool { return v1alpha1.CloudOf(image) == v1alpha1.CloudAzure })
		if name == ws.Spec.ServiceAccountName && onAzure && account.Annotations[azureClient] == "" {
			return fault.Wait(v1alpha1.ReasonInputMissing, lookAgain,
				"ServiceAccount %s/%s, which signs in to a registry of Azure, has no annotation %s with the client id of an identity: no node is requested before it does", ws.Namespace, name, azureClient)
		}
	}
	return nil
}

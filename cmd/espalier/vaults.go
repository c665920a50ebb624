// SPDX-License-Identifier: Apache-2.0

package main

import (
	"net/http"
	"os"

	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/keyvault"
)

// vaults is who asks Azure Key Vault for RepoSyncs, in the cloud of --azure-cloud, with
// nodes of it or without.
func (o *controllerOptions) vaults(mgr ctrl.Manager, azure *http.Client) *keyvault.Client {
	return keyvault.New(keyvault.Options{
		Cloud: o.Azure.Cloud, Foreign: o.Azure.Endpoint != "", HTTP: azure,
		Kube: mgr.GetClient(), Reader: mgr.GetAPIReader(), Env: os.Getenv,
	})
}

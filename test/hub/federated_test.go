// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"maps"
	"os"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// What tokens of the hub are for, and by whom.
const (
	issuer   = "https://hub.example.com"
	audience = "https://west.example.com"
)

// certificate is that of a cluster's API server, in PEM form.
func (w *world) certificate(of *harness.Stand) string {
	w.t.Helper()
	config := of.Cluster.Config
	if len(config.CAData) > 0 {
		return string(config.CAData)
	}
	text, err := os.ReadFile(config.CAFile)
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// trusting is the configuration of an API server that takes tokens of the hub, whose keys
// the hub's own API server tells to everybody.
func (w *world) trusting(hub *harness.Stand) string {
	w.t.Helper()
	w.kubectl(hub, "create", "clusterrolebinding", "discovery", "--clusterrole=system:service-account-issuer-discovery", "--group=system:unauthenticated")
	type object = map[string]any
	text, err := yaml.Marshal(object{
		"apiVersion": "apiserver.config.k8s.io/v1", "kind": "AuthenticationConfiguration",
		"jwt": []any{object{
			"issuer": object{
				"url": issuer, "discoveryURL": hub.Cluster.Config.Host + "/.well-known/openid-configuration",
				"certificateAuthority": w.certificate(hub), "audiences": []string{audience},
			},
			"claimMappings": object{"username": object{"claim": "sub", "prefix": "hub:"}},
		}},
	})
	if err != nil {
		w.t.Fatal(err)
	}
	return string(text)
}

// leads writes the ConfigMap that spec.kubeConfig names, changed.
func (w *world) leads(change map[string]string) {
	w.t.Helper()
	data := map[string]string{
		"provider": "generic", "address": w.spoke.Cluster.Config.Host, "ca.crt": w.certificate(w.spoke), "audiences": audience, "serviceAccountName": "west",
	}
	maps.Copy(data, change)
	config := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "west"}}
	err := w.Client.Get(w.t.Context(), client.ObjectKeyFromObject(config), config)
	config.Data = data
	switch {
	case apierrors.IsNotFound(err):
		err = w.Client.Create(w.t.Context(), config)
	case err == nil:
		err = w.Client.Update(w.t.Context(), config)
	}
	if err != nil {
		w.t.Fatal(err)
	}
}

// federated: without a kubeconfig an account of the hub signs in, which the spoke trusts.
// Who has no right to make its tokens, or asks for one that the hub itself would take, is
// told so.
func (w *world) federated(files map[string]string) {
	w.edit(`{"spec":{"kubeConfig":{"secretRef":null,"configMapRef":{"name":"west"}}}}`)
	w.says(v1alpha1.ReasonKubeConfigInvalid, "ConfigMap models/west", "does not exist")
	w.leads(nil)
	w.says(v1alpha1.ReasonAuthFailed, "ServiceAccount models/west does not exist")
	w.kubectl(w.Stand, "create", "serviceaccount", "west", "--namespace", namespace)
	w.says(v1alpha1.ReasonAuthFailed, "bind it the ClusterRole espalier-decrypt in namespace models")
	w.kubectl(w.Stand, "create", "role", "sign-in", "--namespace", namespace, "--verb=create", "--resource=serviceaccounts/token", "--resource-name=west")
	w.kubectl(w.Stand, "create", "rolebinding", "sign-in", "--namespace", namespace, "--role=sign-in", "--serviceaccount=espalier-system:espalier")
	w.says(v1alpha1.ReasonAccessDenied, "may not get the namespace kube-system")
	const user = "--user=hub:system:serviceaccount:models:west"
	w.kubectl(w.spoke, "create", "clusterrolebinding", "west-identity", "--clusterrole=espalier-hub-identity", user)
	w.kubectl(w.spoke, "create", "rolebinding", "west", "--namespace", namespace, "--role=hub", user)
	w.applied(w.push(files, "models: by an account of the hub"))

	w.leads(map[string]string{"audiences": issuer})
	w.says(v1alpha1.ReasonAuthFailed, "one of the audiences is this cluster's own")
	w.leads(map[string]string{"audiences": "https://nobody.example.com"})
	w.says(v1alpha1.ReasonAuthFailed, "does not take the token of its account")
	w.leads(map[string]string{"provider": "gcp"})
	w.says(v1alpha1.ReasonKubeConfigInvalid, "by provider gcp this controller signs in nowhere")
	w.leads(nil)
	if err := harness.Until(w.patient(), w.Stand, w.sync(), "Ready again", isReady[*v1alpha1.RepoSync]); err != nil {
		w.t.Fatal(err)
	}
	w.edit(`{"spec":{"kubeConfig":{"secretRef":{"name":"` + kubeconfig + `"},"configMapRef":null}}}`)
	if err := harness.Until(w.patient(), w.Stand, w.sync(), "Ready by the Secret", isReady[*v1alpha1.RepoSync]); err != nil {
		w.t.Fatal(err)
	}
}

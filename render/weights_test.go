// SPDX-License-Identifier: Apache-2.0

package render_test

import (
	"strings"
	"testing"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/render/check"
)

// TestWeightsAllowed: a folder of the node and an account of the cloud are the
// controller's to give (design rule 11).
func TestWeightsAllowed(t *testing.T) {
	const local = "{local: phi-4}"
	const account = "{url: 'az://a/b', storageAccount: team, serviceAccountName: reader}"
	for name, tc := range map[string]struct {
		reason, weights string
		options         render.Options
		want            string
	}{
		"LocalNot":     {"nobody vouches for a directory", local, render.Options{}, "spec.inference.weights.local: "},
		"Local":        {"whoever runs the controller does", local, render.Options{LocalWeights: "/models"}, ""},
		"AccountNot":   {"a pod has the cloud's rights of its account", account, render.Options{}, "spec.inference.weights.serviceAccountName: the controller allows none"},
		"AccountOther": {"those of another are not meant", account, render.Options{WeightsAccounts: []string{"other"}}, "allows other"},
		"Account":      {"it is on the list", account, render.Options{WeightsAccounts: []string{"other", "reader"}}, ""},
		"AnyAccount":   {"all are", account, render.Options{WeightsAccounts: []string{render.AnyAccount}}, ""},
		"Claim":        {"a claim is of the namespace", "{claim: a}", render.Options{}, ""},
	} {
		t.Run(name, func(t *testing.T) {
			w := workspace(t, "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\nspec:\n"+
				"  resource: {instanceType: Standard_NC24ads_A100_v4}\n  inference: {preset: phi-4-mini-instruct, weights: "+tc.weights+"}\n")
			in := render.Input{Workspace: w, Options: tc.options}
			assess(t, &in, check.Facts{})
			_, err := render.Render(in)
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

// TestIdentity: Azure's webhook gives a pod the identity of its account by a label,
// which the pods of a copy over several nodes have beside their own.
func TestIdentity(t *testing.T) {
	for name, tc := range map[string]struct{ reason, preset, instance string }{
		"OneNode": {"a Deployment", "phi-4-mini-instruct", "Standard_NC24ads_A100_v4"},
		"Nodes":   {"a StatefulSet of each copy", "deepseek-ai/DeepSeek-R1-0528", "Standard_ND96isr_H100_v5"},
	} {
		t.Run(name, func(t *testing.T) {
			w := workspace(t, "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\nspec:\n"+
				"  resource: {instanceType: "+tc.instance+"}\n  inference: {preset: "+tc.preset+", weights: {url: 'az://a/b', storageAccount: team, serviceAccountName: reader}}\n")
			in := render.Input{Workspace: w, Options: options}
			in.Options.WeightsAccounts = []string{"reader"}
			assess(t, &in, check.Facts{})
			out, err := render.Render(in)
			if err != nil {
				t.Fatal(err)
			}
			labels, _, _ := unstructured.NestedStringMap(out.Workload.Object, "spec", "template", "metadata", "labels")
			account, _, _ := unstructured.NestedString(out.Workload.Object, "spec", "template", "spec", "serviceAccountName")
			if labels["azure.workload.identity/use"] != "true" || account != "reader" {
				t.Errorf("%s of account %q has labels %v", tc.reason, account, labels)
			}
		})
	}
}

// TestRegistryAccount: who the pods are in the cloud is the controller's to allow, and a pod
// that signs in nowhere is nobody.
func TestRegistryAccount(t *testing.T) {
	const pushes = "  tuning:\n    preset: phi-3-mini-128k-instruct\n    method: qlora\n    input: {claim: data}\n    output: {image: 'contoso.azurecr.io/a/b:1'}\n"
	const mounts = "  inference: {preset: phi-4-mini-instruct, adapters: [{name: a, image: 'contoso.azurecr.io/a/b:1'}]}\n"
	for name, tc := range map[string]struct {
		reason, task string
		allowed      []string
		want         string // part of the error
		account      string
	}{
		"Not":     {"a pod has the cloud's rights of its account", pushes, nil, "spec.serviceAccountName: the controller allows none (--registry-service-account)", ""},
		"Other":   {"those of another are not meant", pushes, []string{"other"}, "allows other", ""},
		"Allowed": {"it is on the list", pushes, []string{"pusher"}, "", "pusher"},
		"Mounted": {"the node pulls what it mounts", mounts, []string{"pusher"}, "", ""},
		"Copied":  {"the pod pulls what it copies", "  runtime: {imageVolumes: Disabled}\n" + mounts, []string{render.AnyAccount}, "", "pusher"},
	} {
		t.Run(name, func(t *testing.T) {
			w := workspace(t, "apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: w, namespace: n}\nspec:\n"+
				"  resource: {instanceType: Standard_NC24ads_A100_v4}\n  serviceAccountName: pusher\n"+tc.task)
			in := render.Input{Workspace: w, Options: options}
			in.Options.RegistryAccounts = tc.allowed
			assess(t, &in, check.Facts{})
			out, err := render.Render(in)
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatal(err)
			}
			account, _, _ := unstructured.NestedString(out.Workload.Object, "spec", "template", "spec", "serviceAccountName")
			labels, _, _ := unstructured.NestedStringMap(out.Workload.Object, "spec", "template", "metadata", "labels")
			if account != tc.account || (labels["azure.workload.identity/use"] == "true") != (tc.account != "") {
				t.Errorf("%s: account %q, labels %v", tc.reason, account, labels)
			}
		})
	}
}

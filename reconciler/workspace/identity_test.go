// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestIdentities: no node is bought for pods that could not be who they are to be.
func TestIdentities(t *testing.T) {
	pusher := func(annotations map[string]string) *corev1.ServiceAccount {
		return &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "pusher", Annotations: annotations}}
	}
	pushes := func(image string) v1alpha1.WorkspaceSpec {
		return v1alpha1.WorkspaceSpec{ServiceAccountName: "pusher", Tuning: &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: image}}}
	}
	reads := v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{Weights: &v1alpha1.Weights{URL: "s3://a", ServiceAccountName: "reader"}}}
	for name, tc := range map[string]struct {
		reason  string
		spec    v1alpha1.WorkspaceSpec
		account *corev1.ServiceAccount
		want    string
	}{
		"Ready":      {"its identity is said", pushes("contoso.azurecr.io/a/b:1"), pusher(map[string]string{azureClient: "id"}), ""},
		"NoIdentity": {"the webhook would give it none", pushes("contoso.azurecr.io/a/b:1"), pusher(nil), "has no annotation azure.workload.identity/client-id"},
		"Amazon":     {"an association of EKS stands elsewhere", pushes("123456789012.dkr.ecr.eu-west-1.amazonaws.com/a:1"), pusher(nil), ""},
		"Missing":    {"pods of no account are not started", pushes("gcr.io/a/b:1"), nil, "ServiceAccount n/pusher, which the Workspace names, does not exist"},
		"Weights":    {"nor those that read weights", reads, pusher(nil), "ServiceAccount n/reader, which the Workspace names, does not exist"},
	} {
		t.Run(name, func(t *testing.T) {
			builder := kubefake.NewClientBuilder().WithScheme(clientgoscheme.Scheme)
			if tc.account != nil {
				builder = builder.WithObjects(tc.account)
			}
			r := New(Deps{Reader: builder.Build()})
			err := r.identities(t.Context(), &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n"}, Spec: tc.spec})
			if tc.want == "" && err != nil || tc.want != "" && (err == nil || !strings.Contains(err.Error(), tc.want)) {
				t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
			}
		})
	}
}

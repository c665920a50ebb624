// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"context"
	"slices"
	"strings"
	"testing"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// server makes tokens as an API server does that fills in its own audiences.
type server struct {
	client.Client
	own  []string
	made [][]string
}

func (s *server) SubResource(string) client.SubResourceClient { return making{s: s} }

type making struct {
	client.SubResourceClient
	s *server
}

func (m making) Create(_ context.Context, _, sub client.Object, _ ...client.SubResourceCreateOption) error {
	request := sub.(*authenticationv1.TokenRequest)
	if len(request.Spec.Audiences) == 0 {
		request.Spec.Audiences, request.Status.Token = m.s.own, "own"
		return nil
	}
	m.s.made, request.Status.Token = append(m.s.made, request.Spec.Audiences), "foreign"
	return nil
}

// TestForeign: what leaves the cluster is good for nothing in it, and for nothing in a cloud.
func TestForeign(t *testing.T) {
	for name, c := range map[string]struct {
		reason    string
		own       []string
		audiences []string
		words     string // of the refusal; "": none
		retry     bool
	}{
		"Other":      {"An audience of the other cluster.", []string{"https://a"}, []string{"https://b"}, "", false},
		"Own":        {"The hub would take it.", []string{"https://a"}, []string{"https://a"}, "audiences is this cluster's own", false},
		"OneOf":      {"One audience is enough for that, of the token and of the hub.", []string{"https://a", "aks"}, []string{"https://b", "aks"}, "audiences is this cluster's own", false},
		"Silent":     {"Who is not told which they are makes none.", nil, []string{"https://b"}, "does not say which audiences are its own", true},
		"Azure":      {"Entra ID would give the account's identity for it.", []string{"https://a"}, []string{"api://AzureADTokenExchangeUSGov"}, "audiences is that of a cloud", false},
		"AzureCased": {"However it is written.", []string{"https://a"}, []string{"API://azureadtokenexchange"}, "audiences is that of a cloud", false},
		"Amazon":     {"And STS.", []string{"https://a"}, []string{"https://b", "sts.amazonaws.com"}, "audiences is that of a cloud", false},
		"AmazonPods": {"And EKS.", []string{"https://a"}, []string{"pods.eks.amazonaws.com"}, "audiences is that of a cloud", false},
		"Alibaba":    {"And Alibaba.", []string{"https://a"}, []string{"sts.aliyuncs.com"}, "audiences is that of a cloud", false},
		"Fleet":      {"And Google, of clusters elsewhere.", []string{"https://a"}, []string{"project.hub.id.goog"}, "audiences is that of a cloud", false},
		"Google":     {"And of its own.", []string{"https://a"}, []string{"project.svc.id.goog"}, "audiences is that of a cloud", false},
		"Federation": {"In either way.", []string{"https://a"}, []string{"//iam.googleapis.com/projects/1/locations/global/workloadIdentityPools/p/providers/k"}, "audiences is that of a cloud", false},
	} {
		t.Run(name, func(t *testing.T) {
			s := &server{own: c.own}
			of := &corev1.ServiceAccount{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "west"}}
			made, refused := Accounts{Kube: s}.Foreign(t.Context(), of, c.audiences, 600)
			switch {
			case c.words == "" && (refused != nil || made.Status.Token != "foreign" || !slices.Equal(s.made[0], c.audiences)):
				t.Errorf("%s\nmade %v, %v", c.reason, made, refused)
			case c.words != "" && (refused == nil || !strings.Contains(refused.Text, c.words) || refused.Retry != c.retry || len(s.made) > 0):
				t.Errorf("%s\nmade %v, %v", c.reason, s.made, refused)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package signin signs in to registries of clouds as the workload identity of the pod that
// it runs in: Azure by a federated token that Entra ID and then the registry exchange,
// Amazon by a role that a web identity or the agent of EKS assumes, Google by the metadata
// server of GKE.
//
// It decides which hosts get a token (v1alpha1.CloudOf: a cloud's own registries, and none
// that anybody can rent), and asks for the narrowest that there is. It never falls back to
// the identity of the node, reads no file of Docker's, and no token gets into an error.
package signin

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"os"

	"github.com/google/go-containerregistry/pkg/authn"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Identity is that of the pod. The zero value is ready.
type Identity struct {
	// Transport reaches what signs in; nil: http.DefaultTransport, and no proxy for what
	// answers on the node. Tests, whose clouds are on loopback, set it.
	Transport http.RoundTripper
}

// Check says why the pod cannot sign in to the registry of an image, without asking anybody.
func Check(image string) error {
	cloud := v1alpha1.CloudOf(image)
	missing := func(variables ...string) error {
		for _, v := range variables {
			if os.Getenv(v) == "" {
				return fmt.Errorf("the pod has no identity of %s: %s is not set", cloud, v)
			}
		}
		return nil
	}
	switch cloud {
	case v1alpha1.CloudAzure:
		if err := missing("AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE"); err != nil {
			return fmt.Errorf("%w: the webhook of workload identity must run, and the ServiceAccount have the annotation azure.workload.identity/client-id", err)
		}
		return nil
	case v1alpha1.CloudAmazon:
		if missing("AWS_ROLE_ARN", "AWS_WEB_IDENTITY_TOKEN_FILE") != nil && missing("AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE") != nil {
			return errors.New("the pod has no identity of Amazon: give the ServiceAccount a role (annotation eks.amazonaws.com/role-arn), or an association of EKS Pod Identity")
		}
		return nil
	case v1alpha1.CloudGoogle:
		return nil // the metadata server says
	}
	return fmt.Errorf("no identity signs in there, only to %s", v1alpha1.CloudRegistries)
}

// RefusedError is what a cloud answers to a pod that it does not let in: waiting is no cure,
// but for a grant that is on its way.
type RefusedError struct{ err error }

func (e *RefusedError) Error() string { return e.err.Error() }
func (e *RefusedError) Unwrap() error { return e.err }

// Resolve implements authn.Keychain.
func (i Identity) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return i.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain: it signs in anew each time, so that a
// push that is tried again does so with a token that has not expired.
func (i Identity) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	host := target.RegistryStr()
	cloud := v1alpha1.CloudOf(host)
	if err := Check(host); err != nil {
		return nil, err
	}
	sign := map[v1alpha1.Cloud]func(context.Context, string) (authn.AuthConfig, error){
		v1alpha1.CloudAzure: i.azure, v1alpha1.CloudAmazon: i.amazon, v1alpha1.CloudGoogle: i.google,
	}[cloud]
	credential, err := sign(ctx, host)
	if err != nil {
		return nil, fmt.Errorf("signing in to %s as the pod's identity of %s: %w", host, cloud, err)
	}
	return authn.FromConfig(credential), nil
}

// client follows no redirect: what is sent is for the host that was meant.
func (i Identity) client(node bool) *http.Client {
	transport := i.Transport
	if transport == nil && node {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.Proxy = nil
		transport = t
	}
	return &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
}

// SPDX-License-Identifier: Apache-2.0

package identity

import (
	"cmp"
	"context"
	"fmt"
	"net/http"
	"regexp"
	"slices"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/cloud"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	corev1 "k8s.io/api/core/v1"
)

// What the annotations of a ServiceAccount say of its workload identity, and for whom its
// token is: Azure's own.
const (
	AnnotationClient = "azure.workload.identity/client-id"
	AnnotationTenant = "azure.workload.identity/tenant-id"
	AzureAudience    = "api://AzureADTokenExchange"
)

// Azure signs in to Entra ID.
type Azure struct {
	Accounts
	Cloud cloud.Configuration
	// HTTP is who asks, which follows no redirects.
	HTTP *http.Client
	// Env has the environment of the controller, in which its own identity is.
	Env func(string) string
}

// maxTry bounds one try of a request to Azure.
const maxTry = 10 * time.Second

// ClientOptions are those of who signs in, and of whoever asks Azure in its name.
func (a Azure) ClientOptions() azcore.ClientOptions {
	return azcore.ClientOptions{
		Cloud: a.Cloud, Transport: a.HTTP, Telemetry: policy.TelemetryOptions{Disabled: true},
		Retry: policy.RetryOptions{MaxRetries: 2, TryTimeout: maxTry, RetryDelay: 300 * time.Millisecond, MaxRetryDelay: 3 * time.Second},
	}
}

// Direct is a client that follows no redirects; nil: of the default one.
func Direct(base *http.Client) *http.Client {
	if base == nil {
		base = http.DefaultClient
	}
	own := *base
	own.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &own
}

// Identity is who signs in.
type Identity struct {
	azcore.TokenCredential
	Who    string // for messages
	Tenant string
}

// OfController is the workload identity that a webhook gave the controller's pods. Where
// an account can be named in its place ends the sentence about one that is missing.
func (a Azure) OfController(instead string) (*Identity, *Refusal) {
	tenant, app, file := a.Env("AZURE_TENANT_ID"), a.Env("AZURE_CLIENT_ID"), a.Env("AZURE_FEDERATED_TOKEN_FILE")
	if tenant == "" || app == "" || file == "" {
		return nil, Refusef("the controller has no workload identity of Azure: give it one (docs/aks.md), or name an account that has one in %s", instead)
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: a.ClientOptions(), TenantID: tenant, ClientID: app, TokenFilePath: file,
	})
	if err != nil {
		return nil, Refusef("the workload identity of the controller cannot be used: see AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE")
	}
	return &Identity{TokenCredential: credential, Who: "the controller's identity (application " + short(app) + ")", Tenant: tenant}, nil
}

// OfAccount is the workload identity of a ServiceAccount, by a token that is made of it.
// Without audiences it is for Azure's own.
func (a Azure) OfAccount(ctx context.Context, live *corev1.ServiceAccount, audiences []string) (*Identity, *Refusal) {
	of, app := nameOf(live), live.Annotations[AnnotationClient]
	tenant := cmp.Or(live.Annotations[AnnotationTenant], a.Env("AZURE_TENANT_ID"))
	if app == "" || tenant == "" {
		return nil, Refusef("%s has no workload identity of Azure: annotate it with %s and %s", of, AnnotationClient, AnnotationTenant)
	}
	if len(audiences) == 0 {
		audiences = []string{AzureAudience}
	}
	token, refused := a.Token(ctx, live, audiences, leastSeconds)
	if refused != nil {
		return nil, refused
	}
	assertion := token.Status.Token
	credential, err := azidentity.NewClientAssertionCredential(tenant, app,
		func(context.Context) (string, error) { return assertion, nil }, &azidentity.ClientAssertionCredentialOptions{ClientOptions: a.ClientOptions()})
	if err != nil {
		return nil, Refusef("%s has annotations that are no workload identity: correct %s and %s", of, AnnotationClient, AnnotationTenant)
	}
	return &Identity{TokenCredential: credential, Who: fmt.Sprintf("%s (application %s)", of, short(app)), Tenant: tenant}, nil
}

var entraCode = regexp.MustCompile(`AADSTS(\d+): ([^"\n\r]*?)(?:\.\s|\.?\s*Trace ID|\.?"|\.?$)`)

// Said is the sentence of a sign-in that Entra ID refuses: its code, and where that is no
// known one, its first sentence.
func Said(who string, err *azidentity.AuthenticationFailedError) *Refusal {
	if err.RawResponse == nil || err.RawResponse.StatusCode >= http.StatusInternalServerError || err.RawResponse.StatusCode == http.StatusTooManyRequests {
		return Retryf("Entra ID does not answer, or cannot now, when %s signs in", who)
	}
	found := entraCode.FindStringSubmatch(err.Error())
	if found == nil {
		return Refusef("Entra ID issues no token to %s, and names no reason", who)
	}
	code := found[1]
	switch {
	case slices.Contains([]string{"70021", "700211", "700212", "700213"}, code):
		return Refusef("Entra ID issues no token to %s (AADSTS%s): give the identity a federated credential with the cluster's OIDC issuer, the account as its subject and the audience of its token, which is %s unless another is named", who, code, AzureAudience)
	case code == "700016", code == "90002":
		return Refusef("Entra ID does not know %s in the tenant (AADSTS%s): correct the client id or the tenant id", who, code)
	}
	return Refusef("Entra ID issues no token to %s (AADSTS%s): %s", who, code, short(found[2]))
}

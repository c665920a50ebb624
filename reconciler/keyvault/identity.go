// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
)

// What the annotations of a ServiceAccount say of its workload identity, and for whom its
// token is: Azure's own.
const (
	annotationClient = "azure.workload.identity/client-id"
	annotationTenant = "azure.workload.identity/tenant-id"
	tokenAudience    = "api://AzureADTokenExchange" //nolint:gosec // G101: a name
)

// tokenSeconds is how long the token of an account is good: the least that there is.
const tokenSeconds = 600

// signer signs in to vaults of one cloud, and to nothing else.
type signer struct {
	azcore.TokenCredential
	who           string // for messages
	scope, tenant string
}

// errOtherTenant is not tried again.
var errOtherTenant = &otherTenantError{}

type otherTenantError struct{}

func (*otherTenantError) Error() string { return "the vault is of another tenant" }

// NonRetriable tells the client that asks.
func (*otherTenantError) NonRetriable() {}

var uuid = regexp.MustCompile(`^[0-9a-fA-F]{8}(-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}$`)

// GetToken implements azcore.TokenCredential. What it is for is not the answer's to say:
// a challenge that names something else gets nothing.
func (s *signer) GetToken(ctx context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	if !slices.Equal(o.Scopes, []string{s.scope}) {
		return azcore.AccessToken{}, errors.New("the challenge names no vault")
	}
	if uuid.MatchString(o.TenantID) && uuid.MatchString(s.tenant) && !strings.EqualFold(o.TenantID, s.tenant) {
		return azcore.AccessToken{}, errOtherTenant
	}
	o.TenantID = ""
	return s.TokenCredential.GetToken(ctx, o)
}

// signIn is who asks, found out once.
func (s *Session) signIn() (*signer, *refusal) {
	if s.signed != nil {
		return s.signed, nil
	}
	find := s.ofAccount
	if s.as.Own() {
		find = s.ofController
	}
	signed, refused := find()
	if refused != nil {
		refused.of = ofAll
		return nil, refused
	}
	signed.scope = s.where.scope
	s.signed = signed
	return signed, nil
}

// ofController is the workload identity that a webhook gave the controller, and never the
// machine's: what the node may do is nobody's grant to a repository.
func (s *Session) ofController() (*signer, *refusal) {
	tenant, app, file := s.Env("AZURE_TENANT_ID"), s.Env("AZURE_CLIENT_ID"), s.Env("AZURE_FEDERATED_TOKEN_FILE")
	if tenant == "" || app == "" || file == "" {
		return nil, refusef("the controller has no workload identity of Azure: give it one (docs/aks.md), or name an account that has one in spec.decryption.serviceAccountName")
	}
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: s.clientOptions(), TenantID: tenant, ClientID: app, TokenFilePath: file,
	})
	if err != nil {
		return nil, refusef("the workload identity of the controller cannot be used: see AZURE_TENANT_ID, AZURE_CLIENT_ID and AZURE_FEDERATED_TOKEN_FILE")
	}
	return &signer{TokenCredential: credential, who: "the controller's identity (application " + short(app) + ")", tenant: tenant}, nil
}

// read reads the account that asks, past the cache.
func (s *Session) read() (*corev1.ServiceAccount, *refusal) {
	live := &corev1.ServiceAccount{}
	switch err := s.Reader.Get(s.pass, client.ObjectKey{Namespace: s.as.Namespace, Name: s.as.Name}, live); {
	case apierrors.IsNotFound(err):
		return nil, refusef("%s does not exist: create it, with the annotation %s", s.as, annotationClient)
	case err != nil:
		return nil, retryf("%s cannot be read (%s)", s.as, cmp.Or(string(apierrors.ReasonForError(err)), "the API server does not answer"))
	}
	return live, nil
}

// ofAccount is the workload identity of a ServiceAccount, by a token that is made of it.
// It is the account that the mark is of, and no later one.
func (s *Session) ofAccount() (*signer, *refusal) {
	if s.unread != nil {
		return nil, s.unread
	}
	live := s.live
	app := live.Annotations[annotationClient]
	tenant := cmp.Or(live.Annotations[annotationTenant], s.Env("AZURE_TENANT_ID"))
	if app == "" || tenant == "" {
		return nil, refusef("%s has no workload identity of Azure: annotate it with %s and %s", s.as, annotationClient, annotationTenant)
	}
	token, refused := s.token(live)
	if refused != nil {
		return nil, refused
	}
	credential, err := azidentity.NewClientAssertionCredential(tenant, app,
		func(context.Context) (string, error) { return token, nil }, &azidentity.ClientAssertionCredentialOptions{ClientOptions: s.clientOptions()})
	if err != nil {
		return nil, refusef("%s has annotations that are no workload identity: correct %s and %s", s.as, annotationClient, annotationTenant)
	}
	return &signer{TokenCredential: credential, who: fmt.Sprintf("%s (application %s)", s.as, short(app)), tenant: tenant}, nil
}

// token is one of an account that Entra ID takes, and no API server.
func (s *Session) token(of *corev1.ServiceAccount) (string, *refusal) {
	request := &authenticationv1.TokenRequest{Spec: authenticationv1.TokenRequestSpec{Audiences: []string{tokenAudience}, ExpirationSeconds: ptr.To[int64](tokenSeconds)}}
	switch err := s.Kube.SubResource("token").Create(s.within(), &corev1.ServiceAccount{ObjectMeta: of.ObjectMeta}, request); {
	case apierrors.IsForbidden(err):
		return "", refusef("the controller may not make tokens of %s: bind it the ClusterRole espalier-decrypt in namespace %s (docs/secrets.md)", s.as, s.as.Namespace)
	case err != nil:
		return "", retryf("no token of %s can be made (%s)", s.as, cmp.Or(string(apierrors.ReasonForError(err)), "the API server does not answer"))
	}
	return request.Status.Token, nil
}

// SPDX-License-Identifier: Apache-2.0

package keyvault

import (
	"context"
	"errors"
	"regexp"
	"slices"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/reconciler/identity"
)

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

// ofController is the controller as itself.
func (s *Session) ofController() (*signer, *refusal) {
	return asked(s.azure().OfController("spec.decryption.serviceAccountName"))
}

// read reads the account that asks, past the cache.
func (s *Session) read() (*corev1.ServiceAccount, *refusal) {
	live, refused := s.azure().Read(s.pass, s.as, ", with the annotation "+identity.AnnotationClient)
	if refused != nil {
		return nil, refusalOf(refused)
	}
	return live, nil
}

// ofAccount is the workload identity of the account that the mark is of, and of no later
// one.
func (s *Session) ofAccount() (*signer, *refusal) {
	if s.unread != nil {
		return nil, s.unread
	}
	return asked(s.azure().OfAccount(s.within(), s.live, nil))
}

func asked(who *identity.Identity, refused *identity.Refusal) (*signer, *refusal) {
	if refused != nil {
		return nil, refusalOf(refused)
	}
	return &signer{TokenCredential: who, who: who.Who, tenant: who.Tenant}, nil
}

// refusalOf is a refusal of a sign-in.
func refusalOf(r *identity.Refusal) *refusal {
	if r.Retry {
		return retryf("%s", r.Text)
	}
	return refusef("%s", r.Text)
}

// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"strings"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"
	"github.com/Azure/azure-sdk-for-go/sdk/azidentity"
	"github.com/google/go-containerregistry/pkg/authn"
)

// registryScope is what the token of Entra ID is good for: registries, in every cloud of
// Azure's, and nothing else of Azure.
const registryScope = "https://containerregistry.azure.net/.default"

// tokenUser is the user name beside a refresh token of a registry.
const tokenUser = "00000000-0000-0000-0000-000000000000"

// maxAnswer bounds what a registry answers, in bytes.
const maxAnswer = 1 << 20

// azure has Entra ID make a token of the pod's, and the registry that is meant a token of
// its own of that.
func (i Identity) azure(ctx context.Context, host string) (authn.AuthConfig, error) {
	client := i.client(false)
	credential, err := azidentity.NewWorkloadIdentityCredential(&azidentity.WorkloadIdentityCredentialOptions{
		ClientOptions: azcore.ClientOptions{Transport: client},
	})
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("reading the workload identity: %w", err)
	}
	token, err := credential.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{registryScope}})
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("asking Entra ID for a token: %w", Directory(err))
	}
	refresh, err := exchange(ctx, client, host, token.Token)
	if err != nil {
		return authn.AuthConfig{}, err
	}
	return authn.AuthConfig{Username: tokenUser, Password: refresh}, nil
}

// Directory says in one line what Entra ID answers, and makes a RefusedError of what it will
// answer again. Its text names the code and has no token in it.
func Directory(err error) error {
	var failed *azidentity.AuthenticationFailedError
	if !errors.As(err, &failed) || failed.RawResponse == nil {
		return err
	}
	text := failed.Error()
	if at := strings.Index(text, "AADSTS"); at >= 0 {
		text = text[at:]
	}
	text, _, _ = strings.Cut(text, `\r`)
	text, _, _ = strings.Cut(text, "\n")
	said := fmt.Errorf("%.300s", strings.TrimRight(strings.TrimSpace(text), `",`))
	if code := failed.RawResponse.StatusCode; code >= 400 && code < 500 && code != http.StatusRequestTimeout && code != http.StatusTooManyRequests {
		return &RefusedError{said}
	}
	return said
}

// exchange asks the registry itself for its token
// (https://github.com/Azure/acr/blob/main/docs/AAD-OAuth.md).
func exchange(ctx context.Context, client *http.Client, host, token string) (string, error) {
	form := url.Values{"grant_type": {"access_token"}, "service": {host}, "access_token": {token}}
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, "https://"+host+"/oauth2/exchange", strings.NewReader(form.Encode()))
	if err != nil {
		return "", errors.New("making the request of the token exchange")
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	answer, err := client.Do(r)
	if err != nil {
		return "", fmt.Errorf("exchanging the token: %w", plain(err))
	}
	defer answer.Body.Close()
	switch answer.StatusCode {
	case http.StatusOK:
	case http.StatusUnauthorized, http.StatusForbidden:
		return "", &RefusedError{fmt.Errorf("exchanging the token: the registry answers %d: the identity must be of the registry's tenant, and have a role on it, such as AcrPush", answer.StatusCode)}
	default:
		return "", fmt.Errorf("exchanging the token: the registry answers %d", answer.StatusCode)
	}
	var got struct {
		Refresh string `json:"refresh_token"`
	}
	if err := json.NewDecoder(io.LimitReader(answer.Body, maxAnswer)).Decode(&got); err != nil || got.Refresh == "" {
		return "", errors.New("exchanging the token: the registry answers with none")
	}
	return got.Refresh, nil
}

// plain is an error of the transport without its address.
func plain(err error) error {
	var address *url.Error
	if errors.As(err, &address) {
		return address.Err
	}
	return err
}

// SPDX-License-Identifier: Apache-2.0

package signin

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"

	"cloud.google.com/go/compute/metadata"
	"github.com/google/go-containerregistry/pkg/authn"
)

// googleScope reads and writes what registries keep. A token of the metadata server has it
// where the server heeds scopes, and the rights of the account alone where it does not.
const googleScope = "https://www.googleapis.com/auth/devstorage.read_write"

// google asks the metadata server, which GKE answers for the pod's ServiceAccount.
func (i Identity) google(ctx context.Context, _ string) (authn.AuthConfig, error) {
	text, err := metadata.NewClient(i.client(true)).GetWithContext(ctx, "instance/service-accounts/default/token?scopes="+url.QueryEscape(googleScope))
	var none metadata.NotDefinedError
	var answer *metadata.Error
	if errors.As(err, &none) || errors.As(err, &answer) && answer.Code == http.StatusForbidden {
		return authn.AuthConfig{}, &RefusedError{errors.New("the metadata server has no token: the ServiceAccount has no account of Google's")}
	}
	if err != nil {
		return authn.AuthConfig{}, fmt.Errorf("asking the metadata server for a token: %w", plain(err))
	}
	var token struct {
		Access string `json:"access_token"`
	}
	if err := json.Unmarshal([]byte(text), &token); err != nil || token.Access == "" {
		return authn.AuthConfig{}, errors.New("the metadata server answers with no token")
	}
	return authn.AuthConfig{Username: "oauth2accesstoken", Password: token.Access}, nil
}

// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/Azure/azure-sdk-for-go/sdk/azcore"
	"github.com/Azure/azure-sdk-for-go/sdk/azcore/policy"

	"github.com/espalier-dev/espalier/gpu/pool"
)

// wire notes where requests go and answers each with an empty list.
type wire struct{ hosts []string }

func (w *wire) Do(r *http.Request) (*http.Response, error) {
	w.hosts = append(w.hosts, r.URL.Host)
	return &http.Response{
		StatusCode: http.StatusOK, Header: http.Header{"Content-Type": {"application/json"}}, Body: io.NopCloser(strings.NewReader(`{"value":[]}`)), Request: r,
	}, nil
}

// scopes notes what tokens are asked for.
type scopes struct{ asked []string }

func (s *scopes) GetToken(_ context.Context, o policy.TokenRequestOptions) (azcore.AccessToken, error) {
	s.asked = append(s.asked, o.Scopes...)
	return azcore.AccessToken{Token: "t", ExpiresOn: time.Now().Add(time.Hour)}, nil
}

// TestClouds: a sovereign cloud has its own Resource Manager, its own audience of
// tokens, and its own authority that issues them.
func TestClouds(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, manager, audience, authority string
	}{
		"public":     {"What is meant where nothing is said.", "management.azure.com", "https://management.", "login.microsoftonline.com"},
		"government": {"Azure Government.", "management.usgovcloudapi.net", "usgovcloudapi.net", "login.microsoftonline.us"},
		"china":      {"Azure operated by 21Vianet.", "management.chinacloudapi.cn", "chinacloudapi.cn", "login.chinacloudapi.cn"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{SubscriptionID: "s", ResourceGroup: "g", ClusterName: "c", Cloud: name}
			where, err := o.cloud()
			if err != nil {
				t.Fatal(err)
			}
			sent, asked := &wire{}, &scopes{}
			p, err := New(Config{SubscriptionID: "s", ResourceGroup: "g", ClusterName: "c", Cloud: where, Credential: asked, Transport: sent})
			if err != nil {
				t.Fatal(err)
			}
			if _, err := p.Observe(t.Context(), pool.Target{}); err != nil {
				t.Fatal(err)
			}
			if !slices.Equal(sent.hosts, []string{tc.manager}) || len(asked.asked) != 1 || !strings.Contains(asked.asked[0], tc.audience) {
				t.Errorf("%s\nasked %v with a token for %v", tc.reason, sent.hosts, asked.asked)
			}
			for k, v := range map[string]string{"AZURE_TENANT_ID": "11111111-1111-1111-1111-111111111111", "AZURE_CLIENT_ID": "id", "AZURE_CLIENT_SECRET": "not-a-secret"} {
				t.Setenv(k, v)
			}
			at := &wire{}
			cred, err := NewCredential(Config{Cloud: where, Transport: at})
			if err != nil {
				t.Fatal(err)
			}
			ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
			defer cancel()
			_, _ = cred.GetToken(ctx, policy.TokenRequestOptions{Scopes: []string{"https://example.com/.default"}}) // an empty list is no token
			if !slices.Contains(at.hosts, tc.authority) {
				t.Errorf("%s\nthe service principal signed in at %v, want %s", tc.reason, at.hosts, tc.authority)
			}
		})
	}
}

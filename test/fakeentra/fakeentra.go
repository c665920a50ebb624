// SPDX-License-Identifier: Apache-2.0

// Package fakeentra answers as Microsoft Entra ID, the metadata service of a machine
// and an empty Azure Resource Manager do, at every host that azidentity and the SDK
// call: it is the transport of a client, and opens no connection. Who signed in how,
// where and for what is kept, and what a directory says of a credential that it
// refuses can be set.
package fakeentra

import (
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// Token is what is issued, and what Resource Manager takes.
const Token = "fakeentra-token"

// metadata is the address of the metadata service of a machine.
const metadata = "169.254.169.254"

// SignIn is one token that was asked for.
type SignIn struct {
	Host, Tenant string     // of the authority; host alone of the metadata service
	Form         url.Values // what was sent, or the query of the metadata service
}

// Refusal is the error of a token endpoint: a code such as invalid_client, and the
// text that begins with AADSTS and a number.
type Refusal struct{ Code, Text string }

// Fake is the transport. The zero value issues tokens, on a machine without a managed
// identity service.
type Fake struct {
	Refuse  *Refusal // of the directory; nil: it issues
	Machine bool     // there is a metadata service
	// Identity says why the metadata service has no token; empty: it issues.
	Identity string

	mu      sync.Mutex
	signIns []SignIn
	managed []string
}

// SignIns are the tokens that were asked for, in order.
func (f *Fake) SignIns() []SignIn {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]SignIn{}, f.signIns...)
}

// Managed are the hosts of Resource Manager that were called with a token.
func (f *Fake) Managed() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.managed...)
}

// Do answers one request.
func (f *Fake) Do(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case r.URL.Host == metadata:
		return f.machine(r)
	case strings.HasSuffix(r.URL.Path, "/discovery/instance"):
		return f.discover(r)
	case strings.HasSuffix(r.URL.Path, "/.well-known/openid-configuration"):
		return f.configuration(r)
	case strings.HasSuffix(r.URL.Path, "/oauth2/v2.0/token"):
		return f.token(r)
	case r.Header.Get("Authorization") != "Bearer "+Token:
		return answer(r, http.StatusUnauthorized, object{"error": object{"code": "InvalidAuthenticationToken", "message": "The access token is invalid."}})
	}
	f.managed = append(f.managed, r.URL.Host)
	return answer(r, http.StatusOK, object{"value": []any{}})
}

type object = map[string]any

func answer(r *http.Request, status int, v any) (*http.Response, error) {
	text, err := json.Marshal(v)
	if err != nil {
		return nil, err
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: http.Header{"Content-Type": {"application/json"}},
		Body: io.NopCloser(bytes.NewReader(text)), Request: r,
	}, nil
}

func (f *Fake) discover(r *http.Request) (*http.Response, error) {
	at, err := url.Parse(r.URL.Query().Get("authorization_endpoint"))
	if err != nil {
		return nil, err
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(at.Path, "/"), "/")
	return answer(r, http.StatusOK, object{
		"tenant_discovery_endpoint": "https://" + at.Host + "/" + tenant + "/v2.0/.well-known/openid-configuration",
		"metadata":                  []any{object{"preferred_network": at.Host, "preferred_cache": at.Host, "aliases": []any{at.Host}}},
	})
}

func (f *Fake) configuration(r *http.Request) (*http.Response, error) {
	tenant, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	base := "https://" + r.URL.Host + "/" + tenant
	return answer(r, http.StatusOK, object{
		"issuer": base + "/v2.0", "token_endpoint": base + "/oauth2/v2.0/token", "authorization_endpoint": base + "/oauth2/v2.0/authorize",
	})
}

func (f *Fake) token(r *http.Request) (*http.Response, error) {
	text, err := io.ReadAll(r.Body)
	if err != nil {
		return nil, err
	}
	form, err := url.ParseQuery(string(text))
	if err != nil {
		return nil, err
	}
	tenant, _, _ := strings.Cut(strings.TrimPrefix(r.URL.Path, "/"), "/")
	f.signIns = append(f.signIns, SignIn{Host: r.URL.Host, Tenant: tenant, Form: form})
	if f.Refuse != nil {
		return answer(r, http.StatusUnauthorized, object{
			"error": f.Refuse.Code, "error_description": f.Refuse.Text, "trace_id": "a0a0a0a0-0000-0000-0000-000000000001", "timestamp": "2026-11-26 07:00:00Z",
		})
	}
	return answer(r, http.StatusOK, issued(""))
}

// issued is a token; of the metadata service its numbers are texts.
func issued(resource string) object {
	if resource == "" {
		return object{"token_type": "Bearer", "expires_in": 3600, "ext_expires_in": 3600, "access_token": Token}
	}
	return object{"token_type": "Bearer", "expires_in": "3600", "expires_on": "4102444800", "resource": resource, "access_token": Token}
}

func (f *Fake) machine(r *http.Request) (*http.Response, error) {
	if !f.Machine {
		return nil, errors.New("dial tcp " + metadata + ":80: connect: no route to host")
	}
	if r.Header.Get("Metadata") != "true" { // how it is found out that the service is there
		return answer(r, http.StatusBadRequest, object{"error": "invalid_request", "error_description": "Required metadata header not specified"})
	}
	f.signIns = append(f.signIns, SignIn{Host: r.URL.Host, Form: r.URL.Query()})
	if f.Identity != "" {
		return answer(r, http.StatusBadRequest, object{"error": "invalid_request", "error_description": f.Identity})
	}
	return answer(r, http.StatusOK, issued(r.URL.Query().Get("resource")))
}

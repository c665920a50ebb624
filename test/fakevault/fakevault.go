// SPDX-License-Identifier: Apache-2.0

// Package fakevault answers as Azure Key Vault does, and as Microsoft Entra ID before it:
// it is the transport of a client, and opens no connection. A request without a token
// gets the challenge that says where to sign in and for what; one with it encrypts and
// decrypts with real RSA keys (RSA-OAEP-256). The challenge (401,
// AKV10000) and the 404 (KeyNotFound) have the words that tests of Azure's SDK for JavaScript
// recorded of the service, the 403 of roles (ForbiddenByRbac) and the 429 those that users quote of
// it; the words of the other refusals were written from memory. None was compared with a vault of ours.
//
// What was sent where is kept: a token that reaches a host which is no vault is what a
// test looks for.
package fakevault

import (
	"bytes"
	"crypto"
	"crypto/rand"
	"crypto/rsa"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"sync"

	"github.com/espalier-dev/espalier/test/fakeentra"
)

// Refusal is an answer in the place of what was asked for.
type Refusal struct {
	Status int
	Header http.Header
	Body   string
	Times  int // how often; 0: always
}

// What the service answers, by its codes; see above of the words.
var (
	ForbiddenByRBAC     = Refusal{Status: http.StatusForbidden, Body: `{"error":{"code":"Forbidden","message":"Caller is not authorized to perform action on resource.\r\nIf role assignments, deny assignments or role definitions were changed recently, please observe propagation time.\r\nCaller: appid=5e6f;oid=7a8b;iss=https://sts.windows.net/11111111-1111-1111-1111-111111111111/\r\nAction: 'Microsoft.KeyVault/vaults/keys/decrypt/action'\r\nResource: '/subscriptions/s/resourcegroups/g/providers/microsoft.keyvault/vaults/team-a/keys/sops/1'\r\nAssignment: (not found)\r\nDenyAssignmentId: null\r\nDecisionReason: null \r\nVault: team-a;location=westeurope\r\n","innererror":{"code":"ForbiddenByRbac"}}}`}
	ForbiddenByPolicy   = Refusal{Status: http.StatusForbidden, Body: `{"error":{"code":"Forbidden","message":"The user, group or application 'appid=5e6f;oid=7a8b;iss=https://sts.windows.net/11111111-1111-1111-1111-111111111111/' does not have keys decrypt permission on key vault 'team-a;location=westeurope'. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125287","innererror":{"code":"ForbiddenByPolicy"}}}`}
	ForbiddenByFirewall = Refusal{Status: http.StatusForbidden, Body: `{"error":{"code":"Forbidden","message":"Client address is not authorized and caller is not a trusted service.\r\nClient address: 20.1.2.3\r\nCaller: appid=5e6f;oid=7a8b;iss=https://sts.windows.net/11111111-1111-1111-1111-111111111111/\r\nVault: team-a;location=westeurope","innererror":{"code":"ForbiddenByFirewall"}}}`}
	KeyDisabled         = Refusal{Status: http.StatusForbidden, Body: `{"error":{"code":"Forbidden","message":"Operation decrypt is not allowed on a disabled key.","innererror":{"code":"KeyDisabled"}}}`}
	Throttled           = Refusal{Status: http.StatusTooManyRequests, Header: http.Header{"Retry-After": {"1"}}, Body: `{"error":{"code":"Throttled","message":"Request was not processed because too many requests were received. Reason: VaultRequestTypeLimitReached"}}`}
	Unavailable         = Refusal{Status: http.StatusServiceUnavailable, Body: `{"error":{"code":"ServiceUnavailable","message":"Service unavailable. Please retry."}}`}
	OtherTenant         = Refusal{Status: http.StatusUnauthorized, Header: http.Header{"Www-Authenticate": {`Bearer authorization="https://login.microsoftonline.com/11111111-1111-1111-1111-111111111111", resource="https://vault.azure.net"`}}, Body: `{"error":{"code":"Unauthorized","message":"AKV10032: Invalid issuer. Expected one of https://sts.windows.net/22222222-2222-2222-2222-222222222222/, found https://sts.windows.net/11111111-1111-1111-1111-111111111111/."}}`}
)

// Vault is one key vault.
type Vault struct {
	Keys   map[string]*rsa.PrivateKey // by NAME/VERSION
	Tenant string                     // where the challenge says to sign in
	// Resource that the challenge names; "": that of the public cloud.
	Resource string
	Refuse   *Refusal // of requests with a token; nil: it answers

	refused int
}

// Fake is the transport.
type Fake struct {
	Entra  *fakeentra.Fake
	Vaults map[string]*Vault // by host

	mu        sync.Mutex
	asked     []string
	strangers []string
}

// Asked are the requests with a token that vaults got: HOST/PATH each, in order.
func (f *Fake) Asked() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.asked...)
}

// Strangers are the hosts that were called and are neither a vault nor Entra ID.
func (f *Fake) Strangers() []string {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]string{}, f.strangers...)
}

// Do answers one request.
func (f *Fake) Do(r *http.Request) (*http.Response, error) {
	if strings.HasPrefix(r.URL.Host, "login.") {
		return f.Entra.Do(r)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	v := f.Vaults[r.URL.Host]
	if v == nil {
		f.strangers = append(f.strangers, r.URL.Host)
		return nil, &net.OpError{Op: "dial", Net: "tcp", Err: &net.DNSError{Err: "no such host", Name: r.URL.Host, IsNotFound: true}}
	}
	if r.Header.Get("Authorization") != "Bearer "+fakeentra.Token {
		return v.challenge(r)
	}
	f.asked = append(f.asked, r.URL.Host+r.URL.Path)
	return v.answer(r)
}

// RoundTrip makes it the transport of an http.Client.
func (f *Fake) RoundTrip(r *http.Request) (*http.Response, error) { return f.Do(r) }

func (v *Vault) challenge(r *http.Request) (*http.Response, error) {
	resource := v.Resource
	if resource == "" {
		resource = "https://vault.azure.net"
	}
	where := `Bearer authorization="https://login.microsoftonline.com/` + v.Tenant + `", resource="` + resource + `"`
	return reply(r, http.StatusUnauthorized, http.Header{"Www-Authenticate": {where}},
		`{"error":{"code":"Unauthorized","message":"AKV10000: Request is missing a Bearer or PoP token."}}`)
}

func (v *Vault) answer(r *http.Request) (*http.Response, error) {
	if no := v.Refuse; no != nil && (no.Times == 0 || v.refused < no.Times) {
		v.refused++
		return reply(r, no.Status, no.Header, no.Body)
	}
	name, operation, ok := split(r.URL.Path)
	key := v.Keys[name]
	switch {
	case !ok || r.URL.Query().Get("api-version") == "":
		return reply(r, http.StatusBadRequest, nil, `{"error":{"code":"BadParameter","message":"The request URI contains an invalid name or no api-version."}}`)
	case key == nil:
		return reply(r, http.StatusNotFound, nil, `{"error":{"code":"KeyNotFound","message":"A key with (name/id) `+name+` was not found in this key vault. If you recently deleted this key you may be able to recover it using the correct recovery command. For help resolving this issue, please see https://go.microsoft.com/fwlink/?linkid=2125182"}}`)
	}
	return operate(r, key, "https://"+r.URL.Host+"/keys/"+name, operation)
}

// split takes /keys/NAME/VERSION/OPERATION apart.
func split(path string) (name, operation string, ok bool) {
	rest, ok := strings.CutPrefix(path, "/keys/")
	at := strings.LastIndex(rest, "/")
	if !ok || at < 0 {
		return "", "", false
	}
	return rest[:at], rest[at+1:], true
}

func operate(r *http.Request, key *rsa.PrivateKey, id, operation string) (*http.Response, error) {
	var asked struct{ Alg, Value string }
	bad := func(why string) (*http.Response, error) {
		return reply(r, http.StatusBadRequest, nil, `{"error":{"code":"BadParameter","message":"`+why+`"}}`)
	}
	if r.Body == nil || json.NewDecoder(r.Body).Decode(&asked) != nil || asked.Alg != "RSA-OAEP-256" {
		return bad("Property alg has an invalid value")
	}
	value, err := base64.RawURLEncoding.DecodeString(asked.Value)
	if err != nil {
		return bad("Property value has an invalid value")
	}
	switch operation {
	case "encrypt":
		value, err = rsa.EncryptOAEP(sha256.New(), rand.Reader, &key.PublicKey, value, nil)
	case "decrypt":
		value, err = key.Decrypt(nil, value, &rsa.OAEPOptions{Hash: crypto.SHA256})
	default:
		return bad("Invalid operation")
	}
	if err != nil {
		return bad("Decrypt operation failed.")
	}
	text, err := json.Marshal(map[string]string{"kid": id, "value": base64.RawURLEncoding.EncodeToString(value)})
	if err != nil {
		return nil, err
	}
	return reply(r, http.StatusOK, nil, string(text))
}

func reply(r *http.Request, status int, header http.Header, body string) (*http.Response, error) {
	all := http.Header{"Content-Type": {"application/json; charset=utf-8"}, "X-Ms-Keyvault-Service-Version": {"1.9.2784.1"}}
	for name, values := range header {
		all[name] = values
	}
	return &http.Response{
		StatusCode: status, Status: http.StatusText(status), Header: all, Body: io.NopCloser(bytes.NewReader([]byte(body))), Request: r,
	}, nil
}

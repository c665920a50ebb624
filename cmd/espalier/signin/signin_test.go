// SPDX-License-Identifier: Apache-2.0

package signin_test

import (
	"bytes"
	"encoding/base64"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"

	"github.com/espalier-dev/espalier/cmd/espalier/signin"
	"github.com/espalier-dev/espalier/test/fakeacr"
	"github.com/espalier-dev/espalier/test/fakeentra"
)

const (
	acr       = "contoso.azurecr.io"
	ecr       = "123456789012.dkr.ecr.eu-west-1.amazonaws.com"
	pkgDev    = "europe-west4-docker.pkg.dev"
	federated = "token-of-the-cluster"
)

// world is every host of the internet that a test has.
type world struct {
	hosts map[string]http.Handler
	entra *fakeentra.Fake

	mu    sync.Mutex
	asked []string // hosts, in order
}

// RoundTrip implements http.RoundTripper.
func (w *world) RoundTrip(r *http.Request) (*http.Response, error) {
	w.mu.Lock()
	w.asked = append(w.asked, r.URL.Host)
	w.mu.Unlock()
	if r.URL.Host == "login.microsoftonline.com" {
		return w.entra.Do(r)
	}
	handler := w.hosts[r.URL.Host]
	if handler == nil {
		return nil, fmt.Errorf("dial tcp: lookup %s: no such host", r.URL.Host)
	}
	r = r.Clone(r.Context())
	r.Host, r.RequestURI = r.URL.Host, r.URL.RequestURI()
	if r.Body == nil {
		r.Body = io.NopCloser(bytes.NewReader(nil))
	}
	answer := httptest.NewRecorder()
	handler.ServeHTTP(answer, r)
	result := answer.Result()
	result.Request = r
	return result, nil
}

func environment(t *testing.T, values map[string]string) {
	t.Helper()
	for _, name := range []string{"AZURE_CLIENT_ID", "AZURE_TENANT_ID", "AZURE_FEDERATED_TOKEN_FILE", "AZURE_AUTHORITY_HOST", "AWS_ROLE_ARN",
		"AWS_WEB_IDENTITY_TOKEN_FILE", "AWS_CONTAINER_CREDENTIALS_FULL_URI", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE", "GCE_METADATA_HOST"} {
		t.Setenv(name, values[name])
	}
}

func tokenFile(t *testing.T) string {
	t.Helper()
	at := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(at, []byte(federated), 0o600); err != nil {
		t.Fatal(err)
	}
	return at
}

func onAzure(t *testing.T) {
	t.Helper()
	environment(t, map[string]string{
		"AZURE_CLIENT_ID": "11111111-1111-1111-1111-111111111111", "AZURE_TENANT_ID": "22222222-2222-2222-2222-222222222222",
		"AZURE_FEDERATED_TOKEN_FILE": tokenFile(t), "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
	})
}

func resolve(t *testing.T, w *world, image string) (*authn.AuthConfig, error) {
	t.Helper()
	ref, err := name.ParseReference(image)
	if err != nil {
		t.Fatal(err)
	}
	signed, err := signin.Identity{Transport: w}.ResolveContext(t.Context(), ref.Context())
	if err != nil {
		return nil, err
	}
	return signed.Authorization()
}

// TestAzure: a token of the narrow audience goes to the registry that is meant, which gives
// one of its own.
func TestAzure(t *testing.T) {
	onAzure(t)
	registry := &fakeacr.Fake{Host: acr, Token: fakeentra.Token, Under: http.NotFoundHandler()}
	w := &world{entra: &fakeentra.Fake{}, hosts: map[string]http.Handler{acr: registry}}
	got, err := resolve(t, w, acr+"/models/tone:1")
	if err != nil {
		t.Fatal(err)
	}
	if got.Username != "00000000-0000-0000-0000-000000000000" || got.Password != "refresh-of-"+acr {
		t.Errorf("signed in with %+v", got)
	}
	signed := w.entra.SignIns()
	if len(signed) != 1 || signed[0].Tenant != "22222222-2222-2222-2222-222222222222" {
		t.Fatalf("Entra ID was asked %+v", signed)
	}
	form := signed[0].Form
	if scope := form.Get("scope"); !strings.HasPrefix(scope, "https://containerregistry.azure.net/.default") || strings.Contains(scope, "management") {
		t.Errorf("the token is for %q", scope)
	}
	if form.Get("client_assertion") != federated || form.Get("client_id") != "11111111-1111-1111-1111-111111111111" {
		t.Errorf("signed in by %v", form)
	}
	for _, host := range w.asked {
		if host != acr && host != "login.microsoftonline.com" {
			t.Errorf("asked %s", host)
		}
	}
}

// TestAzureRefused says in a sentence who does not let the pod in, and no token.
func TestAzureRefused(t *testing.T) {
	const foreign = "AADSTS700213: No matching federated identity record found for presented assertion subject 'system:serviceaccount:models:pusher'."
	for title, tc := range map[string]struct {
		reason, want string
		entra        *fakeentra.Fake
		registry     http.Handler
		refused      bool
	}{
		"NoFederation": {"the identity does not trust the account", "AADSTS700213: No matching federated identity record", &fakeentra.Fake{Refuse: &fakeentra.Refusal{Code: "invalid_client", Text: foreign}}, nil, true},
		"OtherTenant":  {"a registry of somebody else", "the registry answers 401: the identity must be of the registry's tenant", &fakeentra.Fake{}, &fakeacr.Fake{Host: acr, Token: "of another tenant"}, true},
		"Busy":         {"it passes", "the registry answers 503", &fakeentra.Fake{}, status(503), false},
		"Redirects":    {"the token goes nowhere else", "the registry answers 307", &fakeentra.Fake{}, redirect("https://evil.example.com/"), false},
		"NoToken":      {"an answer of something else", "answers with none", &fakeentra.Fake{}, status(200), false},
		"NoSuchHost":   {"a name without a registry", "no such host", &fakeentra.Fake{}, nil, false},
	} {
		t.Run(title, func(t *testing.T) {
			onAzure(t)
			w := &world{entra: tc.entra, hosts: map[string]http.Handler{}}
			if tc.registry != nil {
				w.hosts[acr] = tc.registry
			}
			_, err := resolve(t, w, acr+"/models/tone:1")
			if err == nil || !strings.Contains(err.Error(), tc.want) {
				t.Fatalf("%s: %v, want %q", tc.reason, err, tc.want)
			}
			var no *signin.RefusedError
			if errors.As(err, &no) != tc.refused {
				t.Errorf("%s: refused is %v", tc.reason, !tc.refused)
			}
			for _, secret := range []string{federated, fakeentra.Token, "\n"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("the error says %q: %v", secret, err)
				}
			}
			for _, host := range w.asked {
				if host == "evil.example.com" {
					t.Error("the redirect was followed")
				}
			}
		})
	}
}

func status(code int) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(code) })
}

func redirect(to string) http.Handler { return http.RedirectHandler(to, http.StatusTemporaryRedirect) }

// sts gives a role for the token of the cluster.
func sts(w http.ResponseWriter, r *http.Request) {
	if r.FormValue("Action") != "AssumeRoleWithWebIdentity" || r.FormValue("WebIdentityToken") != federated || r.FormValue("RoleArn") != "arn:aws:iam::123456789012:role/push" {
		http.Error(w, `<ErrorResponse><Error><Type>Sender</Type><Code>AccessDenied</Code><Message>Not authorized to perform sts:AssumeRoleWithWebIdentity</Message></Error></ErrorResponse>`, http.StatusForbidden)
		return
	}
	fmt.Fprintf(w, `<AssumeRoleWithWebIdentityResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleWithWebIdentityResult><Credentials>`+
		`<AccessKeyId>AKIAROLE</AccessKeyId><SecretAccessKey>secret</SecretAccessKey><SessionToken>session</SessionToken><Expiration>%s</Expiration>`+
		`</Credentials></AssumeRoleWithWebIdentityResult></AssumeRoleWithWebIdentityResponse>`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// agent is that of EKS Pod Identity.
func agent(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get("Authorization") != federated {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	fmt.Fprintf(w, `{"AccessKeyId":"AKIAROLE","SecretAccessKey":"secret","Token":"session","Expiration":%q}`, time.Now().Add(time.Hour).UTC().Format(time.RFC3339))
}

// ecrAPI gives a token of the registry to the role.
func ecrAPI(w http.ResponseWriter, r *http.Request) {
	w.Header().Set("Content-Type", "application/x-amz-json-1.1")
	if !strings.Contains(r.Header.Get("Authorization"), "Credential=AKIAROLE/") || !strings.Contains(r.Header.Get("Authorization"), "/eu-west-1/ecr/aws4_request") ||
		r.Header.Get("X-Amz-Security-Token") != "session" || !strings.HasSuffix(r.Header.Get("X-Amz-Target"), ".GetAuthorizationToken") {
		w.WriteHeader(http.StatusBadRequest)
		fmt.Fprint(w, `{"__type":"AccessDeniedException","message":"not authorized to perform: ecr:GetAuthorizationToken"}`)
		return
	}
	fmt.Fprintf(w, `{"authorizationData":[{"authorizationToken":%q,"expiresAt":%d,"proxyEndpoint":"https://%s"}]}`,
		base64.StdEncoding.EncodeToString([]byte("AWS:ecr-password")), time.Now().Add(12*time.Hour).Unix(), ecr)
}

// TestAmazon signs in by a role of the ServiceAccount, in both ways that EKS has.
func TestAmazon(t *testing.T) {
	const metadata = "169.254.170.23"
	hosts := map[string]http.Handler{
		"sts.eu-west-1.amazonaws.com": http.HandlerFunc(sts), "api.ecr.eu-west-1.amazonaws.com": http.HandlerFunc(ecrAPI), metadata: http.HandlerFunc(agent),
	}
	for title, tc := range map[string]struct {
		reason string
		env    map[string]string
		want   string // part of the error
	}{
		"WebIdentity": {"IRSA", map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/push", "AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile(t)}, ""},
		"PodIdentity": {"the agent of the node", map[string]string{
			"AWS_CONTAINER_CREDENTIALS_FULL_URI": "http://" + metadata + "/v1/credentials", "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": tokenFile(t),
		}, ""},
		"OtherRole": {"the role does not trust the account", map[string]string{"AWS_ROLE_ARN": "arn:aws:iam::123456789012:role/other", "AWS_WEB_IDENTITY_TOKEN_FILE": tokenFile(t)}, "AccessDenied"},
		"None":      {"never as the node", nil, "the pod has no identity of Amazon"},
	} {
		t.Run(title, func(t *testing.T) {
			environment(t, tc.env)
			w := &world{hosts: hosts}
			got, err := resolve(t, w, ecr+"/models/tone:1")
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) || strings.Contains(err.Error(), federated) {
					t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
				}
				return
			}
			if err != nil {
				t.Fatalf("%s: %v", tc.reason, err)
			}
			if got.Username != "AWS" || got.Password != "ecr-password" {
				t.Errorf("signed in with %+v", got)
			}
		})
	}
}

// TestGoogle asks the metadata server of the pod.
func TestGoogle(t *testing.T) {
	for title, tc := range map[string]struct {
		reason, want string
		server       http.Handler
	}{
		"Token": {"GKE answers for the account", "", http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.Header.Get("Metadata-Flavor") != "Google" || r.URL.Path != "/computeMetadata/v1/instance/service-accounts/default/token" || strings.Contains(r.URL.RawQuery, "cloud-platform") {
				w.WriteHeader(http.StatusBadRequest)
				return
			}
			fmt.Fprint(w, `{"access_token":"of-google","expires_in":3599,"token_type":"Bearer"}`)
		})},
		"NoAccount": {"a cluster without workload identity", "has no account of Google's", status(http.StatusNotFound)},
		"Nonsense":  {"something else answers there", "answers with no token", status(http.StatusOK)},
	} {
		t.Run(title, func(t *testing.T) {
			environment(t, nil)
			got, err := resolve(t, &world{hosts: map[string]http.Handler{"169.254.169.254": tc.server}}, pkgDev+"/team/models/tone:1")
			if tc.want != "" {
				if err == nil || !strings.Contains(err.Error(), tc.want) {
					t.Errorf("%s: %v, want %q", tc.reason, err, tc.want)
				}
				return
			}
			if err != nil || got.Username != "oauth2accesstoken" || got.Password != "of-google" {
				t.Errorf("%s: %+v, %v", tc.reason, got, err)
			}
		})
	}
}

// TestElsewhere: nobody is asked for a registry of which no cloud is sure.
func TestElsewhere(t *testing.T) {
	onAzure(t)
	for _, image := range []string{"registry.example.com/models/a:1", "contoso.azurecr.io.example.com/models/a:1", "contoso.azurecr.io:444/models/a:1", "team.westeurope.cloudapp.azure.com/models/a:1", "localhost:5000/models/a:1"} {
		w := &world{entra: &fakeentra.Fake{}}
		if _, err := resolve(t, w, image); err == nil || !strings.Contains(err.Error(), "no identity signs in there") || len(w.asked) > 0 {
			t.Errorf("%s: %v, asked %v", image, err, w.asked)
		}
	}
}

// TestNoIdentity: a pod without one says what it lacks.
func TestNoIdentity(t *testing.T) {
	environment(t, map[string]string{"AZURE_CLIENT_ID": "a"})
	if err := signin.Check(acr + "/a:1"); err == nil || !strings.Contains(err.Error(), "AZURE_TENANT_ID is not set") || !strings.Contains(err.Error(), "webhook") {
		t.Errorf("got %v", err)
	}
}

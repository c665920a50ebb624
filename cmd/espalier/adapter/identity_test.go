// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/name"

	"github.com/espalier-dev/espalier/cmd/espalier/signin"
	"github.com/espalier-dev/espalier/test/fakeacr"
	"github.com/espalier-dev/espalier/test/fakeentra"
)

// azure is what a pod reaches of Azure: Entra ID and registries.
type azure struct {
	entra *fakeentra.Fake
	hosts map[string]string // of registries, the address of what plays each
	mu    sync.Mutex
	asked map[string]bool
}

// RoundTrip implements http.RoundTripper.
func (a *azure) RoundTrip(r *http.Request) (*http.Response, error) {
	a.mu.Lock()
	a.asked[r.URL.Host] = true
	a.mu.Unlock()
	if r.URL.Host == "login.microsoftonline.com" {
		return a.entra.Do(r)
	}
	at := a.hosts[r.URL.Host]
	if at == "" {
		return nil, fmt.Errorf("dial tcp: lookup %s: no such host", r.URL.Host)
	}
	sent := r.Clone(r.Context())
	sent.Host, sent.URL.Scheme, sent.URL.Host = r.URL.Host, "http", at
	answer, err := http.DefaultTransport.RoundTrip(sent)
	if answer != nil {
		answer.Request = r
	}
	return answer, err
}

// TestPushAsIdentity: a pod without a Secret pushes a signed adapter in chunks to a registry
// of Azure, and copies it from there, as who it is; an access token that expires on the way
// is renewed.
func TestPushAsIdentity(t *testing.T) {
	const host = "contoso.azurecr.io"
	token := filepath.Join(t.TempDir(), "token")
	if err := os.WriteFile(token, []byte("of-the-cluster"), 0o600); err != nil {
		t.Fatal(err)
	}
	for key, value := range map[string]string{
		"AZURE_CLIENT_ID": "11111111-1111-1111-1111-111111111111", "AZURE_TENANT_ID": "22222222-2222-2222-2222-222222222222",
		"AZURE_FEDERATED_TOKEN_FILE": token, "AZURE_AUTHORITY_HOST": "https://login.microsoftonline.com/",
	} {
		t.Setenv(key, value)
	}
	behind := distribution(t)
	proxy := httputil.NewSingleHostReverseProxy(&url.URL{Scheme: "http", Host: behind})
	proxy.ErrorLog = log.New(io.Discard, "", 0)
	registry := &fakeacr.Fake{Host: host, Token: fakeentra.Token, Under: proxy}
	cloud := &azure{entra: &fakeentra.Fake{}, asked: map[string]bool{}, hosts: map[string]string{host: serve(t, func(http.Handler) http.Handler { return registry })}}
	tries := Tries{Keychain: signin.Identity{Transport: cloud}, Who: "the identity", Transport: cloud, Backoff: time.Millisecond}
	registry.Expire(5) // a chunk

	o := options(trained(t, nil), host)
	o.Tries, o.Chunk = tries, 9_000
	var said strings.Builder
	o.Progress = &said
	pushed, err := Push(t.Context(), o)
	if err != nil {
		t.Fatalf("%v\n%s", err, &said)
	}
	ref, err := name.NewDigest(strings.Replace(pushed, host, behind, 1))
	if err != nil {
		t.Fatal(err)
	}
	wantWhole(t, ref)
	to := t.TempDir()
	if _, err := Pull(t.Context(), PullOptions{Image: pushed, To: to, Tries: tries}); err != nil {
		t.Fatal(err)
	}
	if got, err := os.ReadFile(filepath.Join(to, weightsFile)); err != nil || string(got) != string(safetensors(100_000)) {
		t.Errorf("what was copied is not what was pushed: %d bytes, %v", len(got), err)
	}
	for asked := range cloud.asked {
		if asked != host && asked != "login.microsoftonline.com" {
			t.Errorf("asked %s", asked)
		}
	}
	for _, form := range registry.Exchanged() {
		if form.Get("service") != host {
			t.Errorf("exchanged %v", form)
		}
	}
}

// TestPushAsNobody: a role that is missing is said of the identity, and not of a Secret.
func TestPushAsNobody(t *testing.T) {
	host := serve(t, func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if r.URL.Path != "/v2/" {
				w.WriteHeader(http.StatusForbidden)
			}
			_, _ = io.Copy(io.Discard, r.Body)
		})
	})
	o := options(trained(t, nil), host)
	o.Who = "the identity of the pod's ServiceAccount"
	_, err := Push(t.Context(), o)
	var no *RefusedError
	if !errors.As(err, &no) || !strings.Contains(err.Error(), "(403): the identity of the pod's ServiceAccount needs the right to push there") {
		t.Errorf("got %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

// Package fakeacr answers as Azure Container Registry does in front of an OCI registry: a
// token of Entra ID is exchanged for a refresh token of this registry, that for an access
// token of a scope, and nothing else opens a repository. What was exchanged is kept.
package fakeacr

import (
	"encoding/json"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
)

// user is whose password a refresh token is.
const user = "00000000-0000-0000-0000-000000000000"

// Fake is a registry of a name. Host, Token and Under are required.
type Fake struct {
	Host  string       // NAME.azurecr.io
	Token string       // of Entra ID, that has a role here
	Under http.Handler // the registry itself

	mu        sync.Mutex
	exchanged []url.Values
	expire    int // requests until one is refused
}

// Exchanged are the forms of the exchanges that were asked for.
func (f *Fake) Exchanged() []url.Values {
	f.mu.Lock()
	defer f.mu.Unlock()
	return append([]url.Values{}, f.exchanged...)
}

// Expire refuses the token of the nth request from now on, counted from 1.
func (f *Fake) Expire(n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.expire = n
}

// ServeHTTP answers one request.
func (f *Fake) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	switch {
	case r.Host != f.Host:
		http.Error(w, "no such registry", http.StatusMisdirectedRequest)
	case r.URL.Path == "/oauth2/exchange" && r.Method == http.MethodPost:
		f.exchange(w, r)
	case r.URL.Path == "/oauth2/token":
		f.token(w, r)
	case !f.open(r):
		w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="https://%s/oauth2/token",service="%s"`, f.Host, f.Host))
		refuse(w, http.StatusUnauthorized)
	default:
		f.Under.ServeHTTP(w, r)
	}
}

func (f *Fake) exchange(w http.ResponseWriter, r *http.Request) {
	if err := r.ParseForm(); err != nil {
		refuse(w, http.StatusBadRequest)
		return
	}
	f.mu.Lock()
	f.exchanged = append(f.exchanged, r.PostForm)
	f.mu.Unlock()
	if r.PostForm.Get("grant_type") != "access_token" || r.PostForm.Get("service") != f.Host || r.PostForm.Get("access_token") != f.Token {
		refuse(w, http.StatusUnauthorized)
		return
	}
	say(w, map[string]string{"refresh_token": f.refresh()})
}

func (f *Fake) refresh() string { return "refresh-of-" + f.Host }

func (f *Fake) access(scope string) string { return "access-of-" + f.Host + "-to-" + scope }

func (f *Fake) token(w http.ResponseWriter, r *http.Request) {
	name, password, _ := r.BasicAuth()
	scope := strings.Join(r.URL.Query()["scope"], " ")
	if name != user || password != f.refresh() || r.URL.Query().Get("service") != f.Host {
		refuse(w, http.StatusUnauthorized)
		return
	}
	say(w, map[string]string{"access_token": f.access(scope)})
}

// open says whether a token of the repository's scope comes with a request.
func (f *Fake) open(r *http.Request) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	given, ok := strings.CutPrefix(r.Header.Get("Authorization"), "Bearer access-of-"+f.Host+"-to-repository:")
	if ok && f.expire > 0 {
		if f.expire--; f.expire == 0 {
			return false
		}
	}
	repository, _, _ := strings.Cut(given, ":")
	return ok && (r.URL.Path == "/v2/" || strings.HasPrefix(r.URL.Path, "/v2/"+repository+"/"))
}

func say(w http.ResponseWriter, v any) {
	w.Header().Set("Content-Type", "application/json")
	_ = json.NewEncoder(w).Encode(v)
}

func refuse(w http.ResponseWriter, code int) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(code)
	fmt.Fprint(w, `{"errors":[{"code":"UNAUTHORIZED","message":"authentication required, visit https://aka.ms/acr/authorization for more information."}]}`)
}

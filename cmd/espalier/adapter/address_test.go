// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"errors"
	"fmt"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"
)

// metadata is where clouds give credentials to whoever asks from within a machine.
const metadata = "169.254.169.254"

// TestAddresses: neither a push nor a pull asks there, whoever sends it: the name of the
// image, a redirect, or where a registry says that its tokens are.
func TestAddresses(t *testing.T) {
	redirects := func(next http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if strings.Contains(r.URL.Path, "/blobs/") && r.Method != http.MethodPatch {
				http.Redirect(w, r, "http://"+metadata+"/latest/meta-data/", http.StatusTemporaryRedirect)
				return
			}
			next.ServeHTTP(w, r)
		})
	}
	tokens := func(http.Handler) http.Handler {
		return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("WWW-Authenticate", fmt.Sprintf(`Bearer realm="http://%s/token",service="registry"`, metadata))
			w.WriteHeader(http.StatusUnauthorized)
		})
	}
	plain := func(next http.Handler) http.Handler { return next }
	for name, c := range map[string]struct {
		reason string
		host   string // "": that of a server
		front  func(http.Handler) http.Handler
	}{
		"Name":     {"The image is named so.", metadata, plain},
		"Mapped":   {"The same address in the words of IPv6.", "[::ffff:" + metadata + "]", plain},
		"Wire":     {"Azure's wire server is not link-local.", "168.63.129.16", plain},
		"Redirect": {"A registry sends elsewhere for a layer.", "", redirects},
		"Token":    {"A registry says where its tokens are.", "", tokens},
	} {
		t.Run(name, func(t *testing.T) {
			var asked atomic.Int32
			host := serve(t, func(next http.Handler) http.Handler {
				return counted(&asked, c.front(published(t, next)))
			})
			if c.host != "" {
				host = c.host
			}
			tries := Tries{Backoff: time.Millisecond}
			_, pushed := Push(t.Context(), Options{From: trained(t, nil), To: host + "/models/phi-3-dolly:0.0.2", Tries: tries})
			_, pulled := Pull(t.Context(), PullOptions{Image: host + "/models/phi-3-dolly:0.0.1", To: t.TempDir(), Tries: tries})
			for what, err := range map[string]error{"push": pushed, "pull": pulled} {
				var no *RefusedError
				if !errors.As(err, &no) || no.Again || !strings.Contains(err.Error(), "nothing that a repository names is read from there") {
					t.Errorf("%s\n%s: %v", c.reason, what, err)
				}
			}
			if n := asked.Load(); n > 20 {
				t.Errorf("%s\nthe registry was asked %d times", c.reason, n)
			}
		})
	}
}

// published is a registry that holds an adapter to be pulled.
func published(t *testing.T, registry http.Handler) http.Handler {
	t.Helper()
	host := serve(t, func(http.Handler) http.Handler { return registry })
	if _, err := Push(t.Context(), options(trained(t, nil), host)); err != nil {
		t.Fatal(err)
	}
	return registry
}

func counted(n *atomic.Int32, next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n.Add(1)
		next.ServeHTTP(w, r)
	})
}

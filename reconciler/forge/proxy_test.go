// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// proxied is the environment of a process of TestProxy that asks a forge.
const proxied = "ESPALIER_TEST_PROXIED"

// TestProxy: a forge that nobody can reach directly is reached through the proxy of the
// environment, as all forges are; and past it where NO_PROXY says so. Go reads these
// variables once, so a process of its own asks.
func TestProxy(t *testing.T) {
	const address = "http://forge.example.invalid/fleet/models"
	if os.Getenv(proxied) != "" {
		f, err := Connect(Settings{Provider: v1alpha1.Gitea, URL: address, Auth: map[string][]byte{"token": []byte(token)}})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := f.Open(t.Context(), "main"); err != nil {
			t.Fatal(err)
		}
		return
	}
	var asked atomic.Int32
	proxy := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if !strings.HasPrefix(r.URL.String(), "http://forge.example.invalid/api/v1/") {
			t.Errorf("the proxy is asked for %s", r.URL)
		}
		asked.Add(1)
		_, _ = io.WriteString(w, "[]")
	}))
	t.Cleanup(proxy.Close)
	for noProxy, reached := range map[string]bool{"other.example.invalid": true, "forge.example.invalid": false} {
		asked.Store(0)
		cmd := exec.CommandContext(t.Context(), os.Args[0], "-test.run=^TestProxy$")
		cmd.Env = append(os.Environ(), proxied+"=1", "HTTP_PROXY="+proxy.URL, "NO_PROXY="+noProxy, "http_proxy=", "no_proxy=")
		out, err := cmd.CombinedOutput()
		if (err == nil) != reached || (asked.Load() > 0) != reached {
			t.Errorf("NO_PROXY=%s: %v, the proxy was asked %d times\n%s", noProxy, err, asked.Load(), out)
		}
	}
}

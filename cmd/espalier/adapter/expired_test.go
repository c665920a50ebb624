// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"net/http"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/google/go-containerregistry/pkg/name"
	"github.com/google/go-containerregistry/pkg/v1/remote"
)

// TestExpiredInTheMiddle: a credential that ends while the layer is on its way ends the
// push with a sentence that says so. The registry has no tag, and no manifest: what it
// holds of the layer belongs to no image.
func TestExpiredInTheMiddle(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		after  int32  // chunks that are taken
		method string // of what is counted
	}{
		"WithinTheLayer":  {"Between two chunks of the layer.", 3, http.MethodPatch},
		"BeforeManifests": {"When the layer is there, and nothing else is.", 1, http.MethodPut},
	} {
		t.Run(name, func(t *testing.T) {
			var taken, refused, open atomic.Int32
			host := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if open.Load() == 0 && taken.Load() >= c.after {
						refused.Add(1)
						w.WriteHeader(http.StatusUnauthorized)
						return
					}
					if r.Method == c.method {
						taken.Add(1)
					}
					next.ServeHTTP(w, r)
				})
			})
			o := options(trained(t, nil), host)
			o.Chunk = 16 << 10
			_, err := Push(t.Context(), o)
			const want = "the registry refuses the credential (401): the push Secret needs the right to push there, or what it holds has expired: write a credential that is valid into it"
			if err == nil || !strings.Contains(err.Error(), want) {
				t.Errorf("%s\nerror: %v, want %q", c.reason, err, want)
			}
			if n := refused.Load(); n == 0 || n > 10 {
				t.Errorf("%s\n%d requests were refused: it goes on asking", c.reason, n)
			}
			open.Store(1)
			wantNoImage(t, o.To)
			if _, err := Push(t.Context(), o); err != nil {
				t.Errorf("%s\nwith a credential that is valid: %v", c.reason, err)
			}
		})
	}
}

// wantNoImage: nobody finds an image by the tag.
func wantNoImage(t *testing.T, image string) {
	t.Helper()
	tag, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	if found, err := remote.Head(tag); err == nil {
		t.Errorf("the tag holds %s", found.Digest)
	}
	if tags, err := remote.List(tag.Context()); err == nil && len(tags) > 0 {
		t.Errorf("the repository has the tags %v", tags)
	}
}

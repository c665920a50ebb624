// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// tagged is a forge that answers with tags, as GitHub and GitLab do.
type tagged struct {
	mu       sync.Mutex
	version  int
	padding  string
	whole    int // answers with a body
	unwanted int // conditions on what is no question
}

func (s *tagged) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	tag := fmt.Sprintf(`W/"%d-%s"`, s.version, r.URL.Path)
	w.Header().Set("X-RateLimit-Remaining", fmt.Sprint(100-s.whole))
	asked := r.Header.Get("If-None-Match")
	if asked != "" && r.Method != http.MethodGet {
		s.unwanted++
	}
	if r.Method == http.MethodGet {
		w.Header().Set("ETag", tag)
		if asked == tag {
			w.WriteHeader(http.StatusNotModified)
			return
		}
	}
	s.whole++
	switch {
	case strings.HasSuffix(r.URL.Path, "/pullrequests"):
		_, _ = fmt.Fprintf(w, `{"value":[{"pullRequestId":7,"status":"active","targetRefName":"refs/heads/main","sourceRefName":"refs/heads/a","lastMergeSourceCommit":{"commitId":"v%d"}}],"padding":%q}`, s.version, s.padding)
	default:
		_, _ = fmt.Fprint(w, `{"id":1}`)
	}
}

// TestETags: what has not changed is asked for without its body, and told as it was.
func TestETags(t *testing.T) {
	s := &tagged{}
	server := httptest.NewServer(s)
	defer server.Close()
	f, err := Connect(Settings{Provider: v1alpha1.AzureDevOps, URL: server.URL + "/fleet/_git/models", Auth: map[string][]byte{"token": []byte(token)}})
	if err != nil {
		t.Fatal(err)
	}
	for step, c := range []struct {
		reason  string
		version int
		padding string
		whole   int // so far
	}{
		{"The first look reads it.", 0, "", 1},
		{"The second is told that it still holds.", 0, "", 1},
		{"A change is read.", 1, "", 2},
		{"And holds from then on.", 1, "", 2},
		{"What is large is read each time, whole.", 2, strings.Repeat("x", maxKeptBytes), 3},
		{"Again.", 2, strings.Repeat("x", maxKeptBytes), 4},
	} {
		s.version, s.padding = c.version, c.padding
		open, err := f.Open(t.Context(), "main")
		if err != nil || len(open) != 1 || open[0].Head != fmt.Sprint("v", c.version) || s.whole != c.whole {
			t.Errorf("%d: %s\n%+v, %v, %d whole answers, want %d", step, c.reason, open, err, s.whole, c.whole)
		}
	}
	if err := f.Withdraw(t.Context(), 7); err != nil || s.unwanted != 0 {
		t.Errorf("a change is no question: %v, %d", err, s.unwanted)
	}
}

// TestETagsAreBounded: whoever has many pull requests does not fill the memory.
func TestETagsAreBounded(t *testing.T) {
	server := httptest.NewServer(&tagged{})
	defer server.Close()
	at, err := locate(Settings{URL: server.URL + "/fleet/models"})
	if err != nil {
		t.Fatal(err)
	}
	tr, err := newTransport(Settings{}, at)
	if err != nil {
		t.Fatal(err)
	}
	var done sync.WaitGroup
	for i := range 4 * maxKept {
		done.Go(func() {
			resp, err := tr.client().Get(fmt.Sprint(server.URL, "/", i%(2*maxKept)))
			if err != nil {
				t.Error(err)
				return
			}
			_ = resp.Body.Close()
		})
	}
	done.Wait()
	if n := len(tr.etags.kept); n != maxKept {
		t.Errorf("%d answers are kept, want %d", n, maxKept)
	}
}

// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"net/http"
	"os"
	"path/filepath"
	"testing"
)

// TestRefusedIsTrainedAnew: KAITO's trainer trains nothing where the mark of an earlier pod
// is, so that it goes with an adapter that is refused, and not with a push that failed.
func TestRefusedIsTrainedAnew(t *testing.T) {
	whole := safetensors(100_000)
	for name, tc := range map[string]struct {
		reason string
		files  map[string][]byte
		denied bool
		mark   bool
	}{
		"Pushed":  {"a run is over with it", nil, false, true},
		"Denied":  {"the adapter is good, and paid for", nil, true, true},
		"Cut":     {"no push mends it", map[string][]byte{weightsFile: whole[:len(whole)-1]}, false, false},
		"Missing": {"a mark is no adapter", map[string][]byte{weightsFile: nil}, false, false},
		"NoLoRA":  {"it is none that is served", map[string][]byte{configFile: []byte("{}")}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			host := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if tc.denied {
						w.WriteHeader(http.StatusForbidden)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			o := options(trained(t, tc.files), host)
			mark := filepath.Join(o.From, trainedMark)
			if err := os.WriteFile(mark, nil, 0o600); err != nil {
				t.Fatal(err)
			}
			_, err := Push(t.Context(), o)
			if (err != nil) != (tc.denied || tc.files != nil) {
				t.Errorf("%s: it ended with %v", tc.reason, err)
			}
			if _, err := os.Stat(mark); (err == nil) != tc.mark {
				t.Errorf("%s: the mark is there: %v, want %v", tc.reason, err == nil, tc.mark)
			}
		})
	}
}

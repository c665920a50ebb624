// SPDX-License-Identifier: Apache-2.0

package adapter

import (
	"fmt"
	"maps"
	"net/http"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/test/images"
)

func TestTrained(t *testing.T) {
	many := map[string]string{}
	for i := range maxListed + 1 {
		many[fmt.Sprintf("part-%03d.parquet", i)] = strings.Repeat("0", 64)
	}
	for name, c := range map[string]struct {
		reason string
		sums   map[string]string
		want   map[string]string
	}{
		"Nothing": {"A folder without a file says nothing.", nil, nil},
		"Files": {
			"The list is sorted, and its digest is that of what sha256sum prints.", map[string]string{"b.jsonl": "02", "a.jsonl": "01"},
			map[string]string{
				repolayout.AnnotationDataDigest: "sha256:0f1fb721858f8c87f95345ba04dfbb2571c0b312a03e6f80ca02bce69b5b8c5b",
				repolayout.AnnotationDataFiles:  `{"a.jsonl":"sha256:01","b.jsonl":"sha256:02"}`,
			},
		},
		"Many": {"A list that no registry takes is told by its digest alone.", many, map[string]string{
			repolayout.AnnotationDataDigest: "sha256:ce3e878d1537b8d19a42496cf330b376f7d932b0c1c4fa6c4e70e23ffa0e758a",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, Trained(c.sums)); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
		})
	}
}

// TestCommitKeepsDigest: the commit is told, and is no reason for another digest of an
// adapter that is there: who serves it would be asked to change for nothing.
func TestCommitKeepsDigest(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*Options)
		same   bool
	}{
		"AnotherCommit": {"The same bytes of the same inputs keep their digest, and the commit of then.", func(o *Options) {
			o.Annotations[repolayout.AnnotationCommit] = "bbbb"
		}, true},
		"OtherInputs": {"Another configuration is another image, also of the same bytes.", func(o *Options) {
			o.Annotations[repolayout.AnnotationCommit] = "bbbb"
			o.Annotations[repolayout.AnnotationConfigDigest] = "sha256:2"
		}, false},
		"OtherBytes": {"Another adapter is another image.", func(o *Options) {
			o.Annotations[repolayout.AnnotationCommit] = "bbbb"
			o.From = trained(t, map[string][]byte{weightsFile: safetensors(100_001)})
		}, false},
	} {
		t.Run(name, func(t *testing.T) {
			o := options(trained(t, nil), serve(t, nil))
			o.Annotations[repolayout.AnnotationCommit], o.Annotations[repolayout.AnnotationConfigDigest] = "aaaa", "sha256:1"
			first, err := Push(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			o.Annotations = maps.Clone(o.Annotations)
			c.change(&o)
			second, err := Push(t.Context(), o)
			if err != nil {
				t.Fatal(err)
			}
			if (first == second) != c.same {
				t.Errorf("%s First %s, then %s", c.reason, first, second)
			}
			want := "bbbb"
			if c.same {
				want = "aaaa"
			}
			if got := images.Annotations(t, o.To)[repolayout.AnnotationCommit]; got != want {
				t.Errorf("%s The tag is of commit %s, want %s", c.reason, got, want)
			}
		})
	}
}

// TestCommitOfPushOnly: whatever a registry answers to a look at the tag, that look is made
// once and the adapter is pushed.
func TestCommitOfPushOnly(t *testing.T) {
	for name, code := range map[string]int{"MayNotRead": 403, "PullLimit": 429, "PushOnly": 405, "Bad": 400, "Down": 503} {
		t.Run(name, func(t *testing.T) {
			looks := 0
			host := serve(t, func(next http.Handler) http.Handler {
				return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
					if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/0.0.1") {
						looks++
						w.WriteHeader(code)
						return
					}
					next.ServeHTTP(w, r)
				})
			})
			o := options(trained(t, nil), host)
			o.Annotations[repolayout.AnnotationCommit] = "aaaa"
			if _, err := Push(t.Context(), o); err != nil || looks != 1 {
				t.Errorf("after %d looks it was not pushed: %v", looks, err)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"bytes"
	"encoding/json"
	"io"
	"net/http"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

// operation is what a forge's own description says of a request: testdata/github.json
// and testdata/gitlab.json are the parts of them that are used here, that of GitHub
// with its examples as answers.
type operation struct {
	Method, Path string
	Query, Body  map[string][]string // by name, the values that it may have; nil: any
	Required     []string
	Success      []string
	Example      json.RawMessage
	By           string // what knows of it, where that is not the description
}

func operationsOf(t *testing.T, forge string) []operation {
	t.Helper()
	text, err := os.ReadFile("testdata/" + forge + ".json")
	if err != nil {
		t.Fatal(err)
	}
	var description struct{ Operations []operation }
	if err := json.Unmarshal(text, &description); err != nil {
		t.Fatal(err)
	}
	return description.Operations
}

// find is the operation that a request is for. What the description does not know of
// it fails the test.
func find(t *testing.T, operations []operation, r *http.Request) (operation, bool) {
	t.Helper()
	i := slices.IndexFunc(operations, func(o operation) bool { return o.matches(r) })
	if i < 0 {
		t.Errorf("%s %s is not in the description", r.Method, r.URL)
		return operation{}, false
	}
	for _, problem := range operations[i].problems(t, r) {
		t.Errorf("%s %s: %s", r.Method, operations[i].Path, problem)
	}
	return operations[i], true
}

// matches says whether a request is for this operation.
func (o operation) matches(r *http.Request) bool {
	pattern := regexp.MustCompile(`\\\{[a-z_]+\\\}`).ReplaceAllString(regexp.QuoteMeta(o.Path), `[^/]+`)
	return r.Method == o.Method && regexp.MustCompile("^(/api/v3)?"+pattern+"$").MatchString(r.URL.EscapedPath())
}

// problems are what of a request the description does not know, or misses. The body
// can be read again.
func (o operation) problems(t *testing.T, r *http.Request) (list []string) {
	t.Helper()
	for name, values := range r.URL.Query() {
		if allowed, known := o.Query[name]; !known || allowed != nil && !slices.Contains(allowed, values[0]) {
			list = append(list, "the query "+name+"="+values[0]+" is not in the description")
		}
	}
	content, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	body := map[string]any{}
	if len(content) > 0 {
		if err := json.Unmarshal(content, &body); err != nil {
			t.Error(err)
		}
	}
	sent := map[string]bool{}
	o.fields("", body, func(name string, value any) {
		sent[name] = true
		text, _ := value.(string)
		if allowed, known := o.Body[name]; !known || allowed != nil && !slices.Contains(allowed, text) {
			list = append(list, name+": "+text+" is not in the description")
		}
	})
	for _, name := range o.Required {
		if !sent[name] {
			list = append(list, name+" is required")
		}
	}
	return list
}

// fields visits those of a body, and within those of which the description says what
// they hold.
func (o operation) fields(within string, body map[string]any, see func(string, any)) {
	for name, value := range body {
		name = within + name
		see(name, value)
		inner, is := value.(map[string]any)
		for known := range o.Body {
			if is && strings.HasPrefix(known, name+".") {
				o.fields(name+".", inner, see)
				break
			}
		}
	}
}

// TestDescribed: a request that nobody describes is one that fails a test.
func TestDescribed(t *testing.T) {
	for name, tc := range map[string]struct {
		method, address, body string
		want                  []string
	}{
		"Good":     {"GET", "/api/v4/projects/a%2Fb/merge_requests?state=opened&per_page=100", "", nil},
		"Query":    {"GET", "/api/v4/projects/a%2Fb/merge_requests?branch=x", "", []string{"the query branch=x is not in the description"}},
		"Value":    {"GET", "/api/v4/projects/a%2Fb/merge_requests?state=open", "", []string{"the query state=open is not in the description"}},
		"Body":     {"PUT", "/api/v4/projects/a%2Fb/merge_requests/7", `{"state":"close"}`, []string{"state: close is not in the description"}},
		"Inner":    {"POST", "/api/v4/projects/a%2Fb/merge_requests/7/discussions", `{"body":"x","position":{"base_sha":"a","start_sha":"a","head_sha":"a","position_type":"line"}}`, []string{"position.position_type: line is not in the description"}},
		"Required": {"PUT", "/api/v4/projects/a%2Fb/merge_requests/7/discussions/t1", `{}`, []string{"resolved is required"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://forge"+tc.address, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			all := operationsOf(t, "gitlab")
			i := slices.IndexFunc(all, func(o operation) bool { return o.matches(r) })
			if i < 0 || !slices.Equal(all[i].problems(t, r), tc.want) {
				t.Errorf("want %q, got %d %v", tc.want, i, all)
			}
		})
	}
}

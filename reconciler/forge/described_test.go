// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// operation is what a forge's own description says of a request: testdata/github.json
// and testdata/gitlab.json are the parts of them that are used here, and say in which
// commit or version they were read; that of GitHub with its examples as answers.
type operation struct {
	Method, Path            string
	Parameters, Query, Body map[string]field // by name; a field of an object is OBJECT.FIELD
	BodyRequired            bool
	Success                 []string
	Example                 json.RawMessage
}

// field is what the description says of one value.
type field struct {
	Type     []string // any of these; none: not said
	Items    string   // the type of what an array holds
	Format   string
	Values   []string // any of these; none: any
	Required bool     // wherever what holds it is sent
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

// placeholder is a part of a path that stands for a value, quoted.
var placeholder = regexp.MustCompile(`\\\{([a-z_]+)\\\}`)

// pattern matches the paths of an operation; a server of one's own has a folder before
// those of GitHub.
func (o operation) pattern() *regexp.Regexp {
	return regexp.MustCompile("^(?:/api/v3)?" + placeholder.ReplaceAllString(regexp.QuoteMeta(o.Path), `(?P<$1>[^/]+)`) + "$")
}

// matches says whether a request is for this operation.
func (o operation) matches(r *http.Request) bool {
	return r.Method == o.Method && o.pattern().MatchString(r.URL.EscapedPath())
}

// problems are what of a request the description does not know, or misses, in order.
// The body can be read again.
func (o operation) problems(t *testing.T, r *http.Request) []string {
	t.Helper()
	list := append(o.inPath(r.URL.EscapedPath()), o.inQuery(r.URL.Query())...)
	content, err := io.ReadAll(r.Body)
	if err != nil {
		t.Error(err)
	}
	r.Body = io.NopCloser(bytes.NewReader(content))
	if len(content) == 0 {
		if o.BodyRequired {
			list = append(list, "a body is required")
		}
		return list
	}
	if kind := r.Header.Get("Content-Type"); !strings.HasPrefix(kind, "application/json") {
		list = append(list, "a body of type "+kind+" is not in the description")
	}
	body := map[string]any{}
	if err := json.Unmarshal(content, &body); err != nil {
		t.Error(err)
	}
	return append(list, o.inBody("", body)...)
}

func (o operation) inPath(path string) (list []string) {
	pattern := o.pattern()
	for i, value := range pattern.FindStringSubmatch(path) {
		name := pattern.SubexpNames()[i]
		if text, err := url.PathUnescape(value); name != "" && (err != nil || !o.Parameters[name].holds(text)) {
			list = append(list, fmt.Sprintf("%s in the path: %s is not in the description", name, value))
		}
	}
	return list
}

func (o operation) inQuery(query url.Values) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(query)) {
		f, known := o.Query[name]
		for _, value := range query[name] {
			if !known || !f.holds(value) {
				list = append(list, "the query "+name+"="+value+" is not in the description")
			}
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Query)) {
		if o.Query[name].Required && !query.Has(name) {
			list = append(list, "the query "+name+" is required")
		}
	}
	return list
}

// inBody looks at an object of the body, and within those of which the description says
// what they hold.
func (o operation) inBody(within string, body map[string]any) (list []string) {
	for _, name := range slices.Sorted(maps.Keys(body)) {
		f, known := o.Body[within+name]
		inner, is := body[name].(map[string]any)
		switch {
		case !known || !f.is(body[name]):
			list = append(list, fmt.Sprintf("%s: %v is not in the description", within+name, body[name]))
		case is && o.knows(within+name+"."):
			list = append(list, o.inBody(within+name+".", inner)...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(o.Body)) {
		last, here := strings.CutPrefix(name, within)
		if _, sent := body[last]; here && !strings.Contains(last, ".") && o.Body[name].Required && !sent {
			list = append(list, name+" is required")
		}
	}
	return list
}

// knows says whether the description has fields below a prefix.
func (o operation) knows(prefix string) bool {
	for name := range o.Body {
		if strings.HasPrefix(name, prefix) {
			return true
		}
	}
	return false
}

// holds says whether the text of a path or a query is a value of a field.
func (f field) holds(text string) bool {
	if number, err := strconv.ParseFloat(text, 64); err == nil && f.is(number) {
		return true
	}
	return f.is(text) || (text == "true" || text == "false") && f.is(text == "true")
}

// is says whether a value of JSON is one of a field.
func (f field) is(value any) bool {
	if text, is := value.(string); is && len(f.Values) > 0 && !slices.Contains(f.Values, text) {
		return false
	}
	return len(f.Type) == 0 || slices.ContainsFunc(f.Type, func(kind string) bool { return f.ofType(kind, value) })
}

func (f field) ofType(kind string, value any) bool {
	switch value := value.(type) {
	case string:
		if _, err := time.Parse(time.RFC3339, value); f.Format == "date-time" && err != nil {
			return false
		}
		return kind == "string"
	case float64:
		return kind == "number" || kind == "integer" && value == float64(int64(value))
	case bool:
		return kind == "boolean"
	case map[string]any:
		return kind == "object"
	case []any:
		return kind == "array" && !slices.ContainsFunc(value, func(item any) bool { return f.Items != "" && !f.ofType(f.Items, item) })
	default: // nothing is ever said to be nothing here
		return false
	}
}

// TestDescribed: a request that nobody describes is one that fails a test.
func TestDescribed(t *testing.T) {
	const project, one = "/api/v4/projects/a%2Fb", "/api/v4/projects/a%2Fb/merge_requests/7"
	for name, tc := range map[string]struct {
		reason                string
		method, address, body string
		want                  []string
	}{
		"Good":          {"Numbers are numbers, and values those that are named.", "GET", project + "/merge_requests?state=opened&per_page=100&created_after=2026-11-26T00:00:00Z", "", nil},
		"Query":         {"There is no such parameter.", "GET", project + "/merge_requests?branch=x", "", []string{"the query branch=x is not in the description"}},
		"QueryValue":    {"It has other values.", "GET", project + "/merge_requests?state=open", "", []string{"the query state=open is not in the description"}},
		"QueryType":     {"It is no number, and no time.", "GET", project + "/merge_requests?page=x&updated_after=yesterday", "", []string{"the query page=x is not in the description", "the query updated_after=yesterday is not in the description"}},
		"QueryRequired": {"Without an end nothing can be compared.", "GET", project + "/repository/compare?from=a", "", []string{"the query to is required"}},
		"Path":          {"A merge request has a number.", "GET", project + "/merge_requests/!7", "", []string{"merge_request_iid in the path: !7 is not in the description"}},
		"Body":          {"There is no such field.", "PUT", one, `{"state":"close"}`, []string{"state: close is not in the description"}},
		"Type":          {"A number is not written as text, nor a text as a number.", "POST", project + "/merge_requests", `{"title":1,"source_branch":"a","target_branch":"b","assignee_id":"1","assignee_ids":["1"],"squash":null}`, []string{"assignee_id: 1 is not in the description", "assignee_ids: [1] is not in the description", "squash: <nil> is not in the description", "title: 1 is not in the description"}},
		"Inner":         {"Objects are looked into.", "POST", one + "/discussions", `{"body":"x","position":{"base_sha":"a","start_sha":"a","head_sha":"a","position_type":"line","new_line":"3"}}`, []string{"position.new_line: 3 is not in the description", "position.position_type: line is not in the description"}},
		"InnerRequired": {"What is required within an object is so where there is one.", "POST", one + "/discussions", `{"body":"x","position":{"position_type":"text","start_sha":"a","head_sha":"b"}}`, []string{"position.base_sha is required"}},
		"NoInner":       {"And nowhere else.", "POST", one + "/discussions", `{"body":"x"}`, nil},
		"Required":      {"A field that must be there.", "PUT", one + "/discussions/t1", `{}`, []string{"resolved is required"}},
		"NoBody":        {"A body that must be there.", "POST", one + "/notes", "", []string{"a body is required"}},
		"Unasked":       {"A body that nobody reads.", "GET", "/api/v4/user", `{"id":1}`, []string{"id: 1 is not in the description"}},
	} {
		t.Run(name, func(t *testing.T) {
			r, err := http.NewRequestWithContext(t.Context(), tc.method, "http://forge"+tc.address, strings.NewReader(tc.body))
			if err != nil {
				t.Fatal(err)
			}
			r.Header.Set("Content-Type", "application/json")
			all := operationsOf(t, "gitlab")
			i := slices.IndexFunc(all, func(o operation) bool { return o.matches(r) })
			if i < 0 {
				t.Fatalf("%s: no such operation", tc.reason)
			}
			if got := all[i].problems(t, r); !slices.Equal(got, tc.want) {
				t.Errorf("%s\nwant %q\ngot  %q", tc.reason, tc.want, got)
			}
		})
	}
}

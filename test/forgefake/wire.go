// SPDX-License-Identifier: Apache-2.0

// Package forgefake plays forges of which no server can be had: Azure DevOps,
// Bitbucket Cloud and Bitbucket Data Center, each over one repository that a test
// fills.
//
// What is asked and what is answered is held to what their makers publish of the
// wire, by the names in wire/: a request, a query, a field or a value that is not
// there is a problem that fails the test.
package forgefake

import (
	"bytes"
	"embed"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"regexp"
	"slices"
	"strings"
)

//go:embed wire
var published embed.FS

// operation is one request as it is published.
type operation struct {
	Method, Path        string
	Query, Body, Answer []string // names, and where they are few the values
	pattern             *regexp.Regexp
}

var variable = regexp.MustCompile(`\\\{[A-Za-z_]+\\\}`)

// operations reads what is published of a forge.
func operations(name string) []operation {
	text, err := published.ReadFile("wire/" + name + ".json")
	if err != nil {
		panic(err)
	}
	var description struct{ Operations []operation }
	if err := json.Unmarshal(text, &description); err != nil {
		panic(fmt.Sprintf("wire/%s.json: %v", name, err))
	}
	for i := range description.Operations {
		o := &description.Operations[i]
		o.pattern = regexp.MustCompile("^" + variable.ReplaceAllString(regexp.QuoteMeta(o.Path), `[^/]+`) + "$")
	}
	return description.Operations
}

// checked holds what passes through a handler to what is published.
type checked struct {
	repo   *Repo
	prefix string // of the paths
	all    []operation
	next   http.Handler
	free   []string // queries that every list takes, by the text of the description
}

func (c checked) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimPrefix(r.URL.EscapedPath(), c.prefix)
	i := slices.IndexFunc(c.all, func(o operation) bool { return o.Method == r.Method && o.pattern.MatchString(path) })
	if i < 0 {
		c.repo.problem("%s %s is not published", r.Method, r.URL)
		http.NotFound(w, r)
		return
	}
	o := c.all[i]
	for name, values := range r.URL.Query() {
		if !slices.Contains(c.free, name) && !known(o.Query, name, values[0]) {
			c.repo.problem("%s %s: the query %s=%s is not published", o.Method, o.Path, name, values[0])
		}
	}
	body, err := io.ReadAll(r.Body)
	if err != nil {
		c.repo.problem("reading a body: %v", err)
	}
	c.judge(o, "the body", o.Body, body)
	r.Body = io.NopCloser(bytes.NewReader(body))
	c.repo.request(r.Method+" "+r.URL.RequestURI(), string(body))
	answer := httptest.NewRecorder()
	c.next.ServeHTTP(answer, r)
	if answer.Code < http.StatusMultipleChoices {
		c.judge(o, "the answer", o.Answer, answer.Body.Bytes())
	}
	for name, values := range answer.Header() {
		w.Header()[name] = values
	}
	w.WriteHeader(answer.Code)
	_, _ = w.Write(answer.Body.Bytes())
}

// judge says what of a document is not published.
func (c checked) judge(o operation, what string, names []string, document []byte) {
	if len(document) == 0 {
		return
	}
	var value any
	if err := json.Unmarshal(document, &value); err != nil {
		c.repo.problem("%s %s: %s is no JSON: %v", o.Method, o.Path, what, err)
		return
	}
	each("", value, func(path string, leaf any) {
		if !known(names, path, fmt.Sprint(leaf)) {
			c.repo.problem("%s %s: %s holds %s: %v, which is not published", o.Method, o.Path, what, path, leaf)
		}
	})
}

// each visits the leaves of a document by their path.
func each(path string, value any, see func(string, any)) {
	switch v := value.(type) {
	case map[string]any:
		for name, inner := range v {
			each(strings.TrimPrefix(path+"."+name, "."), inner, see)
		}
	case []any:
		for _, inner := range v {
			each(path+"[]", inner, see)
		}
	case nil:
	default:
		see(path, v)
	}
}

// known says whether a name, or the object that it lies in, is published, and its
// value where the values are.
func known(names []string, path, value string) bool {
	for _, n := range names {
		name, values, few := strings.Cut(n, "=")
		if name == path {
			return !few || slices.Contains(strings.Split(values, "|"), value)
		}
		if !few && strings.HasPrefix(path, name+".") {
			return true
		}
	}
	return false
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	gitlab "gitlab.com/gitlab-org/api/client-go"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestGitLab: each request is one that GitLab describes; the answers are those of its
// documentation.
func TestGitLab(t *testing.T) {
	const project = "/api/v4/projects/fleet%2Fgpu%2Fmodels"
	request := `{"iid":7,"target_branch":"main","source_branch":"topic","sha":"aa","state":"opened","web_url":"u","source_project_id":%d,"target_project_id":1,"diff_refs":{"base_sha":"bb","head_sha":%q}}`
	answers := map[string]string{
		"GET " + project + "/merge_requests":                  "[" + fmt.Sprintf(request, 1, "aa") + "," + fmt.Sprintf(request, 2, "aa") + "]",
		"GET " + project + "/merge_requests/7":                fmt.Sprintf(request, 1, "aa"),
		"GET " + project + "/merge_requests/8":                fmt.Sprintf(request, 1, "old"),
		"GET /api/v4/user":                                    `{"username":"bot"}`,
		"GET " + project + "/merge_requests/7/notes":          `[{"id":1,"body":"x","author":{"id":5,"username":"eve"},"created_at":"2026-11-23T15:00:00Z"},{"id":2,"body":"mine","author":{"username":"bot"},"created_at":"2026-11-23T15:00:00Z"},{"id":3,"body":"closed","system":true,"author":{"username":"bot"}}]`,
		"POST " + project + "/merge_requests/7/notes":         `{"id":4,"body":"new"}`,
		"PUT " + project + "/merge_requests/7/notes/2":        `{"id":2,"body":"edited"}`,
		"GET " + project + "/repository/commits/aa/statuses":  `[{"name":"espalier/fit","status":"pending","description":"other"}]`,
		"POST " + project + "/statuses/aa":                    `{"id":1}`,
		"POST " + project + "/merge_requests":                 fmt.Sprintf(request, 1, "aa"),
		"PUT " + project + "/merge_requests/7":                fmt.Sprintf(request, 1, "aa"),
		"GET " + project + "/members/all/5":                   `{"access_level":20}`,
		"GET " + project + "/members/all/6":                   `{"access_level":30}`,
		"GET " + project + "/repository/compare":              `{"commits":[]}`,
		"GET " + project + "/merge_requests/7/discussions":    `[{"id":"t1","notes":[{"body":"x","author":{"username":"bot"},"position":{}}]}]`,
		"POST " + project + "/merge_requests/7/discussions":   `{"id":"t2"}`,
		"PUT " + project + "/merge_requests/7/discussions/t1": `{"id":"t1"}`,
	}
	var seen []string
	described := operationsOf(t, "gitlab")
	asked := map[string]bool{}
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o, _ := find(t, described, r)
		asked[o.Method+" "+o.Path] = true
		if r.Header.Get("Private-Token") != token {
			t.Errorf("%s: not signed in", r.URL)
		}
		key := r.Method + " " + r.URL.EscapedPath()
		answer, ok := answers[key]
		if !ok {
			t.Errorf("nobody asked for %s", key)
			w.WriteHeader(http.StatusNotFound)
			return
		}
		if r.URL.Query().Get("to") == "new" {
			answer = `{"commits":[{"id":"new"}]}`
		}
		body, _ := io.ReadAll(r.Body)
		query, _ := url.QueryUnescape(r.URL.RawQuery)
		seen = append(seen, key+" "+query+string(body))
		if o.Success[0] == "201" {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	f, err := Connect(Settings{Provider: v1alpha1.GitLab, URL: s.URL + "/fleet/gpu/models.git", Auth: map[string][]byte{"token": []byte(token)}})
	if err != nil {
		t.Fatal(err)
	}
	open, err := f.Open(t.Context(), "main")
	want := PullRequest{Number: 7, Base: "main", Branch: "topic", Head: "aa", URL: "u", Open: true}
	fork := want
	fork.Fork = true
	if diff := cmp.Diff([]PullRequest{want, fork}, open); diff != "" || err != nil {
		t.Error(diff, err)
	}
	want.MergeBase = "bb"
	if one, err := f.Get(t.Context(), 7); err != nil || one != want {
		t.Errorf("%+v, %v", one, err)
	}
	if one, err := f.Get(t.Context(), 8); err != nil || one.MergeBase != "" {
		t.Errorf("GitLab has not looked at that head yet: %+v, %v", one, err)
	}
	merged, err := f.Merged(t.Context(), "main")
	if err != nil || len(merged) != 0 {
		t.Errorf("those that are open are not merged: %+v, %v", merged, err)
	}
	for commit, holds := range map[string]bool{"old": true, "new": false} {
		if got, err := f.Contains(t.Context(), "head", commit); got != holds || err != nil {
			t.Errorf("%s: %v, %v", commit, got, err)
		}
	}
	before, err := f.Proposed(t.Context(), "topic")
	if err != nil || len(before) != 1 || before[0].Fork {
		t.Errorf("the one of the fork is another's: %+v, %v", before, err)
	}
	if made, err := f.Propose(t.Context(), Proposal{Head: "topic", Base: "main", Title: "t", Body: "b"}); err != nil || made.Number != 7 {
		t.Errorf("%+v, %v", made, err)
	}
	if err := f.Withdraw(t.Context(), 7); err != nil || !strings.Contains(seen[len(seen)-1], `"state_event":"close"`) {
		t.Errorf("%v, asked %q", err, seen[len(seen)-1])
	}
	others, err := f.Others(t.Context(), 7, time.Time{})
	if err != nil || len(others) != 1 || others[0].Author != "eve" || others[0].author != 5 {
		t.Errorf("%+v, %v", others, err)
	}
	for id, want := range map[int64]bool{5: false, 6: true} {
		if may, err := f.MayWrite(t.Context(), Remark{author: id}); may != want || err != nil {
			t.Errorf("%d: %v, %v", id, may, err)
		}
	}
	own, err := f.Own(t.Context(), 7, time.Time{})
	if diff := cmp.Diff([]Comment{{ID: 2, Body: "mine"}}, own); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, id := range []int64{0, 2} {
		if _, err := f.Write(t.Context(), 7, id, "new"); err != nil {
			t.Error(err)
		}
	}
	seen = nil
	for _, status := range []Status{{Name: "espalier/fit", State: Pending, Text: "anew"}, {Name: "espalier/fit", State: Errored, Text: "x", URL: "u"}} {
		if err := f.Set(t.Context(), "aa", status); err != nil {
			t.Error(err)
		}
	}
	if len(seen) != 3 || !strings.Contains(seen[2], `"state":"failed"`) || !strings.Contains(seen[2], `"target_url":"u"`) {
		t.Errorf("asked %q: want one status set, and none that is pending already", seen)
	}
	if lines, err := f.Lines.OnLines(t.Context(), 7); err != nil || len(lines) != 1 {
		t.Errorf("%+v, %v", lines, err)
	}
	if err := f.Lines.WriteOnLine(t.Context(), want, Line{File: "a.yaml", New: 3, Old: 2}, "no"); err != nil {
		t.Error(err)
	}
	if err := f.Lines.SettleOnLine(t.Context(), 7, LineComment{ID: "t1"}, ""); err != nil {
		t.Error(err)
	}
	for _, o := range described {
		if !asked[o.Method+" "+o.Path] {
			t.Errorf("%s %s is described, and never asked", o.Method, o.Path)
		}
	}
}

// TestGitLabNotes: what was said since a time is read from the newest on, as far as
// that time, and nobody crowds it out; the comment of long ago is read from the first.
func TestGitLabNotes(t *testing.T) {
	const note = `{"id":%d,"body":"x","author":{"id":5,"username":%q},"created_at":"2026-11-23T%s:00:00Z","updated_at":"2026-11-23T%s:00:00Z"}`
	pages := map[string]string{
		"1": fmt.Sprintf("["+note+","+note+"]", 4, "eve", "18", "18", 3, "bot", "17", "17"),
		"2": fmt.Sprintf("["+note+","+note+","+note+"]", 1, "bot", "09", "17", 2, "eve", "15", "16", 0, "eve", "14", "14"),
	}
	asked := 0
	described := operationsOf(t, "gitlab")
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		find(t, described, r)
		if r.URL.Path == "/api/v4/user" {
			_, _ = io.WriteString(w, `{"username":"bot"}`)
			return
		}
		asked++
		page := r.URL.Query().Get("page")
		if page == "" {
			page = "1"
		}
		if r.URL.Query().Get("sort") == "desc" && r.URL.Query().Get("order_by") == "updated_at" {
			w.Header().Set("X-Next-Page", map[string]string{"1": "2", "2": "3"}[page])
		}
		_, _ = io.WriteString(w, pages[page])
	}))
	t.Cleanup(s.Close)
	f, err := Connect(Settings{Provider: v1alpha1.GitLab, URL: s.URL + "/fleet/models", Auth: map[string][]byte{"token": []byte(token)}})
	if err != nil {
		t.Fatal(err)
	}
	since := time.Date(2026, 11, 23, 14, 30, 0, 0, time.UTC)
	own, err := f.Own(t.Context(), 7, since)
	if diff := cmp.Diff([]Comment{{ID: 1, Body: "x"}, {ID: 3, Body: "x"}}, own); diff != "" || err != nil || asked != 2 {
		t.Errorf("%d pages, %v, -want +got:\n%s", asked, err, diff)
	}
	others, err := f.Others(t.Context(), 7, since)
	if err != nil || len(others) != 1 || others[0].ID != 4 {
		t.Errorf("the other was edited after it was made: %+v, %v", others, err)
	}
	asked = 0
	if own, err := f.Own(t.Context(), 7, time.Time{}); err != nil || len(own) != 1 || asked != 1 {
		t.Errorf("from the first on: %d pages, %+v, %v", asked, own, err)
	}
}

// TestGitLabMerged: what became of a merge request is its merge commit, the
// squashed one, or its head, in this order.
func TestGitLabMerged(t *testing.T) {
	at := time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC)
	for want, m := range map[string]gitlab.BasicMergeRequest{
		"merge":  {State: "merged", MergedAt: &at, SHA: "head", SquashCommitSHA: "squash", MergeCommitSHA: "merge"},
		"squash": {State: "merged", MergedAt: &at, SHA: "head", SquashCommitSHA: "squash"},
		"head":   {State: "merged", MergedAt: &at, SHA: "head"},
		"":       {State: "closed", SHA: "head", MergeCommitSHA: "merge"},
	} {
		if got := mergeRequest(&m).Merged; got != want {
			t.Errorf("got %q, want %q", got, want)
		}
	}
}

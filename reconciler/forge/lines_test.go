// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"errors"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/forgefake"
)

// lineServer answers by "METHOD PATH?page=N", without the page where it is the first,
// and keeps what was written to it.
func lineServer(t *testing.T, provider v1alpha1.ForgeProvider, answers map[string]string) (*Forge, *[]string) {
	t.Helper()
	var written []string
	described := map[v1alpha1.ForgeProvider][]operation{v1alpha1.GitHub: operationsOf(t, "github"), v1alpha1.GitLab: operationsOf(t, "gitlab")}[provider]
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if described != nil {
			find(t, described, r)
		}
		key := r.Method + " " + r.URL.EscapedPath()
		if page := r.URL.Query().Get("page"); page != "" && page != "1" {
			key += "?page=" + page
		}
		if body, _ := io.ReadAll(r.Body); r.Method != http.MethodGet {
			written = append(written, key+" "+strings.TrimSpace(string(body)))
		}
		answer, known := answers[key]
		switch {
		case !known:
			w.WriteHeader(http.StatusNotFound)
		case strings.HasPrefix(answer, "status "):
			var status int
			_, _ = fmt.Sscanf(answer, "status %d", &status)
			w.WriteHeader(status)
			answer = `{"message":"refused"}`
		}
		next := 2
		if first, page, later := strings.Cut(key, "?page="); later {
			key = first
			_, _ = fmt.Sscan(page, &next)
			next++
		}
		if _, more := answers[fmt.Sprint(key, "?page=", next)]; more {
			w.Header().Set("X-Next-Page", fmt.Sprint(next))
			w.Header().Set("Link", fmt.Sprintf(`<http://%s%s?page=%d>; rel="next"`, r.Host, r.URL.EscapedPath(), next))
		}
		_, _ = io.WriteString(w, answer)
	}))
	t.Cleanup(s.Close)
	f, err := Connect(Settings{Provider: provider, URL: s.URL + "/fleet/models", Auth: map[string][]byte{"token": []byte(token)}})
	if err != nil {
		t.Fatal(err)
	}
	return f, &written
}

var linePull = PullRequest{Number: 7, Head: "aa", MergeBase: "bb"}

// TestGitHubLines: the account's own comments of every page, without replies; a
// comment on the right side; and one that is edited, since nothing can be resolved.
func TestGitHubLines(t *testing.T) {
	const pulls = "/api/v3/repos/fleet/models/pulls"
	const comment = `{"id":%d,"body":"x","user":{"login":%q}%s}`
	f, written := lineServer(t, v1alpha1.GitHub, map[string]string{
		"GET /api/v3/user":                    `{"login":"bot"}`,
		"GET " + pulls + "/7/comments":        "[" + fmt.Sprintf(comment+","+comment, 1, "bot", "", 2, "eve", "") + "]",
		"GET " + pulls + "/7/comments?page=2": "[" + fmt.Sprintf(comment+","+comment, 3, "bot", `,"in_reply_to_id":2`, 4, "bot", "") + "]",
		"POST " + pulls + "/7/comments":       `{"id":5}`,
		"PATCH " + pulls + "/comments/4":      `{"id":4}`,
	})
	own, err := f.Lines.OnLines(t.Context(), 7)
	if diff := cmp.Diff([]LineComment{{ID: "1", Body: "x"}, {ID: "4", Body: "x"}}, own); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := f.Lines.WriteOnLine(t.Context(), linePull, Line{File: "a.yaml", New: 3, Old: 2}, "no"); err != nil {
		t.Error(err)
	}
	if err := f.Lines.SettleOnLine(t.Context(), 7, own[1], "settled"); err != nil {
		t.Error(err)
	}
	want := []string{
		"POST " + pulls + `/7/comments {"body":"no","path":"a.yaml","line":3,"side":"RIGHT","commit_id":"aa"}`,
		"PATCH " + pulls + `/comments/4 {"body":"settled"}`,
	}
	if diff := cmp.Diff(want, *written); diff != "" {
		t.Error(diff)
	}
}

// TestGitLabLines: threads on the diff that the account began, of every page; a thread
// names both numbers of a line that is not changed, and both names of a file; it is resolved, and one that
// somebody else resolved is not ours to speak of.
func TestGitLabLines(t *testing.T) {
	const request = "/api/v4/projects/fleet%2Fmodels/merge_requests/7"
	const thread = `{"id":%q,"notes":[{"body":"x","author":{"username":%q},"position":%s,"resolved":%t,"resolved_by":{"username":%q}},{"body":"reply","author":{"username":"bot"},"position":{}}]}`
	f, written := lineServer(t, v1alpha1.GitLab, map[string]string{
		"GET /api/v4/user":                       `{"username":"bot"}`,
		"GET " + request:                         `{"iid":7,"sha":"aa","diff_refs":{"base_sha":"bb","start_sha":"cc","head_sha":"aa"}}`,
		"GET " + request + "/discussions":        "[" + fmt.Sprintf(thread+","+thread+","+thread, "t1", "bot", "{}", false, "", "t2", "eve", "{}", false, "", "t3", "bot", "null", false, "") + "]",
		"GET " + request + "/discussions?page=2": "[" + fmt.Sprintf(thread+","+thread, "t4", "bot", "{}", true, "bot", "t5", "bot", "{}", true, "eve") + "]",
		"POST " + request + "/discussions":       `{"id":"t6"}`,
		"PUT " + request + "/discussions/t1":     `{"id":"t1"}`,
	})
	own, err := f.Lines.OnLines(t.Context(), 7)
	if diff := cmp.Diff([]LineComment{{ID: "t1", Body: "x"}, {ID: "t4", Body: "x", Settled: true}, {ID: "t5", Body: "x"}}, own); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for _, at := range []Line{{File: "a.yaml", New: 3}, {File: "a.yaml", New: 3, Old: 2}, {File: "a.yaml", OldFile: "old.yaml", New: 3, Old: 2}} {
		if err := f.Lines.WriteOnLine(t.Context(), linePull, at, "no"); err != nil {
			t.Error(err)
		}
	}
	if err := f.Lines.SettleOnLine(t.Context(), 7, own[0], ""); err != nil {
		t.Error(err)
	}
	const position = `{"body":"no","position":{"base_sha":"bb","head_sha":"aa","start_sha":"cc","new_path":"a.yaml","old_path":%q,"position_type":"text","new_line":3%s}}`
	want := []string{
		"POST " + request + "/discussions " + fmt.Sprintf(position, "a.yaml", ""),
		"POST " + request + "/discussions " + fmt.Sprintf(position, "a.yaml", `,"old_line":2`),
		"POST " + request + "/discussions " + fmt.Sprintf(position, "old.yaml", `,"old_line":2`),
		"PUT " + request + `/discussions/t1 {"resolved":true}`,
	}
	if diff := cmp.Diff(want, *written); diff != "" {
		t.Error(diff)
	}
	gone := linePull
	gone.Head = "older"
	if err := f.Lines.WriteOnLine(t.Context(), gone, Line{File: "a.yaml", New: 3}, "no"); !OffDiff(err) {
		t.Errorf("the numbers are of another head: %v", err)
	}
}

// TestGiteaLines: the account's comments of its own reviews; one that it resolved; and a
// forge that resolves nothing, where a comment is edited.
func TestGiteaLines(t *testing.T) {
	const repo = "/api/v1/repos/fleet/models"
	const review = `{"id":%d,"user":{"login":%q},"state":"COMMENT","comments_count":%d}`
	const comment = `{"id":%d,"body":"x","user":{"login":%q},"resolver":%s}`
	answers := map[string]string{
		"GET /api/v1/user":                            `{"login":"bot"}`,
		"GET " + repo + "/pulls/7/reviews":            "[" + fmt.Sprintf(review+","+review, 1, "bot", 3, 2, "eve", 1) + "]",
		"GET " + repo + "/pulls/7/reviews?page=2":     "[" + fmt.Sprintf(review, 3, "bot", 0) + "]",
		"GET " + repo + "/pulls/7/reviews/1/comments": "[" + fmt.Sprintf(comment+","+comment+","+comment, 1, "bot", "null", 2, "eve", "null", 3, "bot", `{"login":"bot"}`) + "]",
		"POST " + repo + "/pulls/7/reviews":           `{"id":4}`,
		"POST " + repo + "/pulls/comments/1/resolve":  "",
		"PATCH " + repo + "/issues/comments/9":        `{"id":9}`,
	}
	f, written := lineServer(t, v1alpha1.Gitea, answers)
	own, err := f.Lines.OnLines(t.Context(), 7)
	if diff := cmp.Diff([]LineComment{{ID: "1", Body: "x"}, {ID: "3", Body: "x", Settled: true}}, own); diff != "" || err != nil {
		t.Error(diff, err)
	}
	if err := f.Lines.WriteOnLine(t.Context(), linePull, Line{File: "a.yaml", New: 3, Old: 2}, "no"); err != nil {
		t.Error(err)
	}
	for _, id := range []string{"1", "9"} {
		if err := f.Lines.SettleOnLine(t.Context(), 7, LineComment{ID: id}, "settled"); err != nil {
			t.Error(err)
		}
	}
	want := []string{
		"POST " + repo + `/pulls/7/reviews {"event":"COMMENT","body":"","commit_id":"aa","comments":[{"path":"a.yaml","body":"no","old_position":0,"new_position":3}]}`,
		"POST " + repo + "/pulls/comments/1/resolve ",
		"POST " + repo + "/pulls/comments/9/resolve ",
		"PATCH " + repo + `/issues/comments/9 {"body":"settled"}`,
	}
	if diff := cmp.Diff(want, *written); diff != "" {
		t.Error(diff)
	}
}

// TestForgesLines: on forges of which no server can be had, a comment is made where the
// pull request shows that line, is read back as it was written, without what others say
// and answer, and is edited and resolved in the end.
func TestForgesLines(t *testing.T) {
	each(t, func(t *testing.T, provider v1alpha1.ForgeProvider, p played) {
		if _, err := p.Write(t.Context(), 1, 0, "the plan"); err != nil {
			t.Fatal(err)
		}
		const body = "<!-- espalier-line prod/models/a 0123 open -->\n❌ no such field (UnknownField)\n\n```suggestion\n  count: 2\n```\n"
		pr := PullRequest{Number: 1, Head: hash("a"), MergeBase: hash("b")}
		for _, at := range []Line{{File: "a/w.yaml", New: 3}, {File: "a/w.yaml", OldFile: "a/v.yaml", New: 5, Old: 4}} {
			if err := p.Lines.WriteOnLine(t.Context(), pr, at, body); err != nil {
				t.Fatal(err)
			}
		}
		first := p.repo.OnLines(1, "bot")[0].ID
		p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "why?", OnLine: true, Thread: first, Place: forgefake.Place{File: "a/w.yaml", Line: 3}})
		p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "mine", OnLine: true, Place: forgefake.Place{File: "a/w.yaml", Line: 3}})
		own, err := p.Lines.OnLines(t.Context(), 1)
		if err != nil || len(own) != 2 || strings.TrimSpace(own[0].Body) != strings.TrimSpace(body) || own[0].Settled {
			t.Fatalf("%+v, %v", own, err)
		}
		const settled = "<!-- espalier-line prod/models/a 0123 settled -->\n✅ Settled\n"
		for range 2 { // whoever resolves what is resolved already has no error
			if err := p.Lines.SettleOnLine(t.Context(), 1, own[0], settled); err != nil {
				t.Fatal(err)
			}
		}
		if own, err = p.Lines.OnLines(t.Context(), 1); err != nil || len(own) != 2 || strings.TrimSpace(own[0].Body) != strings.TrimSpace(settled) {
			t.Errorf("%+v, %v", own, err)
		}
		said := p.repo.OnLines(1, "bot")
		want := []forgefake.Place{{File: "a/w.yaml", Line: 3}, {File: "a/w.yaml", Line: 5}}
		if provider == v1alpha1.BitbucketServer {
			want[0].Kind, want[1].Kind, want[1].Was = "ADDED", "CONTEXT", "a/v.yaml"
		}
		if diff := cmp.Diff(want, []forgefake.Place{said[0].Place, said[1].Place}); diff != "" || !said[0].Resolved || said[1].Resolved {
			t.Errorf("%+v %s", said, diff)
		}
		// The comment with the plan is still told from those on lines.
		if list, err := p.Own(t.Context(), 1, time.Time{}); err != nil || strings.TrimSpace(list[0].Body) != "the plan" {
			t.Errorf("%+v, %v", list, err)
		}
	})
}

// TestLinesUnread: whoever does not see all of its own comments would repeat the others
// with each push. A list that does not end is none.
func TestLinesUnread(t *testing.T) {
	const github, gitlab, gitea = "/api/v3/repos/fleet/models/pulls/7/comments", "/api/v4/projects/fleet%2Fmodels/merge_requests/7/discussions", "/api/v1/repos/fleet/models/pulls/7/reviews"
	for provider, answers := range map[v1alpha1.ForgeProvider]map[string]string{
		v1alpha1.GitHub: {"GET /api/v3/user": `{"login":"bot"}`, "GET " + github: "[]", "GET " + github + "?page=2": "[]"},
		v1alpha1.GitLab: {"GET /api/v4/user": `{"username":"bot"}`, "GET " + gitlab: "[]", "GET " + gitlab + "?page=2": "[]"},
		v1alpha1.Gitea:  {"GET /api/v1/user": `{"login":"bot"}`, "GET " + gitea: "[]", "GET " + gitea + "?page=2": "[]"},
	} {
		list := slices.Collect(maps.Keys(answers))
		for _, key := range list {
			if first, last, more := strings.Cut(key, "?page=2"); more && last == "" {
				for page := 3; page <= maxPages+1; page++ {
					answers[fmt.Sprint(first, "?page=", page)] = "[]"
				}
			}
		}
		f, _ := lineServer(t, provider, answers)
		if own, err := f.Lines.OnLines(t.Context(), 7); err == nil || OffDiff(err) {
			t.Errorf("%s: %v, %v", provider, own, err)
		}
	}
	each(t, func(t *testing.T, provider v1alpha1.ForgeProvider, p played) {
		for range largePage*largePages + 1 {
			p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "x", OnLine: true, Place: forgefake.Place{File: "a/w.yaml", Line: 3}})
		}
		_, err := p.Lines.OnLines(t.Context(), 1)
		if whole := provider == v1alpha1.AzureDevOps; (err == nil) != whole { // which knows no pages of threads
			t.Errorf("%v", err)
		}
	})
}

// TestOffDiff: a line that a forge does not show is told from a forge that is down, or
// refuses the token.
func TestOffDiff(t *testing.T) {
	for status, want := range map[int]bool{400: true, 404: true, 422: true, 500: true, 401: false, 403: false, 429: false, 502: false} {
		f, _ := lineServer(t, v1alpha1.GitHub, map[string]string{"POST /api/v3/repos/fleet/models/pulls/7/comments": fmt.Sprint("status ", status)})
		err := f.Lines.WriteOnLine(t.Context(), linePull, Line{File: "a.yaml", New: 3}, "no")
		if err == nil || OffDiff(err) != want {
			t.Errorf("%d: %v", status, err)
		}
	}
	if OffDiff(nil) || OffDiff(errors.New("x")) {
		t.Error("what no forge said is none of its refusals")
	}
}

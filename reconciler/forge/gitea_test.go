// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const token = "gto_5ecret"

// answer is what a server says to a request.
type answer struct {
	status int
	header map[string]string
	body   string
}

// server answers by "METHOD PATH", and keeps what was written to it.
func server(t *testing.T, answers map[string]answer) (*httptest.Server, *[]string) {
	t.Helper()
	var written []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Authorization") != "token "+token {
			t.Errorf("%s %s: the token is %q", r.Method, r.URL, r.Header.Get("Authorization"))
		}
		if body, _ := io.ReadAll(r.Body); len(body) > 0 {
			written = append(written, r.Method+" "+r.URL.Path+" "+string(body))
		}
		a, ok := answers[r.Method+" "+r.URL.Path+"?page="+r.URL.Query().Get("page")]
		if !ok {
			a, ok = answers[r.Method+" "+r.URL.Path]
		}
		if !ok {
			a = answer{status: http.StatusNotFound}
		}
		for name, value := range a.header {
			w.Header().Set(name, strings.ReplaceAll(value, "SERVER", "http://"+r.Host))
		}
		w.WriteHeader(max(a.status, http.StatusOK))
		_, _ = io.WriteString(w, a.body)
	}))
	t.Cleanup(s.Close)
	return s, &written
}

func connect(t *testing.T, url string) *Forge {
	t.Helper()
	f, err := Connect(Settings{Provider: v1alpha1.Gitea, URL: url, Auth: map[string][]byte{"token": []byte(token + "\n")}})
	if err != nil {
		t.Fatal(err)
	}
	return f
}

func pull(number int, base, head string, headRepo int) string {
	return fmt.Sprintf(`{"number":%d,"state":"open","merge_base":"m%[1]d","html_url":"http://x/pulls/%[1]d","base":{"ref":%q,"repo_id":1},"head":{"sha":%q,"repo_id":%d,"repo":{"id":%[4]d}}}`, number, base, head, headRepo)
}

// TestOpen: every page is read, other branches are left out, and a fork is told
// from the repository itself.
func TestOpen(t *testing.T) {
	const path = "GET /api/v1/repos/fleet/models/pulls"
	s, _ := server(t, map[string]answer{
		path + "?page=1": {
			body:   "[" + pull(1, "main", "aa", 1) + "," + pull(2, "next", "bb", 1) + "]",
			header: map[string]string{"Link": `<SERVER/api/v1/repos/fleet/models/pulls?page=2>; rel="next"`},
		},
		path + "?page=2": {body: "[" + pull(3, "main", "cc", 2) + `,{"number":4,"state":"open","base":{"ref":"main","repo_id":1},"head":{"sha":"dd","repo_id":0}}]`},
	})
	got, err := connect(t, s.URL+"/fleet/models.git").Open(t.Context(), "main")
	if err != nil {
		t.Fatal(err)
	}
	want := []PullRequest{
		{Number: 1, Base: "main", Head: "aa", MergeBase: "m1", URL: "http://x/pulls/1", Open: true},
		{Number: 3, Base: "main", Head: "cc", MergeBase: "m3", URL: "http://x/pulls/3", Open: true, Fork: true},
		{Number: 4, Base: "main", Head: "dd", Open: true, Fork: true}, // its fork was deleted
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestMerged: what was closed without being merged, or merged elsewhere, is left
// out; and a commit is within another where it has nothing that the other has not.
func TestMerged(t *testing.T) {
	const closed = `{"number":%d,"state":"closed","merged":%t,"merged_at":"2026-11-23T14:05:06Z","merge_commit_sha":"mm","base":{"ref":%q,"repo_id":1},"head":{"sha":"aa","repo_id":1,"repo":{"id":1}}}`
	s, _ := server(t, map[string]answer{
		"GET /api/v1/repos/fleet/models/pulls":              {body: "[" + fmt.Sprintf(closed, 1, true, "main") + "," + fmt.Sprintf(closed, 2, false, "main") + "," + fmt.Sprintf(closed, 3, true, "next") + "]"},
		"GET /api/v1/repos/fleet/models/compare/head...old": {body: `{"total_commits":0}`},
		"GET /api/v1/repos/fleet/models/compare/head...new": {body: `{"total_commits":2}`},
	})
	f := connect(t, s.URL+"/fleet/models.git")
	got, err := f.Merged(t.Context(), "main")
	want := []PullRequest{{Number: 1, Base: "main", Head: "aa", Merged: "mm", MergedAt: time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC)}}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for commit, want := range map[string]bool{"old": true, "new": false, "unknown": false} {
		if holds, err := f.Contains(t.Context(), "head", commit); holds != want || err != nil {
			t.Errorf("%s: %v, %v", commit, holds, err)
		}
	}
}

// TestOwn: a comment of somebody else is not ours, whatever it says.
func TestOwn(t *testing.T) {
	s, written := server(t, map[string]answer{
		"GET /api/v1/user": {body: `{"login":"bot"}`},
		"GET /api/v1/repos/fleet/models/issues/7/comments":   {body: `[{"id":1,"body":"mine?","user":{"login":"eve"}},{"id":2,"body":"mine","user":{"login":"bot"},"html_url":"u"},{"id":3,"user":null}]`},
		"PATCH /api/v1/repos/fleet/models/issues/comments/2": {body: `{"id":2,"body":"new","html_url":"u"}`},
	})
	f := connect(t, s.URL+"/fleet/models")
	got, err := f.Own(t.Context(), 7, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]Comment{{ID: 2, Body: "mine", URL: "u"}}, got); diff != "" {
		t.Error(diff)
	}
	if _, err := f.Write(t.Context(), 7, 2, "new"); err != nil || len(*written) != 1 || !strings.HasPrefix((*written)[0], "PATCH ") {
		t.Errorf("%v, written %q", err, *written)
	}
}

// TestSet: a status that says the same is not set again, and a long text is cut.
func TestSet(t *testing.T) {
	s, written := server(t, map[string]answer{
		"GET /api/v1/repos/fleet/models/commits/aa/status": {body: `{"statuses":[{"status":"success","context":"espalier/plan","description":"same","target_url":"u"}]}`},
		"POST /api/v1/repos/fleet/models/statuses/aa":      {status: http.StatusCreated, body: `{}`},
	})
	f := connect(t, s.URL+"/fleet/models")
	for _, status := range []Status{
		{Name: "espalier/plan", State: Success, Text: "same", URL: "u"},
		{Name: "espalier/plan", State: Failure, Text: "same", URL: "u"},
		{Name: "espalier/fit", State: Success, Text: strings.Repeat("ü", 500), URL: "u"},
	} {
		if err := f.Set(t.Context(), "aa", status); err != nil {
			t.Fatal(err)
		}
	}
	if len(*written) != 2 {
		t.Fatalf("written %q, want two", *written)
	}
	var sent struct{ Context, Description string }
	if err := json.Unmarshal([]byte(strings.SplitN((*written)[1], " ", 3)[2]), &sent); err != nil || len([]rune(sent.Description)) != maxText {
		t.Errorf("%+v (%v), want %d characters", sent, err, maxText)
	}
}

// TestRemarks: what others say, since when it was asked for, and whether they may
// write, which Gitea tells administrators only.
func TestRemarks(t *testing.T) {
	const remark = `{"id":%d,"body":"/espalier plan","user":{"id":9,"login":%q},"created_at":%q}`
	right := func(mode string) answer { return answer{body: `{"permission":"` + mode + `"}`} }
	const collaborators = "GET /api/v1/repos/fleet/models/collaborators/"
	s, _ := server(t, map[string]answer{
		"GET /api/v1/user": {body: `{"login":"bot"}`},
		"GET /api/v1/repos/fleet/models/issues/7/comments": {body: "[" + fmt.Sprintf(remark, 1, "dev", "2026-11-23T14:00:00Z") + "," +
			fmt.Sprintf(remark, 2, "bot", "2026-11-23T15:00:00Z") + "," + fmt.Sprintf(remark, 3, "dev", "2026-11-23T15:00:00Z") + `,{"id":4,"user":null}]`},
		collaborators + "reader/permission": right("read"), collaborators + "writer/permission": right("write"),
		collaborators + "admin/permission": right("admin"), collaborators + "owner/permission": right("owner"),
		collaborators + "x/permission": {status: 403, body: `{"message":"Only admins can query all permissions"}`},
	})
	f := connect(t, s.URL+"/fleet/models")
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	got, err := f.Others(t.Context(), 7, at.Add(-time.Minute))
	if diff := cmp.Diff([]Remark{{ID: 3, Author: "dev", Body: "/espalier plan", At: at, author: 9}}, got, cmp.AllowUnexported(Remark{})); diff != "" || err != nil {
		t.Error(diff, err)
	}
	for name, want := range map[string]bool{"reader": false, "writer": true, "admin": true, "owner": true, "nobody": false} {
		if may, err := f.MayWrite(t.Context(), Remark{Author: name}); may != want || err != nil {
			t.Errorf("%s: %v, %v", name, may, err)
		}
	}
	if _, err := f.MayWrite(t.Context(), Remark{Author: "x"}); err == nil || !strings.Contains(err.Error(), "Only admins can query") {
		t.Errorf("a right that the account lacks must be told: %v", err)
	}
}

// TestEdited: what was edited after it was made is nobody's word any more; a second
// in which the forge made it is no edit.
func TestEdited(t *testing.T) {
	at := time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)
	for name, tc := range map[string]struct {
		reason string
		last   time.Time
		heard  int
	}{
		"Never":  {reason: "It stands as it was made.", last: at, heard: 1},
		"Unsaid": {reason: "The forge does not say.", heard: 1},
		"AtOnce": {reason: "Times are told by the second.", last: at.Add(time.Second), heard: 1},
		"Edited": {reason: "Somebody may have edited another's.", last: at.Add(time.Minute)},
	} {
		got := othersOf([]listed{{Comment{ID: 1}, "dev", 9, at, tc.last}}, "bot", at.Add(-time.Hour))
		if len(got) != tc.heard {
			t.Errorf("%s: %s got %+v", name, tc.reason, got)
		}
	}
}

// TestProposals: a branch of a fork of the same name is not ours, and the token is
// what Git is signed in with.
func TestProposals(t *testing.T) {
	const listed = `{"number":%d,"state":"closed","base":{"ref":"main","repo_id":1},"head":{"ref":"espalier/promote/x","sha":"aa","repo_id":%d,"repo":{"id":2}}}`
	s, written := server(t, map[string]answer{
		"GET /api/v1/repos/fleet/models/pulls":     {body: "[" + fmt.Sprintf(listed, 1, 2) + "," + fmt.Sprintf(listed, 2, 1) + "]"},
		"POST /api/v1/repos/fleet/models/pulls":    {status: http.StatusCreated, body: fmt.Sprintf(listed, 3, 1)},
		"PATCH /api/v1/repos/fleet/models/pulls/3": {status: http.StatusCreated, body: fmt.Sprintf(listed, 3, 1)},
	})
	f := connect(t, s.URL+"/fleet/models")
	got, err := f.Proposed(t.Context(), "espalier/promote/x")
	if err != nil || len(got) != 1 || got[0].Number != 2 {
		t.Errorf("%+v, %v", got, err)
	}
	made, err := f.Propose(t.Context(), Proposal{Head: "espalier/promote/x", Base: "main", Title: "t", Body: "b"})
	if err != nil || made.Number != 3 {
		t.Errorf("%+v, %v", made, err)
	}
	if err := f.Withdraw(t.Context(), 3); err != nil || len(*written) != 2 || !strings.Contains((*written)[1], `"state":"closed"`) {
		t.Errorf("%v, written %q", err, *written)
	}
	auth, err := f.GitAuth(t.Context())
	if err != nil || string(auth["password"]) != token || len(auth["username"]) == 0 || f.CloneURL != s.URL+"/fleet/models.git" {
		t.Errorf("Git is signed in with %v at %s: %v", len(auth), f.CloneURL, err)
	}
}

func TestErrors(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		answer answer
		want   string
		after  time.Duration
		says   string
	}{
		"Unauthorized": {reason: "A token that is wrong.", answer: answer{status: 401, body: `{"message":"invalid token ` + token + `"}`}, want: v1alpha1.ReasonAuthFailed, says: "check that it is right and not expired (it says: invalid token ***)"},
		"Forbidden":    {reason: "What right is missing, the forge says best.", answer: answer{status: 403, body: `{"message":"required=[read:user]"}`}, want: v1alpha1.ReasonAuthFailed, says: "required=[read:user]"},
		"NotFound":     {reason: "A private repository is not there for strangers.", answer: answer{status: 404}, want: ReasonForgeRefused, says: "or the token may not see it"},
		"TooMany":      {reason: "How long to wait, the forge says.", answer: answer{status: 429, header: map[string]string{"Retry-After": "30"}}, want: ReasonRateLimited, after: 30 * time.Second, says: "fewer requests"},
		"Exhausted":    {reason: "GitHub says it in headers of its own.", answer: answer{status: 403, header: map[string]string{"X-RateLimit-Remaining": "0", "X-RateLimit-Reset": "1"}}, want: ReasonRateLimited, says: "fewer requests"},
		"ForEver":      {reason: "Nobody puts a controller off for a year.", answer: answer{status: 503, header: map[string]string{"Retry-After": "99999999"}}, want: ReasonForgeUnreachable, after: time.Hour, says: "status 503"},
		"Redirect":     {reason: "A redirect could lead the token elsewhere.", answer: answer{status: 301, header: map[string]string{"Location": "https://evil.example.com/"}}, want: ReasonForgeRefused, says: "not followed"},
		"NoJSON":       {reason: "What answers is no forge.", answer: answer{body: "<html>"}, want: ReasonForgeUnreachable, says: "ended with"},
		"Huge":         {reason: "An endless answer is not read.", answer: answer{body: `[{"body":"` + strings.Repeat("x", maxAnswer) + `"}]`}, want: ReasonForgeUnreachable, says: "more than 10 MiB"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := server(t, map[string]answer{"GET /api/v1/repos/fleet/models/pulls": tc.answer})
			_, err := connect(t, s.URL+"/fleet/models").Open(t.Context(), "main")
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != tc.want || failure.After != tc.after || !strings.Contains(err.Error(), tc.says) {
				t.Errorf("%s\ngot %+v, want reason %s, after %s, and %q", tc.reason, err, tc.want, tc.after, tc.says)
			}
			if strings.Contains(fmt.Sprintf("%v %+v", err, err), token) {
				t.Errorf("the error holds the token: %v", err)
			}
		})
	}
}

// TestCertificates: a forge with an authority of its own is trusted by ca.crt, and
// by nothing else.
func TestCertificates(t *testing.T) {
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, "[]") }))
	t.Cleanup(s.Close)
	ca := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})
	settings := Settings{Provider: v1alpha1.Gitea, URL: s.URL + "/fleet/models", Auth: map[string][]byte{"token": []byte(token)}}
	f, err := Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), "main"); err == nil || !strings.Contains(err.Error(), "as ca.crt") {
		t.Errorf("without ca.crt: %v", err)
	}
	settings.Auth["ca.crt"] = ca
	if f, err = Connect(settings); err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), "main"); err != nil {
		t.Errorf("with ca.crt: %v", err)
	}
	settings.Auth["ca.crt"] = []byte("nonsense")
	if _, err := Connect(settings); err == nil {
		t.Error("what is no certificate is taken")
	}
}

func TestLocate(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		url    string
		want   string // "" when it is refused
	}{
		"Clone":   {reason: "The clone address says where the forge is.", url: "https://gitea.example.com/fleet/models.git", want: "https://gitea.example.com/fleet/models"},
		"Folder":  {reason: "A forge may live in a folder of a host.", url: "https://example.com/git/fleet/models/", want: "https://example.com/git/fleet/models"},
		"SSH":     {reason: "The port of SSH is not that of the web.", url: "ssh://git@gitea.example.com:2222/fleet/models.git", want: "https://gitea.example.com/fleet/models"},
		"Secrets": {reason: "What somebody put into the address is not used.", url: "https://user:pass@gitea.example.com/fleet/models?x=y", want: "https://gitea.example.com/fleet/models"},
		"Short":   {reason: "A repository has an owner.", url: "https://gitea.example.com/models.git"},
		"Empty":   {reason: "No address.", url: ""},
	} {
		t.Run(name, func(t *testing.T) {
			at, err := locate(Settings{URL: tc.url})
			if err != nil != (tc.want == "") || err == nil && at.String() != tc.want {
				t.Errorf("%s\ngot %s, %v", tc.reason, at, err)
			}
			if err != nil && strings.Contains(err.Error(), "pass") {
				t.Error(err)
			}
		})
	}
}

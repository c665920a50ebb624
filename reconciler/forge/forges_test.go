// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/forgefake"
)

// played is a forge that a fake plays, held to what its maker publishes.
type played struct {
	*Forge
	repo *forgefake.Repo
	url  string
}

// players are the forges of which no server can be had.
var players = map[v1alpha1.ForgeProvider]struct {
	path string // of the repository, below the server
	play func(*forgefake.Repo) http.Handler
}{
	v1alpha1.AzureDevOps:     {"/" + forgefake.Owner + "/_git/" + forgefake.Name, (*forgefake.Repo).AzureDevOps},
	v1alpha1.Bitbucket:       {"/" + forgefake.Owner + "/" + forgefake.Name + ".git", (*forgefake.Repo).Bitbucket},
	v1alpha1.BitbucketServer: {"/scm/" + forgefake.Owner + "/" + forgefake.Name + ".git", (*forgefake.Repo).BitbucketServer},
}

// hash is a commit whose digits are all the same.
func hash(digit string) string { return strings.Repeat(digit, 40) }

var at = time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC)

func play(t *testing.T, provider v1alpha1.ForgeProvider, pulls ...forgefake.Pull) played {
	t.Helper()
	repo := forgefake.New(pulls...)
	server := httptest.NewServer(players[provider].play(repo))
	t.Cleanup(func() {
		server.Close()
		for _, p := range repo.Problems() {
			t.Error(p)
		}
	})
	url := server.URL + players[provider].path
	f, err := Connect(Settings{Provider: provider, URL: url, Auth: map[string][]byte{"token": []byte(forgefake.Token + "\n")}})
	if err != nil {
		t.Fatal(err)
	}
	return played{f, repo, server.URL}
}

// each runs a test on every forge that is played, with some pull requests.
func each(t *testing.T, test func(*testing.T, v1alpha1.ForgeProvider, played)) {
	t.Helper()
	for provider := range players {
		t.Run(string(provider), func(t *testing.T) { test(t, provider, play(t, provider, somePulls...)) })
	}
}

var somePulls = []forgefake.Pull{
	{Number: 1, Base: "main", Branch: "topic", Head: hash("a"), MergeBase: hash("b"), State: forgefake.Open},
	{Number: 2, Base: "next", Branch: "topic", Head: hash("c"), MergeBase: hash("b"), State: forgefake.Open},
	{Number: 3, Base: "main", Branch: "feature/x", Head: hash("d"), MergeBase: hash("b"), State: forgefake.Open},
	{Number: 4, Base: "main", Branch: "done", Head: hash("e"), MergeBase: hash("b"), State: forgefake.Merged, Result: hash("f"), At: at},
	{Number: 5, Base: "main", Branch: "dropped", Head: hash("1"), MergeBase: hash("b"), State: forgefake.Declined},
	{Number: 6, Base: "main", Branch: "last", Head: hash("2"), MergeBase: hash("b"), State: forgefake.Open},
}

// TestForgesOpen: the open pull requests to a branch, of every page, with whole hashes,
// and where a head left the branch.
func TestForgesOpen(t *testing.T) {
	each(t, func(t *testing.T, _ v1alpha1.ForgeProvider, p played) {
		open, err := p.Open(t.Context(), "main")
		var got []string
		for _, pr := range open {
			got = append(got, fmt.Sprint(pr.Number, " ", pr.Branch, " ", pr.Head, " ", pr.Open, " ", pr.Fork))
			if !strings.Contains(pr.URL, fmt.Sprint("/", pr.Number)) || strings.Contains(pr.URL, "/_apis/") {
				t.Errorf("%s is no address for people", pr.URL)
			}
		}
		want := []string{"1 topic " + hash("a") + " true false", "3 feature/x " + hash("d") + " true false", "6 last " + hash("2") + " true false"}
		if diff := cmp.Diff(want, got); diff != "" || err != nil {
			t.Error(diff, err)
		}
		one, err := p.Get(t.Context(), 3)
		if err != nil || one.MergeBase != hash("b") || one.Head != hash("d") || one.Base != "main" || !one.Open {
			t.Errorf("%+v, %v", one, err)
		}
		if _, err := p.Get(t.Context(), 99); !Unknown(err) {
			t.Errorf("one that is not there: %v", err)
		}
	})
}

// TestForgesForks: a pull request from another repository is told from the others.
func TestForgesForks(t *testing.T) {
	fork := forgefake.Pull{Number: 7, Base: "main", Branch: "theirs", Head: hash("3"), MergeBase: hash("b"), State: forgefake.Open, Fork: true}
	for provider := range players {
		if provider == v1alpha1.Bitbucket {
			continue // below: it does not say the whole hash
		}
		p := play(t, provider, fork)
		if open, err := p.Open(t.Context(), "main"); err != nil || len(open) != 1 || !open[0].Fork {
			t.Errorf("%s: %+v, %v", provider, open, err)
		}
	}
}

// TestForgesMerged: what it became, and when; and whether a commit is within another.
func TestForgesMerged(t *testing.T) {
	each(t, func(t *testing.T, _ v1alpha1.ForgeProvider, p played) {
		merged, err := p.Merged(t.Context(), "main")
		if err != nil || len(merged) != 1 || merged[0].Number != 4 || merged[0].Merged != hash("f") || !merged[0].MergedAt.Equal(at) || merged[0].Open {
			t.Errorf("%+v, %v", merged, err)
		}
		for _, c := range []struct {
			head, commit string
			want         bool
		}{{hash("a"), hash("b"), true}, {hash("b"), hash("a"), false}, {hash("a"), hash("a"), true}, {hash("a"), hash("7"), false}} {
			if c.commit == hash("7") {
				c.head = hash("8") // neither is known
			}
			if got, err := p.Contains(t.Context(), c.head, c.commit); got != c.want || err != nil {
				t.Errorf("%.4s contains %.4s: %v, %v", c.head, c.commit, got, err)
			}
		}
	})
}

const commentBody = "<!-- espalier-review espalier prod/models/a " + "b h s -->\n<!-- espalier-workspaces models/phi -->\n" +
	"1 workspace changes\n\n| a | b |\n|---|---|\n\n<details><summary>Rendered objects</summary>\n\n```diff\n+a\n```\n</details>\n\nThe end.\n"

// TestForgesComments: one comment is made, edited in place, and read back as it was
// written, among whatever others say.
func TestForgesComments(t *testing.T) {
	each(t, func(t *testing.T, provider v1alpha1.ForgeProvider, p played) {
		for range 3 {
			p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "looks good"})
		}
		made, err := p.Write(t.Context(), 1, 0, commentBody)
		if err != nil || made.ID == 0 || !strings.HasPrefix(made.URL, "http") {
			t.Fatalf("%+v, %v", made, err)
		}
		p.repo.Say(forgefake.Comment{Pull: 3, Author: "bot", Text: "of another pull request"})
		own, err := p.Own(t.Context(), 1, time.Time{})
		if err != nil || len(own) != 1 || own[0].ID != made.ID || strings.TrimSpace(own[0].Body) != strings.TrimSpace(commentBody) {
			t.Fatalf("%+v, %v", own, err)
		}
		again := strings.Replace(commentBody, "1 workspace changes", "2 workspaces change", 1)
		for range 2 { // each edit is one of the newest version
			if edited, err := p.Write(t.Context(), 1, made.ID, again); err != nil || edited.ID != made.ID {
				t.Fatalf("%+v, %v", edited, err)
			}
		}
		own, err = p.Own(t.Context(), 1, time.Time{})
		if err != nil || len(own) != 1 || own[0].ID != made.ID || strings.TrimSpace(own[0].Body) != strings.TrimSpace(again) {
			t.Errorf("%+v, %v", own, err)
		}
		texts := p.repo.Texts(1, "bot")
		if len(texts) != 1 {
			t.Fatalf("%d comments: %q", len(texts), texts)
		}
		if provider != v1alpha1.AzureDevOps && strings.ContainsAny(texts[0], "<>") {
			t.Errorf("Bitbucket shows HTML as it is written:\n%s", texts[0])
		}
		if provider == v1alpha1.AzureDevOps {
			if made := p.repo.Requests("POST /fleet/_apis/git/repositories/models/pullRequests/1/threads"); len(made) != 1 || !strings.Contains(made[0], `"status":"closed"`) {
				t.Errorf("a thread that is open keeps a pull request from being completed: %q", made)
			}
		}
	})
}

// TestForgesRemarks: what others said since a time, in its order, without what was
// edited and without what is said on lines; and who may write.
func TestForgesRemarks(t *testing.T) {
	each(t, func(t *testing.T, provider v1alpha1.ForgeProvider, p played) {
		p.repo.Writers = []string{"dev", "dev-2", "dev-3"}
		old := p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "/espalier help"})
		since := time.Date(2026, 11, 23, 15, 1, 30, 0, time.UTC)
		first := p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "/espalier plan"})
		edited := p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "harmless"})
		if provider != v1alpha1.AzureDevOps { // whose threads on lines are threads like others
			p.repo.Say(forgefake.Comment{Pull: 1, Author: "dev", Text: "/espalier plan", OnLine: true})
		}
		p.repo.Say(forgefake.Comment{Pull: 1, Author: "bot", Text: "mine"})
		p.repo.Say(forgefake.Comment{Pull: 1, Author: "reader", Text: "/espalier plan", Thread: first})
		p.repo.Edit(edited, "/espalier plan")
		others, err := p.Others(t.Context(), 1, since)
		if err != nil || len(others) != 2 || others[0].Author != "dev" || others[1].Author != "reader" || others[0].Body != "/espalier plan" {
			t.Fatalf("%+v, %v (of %d)", others, err, old)
		}
		if others[0].ID >= others[1].ID || !others[0].At.Before(others[1].At) {
			t.Errorf("what is said later has the larger number: %+v", others)
		}
		for _, r := range append(others, Remark{Author: "stranger"}, Remark{Author: "dev-3"}, Remark{Author: "ev"}) {
			if may, err := p.MayWrite(t.Context(), r); err != nil || may != strings.HasPrefix(r.Author, "dev") {
				t.Errorf("%s: %v, %v", r.Author, may, err)
			}
		}
	})
}

// TestForgesStatuses: a status that says the same is not set again, and one of a pull
// request's head is said where its protection looks.
func TestForgesStatuses(t *testing.T) {
	each(t, func(t *testing.T, provider v1alpha1.ForgeProvider, p played) {
		if _, err := p.Open(t.Context(), "main"); err != nil {
			t.Fatal(err)
		}
		for _, s := range []Status{
			{Name: "espalier/plan", State: Pending, Text: "Being planned", URL: "https://x/1"},
			{Name: "espalier/plan", State: Success, Text: "1 workspace changes", URL: "https://x/1"},
			{Name: "espalier/plan", State: Success, Text: "1 workspace changes", URL: "https://x/1"},
			{Name: "espalier/fit", State: Errored, Text: strings.Repeat("ü", 300)},
			{Name: "espalier/fit", State: Errored, Text: strings.Repeat("ü", 300)},
		} {
			if err := p.Set(t.Context(), hash("a"), s); err != nil {
				t.Fatal(err)
			}
		}
		want, set := 2, p.repo.Statuses(hash("a"))
		if provider == v1alpha1.AzureDevOps { // it keeps all of them, the newest counts
			want = 3
			pull := p.repo.Statuses("pull 1")
			if len(pull) != 3 || pull[1]["iterationId"] != float64(2) || fmt.Sprint(pull[1]["context"]) != "map[genre:espalier name:plan]" {
				t.Errorf("branch policies go by the status of the pull request's iteration: %v", pull)
			}
		} else if provider == v1alpha1.BitbucketServer && set[0]["parent"] != "espalier/plan" {
			t.Errorf("builds are required by their parent: %v", set[0])
		} else if set[0]["refname"] != "topic" && set[0]["ref"] != "refs/heads/topic" {
			t.Errorf("a status of a branch's head is said to be: %v", set[0])
		}
		if len(set) != want {
			t.Errorf("%d statuses, want %d: %v", len(set), want, set)
		}
		if text := fmt.Sprint(set[len(set)-1]["description"]); len([]rune(text)) > maxText {
			t.Errorf("a text of %d characters", len([]rune(text)))
		}
		if err := p.Set(t.Context(), hash("9"), Status{Name: "espalier/models/ready", State: Failure, Text: "stalled"}); err != nil || len(p.repo.Statuses(hash("9"))) != 1 {
			t.Errorf("of a commit that is no head: %v, %v", p.repo.Statuses(hash("9")), err)
		}
	})
}

// TestForgesProposals: a pull request is made, found again by its branch, and closed.
func TestForgesProposals(t *testing.T) {
	each(t, func(t *testing.T, _ v1alpha1.ForgeProvider, p played) {
		const branch = "espalier/promote/prod/models/tune/0123456789ab"
		if found, err := p.Proposed(t.Context(), branch); err != nil || len(found) != 0 {
			t.Fatalf("%+v, %v", found, err)
		}
		made, err := p.Propose(t.Context(), Proposal{Head: branch, Base: "main", Title: "phi: the adapter of tune", Body: strings.Repeat("<!-- x -->\ntext\n", 600)})
		if err != nil || made.Number != 7 || !made.Open || made.Branch != branch || made.Base != "main" {
			t.Fatalf("%+v, %v", made, err)
		}
		if err := p.Withdraw(t.Context(), 7); err != nil {
			t.Fatal(err)
		}
		found, err := p.Proposed(t.Context(), branch)
		if err != nil || len(found) != 1 || found[0].Open || found[0].Merged != "" {
			t.Errorf("one that is closed is found: %+v, %v", found, err)
		}
	})
}

// TestForgesErrors: a token that is wrong, and an answer in each forge's own form.
func TestForgesErrors(t *testing.T) {
	for provider, player := range players {
		t.Run(string(provider), func(t *testing.T) {
			repo := forgefake.New(somePulls...)
			s := httptest.NewServer(player.play(repo))
			defer s.Close()
			f, err := Connect(Settings{Provider: provider, URL: s.URL + player.path, Auth: map[string][]byte{"token": []byte("wr0ng-5ecret")}})
			if err != nil {
				t.Fatal(err)
			}
			_, err = f.Open(t.Context(), "main")
			var failure *Error
			if !errors.As(err, &failure) || failure.Reason != v1alpha1.ReasonAuthFailed || strings.Contains(err.Error(), "wr0ng") {
				t.Errorf("%v", err)
			}
		})
	}
	for name, c := range map[string]struct {
		reason string
		answer answer
		want   string
		says   string
	}{
		"Cloud":  {"Bitbucket Cloud's form.", answer{status: 403, body: `{"type":"error","error":{"message":"Your credentials lack one or more required privilege scopes."}}`}, v1alpha1.ReasonAuthFailed, "it says: Your credentials lack"},
		"Server": {"Bitbucket Data Center's.", answer{status: 409, body: `{"errors":[{"context":null,"message":"out-of-date"}]}`}, ReasonForgeRefused, "it says: out-of-date"},
		"Azure":  {"Azure DevOps'.", answer{status: 400, body: `{"$id":"1","message":"TF200016: The following project does not exist","typeKey":"X"}`}, ReasonForgeRefused, "it says: TF200016"},
		"Later":  {"All of them say how long to wait.", answer{status: 429, header: map[string]string{"Retry-After": "7"}}, ReasonRateLimited, "fewer requests"},
		"NoJSON": {"A page in place of an answer.", answer{body: "<html>"}, ReasonForgeUnreachable, "ended with"},
	} {
		t.Run(name, func(t *testing.T) {
			s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				for key, value := range c.answer.header {
					w.Header().Set(key, value)
				}
				w.WriteHeader(max(c.answer.status, 200))
				_, _ = w.Write([]byte(c.answer.body))
			}))
			defer s.Close()
			for provider, player := range players {
				f, err := Connect(Settings{Provider: provider, URL: s.URL + player.path, Auth: map[string][]byte{"token": []byte(forgefake.Token)}})
				if err != nil {
					t.Fatal(err)
				}
				_, err = f.Open(t.Context(), "main")
				var failure *Error
				if !errors.As(err, &failure) || failure.Reason != c.want || !strings.Contains(err.Error(), c.says) {
					t.Errorf("%s: %s\ngot %v", provider, c.reason, err)
				}
				if c.want == ReasonRateLimited && failure.After != 7*time.Second {
					t.Errorf("%s: after %s", provider, failure.After)
				}
			}
		})
	}
}

// TestNextElsewhere: a next page on another host would be given the token.
func TestNextElsewhere(t *testing.T) {
	asked := 0
	elsewhere := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { asked++ }))
	defer elsewhere.Close()
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		_, _ = fmt.Fprintf(w, `{"values":[],"next":%q}`, elsewhere.URL+"/2.0/next")
	}))
	defer s.Close()
	f, err := Connect(Settings{Provider: v1alpha1.Bitbucket, URL: s.URL + "/fleet/models", Auth: map[string][]byte{"token": []byte(forgefake.Token)}})
	if err != nil {
		t.Fatal(err)
	}
	if _, err := f.Open(t.Context(), "main"); err == nil || asked != 0 || !strings.Contains(err.Error(), "address elsewhere") {
		t.Errorf("asked %d times: %v", asked, err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/google/go-github/v87/github"

	"github.com/espalier-dev/espalier/reconciler/plan"
)

// Bounds of lists on GitHub and GitLab.
const (
	largePage  = 100
	largePages = 10
)

// githubForge is a repository on GitHub, or on a GitHub Enterprise Server.
type githubForge struct {
	at     place
	t      *transport
	client *github.Client
	app    *app // nil with a token

	mu    sync.Mutex
	login string // of the account that is signed in
}

func newGitHub(at place, t *transport) (*Forge, error) {
	g := &githubForge{at: at, t: t}
	var err error
	if g.app, err = newApp(at, t); err != nil {
		return nil, err
	}
	httpClient := t.client()
	httpClient.Transport = bearer{t: t, app: g.app}
	if g.client, err = githubClient(at, httpClient); err != nil {
		return nil, err
	}
	return &Forge{PullRequests: g, Merges: g, Comments: g, Remarks: g, Statuses: g, Proposals: g, Signer: g, Lines: g, CloneURL: at.cloneURL(), CommentLimit: plan.LimitGitHub}, nil
}

// githubClient speaks to api.github.com, or to /api/v3 of any other server.
func githubClient(at place, httpClient *http.Client) (*github.Client, error) {
	options := []github.ClientOptionsFunc{github.WithHTTPClient(httpClient), github.WithUserAgent("espalier")}
	if at.server != "https://github.com" {
		options = append(options, github.WithEnterpriseURLs(at.server, at.server))
	}
	c, err := github.NewClient(options...)
	if err != nil {
		return nil, fmt.Errorf("preparing to ask %s: %w", at.server, err)
	}
	return c, nil
}

// bearer signs requests in.
type bearer struct {
	t   *transport
	app *app
}

// RoundTrip sends one request.
func (b bearer) RoundTrip(req *http.Request) (*http.Response, error) {
	token := b.t.token()
	if b.app != nil {
		var err error
		if token, err = b.app.token(req.Context()); err != nil {
			return nil, err
		}
	}
	req = req.Clone(req.Context())
	req.Header.Set("Authorization", "Bearer "+token)
	return b.t.RoundTrip(req)
}

// Open lists the open pull requests to a branch.
func (g *githubForge) Open(ctx context.Context, branch string) ([]PullRequest, error) {
	var open []PullRequest
	options := &github.PullRequestListOptions{
		State: "open", Base: branch, Sort: "updated", Direction: "desc", ListOptions: github.ListOptions{PerPage: largePage},
	}
	for range largePages {
		list, resp, err := g.client.PullRequests.List(ctx, g.at.owner, g.at.name, options)
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, p := range list {
			if pr := githubPullRequest(p); pr.Base == branch && pr.Head != "" {
				open = append(open, pr)
			}
		}
		if options.Page = resp.NextPage; options.Page == 0 {
			break
		}
	}
	return open, nil
}

func githubPullRequest(p *github.PullRequest) PullRequest {
	pr := PullRequest{
		Number: int64(p.GetNumber()), Base: p.GetBase().GetRef(), Branch: p.GetHead().GetRef(), Head: p.GetHead().GetSHA(), URL: p.GetHTMLURL(), Open: p.GetState() == "open", Updated: p.GetUpdatedAt().Time,
		// The repository of a deleted fork is not there any more.
		Fork: p.GetHead().GetRepo() == nil || p.GetHead().GetRepo().GetID() != p.GetBase().GetRepo().GetID(),
	}
	if !pr.Open && p.MergedAt != nil { // while it is open the commit is that of a trial
		pr.Merged, pr.MergedAt = p.GetMergeCommitSHA(), p.GetMergedAt().Time
	}
	return pr
}

// Merged lists the pull requests to a branch that were merged.
func (g *githubForge) Merged(ctx context.Context, branch string) ([]PullRequest, error) {
	list, _, err := g.client.PullRequests.List(ctx, g.at.owner, g.at.name, &github.PullRequestListOptions{
		State: "closed", Base: branch, Sort: "updated", Direction: "desc", ListOptions: github.ListOptions{PerPage: pageSize},
	})
	if err != nil {
		return nil, g.t.explain(err)
	}
	var merged []PullRequest
	for _, p := range list {
		if pr := githubPullRequest(p); pr.Base == branch && pr.Merged != "" {
			merged = append(merged, pr)
		}
	}
	return merged, nil
}

// Contains asks where a commit is as head sees it.
func (g *githubForge) Contains(ctx context.Context, head, commit string) (bool, error) {
	compared, _, err := g.client.Repositories.CompareCommits(ctx, g.at.owner, g.at.name, head, commit, &github.ListOptions{PerPage: 1})
	if err = g.t.explain(err); err != nil {
		if Unknown(err) {
			return false, nil
		}
		return false, err
	}
	return compared.GetStatus() == "identical" || compared.GetStatus() == "behind", nil
}

// Get reads one pull request, and where its head left the branch: base.sha of a
// pull request is where the branch was when somebody last pushed.
func (g *githubForge) Get(ctx context.Context, number int64) (PullRequest, error) {
	p, _, err := g.client.PullRequests.Get(ctx, g.at.owner, g.at.name, int(number))
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	pr := githubPullRequest(p)
	if !pr.Open {
		return pr, nil
	}
	compared, _, err := g.client.Repositories.CompareCommits(ctx, g.at.owner, g.at.name, pr.Base, pr.Head, &github.ListOptions{PerPage: 1})
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	pr.MergeBase = compared.GetMergeBaseCommit().GetSHA()
	return pr, nil
}

// me is the account that is signed in.
func (g *githubForge) me(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.login != "" {
		return g.login, nil
	}
	if g.app != nil {
		slug, err := g.app.slug(ctx)
		if err != nil {
			return "", err
		}
		g.login = slug + "[bot]"
		return g.login, nil
	}
	user, _, err := g.client.Users.Get(ctx, "")
	if err != nil {
		return "", g.t.explain(err)
	}
	g.login = user.GetLogin()
	return g.login, nil
}

// list reads the comments on a pull request, since a time where there is one, and
// who is signed in.
func (g *githubForge) list(ctx context.Context, number int64, since time.Time) (list []listed, me string, err error) {
	if me, err = g.me(ctx); err != nil {
		return nil, "", err
	}
	options := &github.IssueListCommentsOptions{ListOptions: github.ListOptions{PerPage: largePage}}
	if !since.IsZero() {
		options.Since = &since
	}
	for range largePages {
		comments, resp, err := g.client.Issues.ListComments(ctx, g.at.owner, g.at.name, int(number), options)
		if err != nil {
			return nil, "", g.t.explain(err)
		}
		for _, c := range comments {
			comment := Comment{ID: c.GetID(), Body: c.GetBody(), URL: c.GetHTMLURL()}
			list = append(list, listed{comment, c.GetUser().GetLogin(), c.GetUser().GetID(), c.GetCreatedAt().Time, c.GetUpdatedAt().Time})
		}
		if options.Page = resp.NextPage; options.Page == 0 {
			break
		}
	}
	return list, me, nil
}

// Own lists the comments of the account that is signed in.
func (g *githubForge) Own(ctx context.Context, number int64, since time.Time) ([]Comment, error) {
	list, me, err := g.list(ctx, number, since)
	return ownOf(list, me), err
}

// Others lists those of everybody else.
func (g *githubForge) Others(ctx context.Context, number int64, after time.Time) ([]Remark, error) {
	list, me, err := g.list(ctx, number, after)
	return othersOf(list, me, after), err
}

// MayWrite asks for somebody's right: whoever may maintain may write too.
func (g *githubForge) MayWrite(ctx context.Context, r Remark) (bool, error) {
	right, _, err := g.client.Repositories.GetPermissionLevel(ctx, g.at.owner, g.at.name, r.Author)
	if err = g.t.explain(err); err != nil {
		if Unknown(err) {
			return false, nil
		}
		return false, err
	}
	return right.GetPermission() == "write" || right.GetPermission() == "admin", nil
}

// Write makes or edits a comment.
func (g *githubForge) Write(ctx context.Context, number, id int64, body string) (Comment, error) {
	var written *github.IssueComment
	var err error
	if id == 0 {
		written, _, err = g.client.Issues.CreateComment(ctx, g.at.owner, g.at.name, int(number), &github.IssueComment{Body: &body})
	} else {
		written, _, err = g.client.Issues.EditComment(ctx, g.at.owner, g.at.name, id, &github.IssueComment{Body: &body})
	}
	if err != nil {
		return Comment{}, g.t.explain(err)
	}
	return Comment{ID: written.GetID(), Body: written.GetBody(), URL: written.GetHTMLURL()}, nil
}

// Set sets a status, unless the newest of its name says the same.
func (g *githubForge) Set(ctx context.Context, commit string, s Status) error {
	s.Text = cut(s.Text, maxText)
	now, _, err := g.client.Repositories.GetCombinedStatus(ctx, g.at.owner, g.at.name, commit, &github.ListOptions{PerPage: largePage})
	if err != nil {
		return g.t.explain(err)
	}
	for _, is := range now.Statuses {
		if is.GetContext() == s.Name && is.GetState() == string(s.State) && is.GetDescription() == s.Text && is.GetTargetURL() == s.URL {
			return nil
		}
	}
	state := string(s.State)
	status := github.RepoStatus{State: &state, Description: &s.Text, Context: &s.Name}
	if s.URL != "" {
		status.TargetURL = &s.URL
	}
	_, _, err = g.client.Repositories.CreateStatus(ctx, g.at.owner, g.at.name, commit, status)
	return g.t.explain(err)
}

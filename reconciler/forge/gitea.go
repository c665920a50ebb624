// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"fmt"
	"sync"
	"time"

	"code.gitea.io/sdk/gitea"

	"github.com/espalier-dev/espalier/reconciler/plan"
)

// Bounds of a list: more pull requests than this are not looked at, and further
// comments not read.
const (
	pageSize = 50
	maxPages = 20
)

// giteaForge is a repository on Gitea or Forgejo.
type giteaForge struct {
	at place
	t  *transport

	mu    sync.Mutex
	login string // of the account that is signed in
}

func newGitea(at place, t *transport) *Forge {
	g := &giteaForge{at: at, t: t}
	return &Forge{PullRequests: g, Merges: g, Comments: g, Remarks: g, Statuses: g, Proposals: g, Signer: g, Lines: g, CloneURL: at.cloneURL(), CommentLimit: plan.LimitGitea}
}

// client is one for a context: the library keeps it in the client.
func (g *giteaForge) client(ctx context.Context) (*gitea.Client, error) {
	// An empty version saves the question for it: every Gitea since 1.14 will do.
	c, err := gitea.NewClient(g.at.server, gitea.SetGiteaVersion(""), gitea.SetHTTPClient(g.t.client()), gitea.SetToken(g.t.token()), gitea.SetContext(ctx), gitea.SetUserAgent("espalier"))
	if err != nil {
		return nil, fmt.Errorf("preparing to ask %s: %w", g.at.server, err)
	}
	return c, nil
}

// Open lists the open pull requests to a branch. The library cannot ask for one
// branch alone.
func (g *giteaForge) Open(ctx context.Context, branch string) ([]PullRequest, error) {
	c, err := g.client(ctx)
	if err != nil {
		return nil, err
	}
	var open []PullRequest
	for page := 1; page <= maxPages; page++ {
		list, resp, err := c.ListRepoPullRequests(g.at.owner, g.at.name, gitea.ListPullRequestsOptions{
			ListOptions: gitea.ListOptions{Page: page, PageSize: pageSize}, State: gitea.StateOpen, Sort: "recentupdate",
		})
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, p := range list {
			if pr := pullRequest(p); pr.Base == branch && pr.Head != "" {
				open = append(open, pr)
			}
		}
		if resp.NextPage == 0 {
			break
		}
	}
	return open, nil
}

// Get reads one pull request.
func (g *giteaForge) Get(ctx context.Context, number int64) (PullRequest, error) {
	c, err := g.client(ctx)
	if err != nil {
		return PullRequest{}, err
	}
	p, _, err := c.GetPullRequest(g.at.owner, g.at.name, number)
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	return pullRequest(p), nil
}

func pullRequest(p *gitea.PullRequest) PullRequest {
	pr := PullRequest{Number: p.Index, URL: p.HTMLURL, MergeBase: p.MergeBase, Open: p.State == gitea.StateOpen}
	if p.Updated != nil {
		pr.Updated = *p.Updated
	}
	if p.Base == nil || p.Head == nil {
		return pr
	}
	pr.Base, pr.Branch, pr.Head = p.Base.Ref, p.Head.Ref, p.Head.Sha
	// The repository of a deleted fork is not there any more.
	pr.Fork = p.Head.Repository == nil || p.Head.RepoID != p.Base.RepoID
	if p.HasMerged && p.Merged != nil && p.MergedCommitID != nil {
		pr.Merged, pr.MergedAt = *p.MergedCommitID, *p.Merged
	}
	return pr
}

// Merged lists the pull requests to a branch that were merged.
func (g *giteaForge) Merged(ctx context.Context, branch string) ([]PullRequest, error) {
	c, err := g.client(ctx)
	if err != nil {
		return nil, err
	}
	list, _, err := c.ListRepoPullRequests(g.at.owner, g.at.name, gitea.ListPullRequestsOptions{
		ListOptions: gitea.ListOptions{Page: 1, PageSize: pageSize}, State: gitea.StateClosed, Sort: "recentupdate",
	})
	if err != nil {
		return nil, g.t.explain(err)
	}
	var merged []PullRequest
	for _, p := range list {
		if pr := pullRequest(p); pr.Base == branch && pr.Merged != "" {
			merged = append(merged, pr)
		}
	}
	return merged, nil
}

// Contains asks what a commit has that head has not.
func (g *giteaForge) Contains(ctx context.Context, head, commit string) (bool, error) {
	c, err := g.client(ctx)
	if err != nil {
		return false, err
	}
	compared, _, err := c.CompareCommits(g.at.owner, g.at.name, head, commit)
	if err = g.t.explain(err); err != nil {
		if Unknown(err) {
			return false, nil
		}
		return false, err
	}
	return compared.TotalCommits == 0, nil
}

// me is the account that is signed in.
func (g *giteaForge) me(c *gitea.Client) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.login != "" {
		return g.login, nil
	}
	user, _, err := c.GetMyUserInfo()
	if err != nil {
		return "", g.t.explain(err)
	}
	g.login = user.UserName
	return g.login, nil
}

// list reads the comments on a pull request, since a time where there is one, and
// who is signed in.
func (g *giteaForge) list(ctx context.Context, number int64, since time.Time) (list []listed, me string, err error) {
	c, err := g.client(ctx)
	if err != nil {
		return nil, "", err
	}
	if me, err = g.me(c); err != nil {
		return nil, "", err
	}
	// Gitea gives all comments of a pull request at once: it knows no pages here.
	comments, _, err := c.ListIssueComments(g.at.owner, g.at.name, number, gitea.ListIssueCommentOptions{Since: since})
	if err != nil {
		return nil, "", g.t.explain(err)
	}
	for _, comment := range comments {
		if comment.Poster != nil {
			list = append(list, listed{Comment{ID: comment.ID, Body: comment.Body, URL: comment.HTMLURL}, comment.Poster.UserName, comment.Poster.ID, comment.Created, comment.Updated})
		}
	}
	return list, me, nil
}

// Own lists the comments of the account that is signed in.
func (g *giteaForge) Own(ctx context.Context, number int64, since time.Time) ([]Comment, error) {
	list, me, err := g.list(ctx, number, since)
	return ownOf(list, me), err
}

// Others lists those of everybody else.
func (g *giteaForge) Others(ctx context.Context, number int64, after time.Time) ([]Remark, error) {
	list, me, err := g.list(ctx, number, after)
	return othersOf(list, me, after), err
}

// MayWrite asks for somebody's right. Gitea tells it to administrators of the
// repository only.
func (g *giteaForge) MayWrite(ctx context.Context, r Remark) (bool, error) {
	c, err := g.client(ctx)
	if err != nil {
		return false, err
	}
	right, _, err := c.CollaboratorPermission(g.at.owner, g.at.name, r.Author)
	if err = g.t.explain(err); err != nil {
		if Unknown(err) {
			return false, nil
		}
		return false, err
	}
	switch right.Permission {
	case gitea.AccessModeWrite, gitea.AccessModeAdmin, gitea.AccessModeOwner:
		return true, nil
	}
	return false, nil
}

// Write makes or edits a comment.
func (g *giteaForge) Write(ctx context.Context, number, id int64, body string) (Comment, error) {
	c, err := g.client(ctx)
	if err != nil {
		return Comment{}, err
	}
	var written *gitea.Comment
	if id == 0 {
		written, _, err = c.CreateIssueComment(g.at.owner, g.at.name, number, gitea.CreateIssueCommentOption{Body: body})
	} else {
		written, _, err = c.EditIssueComment(g.at.owner, g.at.name, id, gitea.EditIssueCommentOption{Body: body})
	}
	if err != nil {
		return Comment{}, g.t.explain(err)
	}
	return Comment{ID: written.ID, Body: written.Body, URL: written.HTMLURL}, nil
}

// Set sets a status, unless the newest of its name says the same.
func (g *giteaForge) Set(ctx context.Context, commit string, s Status) error {
	c, err := g.client(ctx)
	if err != nil {
		return err
	}
	s.Text = cut(s.Text, maxText)
	now, _, err := c.GetCombinedStatus(g.at.owner, g.at.name, commit)
	if err != nil {
		return g.t.explain(err)
	}
	for _, is := range now.Statuses {
		if is.Context == s.Name && string(is.State) == string(s.State) && is.Description == s.Text && is.TargetURL == s.URL {
			return nil
		}
	}
	_, _, err = c.CreateStatus(g.at.owner, g.at.name, commit, gitea.CreateStatusOption{
		State: gitea.StatusState(s.State), TargetURL: s.URL, Description: s.Text, Context: s.Name,
	})
	return g.t.explain(err)
}

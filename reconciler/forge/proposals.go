// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"

	"code.gitea.io/sdk/gitea"
	"github.com/google/go-github/v87/github"
	gitlab "gitlab.com/gitlab-org/api/client-go"
)

// Proposal is a pull request to be made.
type Proposal struct {
	// Head is the branch that is to be merged into Base, both of this repository.
	Head, Base  string
	Title, Body string
}

// Proposals are pull requests of the account that is signed in.
type Proposals interface {
	// Proposed lists the pull requests from a branch of this repository, also those
	// that are merged or closed, as far back as the forge lists them in a few pages.
	Proposed(ctx context.Context, head string) ([]PullRequest, error)
	// Propose makes a pull request.
	Propose(ctx context.Context, p Proposal) (PullRequest, error)
	// Withdraw closes one.
	Withdraw(ctx context.Context, number int64) error
}

// Signer signs in to Git with the account of the forge.
type Signer interface {
	// GitAuth is the data of a Secret in Flux's form that may push to the repository
	// as the account may.
	GitAuth(ctx context.Context) (map[string][]byte, error)
}

// gitAuth is what Git over HTTPS is signed in with. Forges look at the token alone;
// the name must only be there.
func (t *transport) gitAuth(username, token string) map[string][]byte {
	auth := map[string][]byte{"username": []byte(username), "password": []byte(token)}
	if ca := t.auth["ca.crt"]; len(ca) > 0 {
		auth["ca.crt"] = ca
	}
	return auth
}

// GitAuth signs in with the token.
func (g *giteaForge) GitAuth(context.Context) (map[string][]byte, error) {
	return g.t.gitAuth("espalier", g.t.token()), nil
}

// Proposed looks through the pull requests that something happened to last: the
// library cannot ask for a branch.
func (g *giteaForge) Proposed(ctx context.Context, head string) ([]PullRequest, error) {
	c, err := g.client(ctx)
	if err != nil {
		return nil, err
	}
	var found []PullRequest
	for page := 1; page <= maxPages; page++ {
		list, resp, err := c.ListRepoPullRequests(g.at.owner, g.at.name, gitea.ListPullRequestsOptions{
			ListOptions: gitea.ListOptions{Page: page, PageSize: pageSize}, State: gitea.StateAll, Sort: "recentupdate",
		})
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, p := range list {
			if pr := pullRequest(p); pr.Branch == head && !pr.Fork {
				found = append(found, pr)
			}
		}
		if resp.NextPage == 0 || len(found) > 0 {
			break
		}
	}
	return found, nil
}

// Propose makes a pull request.
func (g *giteaForge) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	c, err := g.client(ctx)
	if err != nil {
		return PullRequest{}, err
	}
	made, _, err := c.CreatePullRequest(g.at.owner, g.at.name, gitea.CreatePullRequestOption{Head: p.Head, Base: p.Base, Title: p.Title, Body: p.Body})
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	return pullRequest(made), nil
}

// Withdraw closes a pull request.
func (g *giteaForge) Withdraw(ctx context.Context, number int64) error {
	c, err := g.client(ctx)
	if err != nil {
		return err
	}
	closed := gitea.StateClosed
	_, _, err = c.EditPullRequest(g.at.owner, g.at.name, number, gitea.EditPullRequestOption{State: &closed})
	return g.t.explain(err)
}

// GitAuth signs in with the token, or with one of the App.
func (g *githubForge) GitAuth(ctx context.Context) (map[string][]byte, error) {
	token := g.t.token()
	if g.app != nil {
		var err error
		if token, err = g.app.token(ctx); err != nil {
			return nil, err
		}
	}
	return g.t.gitAuth("x-access-token", token), nil
}

// Proposed asks for the pull requests from a branch.
func (g *githubForge) Proposed(ctx context.Context, head string) ([]PullRequest, error) {
	list, _, err := g.client.PullRequests.List(ctx, g.at.owner, g.at.name, &github.PullRequestListOptions{
		State: "all", Head: g.at.owner + ":" + head, ListOptions: github.ListOptions{PerPage: pageSize},
	})
	if err != nil {
		return nil, g.t.explain(err)
	}
	var found []PullRequest
	for _, p := range list {
		if pr := githubPullRequest(p); pr.Branch == head && !pr.Fork {
			found = append(found, pr)
		}
	}
	return found, nil
}

// Propose makes a pull request.
func (g *githubForge) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	made, _, err := g.client.PullRequests.Create(ctx, g.at.owner, g.at.name, &github.NewPullRequest{Title: &p.Title, Head: &p.Head, Base: &p.Base, Body: &p.Body})
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	return githubPullRequest(made), nil
}

// Withdraw closes a pull request.
func (g *githubForge) Withdraw(ctx context.Context, number int64) error {
	_, _, err := g.client.PullRequests.Edit(ctx, g.at.owner, g.at.name, int(number), &github.PullRequest{State: new("closed")})
	return g.t.explain(err)
}

// GitAuth signs in with the token.
func (g *gitlabForge) GitAuth(context.Context) (map[string][]byte, error) {
	return g.t.gitAuth("oauth2", g.t.token()), nil
}

// Proposed asks for the merge requests from a branch.
func (g *gitlabForge) Proposed(ctx context.Context, head string) ([]PullRequest, error) {
	list, _, err := g.client.MergeRequests.ListProjectMergeRequests(g.project, &gitlab.ListProjectMergeRequestsOptions{
		SourceBranch: &head, ListOptions: gitlab.ListOptions{PerPage: pageSize},
	}, gitlab.WithContext(ctx))
	if err != nil {
		return nil, g.t.explain(err)
	}
	var found []PullRequest
	for _, m := range list {
		if pr := mergeRequest(m); pr.Branch == head && !pr.Fork {
			found = append(found, pr)
		}
	}
	return found, nil
}

// Propose makes a merge request.
func (g *gitlabForge) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	made, _, err := g.client.MergeRequests.CreateMergeRequest(g.project, &gitlab.CreateMergeRequestOptions{
		Title: &p.Title, Description: &p.Body, SourceBranch: &p.Head, TargetBranch: &p.Base,
	}, gitlab.WithContext(ctx))
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	return mergeRequest(&made.BasicMergeRequest), nil
}

// Withdraw closes a merge request.
func (g *gitlabForge) Withdraw(ctx context.Context, number int64) error {
	_, _, err := g.client.MergeRequests.UpdateMergeRequest(g.project, number, &gitlab.UpdateMergeRequestOptions{StateEvent: new("close")}, gitlab.WithContext(ctx))
	return g.t.explain(err)
}

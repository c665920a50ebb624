// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"sync"
	"time"

	gitlab "gitlab.com/gitlab-org/api/client-go"

	"github.com/espalier-dev/espalier/reconciler/plan"
)

// gitlabForge is a project on GitLab. Its pull requests are called merge requests.
type gitlabForge struct {
	project string // group/subgroup/name
	t       *transport
	client  *gitlab.Client

	mu    sync.Mutex
	login string // of the account that is signed in
}

func newGitLab(at place, t *transport) (*Forge, error) {
	client, err := gitlab.NewClient(t.token(), gitlab.WithBaseURL(at.server), gitlab.WithHTTPClient(t.client()), gitlab.WithoutRetries(), gitlab.WithUserAgent("espalier"))
	if err != nil {
		return nil, fmt.Errorf("preparing to ask %s: %w", at.server, err)
	}
	g := &gitlabForge{project: at.owner + "/" + at.name, t: t, client: client}
	return &Forge{PullRequests: g, Merges: g, Comments: g, Remarks: g, Statuses: g, Proposals: g, Signer: g, Lines: g, CloneURL: at.cloneURL(), CommentLimit: plan.LimitGitLab}, nil
}

// Open lists the open merge requests to a branch.
func (g *gitlabForge) Open(ctx context.Context, branch string) ([]PullRequest, error) {
	var open []PullRequest
	options := &gitlab.ListProjectMergeRequestsOptions{
		State: new("opened"), TargetBranch: &branch, OrderBy: new("updated_at"), ListOptions: gitlab.ListOptions{PerPage: largePage},
	}
	for range largePages {
		list, resp, err := g.client.MergeRequests.ListProjectMergeRequests(g.project, options, gitlab.WithContext(ctx))
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, m := range list {
			if pr := mergeRequest(m); pr.Base == branch && pr.Head != "" {
				open = append(open, pr)
			}
		}
		if options.Page = resp.NextPage; options.Page == 0 {
			break
		}
	}
	return open, nil
}

func mergeRequest(m *gitlab.BasicMergeRequest) PullRequest {
	pr := PullRequest{
		Number: m.IID, Base: m.TargetBranch, Branch: m.SourceBranch, Head: m.SHA, URL: m.WebURL,
		Open: m.State == "opened", Fork: m.SourceProjectID != m.TargetProjectID,
	}
	if m.UpdatedAt != nil {
		pr.Updated = *m.UpdatedAt
	}
	if m.State == "merged" && m.MergedAt != nil {
		// Without a merge commit it was the squashed one, or the head itself.
		pr.Merged, pr.MergedAt = cmp.Or(m.MergeCommitSHA, m.SquashCommitSHA, m.SHA), *m.MergedAt
	}
	return pr
}

// Merged lists the merge requests to a branch that were merged.
func (g *gitlabForge) Merged(ctx context.Context, branch string) ([]PullRequest, error) {
	list, _, err := g.client.MergeRequests.ListProjectMergeRequests(g.project, &gitlab.ListProjectMergeRequestsOptions{
		State: new("merged"), TargetBranch: &branch, OrderBy: new("updated_at"), ListOptions: gitlab.ListOptions{PerPage: pageSize},
	}, gitlab.WithContext(ctx))
	if err != nil {
		return nil, g.t.explain(err)
	}
	var merged []PullRequest
	for _, m := range list {
		if pr := mergeRequest(m); pr.Base == branch && pr.Merged != "" {
			merged = append(merged, pr)
		}
	}
	return merged, nil
}

// Contains asks what a commit has that head has not.
func (g *gitlabForge) Contains(ctx context.Context, head, commit string) (bool, error) {
	compared, _, err := g.client.Repositories.Compare(g.project, &gitlab.CompareOptions{From: &head, To: &commit}, gitlab.WithContext(ctx))
	if err = g.t.explain(err); err != nil {
		if Unknown(err) {
			return false, nil
		}
		return false, err
	}
	return len(compared.Commits) == 0, nil
}

// Get reads one merge request.
func (g *gitlabForge) Get(ctx context.Context, number int64) (PullRequest, error) {
	m, _, err := g.client.MergeRequests.GetMergeRequest(g.project, number, nil, gitlab.WithContext(ctx))
	if err != nil {
		return PullRequest{}, g.t.explain(err)
	}
	pr := mergeRequest(&m.BasicMergeRequest)
	if m.DiffRefs.HeadSha == pr.Head { // else GitLab has not looked at the head yet
		pr.MergeBase = m.DiffRefs.BaseSha
	}
	return pr, nil
}

// me is the account that is signed in.
func (g *gitlabForge) me(ctx context.Context) (string, error) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.login != "" {
		return g.login, nil
	}
	user, _, err := g.client.Users.CurrentUser(gitlab.WithContext(ctx))
	if err != nil {
		return "", g.t.explain(err)
	}
	g.login = user.Username
	return g.login, nil
}

// list reads the comments on a merge request, and who is signed in. Those since a
// time are read from the newest on, so that older ones cannot crowd them out: GitLab
// itself knows no since.
func (g *gitlabForge) list(ctx context.Context, number int64, since time.Time) (list []listed, me string, err error) {
	if me, err = g.me(ctx); err != nil {
		return nil, "", err
	}
	options := &gitlab.ListMergeRequestNotesOptions{OrderBy: new("created_at"), Sort: new("asc"), ListOptions: gitlab.ListOptions{PerPage: largePage}}
	if !since.IsZero() {
		options.OrderBy, options.Sort = new("updated_at"), new("desc")
	}
	for range largePages {
		notes, resp, err := g.client.Notes.ListMergeRequestNotes(g.project, number, options, gitlab.WithContext(ctx))
		if err != nil {
			return nil, "", g.t.explain(err)
		}
		list = append(list, notesSince(notes, since)...)
		if options.Page = resp.NextPage; options.Page == 0 || len(notes) > 0 && touchedAt(notes[len(notes)-1]).Before(since) {
			break
		}
	}
	slices.SortStableFunc(list, func(a, b listed) int { return a.at.Compare(b.at) })
	return list, me, nil
}

// notesSince are the comments among notes that were made or edited since a time.
func notesSince(notes []*gitlab.Note, since time.Time) []listed {
	var list []listed
	for _, n := range notes {
		if !n.System && n.CreatedAt != nil && !touchedAt(n).Before(since) {
			list = append(list, listed{Comment{ID: n.ID, Body: n.Body}, n.Author.Username, n.Author.ID, *n.CreatedAt, touchedAt(n)})
		}
	}
	return list
}

// touchedAt is when a note was made or edited last.
func touchedAt(n *gitlab.Note) time.Time {
	if at := cmp.Or(n.UpdatedAt, n.CreatedAt); at != nil {
		return *at
	}
	return time.Time{}
}

// Own lists the comments of the account that is signed in.
func (g *gitlabForge) Own(ctx context.Context, number int64, since time.Time) ([]Comment, error) {
	list, me, err := g.list(ctx, number, since)
	return ownOf(list, me), err
}

// Others lists those of everybody else.
func (g *gitlabForge) Others(ctx context.Context, number int64, after time.Time) ([]Remark, error) {
	list, me, err := g.list(ctx, number, after)
	return othersOf(list, me, after), err
}

// MayWrite asks for somebody's role: developers may write.
func (g *gitlabForge) MayWrite(ctx context.Context, r Remark) (bool, error) {
	member, _, err := g.client.ProjectMembers.GetInheritedProjectMember(g.project, r.author, gitlab.WithContext(ctx))
	if err = g.t.explain(err); err != nil {
		if Unknown(err) {
			return false, nil
		}
		return false, err
	}
	return member.AccessLevel >= gitlab.DeveloperPermissions, nil
}

// Write makes or edits a comment. GitLab does not say its address.
func (g *gitlabForge) Write(ctx context.Context, number, id int64, body string) (Comment, error) {
	var written *gitlab.Note
	var err error
	if id == 0 {
		written, _, err = g.client.Notes.CreateMergeRequestNote(g.project, number, &gitlab.CreateMergeRequestNoteOptions{Body: &body}, gitlab.WithContext(ctx))
	} else {
		written, _, err = g.client.Notes.UpdateMergeRequestNote(g.project, number, id, &gitlab.UpdateMergeRequestNoteOptions{Body: &body}, gitlab.WithContext(ctx))
	}
	if err != nil {
		return Comment{}, g.t.explain(err)
	}
	return Comment{ID: written.ID, Body: written.Body}, nil
}

// gitlabStates are the states in GitLab's words, which knows no error.
var gitlabStates = map[State]gitlab.BuildStateValue{
	Pending: gitlab.Pending, Success: gitlab.Success, Failure: gitlab.Failed, Errored: gitlab.Failed,
}

// Set sets a status, unless the newest of its name says the same. One that is
// pending stays as it is: GitLab refuses to set that anew.
func (g *gitlabForge) Set(ctx context.Context, commit string, s Status) error {
	s.Text = cut(s.Text, maxText)
	state := gitlabStates[s.State]
	list, _, err := g.client.Commits.GetCommitStatuses(g.project, commit, &gitlab.GetCommitStatusesOptions{Name: &s.Name}, gitlab.WithContext(ctx))
	if err != nil {
		return g.t.explain(err)
	}
	for _, is := range list {
		same := is.Description == s.Text && is.TargetURL == s.URL || state == gitlab.Pending
		if is.Name == s.Name && is.Status == string(state) && same {
			return nil
		}
	}
	options := &gitlab.SetCommitStatusOptions{State: state, Name: &s.Name, Description: &s.Text}
	if s.URL != "" {
		options.TargetURL = &s.URL
	}
	_, _, err = g.client.Commits.SetCommitStatus(g.project, commit, options, gitlab.WithContext(ctx))
	return g.t.explain(err)
}

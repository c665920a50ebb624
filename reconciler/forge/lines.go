// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"cmp"
	"context"
	"errors"
	"net/http"
	"strconv"

	"code.gitea.io/sdk/gitea"
	"github.com/google/go-github/v87/github"
	gitlab "gitlab.com/gitlab-org/api/client-go"
)

// Line is one that the diff of a pull request shows.
type Line struct {
	// File is its path in the repository, and OldFile that in the commit where the head
	// left the branch; empty: the same, or there is none.
	File, OldFile string
	// New is its number in the head, from 1, and Old that in the commit where the head
	// left the branch; 0: the pull request adds it.
	New, Old int
}

// LineComment is a comment on a line by the account that is signed in.
type LineComment struct {
	// ID is what the forge knows it by.
	ID   string
	Body string
	// Settled says that the account itself has resolved it. What somebody else
	// resolved is not.
	Settled bool
}

// LineComments are those on the lines of pull requests by the account that is signed
// in. What others answered there is left alone.
type LineComments interface {
	// OnLines lists them, without replies. Where there is more than is read, a thousand
	// comments of all, it is an error: an account that sees some of its own would repeat
	// the others with each push.
	OnLines(ctx context.Context, number int64) ([]LineComment, error)
	// WriteOnLine makes one. OffDiff holds for its error where the forge does not show
	// that line.
	WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error
	// SettleOnLine resolves one, or has a body take the place of its own where the forge
	// resolves nothing.
	SettleOnLine(ctx context.Context, number int64, c LineComment, body string) error
}

// OffDiff says that a forge has answered, and does not take a comment on that line: it
// shows another diff than Git has. GitLab says it with 500 now and then.
func OffDiff(err error) bool {
	var refused *Error
	if !errors.As(err, &refused) {
		return false
	}
	switch refused.Status {
	case http.StatusBadRequest, http.StatusNotFound, http.StatusUnprocessableEntity, http.StatusInternalServerError:
		return true
	}
	return false
}

// Passing says that a forge may take another time what it has refused: it was not well,
// or it has not looked at that commit yet.
func Passing(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && (refused.Status == http.StatusNotFound || refused.Status >= http.StatusInternalServerError)
}

// errUnread says that not all comments were read.
var errUnread = &Error{Reason: ReasonForgeRefused, text: "The pull request has a thousand comments or more, which are not all read: nothing is said on its lines"}

// number reads the id of a comment.
func (c LineComment) number() int64 {
	id, _ := strconv.ParseInt(c.ID, 10, 64) // it was written by onLine; 0 is unknown to every forge
	return id
}

func onLine(id int64, body string, settled bool) LineComment {
	return LineComment{ID: strconv.FormatInt(id, 10), Body: body, Settled: settled}
}

// OnLines goes through the reviews of the account: Gitea lists comments of one review
// only.
func (g *giteaForge) OnLines(ctx context.Context, number int64) ([]LineComment, error) {
	c, err := g.client(ctx)
	if err != nil {
		return nil, err
	}
	me, err := g.me(c)
	if err != nil {
		return nil, err
	}
	var own []LineComment
	for page := 1; page <= maxPages; page++ {
		reviews, resp, err := c.ListPullReviews(g.at.owner, g.at.name, number, gitea.ListPullReviewsOptions{ListOptions: gitea.ListOptions{Page: page, PageSize: pageSize}})
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, r := range reviews {
			if r.Reviewer == nil || r.Reviewer.UserName != me || r.CodeCommentsCount == 0 {
				continue
			}
			comments, _, err := c.ListPullReviewComments(g.at.owner, g.at.name, number, r.ID)
			if err != nil {
				return nil, g.t.explain(err)
			}
			own = append(own, giteaOnLines(comments, me)...)
		}
		if resp.NextPage == 0 {
			return own, nil
		}
	}
	return nil, errUnread
}

// giteaOnLines are those of an account among the comments of a review, which others
// may have answered in it.
func giteaOnLines(comments []*gitea.PullReviewComment, me string) []LineComment {
	var own []LineComment
	for _, c := range comments {
		if c.Reviewer != nil && c.Reviewer.UserName == me {
			own = append(own, onLine(c.ID, c.Body, c.Resolver != nil && c.Resolver.UserName == me))
		}
	}
	return own
}

// WriteOnLine makes a review of one comment.
func (g *giteaForge) WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error {
	c, err := g.client(ctx)
	if err != nil {
		return err
	}
	_, _, err = c.CreatePullReview(g.at.owner, g.at.name, pr.Number, gitea.CreatePullReviewOptions{
		State: gitea.ReviewStateComment, CommitID: pr.Head,
		Comments: []gitea.CreatePullReviewComment{{Path: at.File, Body: body, NewLineNum: int64(at.New)}},
	})
	return g.t.explain(err)
}

// SettleOnLine resolves a comment. Forgejo, and Gitea before 1.26, cannot be asked for
// that: there it is edited.
func (g *giteaForge) SettleOnLine(ctx context.Context, _ int64, c LineComment, body string) error {
	client, err := g.client(ctx)
	if err != nil {
		return err
	}
	_, err = client.ResolvePullReviewComment(g.at.owner, g.at.name, c.number())
	if err = g.t.explain(err); err == nil || !Unknown(err) && !notAllowed(err) {
		return err
	}
	_, _, err = client.EditIssueComment(g.at.owner, g.at.name, c.number(), gitea.EditIssueCommentOption{Body: body})
	return g.t.explain(err)
}

// notAllowed says that a forge knows an address and not what was to be done there.
func notAllowed(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status == http.StatusMethodNotAllowed
}

// OnLines lists the comments of reviews that answer no other.
func (g *githubForge) OnLines(ctx context.Context, number int64) ([]LineComment, error) {
	me, err := g.me(ctx)
	if err != nil {
		return nil, err
	}
	var own []LineComment
	options := &github.PullRequestListCommentsOptions{Sort: "created", Direction: "asc", ListOptions: github.ListOptions{PerPage: largePage}}
	for range largePages {
		comments, resp, err := g.client.PullRequests.ListComments(ctx, g.at.owner, g.at.name, int(number), options)
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, c := range comments {
			if c.GetUser().GetLogin() == me && c.GetInReplyTo() == 0 {
				own = append(own, onLine(c.GetID(), c.GetBody(), false))
			}
		}
		if options.Page = resp.NextPage; options.Page == 0 {
			return own, nil
		}
	}
	return nil, errUnread
}

// WriteOnLine comments on the right side of the diff.
func (g *githubForge) WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error {
	_, _, err := g.client.PullRequests.CreateComment(ctx, g.at.owner, g.at.name, int(pr.Number), &github.PullRequestComment{
		Body: &body, CommitID: &pr.Head, Path: &at.File, Line: &at.New, Side: new("RIGHT"),
	})
	return g.t.explain(err)
}

// SettleOnLine edits a comment: GitHub's REST API resolves nothing.
func (g *githubForge) SettleOnLine(ctx context.Context, _ int64, c LineComment, body string) error {
	_, _, err := g.client.PullRequests.EditComment(ctx, g.at.owner, g.at.name, c.number(), &github.PullRequestComment{Body: &body})
	return g.t.explain(err)
}

// OnLines lists the threads on the diff that the account began.
func (g *gitlabForge) OnLines(ctx context.Context, number int64) ([]LineComment, error) {
	me, err := g.me(ctx)
	if err != nil {
		return nil, err
	}
	var own []LineComment
	options := &gitlab.ListMergeRequestDiscussionsOptions{ListOptions: gitlab.ListOptions{PerPage: largePage}}
	for range largePages {
		threads, resp, err := g.client.Discussions.ListMergeRequestDiscussions(g.project, number, options, gitlab.WithContext(ctx))
		if err != nil {
			return nil, g.t.explain(err)
		}
		for _, d := range threads {
			if len(d.Notes) > 0 && d.Notes[0].Author.Username == me && d.Notes[0].Position != nil {
				first := d.Notes[0]
				own = append(own, LineComment{ID: d.ID, Body: first.Body, Settled: first.Resolved && first.ResolvedBy.Username == me})
			}
		}
		if options.Page = resp.NextPage; options.Page == 0 {
			return own, nil
		}
	}
	return nil, errUnread
}

// WriteOnLine begins a thread. GitLab wants to know three commits, both numbers of a
// line that is not changed, and both names of a file that is renamed.
func (g *gitlabForge) WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error {
	m, _, err := g.client.MergeRequests.GetMergeRequest(g.project, pr.Number, nil, gitlab.WithContext(ctx))
	if err != nil {
		return g.t.explain(err)
	}
	if m.DiffRefs.HeadSha != pr.Head { // the numbers are of another head
		return &Error{Reason: ReasonForgeRefused, Status: http.StatusNotFound, text: "The merge request has gone on, or GitLab has not looked at its head yet"}
	}
	position := &gitlab.PositionOptions{
		PositionType: new("text"), BaseSHA: &m.DiffRefs.BaseSha, StartSHA: &m.DiffRefs.StartSha, HeadSHA: &m.DiffRefs.HeadSha,
		NewPath: &at.File, OldPath: new(cmp.Or(at.OldFile, at.File)), NewLine: new(int64(at.New)),
	}
	if at.Old > 0 {
		position.OldLine = new(int64(at.Old))
	}
	_, _, err = g.client.Discussions.CreateMergeRequestDiscussion(g.project, pr.Number, &gitlab.CreateMergeRequestDiscussionOptions{Body: &body, Position: position}, gitlab.WithContext(ctx))
	return g.t.explain(err)
}

// SettleOnLine resolves a thread.
func (g *gitlabForge) SettleOnLine(ctx context.Context, number int64, c LineComment, _ string) error {
	_, _, err := g.client.Discussions.ResolveMergeRequestDiscussion(g.project, number, c.ID, &gitlab.ResolveMergeRequestDiscussionOptions{Resolved: new(true)}, gitlab.WithContext(ctx))
	return g.t.explain(err)
}

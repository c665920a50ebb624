// SPDX-License-Identifier: Apache-2.0

// Package forge talks to the forge that a repository lives on: it lists pull
// requests, keeps one comment up to date, sets commit statuses, and verifies
// webhooks.
//
// It decides nothing of what is said there. A forge is not trusted: answers are
// bounded in size and time, redirects are not followed, and errors are sentences
// without secrets. Callers see no type of a forge's client library.
package forge

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// PullRequest is a change that somebody asks to be merged.
type PullRequest struct {
	// Number is what people call it by.
	Number int64
	// Base is the branch that it goes to, and Branch the one that it comes from.
	Base, Branch string
	// Head is the hash of its newest commit, and MergeBase of the one where it left
	// the branch; empty where the forge does not know yet.
	Head, MergeBase string
	// URL is its address for people.
	URL string
	// Fork says that its commits come from another repository.
	Fork bool
	// Open says that it is neither merged nor closed.
	Open bool
	// Updated is when something happened to it last, such as a comment.
	Updated time.Time
	// Merged is the commit of the branch that it became, empty where it was not
	// merged, and MergedAt when that was.
	Merged   string
	MergedAt time.Time
}

// PullRequests are those of one repository.
type PullRequests interface {
	// Open lists the open ones to a branch. MergeBase may be missing: Get knows it.
	Open(ctx context.Context, branch string) ([]PullRequest, error)
	// Get reads one.
	Get(ctx context.Context, number int64) (PullRequest, error)
}

// Merges are the pull requests that were merged.
type Merges interface {
	// Merged lists those to a branch, a page of the ones that something happened to last.
	Merged(ctx context.Context, branch string) ([]PullRequest, error)
	// Contains says whether a commit is head or comes before it. Commits that the
	// forge does not know contain nothing.
	Contains(ctx context.Context, head, commit string) (bool, error)
}

// Comment is a comment on a pull request.
type Comment struct {
	ID   int64
	Body string
	// URL is its address for people.
	URL string
}

// Comments are those on pull requests by the account that is signed in: nobody
// else's is read or touched.
type Comments interface {
	// Own lists them, the oldest first: those that were made or edited since a time, or
	// from the first on where it is zero. At most a thousand are read.
	Own(ctx context.Context, number int64, since time.Time) ([]Comment, error)
	// Write makes a new comment where id is 0, and edits that one otherwise.
	Write(ctx context.Context, number, id int64, body string) (Comment, error)
}

// State of a commit status.
type State string

// States. Errored says that nothing could be found out.
const (
	Pending State = "pending"
	Success State = "success"
	Failure State = "failure"
	Errored State = "error"
)

// Status is what is said of a commit under a name.
type Status struct {
	// Name is stable: branch protection goes by it.
	Name  string
	State State
	// Text is one sentence; it is cut to what the forge takes.
	Text string
	// URL leads to more; empty: nowhere.
	URL string
}

// Statuses are those of commits.
type Statuses interface {
	// Set sets a status, unless the commit has just that already.
	Set(ctx context.Context, commit string, s Status) error
}

// Forge is one repository on a forge.
type Forge struct {
	PullRequests
	Merges
	Comments
	Remarks
	Statuses
	Proposals
	Signer
	// Lines are the comments on lines; nil where the forge has none that could be told
	// apart and settled.
	Lines LineComments
	// CloneURL is where Git finds the repository, over HTTPS.
	CloneURL string
	// CommentLimit is the largest comment in bytes.
	CommentLimit int
}

// Settings say where a repository is and how to sign in.
type Settings struct {
	// Provider is the kind of forge.
	Provider v1alpha1.ForgeProvider
	// URL is the repository's address, such as https://gitea.example.com/owner/name.
	URL string
	// Auth is the data of a Secret in Flux's form: token, or username and
	// password; ca.crt.
	Auth map[string][]byte
	// Timeout bounds one request. 0: DefaultTimeout.
	Timeout time.Duration
}

// DefaultTimeout of one request.
const DefaultTimeout = 30 * time.Second

// Connect prepares to talk to a forge. It sends nothing.
func Connect(s Settings) (*Forge, error) {
	at, err := locate(s)
	if err != nil {
		return nil, err
	}
	t, err := newTransport(s, at)
	if err != nil {
		return nil, err
	}
	switch s.Provider {
	case v1alpha1.Gitea:
		return newGitea(at, t), nil
	case v1alpha1.GitHub:
		return newGitHub(at, t)
	case v1alpha1.GitLab:
		return newGitLab(at, t)
	case v1alpha1.AzureDevOps:
		return newAzureDevOps(at, t), nil
	case v1alpha1.Bitbucket:
		return newBitbucket(at, t), nil
	case v1alpha1.BitbucketServer:
		return newBitbucketServer(at, t), nil
	}
	return nil, &Error{Reason: ReasonForgeRefused, text: fmt.Sprintf("review.provider %s is not supported", s.Provider)}
}

// Unknown says that a forge was asked for something that it does not know.
func Unknown(err error) bool {
	var refused *Error
	return errors.As(err, &refused) && refused.Status == http.StatusNotFound
}

// maxText is the longest text of a status that every forge takes, in characters.
const maxText = 140

// cut keeps the beginning of a text.
func cut(text string, limit int) string {
	if runes := []rune(text); len(runes) > limit {
		return string(runes[:limit-1]) + "…"
	}
	return text
}

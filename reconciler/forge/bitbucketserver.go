// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/espalier-dev/espalier/reconciler/plan"
)

// datacenterForge is a repository on a Bitbucket Server, which is Bitbucket Data Center
// since.
type datacenterForge struct {
	at  place
	t   *transport
	api rest
	git string // path of the repository

	mu       sync.Mutex
	login    string            // of the account that is signed in
	branches map[string]string // the branch that a commit was last seen to be the head of
}

func newBitbucketServer(at place, t *transport) *Forge {
	sign := withBearer(t.token())
	if name := t.value("username"); name != "" && t.value("token") == "" {
		sign = basic(name, t.token())
	}
	d := &datacenterForge{
		at: at, t: t, api: rest{t: t, base: at.server + "/rest/api/latest", sign: sign}, branches: map[string]string{},
		git: "/projects/" + url.PathEscape(at.owner) + "/repos/" + url.PathEscape(at.name),
	}
	return &Forge{PullRequests: d, Merges: d, Comments: d, Remarks: d, Statuses: d, Proposals: d, Signer: d, Lines: d, CloneURL: at.cloneURL(), CommentLimit: plan.LimitBitbucketServer - dialectRoom}
}

// datacenterList is a page of a list.
type datacenterList[T any] struct {
	Values []T  `json:"values"`
	Last   bool `json:"isLastPage"`
	Next   int  `json:"nextPageStart"`
}

// walk reads a list as far as see wants to.
func walk[T any](ctx context.Context, api rest, path string, query url.Values, see func([]T) bool) error {
	query.Set("limit", strconv.Itoa(largePage))
	for range largePages {
		var page datacenterList[T]
		if err := api.get(ctx, path, query, &page); err != nil {
			return err
		}
		if !see(page.Values) || page.Last || page.Next == 0 {
			return nil
		}
		query.Set("start", strconv.Itoa(page.Next))
	}
	return nil
}

type datacenterCommit struct {
	ID string `json:"id"`
}

type datacenterRef struct {
	ID         string `json:"id"`
	Head       string `json:"latestCommit"`
	Repository struct {
		ID int64 `json:"id"`
	} `json:"repository"`
}

type datacenterPull struct {
	ID         int64         `json:"id"`
	Version    int           `json:"version"`
	State      string        `json:"state"`
	From       datacenterRef `json:"fromRef"`
	To         datacenterRef `json:"toRef"`
	Closed     int64         `json:"closedDate"` // milliseconds
	Properties struct {
		Merge datacenterCommit `json:"mergeCommit"`
	} `json:"properties"`
}

func (d *datacenterForge) pullPath(number int64) string {
	return d.git + "/pull-requests/" + strconv.FormatInt(number, 10)
}

func (d *datacenterForge) pullRequest(p datacenterPull) PullRequest {
	pr := PullRequest{
		Number: p.ID, Base: strings.TrimPrefix(p.To.ID, heads), Branch: strings.TrimPrefix(p.From.ID, heads), Head: p.From.Head,
		URL: d.at.String() + "/pull-requests/" + strconv.FormatInt(p.ID, 10), Fork: p.From.Repository.ID != p.To.Repository.ID, Open: p.State == "OPEN",
	}
	if p.State == "MERGED" {
		pr.Merged, pr.MergedAt = p.Properties.Merge.ID, time.UnixMilli(p.Closed).UTC()
	}
	return pr
}

// search lists the pull requests in a state to a branch, or from one.
func (d *datacenterForge) search(ctx context.Context, state, branch, direction string) ([]PullRequest, error) {
	var found []PullRequest
	query := url.Values{"state": {state}, "at": {heads + branch}, "direction": {direction}, "order": {"NEWEST"}}
	err := walk(ctx, d.api, d.git+"/pull-requests", query, func(list []datacenterPull) bool {
		for _, p := range list {
			found = append(found, d.pullRequest(p))
		}
		return state == "OPEN"
	})
	return found, err
}

// Open lists the open pull requests to a branch.
func (d *datacenterForge) Open(ctx context.Context, branch string) ([]PullRequest, error) {
	open, err := d.search(ctx, "OPEN", branch, "INCOMING")
	open = openTo(branch, open)
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, pr := range open {
		remember(d.branches, pr.Head, pr.Branch)
	}
	return open, err
}

// Merged lists the pull requests to a branch that were merged.
func (d *datacenterForge) Merged(ctx context.Context, branch string) ([]PullRequest, error) {
	merged, err := d.search(ctx, "MERGED", branch, "INCOMING")
	return mergedTo(branch, merged), err
}

// Get reads one pull request, and where its head left the branch.
func (d *datacenterForge) Get(ctx context.Context, number int64) (PullRequest, error) {
	var p datacenterPull
	if err := d.api.get(ctx, d.pullPath(number), nil, &p); err != nil {
		return PullRequest{}, err
	}
	pr := d.pullRequest(p)
	if !pr.Open {
		return pr, nil
	}
	var base datacenterCommit
	err := d.api.get(ctx, d.pullPath(number)+"/merge-base", nil, &base)
	pr.MergeBase = base.ID
	return pr, err
}

// Contains asks what a commit has that head has not.
func (d *datacenterForge) Contains(ctx context.Context, head, commit string) (bool, error) {
	var list datacenterList[datacenterCommit]
	err := d.api.get(ctx, d.git+"/commits", url.Values{"since": {head}, "until": {commit}, "limit": {"1"}}, &list)
	if Unknown(err) {
		return false, nil
	}
	return err == nil && len(list.Values) == 0, err
}

type datacenterStatus struct {
	Key         string `json:"key"`
	Parent      string `json:"parent"` // what builds that are required go by
	Name        string `json:"name"`
	State       string `json:"state"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Ref         string `json:"ref,omitempty"`
}

// Set sets a status, unless the commit has just that already. Bitbucket takes none
// without an address.
func (d *datacenterForge) Set(ctx context.Context, commit string, s Status) error {
	d.mu.Lock()
	ref := d.branches[commit]
	d.mu.Unlock()
	status := datacenterStatus{Key: s.Name, Parent: s.Name, Name: s.Name, State: bitbucketStates[s.State], Description: cut(s.Text, maxText), URL: s.URL}
	if status.URL == "" {
		status.URL = d.at.String()
	}
	if ref != "" {
		status.Ref = heads + ref
	}
	path := d.git + "/commits/" + url.PathEscape(commit) + "/builds"
	var is datacenterStatus
	err := d.api.get(ctx, path, url.Values{"key": {s.Name}}, &is)
	if err != nil && !Unknown(err) || err == nil && is == status {
		return err
	}
	return d.api.send(ctx, http.MethodPost, path, status, nil)
}

// Proposed lists the pull requests from a branch.
func (d *datacenterForge) Proposed(ctx context.Context, head string) ([]PullRequest, error) {
	found, err := d.search(ctx, "ALL", head, "OUTGOING")
	return proposedFrom(head, found), err
}

// Propose makes a pull request.
func (d *datacenterForge) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	ref := func(branch string) map[string]any {
		return map[string]any{"id": heads + branch, "repository": map[string]any{"slug": d.at.name, "project": map[string]string{"key": d.at.owner}}}
	}
	body := map[string]any{"title": p.Title, "description": toPlain(p.Body), "fromRef": ref(p.Head), "toRef": ref(p.Base)}
	var made datacenterPull
	err := d.api.send(ctx, http.MethodPost, d.git+"/pull-requests", body, &made)
	return d.pullRequest(made), err
}

// Withdraw closes a pull request as it was read.
func (d *datacenterForge) Withdraw(ctx context.Context, number int64) error {
	var p datacenterPull
	if err := d.api.get(ctx, d.pullPath(number), nil, &p); err != nil {
		return err
	}
	return d.api.send(ctx, http.MethodPost, d.pullPath(number)+"/decline?version="+strconv.Itoa(p.Version), map[string]int{"version": p.Version}, nil)
}

// GitAuth signs in with the token, or as whoever the Secret names.
func (d *datacenterForge) GitAuth(context.Context) (map[string][]byte, error) {
	name := d.t.value("username")
	if name == "" {
		name = "x-token-auth"
	}
	return d.t.gitAuth(name, d.t.token()), nil
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/espalier-dev/espalier/reconciler/plan"
)

// bitbucketForge is a repository on Bitbucket Cloud.
type bitbucketForge struct {
	at  place
	t   *transport
	api rest
	git string // path of the repository

	mu       sync.Mutex
	login    string            // uuid of the account that is signed in
	whole    map[string]string // hashes by their beginning, which is all that a pull request says
	branches map[string]string // the branch that a commit was last seen to be the head of
}

// bitbucketPage is the largest page of pull requests.
const bitbucketPage = 50

func newBitbucket(at place, t *transport) *Forge {
	base := at.server + "/2.0"
	if at.server == "https://bitbucket.org" {
		base = "https://api.bitbucket.org/2.0"
	}
	sign := withBearer(t.token())
	if name, password := named(t); name != "" {
		sign = basic(name, password)
	}
	b := &bitbucketForge{
		at: at, t: t, api: rest{t: t, base: base, sign: sign}, whole: map[string]string{}, branches: map[string]string{},
		git: "/repositories/" + url.PathEscape(at.owner) + "/" + url.PathEscape(at.name),
	}
	return &Forge{PullRequests: b, Merges: b, Comments: b, Remarks: b, Statuses: b, Proposals: b, Signer: b, Lines: b, CloneURL: at.cloneURL(), CommentLimit: plan.LimitBitbucket - dialectRoom}
}

// named is the account and password of a Secret for Git, or of one as Flux's
// notifications have it, NAME:PASSWORD in the token; "" with an access token, which is
// nobody's.
func named(t *transport) (name, password string) {
	if token := t.value("token"); token != "" {
		if name, password, ok := strings.Cut(token, ":"); ok {
			return name, password
		}
		return "", ""
	}
	return t.value("username"), t.token()
}

// bitbucketList is a page of a list.
type bitbucketList[T any] struct {
	Values []T    `json:"values"`
	Next   string `json:"next"`
}

// pages reads a list as far as see wants to.
func pages[T any](ctx context.Context, api rest, path string, query url.Values, see func([]T) bool) error {
	for range largePages {
		var page bitbucketList[T]
		if err := api.get(ctx, path, query, &page); err != nil {
			return err
		}
		if !see(page.Values) || page.Next == "" {
			return nil
		}
		path, query = page.Next, nil
	}
	return nil
}

type bitbucketRef struct {
	Name string `json:"name"`
}

type bitbucketHash struct {
	Hash string `json:"hash"`
}

type bitbucketSide struct {
	Branch     bitbucketRef   `json:"branch"`
	Commit     *bitbucketHash `json:"commit,omitempty"`
	Repository *struct {
		FullName string `json:"full_name"`
	} `json:"repository,omitempty"`
}

// repository of a side; "" where it is not there any more.
func (s bitbucketSide) repository() string {
	if s.Repository == nil {
		return ""
	}
	return s.Repository.FullName
}

type bitbucketPull struct {
	ID          int64          `json:"id"`
	State       string         `json:"state"`
	Source      bitbucketSide  `json:"source"`
	Destination bitbucketSide  `json:"destination"`
	Merge       *bitbucketHash `json:"merge_commit"`
	Updated     time.Time      `json:"updated_on"`
	Links       struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
}

// pullRequest makes one of Bitbucket's, whose hashes are short.
func (b *bitbucketForge) pullRequest(ctx context.Context, p bitbucketPull) (PullRequest, error) {
	pr := PullRequest{ // whether a comment moves updated_on is not said, so Updated is left open
		Number: p.ID, Base: p.Destination.Branch.Name, Branch: p.Source.Branch.Name, URL: p.Links.HTML.Href,
		Fork: p.Source.repository() == "" || p.Source.repository() != p.Destination.repository(), Open: p.State == "OPEN",
	}
	var err error
	if p.Source.Commit != nil && p.Source.Repository != nil {
		if pr.Head, err = b.resolve(ctx, p.Source.repository(), p.Source.Commit.Hash); err != nil {
			return PullRequest{}, err
		}
	}
	if p.State == "MERGED" && p.Merge != nil {
		pr.Merged, err = b.resolve(ctx, p.Destination.repository(), p.Merge.Hash)
		pr.MergedAt = p.Updated // when it was merged, it does not say
	}
	return pr, err
}

const hashLength = 40

// resolve makes a whole hash of a short one, "" where the commit is not known.
func (b *bitbucketForge) resolve(ctx context.Context, repository, short string) (string, error) {
	if len(short) >= hashLength || short == "" {
		return short, nil
	}
	b.mu.Lock()
	known := b.whole[repository+" "+short]
	b.mu.Unlock()
	if known != "" {
		return known, nil
	}
	owner, name, _ := strings.Cut(repository, "/")
	var commit bitbucketHash
	err := b.api.get(ctx, "/repositories/"+url.PathEscape(owner)+"/"+url.PathEscape(name)+"/commit/"+url.PathEscape(short), nil, &commit)
	if Unknown(err) {
		return "", nil
	}
	if err == nil && strings.HasPrefix(commit.Hash, short) {
		b.mu.Lock()
		remember(b.whole, repository+" "+short, commit.Hash)
		b.mu.Unlock()
	}
	return commit.Hash, err
}

// search lists pull requests that a filter of Bitbucket's holds for.
func (b *bitbucketForge) search(ctx context.Context, filter string, states ...string) ([]PullRequest, error) {
	var found []PullRequest
	var failed error
	// States are said twice: whether a filter leaves the parameter in force is not said.
	of := make([]string, len(states))
	for i, s := range states {
		of[i] = "state=" + quoted(s)
	}
	filter += " AND (" + strings.Join(of, " OR ") + ")"
	query := url.Values{"state": states, "q": {filter}, "sort": {"-updated_on"}, "pagelen": {strconv.Itoa(bitbucketPage)}}
	err := pages(ctx, b.api, b.git+"/pullrequests", query, func(list []bitbucketPull) bool {
		for _, p := range list {
			pr, err := b.pullRequest(ctx, p)
			if err != nil {
				failed = err
				return false
			}
			found = append(found, pr)
		}
		return !slices.Contains(states, "MERGED") // of the others all are wanted
	})
	if err == nil {
		err = failed
	}
	return found, err
}

// quoted is a string of Bitbucket's filters.
func quoted(s string) string { return strconv.Quote(s) }

// Open lists the open pull requests to a branch.
func (b *bitbucketForge) Open(ctx context.Context, branch string) ([]PullRequest, error) {
	open, err := b.search(ctx, "destination.branch.name="+quoted(branch), "OPEN")
	open = openTo(branch, open)
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, pr := range open {
		remember(b.branches, pr.Head, pr.Branch)
	}
	return open, err
}

// Merged lists the pull requests to a branch that were merged.
func (b *bitbucketForge) Merged(ctx context.Context, branch string) ([]PullRequest, error) {
	merged, err := b.search(ctx, "destination.branch.name="+quoted(branch), "MERGED")
	return mergedTo(branch, merged), err
}

// Get reads one pull request, and where its head left the branch.
func (b *bitbucketForge) Get(ctx context.Context, number int64) (PullRequest, error) {
	var p bitbucketPull
	if err := b.api.get(ctx, b.git+"/pullrequests/"+strconv.FormatInt(number, 10), nil, &p); err != nil {
		return PullRequest{}, err
	}
	pr, err := b.pullRequest(ctx, p)
	if err != nil || !pr.Open || pr.Head == "" {
		return pr, err
	}
	var branch struct {
		Target bitbucketHash `json:"target"`
	}
	if err := b.api.get(ctx, b.git+"/refs/branches/"+url.PathEscape(pr.Base), nil, &branch); err != nil {
		return PullRequest{}, err
	}
	pr.MergeBase, err = b.mergeBase(ctx, pr.Head, branch.Target.Hash)
	return pr, err
}

// mergeBase is the commit that two others have in common; "" where there is none, or
// one of them is not known, as those of forks are not.
func (b *bitbucketForge) mergeBase(ctx context.Context, one, other string) (string, error) {
	var base bitbucketHash
	err := b.api.get(ctx, b.git+"/merge-base/"+url.PathEscape(one)+".."+url.PathEscape(other), nil, &base)
	if Unknown(err) {
		return "", nil
	}
	return base.Hash, err
}

// Contains says whether a commit is head or comes before it.
func (b *bitbucketForge) Contains(ctx context.Context, head, commit string) (bool, error) {
	if head == commit {
		return true, nil
	}
	base, err := b.mergeBase(ctx, head, commit)
	return base == commit && base != "", err
}

// bitbucketStates are the states in Bitbucket's words, which knows no error.
var bitbucketStates = map[State]string{Pending: "INPROGRESS", Success: "SUCCESSFUL", Failure: "FAILED", Errored: "FAILED"}

type bitbucketStatus struct {
	Key         string `json:"key"`
	Name        string `json:"name"`
	State       string `json:"state"`
	Description string `json:"description"`
	URL         string `json:"url"`
	Ref         string `json:"refname,omitempty"`
}

// Set sets a status, unless the commit has just that already. Bitbucket takes none
// without an address.
func (b *bitbucketForge) Set(ctx context.Context, commit string, s Status) error {
	b.mu.Lock()
	ref := b.branches[commit]
	b.mu.Unlock()
	status := bitbucketStatus{Key: statusKey(s.Name), Name: s.Name, State: bitbucketStates[s.State], Description: cut(s.Text, maxText), URL: s.URL, Ref: ref}
	if status.URL == "" {
		status.URL = b.at.String()
	}
	path := b.git + "/commit/" + url.PathEscape(commit) + "/statuses"
	same := false
	err := pages(ctx, b.api, path, url.Values{"pagelen": {strconv.Itoa(largePage)}}, func(list []bitbucketStatus) bool {
		same = same || slices.Contains(list, status)
		return !same
	})
	if err != nil || same {
		return err
	}
	return b.api.send(ctx, http.MethodPost, path+"/build", status, nil)
}

// maxKey is the longest key of a status, in characters.
const maxKey = 40

// statusKey is the key of a status: its name, the end of it where it is longer, which
// is what tells it from others.
func statusKey(name string) string {
	if runes := []rune(name); len(runes) > maxKey {
		return string(runes[len(runes)-maxKey:])
	}
	return name
}

// Proposed lists the pull requests from a branch.
func (b *bitbucketForge) Proposed(ctx context.Context, head string) ([]PullRequest, error) {
	found, err := b.search(ctx, "source.branch.name="+quoted(head), "OPEN", "MERGED", "DECLINED", "SUPERSEDED")
	return proposedFrom(head, found), err
}

// Propose makes a pull request.
func (b *bitbucketForge) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	body := map[string]any{
		"title": p.Title, "description": toPlain(p.Body),
		"source": bitbucketSide{Branch: bitbucketRef{p.Head}}, "destination": bitbucketSide{Branch: bitbucketRef{p.Base}},
	}
	var made bitbucketPull
	if err := b.api.send(ctx, http.MethodPost, b.git+"/pullrequests", body, &made); err != nil {
		return PullRequest{}, err
	}
	return b.pullRequest(ctx, made)
}

// Withdraw closes a pull request.
func (b *bitbucketForge) Withdraw(ctx context.Context, number int64) error {
	return b.api.send(ctx, http.MethodPost, b.git+"/pullrequests/"+strconv.FormatInt(number, 10)+"/decline", nil, nil)
}

// GitAuth signs in with the token, under the name that Bitbucket gives each kind of.
func (b *bitbucketForge) GitAuth(context.Context) (map[string][]byte, error) {
	if name, password := named(b.t); name != "" {
		return b.t.gitAuth("x-bitbucket-api-token-auth", password), nil
	}
	return b.t.gitAuth("x-token-auth", b.t.token()), nil
}

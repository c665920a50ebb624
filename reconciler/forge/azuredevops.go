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

// azureAPI is the version of the API that is asked for: that of Azure DevOps Server
// 2020, which every newer one and the service speak too.
const azureAPI = "6.0"

// azureForge is a Git repository of Azure DevOps, or of an Azure DevOps Server.
type azureForge struct {
	at  place
	t   *transport
	api rest   // of the organisation, or collection
	git string // path of the repository there

	mu    sync.Mutex
	login string           // id of the account that is signed in
	heads map[string]int64 // the pull request that a commit was last seen to be the head of
}

func newAzureDevOps(at place, t *transport) *Forge {
	sign := basic("", t.token())
	if t.value("token") == "" && t.value("password") == "" {
		sign = withBearer(t.value("bearerToken")) // of Microsoft Entra
	}
	a := &azureForge{
		at: at, t: t, api: rest{t: t, base: at.server, sign: sign}, heads: map[string]int64{},
		git: "/" + url.PathEscape(at.owner) + "/_apis/git/repositories/" + url.PathEscape(at.name),
	}
	return &Forge{PullRequests: a, Merges: a, Comments: a, Remarks: a, Statuses: a, Proposals: a, Signer: a, Lines: a, CloneURL: at.cloneURL(), CommentLimit: plan.LimitAzureDevOps}
}

// azureList is how Azure DevOps gives lists.
type azureList[T any] struct {
	Value []T `json:"value"`
}

type azureCommit struct {
	ID string `json:"commitId"`
}

type azurePull struct {
	ID         int64       `json:"pullRequestId"`
	Status     string      `json:"status"`
	Source     string      `json:"sourceRefName"`
	Target     string      `json:"targetRefName"`
	Head       azureCommit `json:"lastMergeSourceCommit"`
	TargetHead azureCommit `json:"lastMergeTargetCommit"`
	Merge      azureCommit `json:"lastMergeCommit"`
	Closed     time.Time   `json:"closedDate"`
	Fork       *struct{}   `json:"forkSource"`
}

const heads = "refs/heads/"

// v adds the version of the API to a query.
func (a *azureForge) v(pairs ...string) url.Values {
	q := url.Values{"api-version": {azureAPI}}
	for i := 0; i+1 < len(pairs); i += 2 {
		q.Set(pairs[i], pairs[i+1])
	}
	return q
}

// send sends a body, with the version of the API.
func (a *azureForge) send(ctx context.Context, method, path string, body, out any) error {
	return a.api.send(ctx, method, path+"?"+a.v().Encode(), body, out)
}

func (a *azureForge) pullRequest(p azurePull) PullRequest {
	pr := PullRequest{
		Number: p.ID, Base: strings.TrimPrefix(p.Target, heads), Branch: strings.TrimPrefix(p.Source, heads), Head: p.Head.ID,
		URL: a.at.String() + "/pullrequest/" + strconv.FormatInt(p.ID, 10), Fork: p.Fork != nil, Open: p.Status == "active",
	}
	if p.Status == "completed" && p.Merge.ID != "" {
		pr.Merged, pr.MergedAt = p.Merge.ID, p.Closed
	}
	return pr
}

// search lists pull requests by criteria, some pages of them.
func (a *azureForge) search(ctx context.Context, pages int, criteria ...string) ([]PullRequest, error) {
	var found []PullRequest
	for page := range pages {
		query := a.v(criteria...)
		query.Set("$top", strconv.Itoa(largePage))
		query.Set("$skip", strconv.Itoa(page*largePage))
		var list azureList[azurePull]
		if err := a.api.get(ctx, a.git+"/pullrequests", query, &list); err != nil {
			return nil, err
		}
		for _, p := range list.Value {
			found = append(found, a.pullRequest(p))
		}
		if len(list.Value) < largePage {
			break
		}
	}
	return found, nil
}

// Open lists the open pull requests to a branch.
func (a *azureForge) Open(ctx context.Context, branch string) ([]PullRequest, error) {
	open, err := a.search(ctx, largePages, "searchCriteria.status", "active", "searchCriteria.targetRefName", heads+branch)
	open = openTo(branch, open)
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, pr := range open {
		remember(a.heads, pr.Head, pr.Number)
	}
	return open, err
}

// Merged lists the pull requests to a branch that were merged. Azure DevOps lists
// those that were made last, and not those that were merged last.
func (a *azureForge) Merged(ctx context.Context, branch string) ([]PullRequest, error) {
	merged, err := a.search(ctx, 2, "searchCriteria.status", "completed", "searchCriteria.targetRefName", heads+branch)
	return mergedTo(branch, merged), err
}

// Get reads one pull request, and where its head left the branch as it was when Azure
// DevOps last tried to merge them.
func (a *azureForge) Get(ctx context.Context, number int64) (PullRequest, error) {
	var p azurePull
	if err := a.api.get(ctx, a.git+"/pullrequests/"+strconv.FormatInt(number, 10), a.v(), &p); err != nil {
		return PullRequest{}, err
	}
	pr := a.pullRequest(p)
	if !pr.Open || pr.Head == "" || p.TargetHead.ID == "" {
		return pr, nil
	}
	a.mu.Lock()
	remember(a.heads, pr.Head, pr.Number)
	a.mu.Unlock()
	bases, err := a.mergeBases(ctx, pr.Head, p.TargetHead.ID)
	if len(bases) > 0 {
		pr.MergeBase = bases[0].ID
	}
	return pr, err
}

// mergeBases are the commits that two others have in common, the newest; none where one
// of them is not known. Branches that were merged into each other have several.
func (a *azureForge) mergeBases(ctx context.Context, one, other string) ([]azureCommit, error) {
	var list azureList[azureCommit]
	err := a.api.get(ctx, a.git+"/commits/"+url.PathEscape(one)+"/mergebases", a.v("otherCommitId", other), &list)
	if Unknown(err) {
		return nil, nil
	}
	return list.Value, err
}

// Contains says whether a commit is head or comes before it.
func (a *azureForge) Contains(ctx context.Context, head, commit string) (bool, error) {
	if head == commit {
		return true, nil
	}
	bases, err := a.mergeBases(ctx, commit, head)
	return slices.Contains(bases, azureCommit{commit}), err
}

// me is the id of the account that is signed in.
func (a *azureForge) me(ctx context.Context) (string, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.login != "" {
		return a.login, nil
	}
	var connection struct {
		User struct {
			ID string `json:"id"`
		} `json:"authenticatedUser"`
	}
	// It is a preview in every version of the API.
	err := a.api.get(ctx, "/_apis/connectionData", url.Values{"api-version": {azureAPI + "-preview"}, "connectOptions": {"none"}}, &connection)
	a.login = connection.User.ID
	return a.login, err
}

// azureStates are the states in Azure DevOps' words.
var azureStates = map[State]string{Pending: "pending", Success: "succeeded", Failure: "failed", Errored: "error"}

type azureStatus struct {
	State       string       `json:"state"`
	Description string       `json:"description"`
	TargetURL   string       `json:"targetUrl,omitempty"`
	Context     azureContext `json:"context"`
	Iteration   int          `json:"iterationId,omitempty"`
}

type azureContext struct {
	Genre string `json:"genre"`
	Name  string `json:"name"`
}

// Set sets the status of a commit, and of the iteration of the pull request whose
// head it is: branch policies go by that, and not by the commit.
func (a *azureForge) Set(ctx context.Context, commit string, s Status) error {
	genre, name := "", s.Name
	if i := strings.LastIndex(s.Name, "/"); i >= 0 {
		genre, name = s.Name[:i], s.Name[i+1:]
	}
	status := azureStatus{State: azureStates[s.State], Description: cut(s.Text, maxText), TargetURL: s.URL, Context: azureContext{genre, name}}
	if err := a.setOnce(ctx, a.git+"/commits/"+url.PathEscape(commit)+"/statuses", status); err != nil {
		return err
	}
	a.mu.Lock()
	number, ok := a.heads[commit]
	a.mu.Unlock()
	if !ok {
		return nil
	}
	pull := a.git + "/pullrequests/" + strconv.FormatInt(number, 10)
	var err error
	if status.Iteration, err = a.iteration(ctx, pull, commit); err != nil || status.Iteration == 0 {
		return err
	}
	return a.setOnce(ctx, pull+"/statuses", status)
}

// setOnce sets a status, unless the newest of its name says the same.
func (a *azureForge) setOnce(ctx context.Context, path string, s azureStatus) error {
	var list azureList[struct {
		azureStatus
		ID int64 `json:"id"`
	}]
	if err := a.api.get(ctx, path, a.v(), &list); err != nil {
		return err
	}
	newest, found := int64(-1), azureStatus{}
	for _, is := range list.Value {
		if is.Context == s.Context && is.Iteration == s.Iteration && is.ID > newest {
			newest, found = is.ID, is.azureStatus
		}
	}
	if found == s {
		return nil
	}
	return a.send(ctx, http.MethodPost, path, s, nil)
}

// iteration is which push to a pull request has brought a commit as its head, 0 where
// none has.
func (a *azureForge) iteration(ctx context.Context, pull, commit string) (int, error) {
	var list azureList[struct {
		ID   int         `json:"id"`
		Head azureCommit `json:"sourceRefCommit"`
	}]
	if err := a.api.get(ctx, pull+"/iterations", a.v(), &list); err != nil {
		return 0, err
	}
	last := 0
	for _, i := range list.Value {
		if i.Head.ID == commit {
			last = max(last, i.ID)
		}
	}
	return last, nil
}

// maxDescription is the longest text of a pull request on Azure DevOps, in characters.
const maxDescription = 4000

// Proposed lists the pull requests from a branch.
func (a *azureForge) Proposed(ctx context.Context, head string) ([]PullRequest, error) {
	found, err := a.search(ctx, 1, "searchCriteria.status", "all", "searchCriteria.sourceRefName", heads+head)
	return proposedFrom(head, found), err
}

// Propose makes a pull request.
func (a *azureForge) Propose(ctx context.Context, p Proposal) (PullRequest, error) {
	var made azurePull
	body := map[string]string{"sourceRefName": heads + p.Head, "targetRefName": heads + p.Base, "title": p.Title, "description": cut(p.Body, maxDescription)}
	err := a.send(ctx, http.MethodPost, a.git+"/pullrequests", body, &made)
	return a.pullRequest(made), err
}

// Withdraw closes a pull request.
func (a *azureForge) Withdraw(ctx context.Context, number int64) error {
	return a.send(ctx, http.MethodPatch, a.git+"/pullrequests/"+strconv.FormatInt(number, 10), map[string]string{"status": "abandoned"}, nil)
}

// GitAuth signs in with the token.
func (a *azureForge) GitAuth(context.Context) (map[string][]byte, error) {
	if a.t.value("token") == "" && a.t.value("password") == "" {
		return map[string][]byte{"bearerToken": []byte(a.t.value("bearerToken")), "ca.crt": a.t.auth["ca.crt"]}, nil
	}
	return a.t.gitAuth("espalier", a.t.token()), nil
}

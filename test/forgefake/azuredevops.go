// SPDX-License-Identifier: Apache-2.0

package forgefake

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// AzureDevOps plays an organisation of Azure DevOps at the root of a server, whose
// project is Owner and whose repository is Name.
func (r *Repo) AzureDevOps() http.Handler {
	const git = "/" + Owner + "/_apis/git/repositories/" + Name
	mux := http.NewServeMux()
	handle := func(pattern string, f func(w http.ResponseWriter, req *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			if _, password, _ := req.BasicAuth(); password != Token {
				// This is how a token that is wrong is answered: with a page to sign in.
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusNonAuthoritativeInfo)
				_, _ = w.Write([]byte("<html>Azure DevOps Services | Sign In</html>"))
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			f(w, req)
		})
	}
	handle("GET "+git, func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, object{"id": "r-1", "name": Name, "project": object{"id": "p-1", "name": Owner}})
	})
	handle("GET "+git+"/pullrequests", r.azurePulls)
	handle("POST "+git+"/pullrequests", r.azurePropose)
	handle(git+"/pullrequests/{number}", r.azurePull)
	handle(git+"/pullRequests/{number}/threads", r.azureThreads)
	handle("PATCH "+git+"/pullRequests/{number}/threads/{thread}", r.azureResolve)
	handle("PATCH "+git+"/pullRequests/{number}/threads/{thread}/comments/{comment}", r.azureEdit)
	handle("GET "+git+"/pullrequests/{number}/iterations", func(w http.ResponseWriter, req *http.Request) {
		p := r.pull(number(req))
		answer(w, 200, list([]object{{"id": 1, "sourceRefCommit": object{"commitId": "older"}}, {"id": 2, "sourceRefCommit": object{"commitId": p.Head}}}))
	})
	handle(git+"/pullrequests/{number}/statuses", func(w http.ResponseWriter, req *http.Request) {
		r.azureStatuses(w, req, "pull "+req.PathValue("number"))
	})
	handle(git+"/commits/{commit}/statuses", func(w http.ResponseWriter, req *http.Request) { r.azureStatuses(w, req, req.PathValue("commit")) })
	handle("GET "+git+"/commits/{commit}/mergebases", func(w http.ResponseWriter, req *http.Request) {
		base := r.base(req.PathValue("commit"), req.URL.Query().Get("otherCommitId"))
		if base == "" {
			answer(w, 404, object{"message": "TF401175: The version descriptor could not be resolved"})
			return
		}
		answer(w, 200, list([]object{{"commitId": base}}))
	})
	handle("GET /_apis/connectionData", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, object{"authenticatedUser": object{"id": r.Me, "providerDisplayName": "The bot"}})
	})
	handle("GET /_apis/identities", func(w http.ResponseWriter, req *http.Request) {
		id := req.URL.Query().Get("identityIds")
		answer(w, 200, list([]object{{"id": id, "descriptor": "Microsoft.IdentityModel.Claims.ClaimsIdentity;t\\" + id}}))
	})
	handle("GET /_apis/accesscontrollists/{namespace}", r.azureRights)
	return checked{repo: r, all: operations("azuredevops"), next: mux}
}

func number(req *http.Request) int64 {
	n, _ := strconv.ParseInt(req.PathValue("number"), 10, 64)
	return n
}

func list(values []object) object { return object{"count": len(values), "value": values} }

var azureStates = map[string]string{Open: "active", Merged: "completed", Declined: "abandoned"}

func azurePullObject(p *Pull) object {
	o := object{
		"pullRequestId": p.Number, "status": azureStates[p.State], "sourceRefName": "refs/heads/" + p.Branch, "targetRefName": "refs/heads/" + p.Base,
		"title": p.Title, "description": p.Body, "lastMergeSourceCommit": object{"commitId": p.Head}, "lastMergeTargetCommit": object{"commitId": p.MergeBase},
		"mergeStatus": "succeeded", "creationDate": p.At.Format("2006-01-02T15:04:05.0000000Z"),
	}
	if p.State == Merged {
		o["lastMergeCommit"], o["closedDate"] = object{"commitId": p.Result}, p.At.Format("2006-01-02T15:04:05.0000000Z")
	}
	if p.Fork {
		o["forkSource"] = object{"name": "refs/heads/" + p.Branch, "repository": object{"id": "r-2"}}
	}
	return o
}

func (r *Repo) azurePulls(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	matches := func(p *Pull) bool {
		status, target, source := q.Get("searchCriteria.status"), q.Get("searchCriteria.targetRefName"), q.Get("searchCriteria.sourceRefName")
		return (status == "all" || status == azureStates[p.State]) && (target == "" || target == "refs/heads/"+p.Base) && (source == "" || source == "refs/heads/"+p.Branch)
	}
	var found []object
	for _, p := range r.pulls {
		if matches(p) {
			found = append(found, azurePullObject(p))
		}
	}
	skip, _ := strconv.Atoi(q.Get("$skip"))
	top, _ := strconv.Atoi(q.Get("$top"))
	some, _ := page(found, skip, top)
	answer(w, 200, list(some))
}

func (r *Repo) azurePropose(w http.ResponseWriter, req *http.Request) {
	body := read[struct{ SourceRefName, TargetRefName, Title, Description string }](r, req)
	p := &Pull{
		Number: int64(len(r.pulls) + 1), State: Open, Title: body.Title, Body: body.Description, At: r.now, Head: "proposed",
		Branch: strings.TrimPrefix(body.SourceRefName, "refs/heads/"), Base: strings.TrimPrefix(body.TargetRefName, "refs/heads/"),
	}
	r.pulls = append(r.pulls, p)
	answer(w, 201, azurePullObject(p))
}

func (r *Repo) azurePull(w http.ResponseWriter, req *http.Request) {
	p := r.pull(number(req))
	if p == nil {
		answer(w, 404, object{"message": "TF401180: The requested pull request was not found."})
		return
	}
	if req.Method == http.MethodPatch && read[struct{ Status string }](r, req).Status == "abandoned" {
		p.State = Declined
	}
	answer(w, 200, azurePullObject(p))
}

func azureCommentObject(c *Comment) object {
	id := int64(1)
	if c.Thread != c.ID {
		id = c.ID - c.Thread + 1
	}
	return object{
		"id": id, "content": c.Text, "commentType": "text", "author": object{"id": c.Author, "displayName": c.Author},
		"publishedDate": c.Made.Format("2006-01-02T15:04:05.00Z"), "lastContentUpdatedDate": c.Edited.Format("2006-01-02T15:04:05.00Z"), "lastUpdatedDate": c.Edited.Format("2006-01-02T15:04:05.00Z"),
	}
}

func (r *Repo) azureThreads(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodPost {
		r.azureSay(w, req)
		return
	}
	threads := []object{{"id": 1, "comments": []object{{"id": 1, "content": "bot voted 10", "commentType": "system", "author": object{"id": r.Me}, "publishedDate": "2026-11-23T14:00:00.1Z"}}}}
	var ids []int64
	for _, c := range r.comments {
		if c.Pull == number(req) && !slices.Contains(ids, c.Thread) {
			ids = append(ids, c.Thread)
			threads = append(threads, r.azureThread(c.Thread))
		}
	}
	answer(w, 200, list(threads))
}

func (r *Repo) azureThread(id int64) object {
	thread := object{"id": id}
	var comments []object
	for _, c := range r.comments {
		if c.Thread == id {
			comments = append(comments, azureCommentObject(c))
		}
		if c.ID == id && c.OnLine {
			place := object{"line": c.Place.Line, "offset": 1}
			thread["threadContext"] = object{"filePath": "/" + c.Place.File, "rightFileStart": place, "rightFileEnd": place}
		}
	}
	thread["comments"] = comments
	return thread
}

func (r *Repo) azureSay(w http.ResponseWriter, req *http.Request) {
	body := read[struct {
		Status        string
		Comments      []struct{ Content string }
		ThreadContext struct {
			FilePath                     string
			RightFileStart, RightFileEnd struct{ Line, Offset int }
		}
	}](r, req)
	at := body.ThreadContext
	if at.FilePath != "" && (at.FilePath[0] != '/' || at.RightFileStart.Line < 1 || at.RightFileEnd.Line != at.RightFileStart.Line || at.RightFileStart.Offset < 1) {
		answer(w, 400, object{"message": "the thread context is not valid"})
		return
	}
	c := r.say(Comment{
		Pull: number(req), Author: r.Me, Text: body.Comments[0].Content, OnLine: at.FilePath != "",
		Place: Place{File: strings.TrimPrefix(at.FilePath, "/"), Line: at.RightFileStart.Line},
	})
	answer(w, 200, object{"id": c.Thread, "status": body.Status, "comments": []object{azureCommentObject(c)}})
}

func (r *Repo) azureEdit(w http.ResponseWriter, req *http.Request) {
	thread, _ := strconv.ParseInt(req.PathValue("thread"), 10, 64)
	nth, _ := strconv.ParseInt(req.PathValue("comment"), 10, 64)
	c := r.comment(thread + nth - 1)
	if c == nil || c.Thread != thread || c.Author != r.Me {
		answer(w, 403, object{"message": "TF401027: You need the Git 'PullRequestContribute' permission"})
		return
	}
	c.Text, c.Edited = read[struct{ Content string }](r, req).Content, r.now
	answer(w, 200, azureCommentObject(c))
}

func (r *Repo) azureResolve(w http.ResponseWriter, req *http.Request) {
	id, _ := strconv.ParseInt(req.PathValue("thread"), 10, 64)
	c := r.comment(id)
	if c == nil {
		answer(w, 404, object{"message": "the thread is not there"})
		return
	}
	c.Resolved = read[struct{ Status string }](r, req).Status == "fixed"
	answer(w, 200, object{"id": c.Thread, "comments": []object{azureCommentObject(c)}})
}

func (r *Repo) azureStatuses(w http.ResponseWriter, req *http.Request, of string) {
	if req.Method == http.MethodPost {
		status := read[object](r, req)
		status["id"] = len(r.statuses[of]) + 1
		r.statuses[of] = append(r.statuses[of], status)
		answer(w, 201, status)
		return
	}
	answer(w, 200, list(r.statuses[of]))
}

func (r *Repo) azureRights(w http.ResponseWriter, req *http.Request) {
	who := req.URL.Query().Get("descriptors")
	entry := object{"descriptor": who, "allow": 0, "deny": 0, "extendedInfo": object{"effectiveAllow": 2}}
	if _, name, _ := strings.Cut(who, "\\"); slices.Contains(r.Writers, name) {
		entry["extendedInfo"] = object{"effectiveAllow": 2 | 4}
	}
	answer(w, 200, list([]object{{"token": req.URL.Query().Get("token"), "inheritPermissions": true, "acesDictionary": object{who: entry}}}))
}

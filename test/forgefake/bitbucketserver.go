// SPDX-License-Identifier: Apache-2.0

package forgefake

import (
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// BitbucketServer plays a Bitbucket Data Center at the root of a server, whose project
// is Owner.
func (r *Repo) BitbucketServer() http.Handler {
	const git = "/rest/api/latest/projects/" + Owner + "/repos/" + Name
	mux := http.NewServeMux()
	inner := r.handler(mux)
	handle := func(pattern string, f func(http.ResponseWriter, *http.Request)) {
		inner(pattern, func(w http.ResponseWriter, req *http.Request) {
			w.Header().Set("X-AUSERNAME", r.Me) // as every answer has it
			f(w, req)
		})
	}
	handle("GET "+git+"/pull-requests", r.serverPulls)
	handle("POST "+git+"/pull-requests", r.serverPropose)
	handle("GET "+git+"/pull-requests/{number}", func(w http.ResponseWriter, req *http.Request) {
		if p := r.pull(number(req)); p != nil {
			answer(w, 200, serverPull(p))
			return
		}
		serverError(w, 404, "Pull request is not there")
	})
	handle("POST "+git+"/pull-requests/{number}/decline", func(w http.ResponseWriter, req *http.Request) {
		p := r.pull(number(req))
		if req.URL.Query().Get("version") != "3" {
			serverError(w, 409, "You are attempting to modify a pull request based on out-of-date information.")
			return
		}
		p.State = Declined
		answer(w, 200, serverPull(p))
	})
	handle("GET "+git+"/pull-requests/{number}/merge-base", func(w http.ResponseWriter, req *http.Request) {
		answer(w, 200, object{"id": r.pull(number(req)).MergeBase})
	})
	handle("GET "+git+"/pull-requests/{number}/activities", r.serverActivities)
	handle("POST "+git+"/pull-requests/{number}/comments", r.serverSay)
	handle(git+"/pull-requests/{number}/comments/{comment}", r.serverEdit)
	handle(git+"/commits/{commit}/builds", r.serverBuilds)
	handle("GET "+git+"/commits", func(w http.ResponseWriter, req *http.Request) {
		since, until := req.URL.Query().Get("since"), req.URL.Query().Get("until")
		switch r.base(since, until) {
		case "":
			serverError(w, 404, "Commit '"+until+"' does not exist in repository '"+Name+"'.")
		case until:
			serverPage(w, req, r.Page, nil)
		default:
			serverPage(w, req, r.Page, []object{{"id": until}})
		}
	})
	handle("GET /rest/api/latest/users", func(w http.ResponseWriter, req *http.Request) {
		q := req.URL.Query()
		var found []object
		for _, name := range r.Writers { // the filter holds for a part of a name
			if q.Get("permission") == "REPO_WRITE" && q.Get("permission.repositorySlug") == Name && strings.Contains(name, q.Get("filter")) {
				found = append(found, object{"name": name, "slug": name})
			}
		}
		serverPage(w, req, r.Page, found)
	})
	handle("GET /rest/api/latest/application-properties", func(w http.ResponseWriter, _ *http.Request) { answer(w, 200, object{"version": "9.4.0"}) })
	return checked{repo: r, prefix: "/rest", all: operations("bitbucketserver"), next: mux}
}

func serverError(w http.ResponseWriter, status int, message string) {
	answer(w, status, object{"errors": []object{{"message": message}}})
}

func serverPage(w http.ResponseWriter, req *http.Request, size int, all []object) {
	start, _ := strconv.Atoi(req.URL.Query().Get("start"))
	some, next := page(all, start, size)
	if some == nil {
		some = []object{}
	}
	body := object{"values": some, "size": len(some), "limit": size, "start": start, "isLastPage": next == 0}
	if next > 0 {
		body["nextPageStart"] = next
	}
	answer(w, 200, body)
}

func serverPull(p *Pull) object {
	ref := func(branch, head string, repository int) object {
		return object{"id": "refs/heads/" + branch, "displayId": branch, "latestCommit": head, "repository": object{"id": repository, "slug": Name}}
	}
	from := 1
	if p.Fork {
		from = 2
	}
	o := object{
		"id": p.Number, "version": 3, "state": cloudStates[p.State], "title": p.Title, "description": p.Body,
		"fromRef": ref(p.Branch, p.Head, from), "toRef": ref(p.Base, "tip", 1), "updatedDate": p.At.UnixMilli(),
	}
	if p.State == Merged {
		o["closedDate"], o["properties"] = p.At.UnixMilli(), object{"mergeCommit": object{"id": p.Result}}
	}
	return o
}

func (r *Repo) serverPulls(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	var found []object
	for _, p := range r.pulls {
		branch := p.Base
		if q.Get("direction") == "OUTGOING" {
			branch = p.Branch
		}
		if (q.Get("state") == "ALL" || q.Get("state") == cloudStates[p.State]) && q.Get("at") == "refs/heads/"+branch {
			found = append(found, serverPull(p))
		}
	}
	serverPage(w, req, r.Page, found)
}

func (r *Repo) serverPropose(w http.ResponseWriter, req *http.Request) {
	type ref struct{ ID string }
	body := read[struct {
		Title, Description string
		FromRef, ToRef     ref
	}](r, req)
	p := &Pull{
		Number: int64(len(r.pulls) + 1), State: Open, Title: body.Title, Body: body.Description, At: r.now, Head: "proposed",
		Branch: strings.TrimPrefix(body.FromRef.ID, "refs/heads/"), Base: strings.TrimPrefix(body.ToRef.ID, "refs/heads/"),
	}
	r.pulls = append(r.pulls, p)
	answer(w, 201, serverPull(p))
}

func serverComment(c *Comment) object {
	return object{"id": c.ID, "version": c.Version, "text": c.Text, "author": object{"name": c.Author, "slug": c.Author}, "createdDate": c.Made.UnixMilli(), "updatedDate": c.Edited.UnixMilli()}
}

// serverActivities gives what happened last first. A reply brings its thread again.
func (r *Repo) serverActivities(w http.ResponseWriter, req *http.Request) {
	activities := []object{{"id": 1, "action": "OPENED", "createdDate": r.now.UnixMilli(), "user": object{"name": "dev"}}}
	for _, c := range r.comments {
		if c.Pull != number(req) {
			continue
		}
		root := serverComment(c)
		if c.Thread != c.ID {
			reply := root
			root = serverComment(r.comment(c.Thread))
			root["comments"] = []object{reply}
		}
		a := object{"id": c.ID, "action": "COMMENTED", "createdDate": c.Made.UnixMilli(), "user": object{"name": c.Author}, "comment": root}
		if c.OnLine {
			anchor := object{"line": c.Place.Line, "path": c.Place.File, "lineType": c.Place.Kind}
			if c.Place.Was != "" {
				anchor["srcPath"] = c.Place.Was
			}
			a["commentAnchor"] = anchor
		}
		activities = append(activities, a)
	}
	slices.Reverse(activities)
	serverPage(w, req, r.Page, activities)
}

// serverSay makes a comment, on a line where there is an anchor.
func (r *Repo) serverSay(w http.ResponseWriter, req *http.Request) {
	body := read[struct {
		Text   string
		Anchor *struct {
			Path, SrcPath, LineType, FileType string
			Line                              int
		}
	}](r, req)
	said := Comment{Pull: number(req), Author: r.Me, Text: body.Text}
	if at := body.Anchor; at != nil {
		if at.FileType != "TO" || at.Line < 1 {
			serverError(w, 400, "The anchor is not valid.")
			return
		}
		said.OnLine, said.Place = true, Place{File: at.Path, Line: at.Line, Kind: at.LineType, Was: at.SrcPath}
	}
	answer(w, 201, serverComment(r.say(said)))
}

func (r *Repo) serverEdit(w http.ResponseWriter, req *http.Request) {
	id, _ := strconv.ParseInt(req.PathValue("comment"), 10, 64)
	c := r.comment(id)
	if c == nil {
		serverError(w, 404, "Comment is not there")
		return
	}
	if req.Method == http.MethodPut {
		body := read[struct {
			Text           string
			Version        *int
			ThreadResolved bool
		}](r, req)
		if body.Version == nil || *body.Version != c.Version || c.Author != r.Me {
			serverError(w, 409, "You are attempting to modify a comment based on out-of-date information.")
			return
		}
		c.Text, c.Version, c.Edited = body.Text, c.Version+1, r.now
		c.Resolved = c.Resolved || body.ThreadResolved
	}
	answer(w, 200, serverComment(c))
}

func (r *Repo) serverBuilds(w http.ResponseWriter, req *http.Request) {
	of := req.PathValue("commit")
	if req.Method == http.MethodPost {
		status := read[object](r, req)
		r.statuses[of] = append(slices.DeleteFunc(r.statuses[of], func(o object) bool { return o["key"] == status["key"] }), status)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	for _, status := range r.statuses[of] {
		if status["key"] == req.URL.Query().Get("key") {
			answer(w, 200, status)
			return
		}
	}
	serverError(w, 404, "No build status")
}

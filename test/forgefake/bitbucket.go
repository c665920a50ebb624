// SPDX-License-Identifier: Apache-2.0

package forgefake

import (
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"
)

// short is as much of a hash as Bitbucket Cloud says in a pull request.
const short = 12

// Bitbucket plays Bitbucket Cloud below /2.0 of a server, whose workspace is Owner.
func (r *Repo) Bitbucket() http.Handler {
	const git = "/2.0/repositories/" + Owner + "/" + Name
	mux := http.NewServeMux()
	handle := r.handler(mux)
	handle("GET "+git+"/pullrequests", r.cloudPulls)
	handle("POST "+git+"/pullrequests", r.cloudPropose)
	handle("GET "+git+"/pullrequests/{number}", func(w http.ResponseWriter, req *http.Request) {
		if p := r.pull(number(req)); p != nil {
			answer(w, 200, cloudPull(p))
			return
		}
		cloudError(w, 404, "Pull request not found")
	})
	handle("POST "+git+"/pullrequests/{number}/decline", func(w http.ResponseWriter, req *http.Request) {
		p := r.pull(number(req))
		p.State = Declined
		answer(w, 200, cloudPull(p))
	})
	handle(git+"/pullrequests/{number}/comments", r.cloudComments)
	handle("PUT "+git+"/pullrequests/{number}/comments/{comment}", r.cloudEdit)
	handle("POST "+git+"/pullrequests/{number}/comments/{comment}/resolve", func(w http.ResponseWriter, req *http.Request) {
		id, _ := strconv.ParseInt(req.PathValue("comment"), 10, 64)
		if c := r.comment(id); c != nil && !c.Resolved {
			c.Resolved = true
			answer(w, 200, object{"type": "comment_resolution", "user": object{"uuid": r.Me}})
			return
		}
		cloudError(w, 409, "The comment is resolved already.")
	})
	handle("GET "+git+"/commit/{commit}", r.cloudCommit)
	handle("GET "+git+"/commit/{commit}/statuses", func(w http.ResponseWriter, req *http.Request) {
		cloudPage(w, req, r.Page, r.statuses[req.PathValue("commit")])
	})
	handle("POST "+git+"/commit/{commit}/statuses/build", func(w http.ResponseWriter, req *http.Request) {
		of, status := req.PathValue("commit"), read[object](r, req)
		r.statuses[of] = append(slices.DeleteFunc(r.statuses[of], func(o object) bool { return o["key"] == status["key"] }), status)
		answer(w, 201, status)
	})
	handle("GET "+git+"/refs/branches/{name}", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, object{"name": "main", "target": object{"hash": r.pulls[0].MergeBase}})
	})
	handle("GET "+git+"/merge-base/{spec}", func(w http.ResponseWriter, req *http.Request) {
		one, other, _ := strings.Cut(req.PathValue("spec"), "..")
		if base := r.base(one, other); base != "" {
			answer(w, 200, object{"hash": base})
			return
		}
		cloudError(w, 404, "Commit not found")
	})
	handle("GET /2.0/user", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, 200, object{"uuid": r.Me, "display_name": "The bot"})
	})
	handle("GET /2.0/workspaces/"+Owner+"/permissions/repositories/"+Name, func(w http.ResponseWriter, req *http.Request) {
		var rights []object
		for _, name := range append([]string{"somebody-else"}, r.Writers...) {
			rights = append(rights, object{"permission": "write", "user": object{"uuid": name}})
		}
		cloudPage(w, req, r.Page, append(rights, object{"permission": "read", "user": object{"uuid": "reader"}}))
	})
	return checked{repo: r, prefix: "/2.0", all: operations("bitbucket"), next: mux, free: []string{"q", "sort", "pagelen", "page"}}
}

// handler registers handlers that want the token as a bearer's.
func (r *Repo) handler(mux *http.ServeMux) func(string, func(http.ResponseWriter, *http.Request)) {
	return func(pattern string, f func(http.ResponseWriter, *http.Request)) {
		mux.HandleFunc(pattern, func(w http.ResponseWriter, req *http.Request) {
			if req.Header.Get("Authorization") != "Bearer "+Token {
				cloudError(w, 401, "Token is invalid or not supported for this endpoint.")
				return
			}
			r.mu.Lock()
			defer r.mu.Unlock()
			f(w, req)
		})
	}
}

func cloudError(w http.ResponseWriter, status int, message string) {
	answer(w, status, object{"type": "error", "error": object{"message": message}})
}

// cloudPage is a page of a list, which says where the next is.
func cloudPage(w http.ResponseWriter, req *http.Request, size int, all []object) {
	start, _ := strconv.Atoi(req.URL.Query().Get("page"))
	some, next := page(all, start, size)
	body := object{"values": some, "pagelen": size}
	if next > 0 {
		q := req.URL.Query()
		q.Set("page", strconv.Itoa(next))
		body["next"] = "http://" + req.Host + req.URL.Path + "?" + q.Encode()
	}
	answer(w, 200, body)
}

var cloudStates = map[string]string{Open: "OPEN", Merged: "MERGED", Declined: "DECLINED"}

func cut(hash string) string { return hash[:min(short, len(hash))] }

func cloudPull(p *Pull) object {
	source := object{"branch": object{"name": p.Branch}, "commit": object{"hash": cut(p.Head)}, "repository": object{"full_name": Owner + "/" + Name}}
	if p.Fork {
		source["repository"] = object{"full_name": "visitor/" + Name}
	}
	o := object{
		"id": p.Number, "state": cloudStates[p.State], "title": p.Title, "source": source, "updated_on": p.At.Format(time.RFC3339Nano),
		"destination": object{"branch": object{"name": p.Base}, "commit": object{"hash": cut(p.MergeBase)}, "repository": object{"full_name": Owner + "/" + Name}},
		"links":       object{"html": object{"href": fmt.Sprintf("https://bitbucket.org/%s/%s/pull-requests/%d", Owner, Name, p.Number)}},
	}
	if p.State == Merged {
		o["merge_commit"] = object{"hash": cut(p.Result)}
	}
	return o
}

func (r *Repo) cloudPulls(w http.ResponseWriter, req *http.Request) {
	q := req.URL.Query()
	var found []object
	for _, p := range r.pulls {
		about, states, _ := strings.Cut(q.Get("q"), " AND ")
		if slices.Contains(q["state"], cloudStates[p.State]) && strings.Contains(states, `state="`+cloudStates[p.State]+`"`) &&
			(about == `destination.branch.name="`+p.Base+`"` || about == `source.branch.name="`+p.Branch+`"`) {
			found = append(found, cloudPull(p))
		}
	}
	cloudPage(w, req, r.Page, found)
}

func (r *Repo) cloudPropose(w http.ResponseWriter, req *http.Request) {
	type side struct{ Branch struct{ Name string } }
	body := read[struct {
		Title, Description  string
		Source, Destination side
	}](r, req)
	p := &Pull{Number: int64(len(r.pulls) + 1), State: Open, Title: body.Title, Body: body.Description, At: r.now, Branch: body.Source.Branch.Name, Base: body.Destination.Branch.Name, Head: strings.Repeat("9", 40)}
	r.pulls = append(r.pulls, p)
	answer(w, 201, cloudPull(p))
}

func cloudComment(c *Comment) object {
	o := object{
		"id": c.ID, "content": object{"raw": c.Text}, "user": object{"uuid": c.Author}, "deleted": false,
		"created_on": c.Made.Format(time.RFC3339Nano), "updated_on": c.Edited.Format(time.RFC3339Nano),
		"links": object{"html": object{"href": fmt.Sprintf("https://bitbucket.org/%s/%s/pull-requests/%d/_/diff#comment-%d", Owner, Name, c.Pull, c.ID)}},
	}
	if c.OnLine {
		o["inline"] = object{"path": c.Place.File, "to": c.Place.Line}
	}
	if c.Thread != c.ID {
		o["parent"] = object{"id": c.Thread}
	}
	return o
}

func (r *Repo) cloudComments(w http.ResponseWriter, req *http.Request) {
	if req.Method == http.MethodPost {
		body := read[struct {
			Content struct{ Raw string }
			Inline  *struct {
				Path string
				To   int
			}
		}](r, req)
		said := Comment{Pull: number(req), Author: r.Me, Text: body.Content.Raw}
		if body.Inline != nil {
			said.OnLine, said.Place = true, Place{File: body.Inline.Path, Line: body.Inline.To}
		}
		answer(w, 201, cloudComment(r.say(said)))
		return
	}
	var found []*Comment
	for _, c := range r.comments {
		if c.Pull == number(req) {
			found = append(found, c)
		}
	}
	if req.URL.Query().Get("sort") == "-updated_on" {
		slices.SortStableFunc(found, func(a, b *Comment) int { return b.Edited.Compare(a.Edited) })
	}
	var objects []object
	for _, c := range found {
		objects = append(objects, cloudComment(c))
	}
	cloudPage(w, req, r.Page, objects)
}

func (r *Repo) cloudEdit(w http.ResponseWriter, req *http.Request) {
	id, _ := strconv.ParseInt(req.PathValue("comment"), 10, 64)
	c := r.comment(id)
	if c == nil || c.Author != r.Me {
		cloudError(w, 403, "You are not allowed to edit this comment.")
		return
	}
	c.Text, c.Edited = read[struct{ Content struct{ Raw string } }](r, req).Content.Raw, r.now
	answer(w, 200, cloudComment(c))
}

// cloudCommit makes a whole hash of a short one.
func (r *Repo) cloudCommit(w http.ResponseWriter, req *http.Request) {
	for _, p := range r.pulls {
		for _, hash := range []string{p.Head, p.Result, p.MergeBase} {
			if hash != "" && strings.HasPrefix(hash, req.PathValue("commit")) && (!p.Fork || hash != p.Head) {
				answer(w, 200, object{"hash": hash})
				return
			}
		}
	}
	cloudError(w, 404, "Commit not found")
}

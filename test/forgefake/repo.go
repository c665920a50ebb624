// SPDX-License-Identifier: Apache-2.0

package forgefake

import (
	"encoding/json"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"
)

// Token that every fake wants.
const Token = "f0rge-5ecret"

// Names in the addresses of the fakes.
const (
	Owner = "fleet"
	Name  = "models"
)

// States of a Pull.
const (
	Open     = "open"
	Merged   = "merged"
	Declined = "declined"
)

// Pull is a pull request.
type Pull struct {
	Number                  int64
	Base, Branch            string
	Head, MergeBase, Result string // commits; Result is what it became
	Fork                    bool
	State                   string
	Title, Body             string
	At                      time.Time // when something happened to it last
}

// Comment is one on a pull request.
type Comment struct {
	ID, Pull     int64
	Thread       int64 // of Azure DevOps
	Author, Text string
	Made, Edited time.Time
	OnLine       bool // in the code
	Place        Place
	Resolved     bool
	Version      int
}

// Place is a line in the code, as its forge is told of it.
type Place struct {
	File string
	Line int
	Kind string // ADDED or CONTEXT, of Bitbucket Data Center
	Was  string // what a renamed file was called before, of the same
}

// Repo is one repository, and what happened to it.
type Repo struct {
	// Me is who is signed in, and Writers who else may push.
	Me      string
	Writers []string
	// Page is how many entries a page of a list has.
	Page int

	mu       sync.Mutex
	pulls    []*Pull
	comments []*Comment
	statuses map[string][]map[string]any // by commit, or by pull request
	problems []string
	requests []string
	last     int64
	now      time.Time
}

// New is a repository with pull requests.
func New(pulls ...Pull) *Repo {
	r := &Repo{Me: "bot", Page: 2, statuses: map[string][]map[string]any{}, last: 100, now: time.Date(2026, 11, 23, 15, 0, 0, 0, time.UTC)}
	for _, p := range pulls {
		if p.At.IsZero() {
			p.At = r.now
		}
		r.pulls = append(r.pulls, &p)
	}
	return r
}

// Say adds a comment by somebody, a minute after the last.
func (r *Repo) Say(c Comment) int64 {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.say(c).ID
}

func (r *Repo) say(c Comment) *Comment {
	r.now = r.now.Add(time.Minute)
	r.last++
	c.ID = r.last
	if c.Thread == 0 {
		c.Thread = r.last
	}
	c.Made, c.Edited = r.now, r.now
	r.comments = append(r.comments, &c)
	return &c
}

// Edit changes a comment, a minute after the last.
func (r *Repo) Edit(id int64, text string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.now = r.now.Add(time.Minute)
	c := r.comment(id)
	c.Text, c.Edited, c.Version = text, r.now, c.Version+1
}

// comment by its id; nil where there is none.
func (r *Repo) comment(id int64) *Comment {
	if i := slices.IndexFunc(r.comments, func(c *Comment) bool { return c.ID == id }); i >= 0 {
		return r.comments[i]
	}
	return nil
}

func (r *Repo) pull(number int64) *Pull {
	if i := slices.IndexFunc(r.pulls, func(p *Pull) bool { return p.Number == number }); i >= 0 {
		return r.pulls[i]
	}
	return nil
}

// Change changes a pull request.
func (r *Repo) Change(number int64, how func(*Pull)) {
	r.mu.Lock()
	defer r.mu.Unlock()
	how(r.pull(number))
}

// Writes counts the requests that change something.
func (r *Repo) Writes() int {
	r.mu.Lock()
	defer r.mu.Unlock()
	writes := 0
	for _, line := range r.requests {
		if !strings.HasPrefix(line, http.MethodGet+" ") {
			writes++
		}
	}
	return writes
}

// Problems are what was asked or answered against what is published.
func (r *Repo) Problems() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.problems)
}

// Texts are the comments on a pull request by one author, in their order, without those
// on lines.
func (r *Repo) Texts(pull int64, author string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var texts []string
	for _, c := range r.comments {
		if c.Pull == pull && c.Author == author && !c.OnLine {
			texts = append(texts, c.Text)
		}
	}
	return texts
}

// OnLines are the comments on lines of a pull request by one author, in their order.
func (r *Repo) OnLines(pull int64, author string) []Comment {
	r.mu.Lock()
	defer r.mu.Unlock()
	var list []Comment
	for _, c := range r.comments {
		if c.Pull == pull && c.Author == author && c.OnLine {
			list = append(list, *c)
		}
	}
	return list
}

// Statuses are what was set, under a commit or a pull request, in its order.
func (r *Repo) Statuses(of string) []map[string]any {
	r.mu.Lock()
	defer r.mu.Unlock()
	return slices.Clone(r.statuses[of])
}

// Requests are those whose line begins so, with their bodies.
func (r *Repo) Requests(begin string) []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	var found []string
	for _, line := range r.requests {
		if strings.HasPrefix(line, begin) {
			found = append(found, line)
		}
	}
	return found
}

func (r *Repo) problem(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.problems = append(r.problems, fmt.Sprintf(format, args...))
}

func (r *Repo) request(line, body string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests = append(r.requests, strings.TrimSpace(line+" "+body))
}

// base is what two commits have in common, by what the pull requests say.
func (r *Repo) base(one, other string) string {
	for _, p := range r.pulls {
		switch {
		case one == other:
			return one
		case p.Head == one || p.Head == other:
			return p.MergeBase
		case p.MergeBase == one || p.MergeBase == other:
			return p.MergeBase
		}
	}
	return ""
}

// object is a JSON object.
type object = map[string]any

func answer(w http.ResponseWriter, status int, value any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(value)
}

// read decodes a body.
func read[T any](r *Repo, req *http.Request) (value T) {
	if err := json.NewDecoder(req.Body).Decode(&value); err != nil {
		r.problem("%s %s: %v", req.Method, req.URL, err)
	}
	return value
}

// page cuts a list, and says where the next begins, 0 for nowhere.
func page[T any](list []T, start, size int) ([]T, int) {
	start = min(start, len(list))
	end := min(start+size, len(list))
	if end == len(list) {
		return list[start:], 0
	}
	return list[start:end], end
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

type datacenterComment struct {
	ID      int64  `json:"id"`
	Version int    `json:"version"`
	Text    string `json:"text"`
	Author  struct {
		Name string `json:"name"`
	} `json:"author"`
	Made     int64               `json:"createdDate"` // milliseconds
	Edited   int64               `json:"updatedDate"`
	Comments []datacenterComment `json:"comments"` // replies
}

type datacenterActivity struct {
	Action  string             `json:"action"`
	Made    int64              `json:"createdDate"`
	Comment *datacenterComment `json:"comment"`
	Anchor  *struct{}          `json:"commentAnchor"` // of one on a line
}

// me is the account that is signed in, which only a header says.
func (d *datacenterForge) me(ctx context.Context) (string, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.login != "" {
		return d.login, nil
	}
	header, err := d.api.do(ctx, call{method: http.MethodGet, path: "/application-properties"})
	if err != nil {
		return "", err
	}
	name, err := url.QueryUnescape(header.Get("X-AUSERNAME"))
	if err != nil || name == "" {
		return "", &Error{Reason: v1alpha1.ReasonAuthFailed, text: "The forge at " + d.at.server + " does not say who the token of the Secret belongs to (header X-AUSERNAME): check that it is right, and that no proxy takes the header away"}
	}
	d.login = name
	return name, nil
}

// list reads the comments on a pull request, without those on lines, and who is signed
// in. Bitbucket gives what happened last first.
func (d *datacenterForge) list(ctx context.Context, number int64, since time.Time) (list []listed, me string, err error) {
	if me, err = d.me(ctx); err != nil {
		return nil, "", err
	}
	seen := map[int64]bool{} // a reply brings its whole thread once more
	var add func(c datacenterComment)
	add = func(c datacenterComment) {
		made, edited := time.UnixMilli(c.Made).UTC(), time.UnixMilli(c.Edited).UTC()
		if !seen[c.ID] && !edited.Before(since) {
			seen[c.ID] = true
			list = append(list, listed{d.comment(number, c), c.Author.Name, 0, made, edited})
		}
		for _, reply := range c.Comments {
			add(reply)
		}
	}
	err = walk(ctx, d.api, d.pullPath(number)+"/activities", url.Values{}, func(page []datacenterActivity) bool {
		for _, a := range page {
			if a.Action == "COMMENTED" && a.Comment != nil && a.Anchor == nil {
				add(*a.Comment)
			}
		}
		return since.IsZero() || len(page) == 0 || !time.UnixMilli(page[len(page)-1].Made).Before(since)
	})
	slices.SortStableFunc(list, func(x, y listed) int { return x.at.Compare(y.at) })
	return list, me, err
}

func (d *datacenterForge) comment(number int64, c datacenterComment) Comment {
	return Comment{ID: c.ID, Body: fromPlain(c.Text), URL: d.at.String() + "/pull-requests/" + strconv.FormatInt(number, 10) + "/overview?commentId=" + strconv.FormatInt(c.ID, 10)}
}

// Own lists the comments of the account that is signed in.
func (d *datacenterForge) Own(ctx context.Context, number int64, since time.Time) ([]Comment, error) {
	list, me, err := d.list(ctx, number, since)
	return ownOf(list, me), err
}

// Others lists those of everybody else.
func (d *datacenterForge) Others(ctx context.Context, number int64, after time.Time) ([]Remark, error) {
	list, me, err := d.list(ctx, number, after)
	return othersOf(list, me, after), err
}

// Write makes or edits a comment. Who edits says which version was read: ours are
// edited by nobody else, so it is the newest.
func (d *datacenterForge) Write(ctx context.Context, number, id int64, body string) (Comment, error) {
	text := map[string]any{"text": toPlain(body)}
	method, path := http.MethodPost, d.pullPath(number)+"/comments"
	if id != 0 {
		method, path = http.MethodPut, path+"/"+strconv.FormatInt(id, 10)
		var now datacenterComment
		if err := d.api.get(ctx, path, nil, &now); err != nil {
			return Comment{}, err
		}
		text["version"] = now.Version
	}
	var written datacenterComment
	err := d.api.send(ctx, method, path, text, &written)
	return d.comment(number, written), err
}

// MayWrite asks whether somebody is among those who may write, however they came by
// that.
func (d *datacenterForge) MayWrite(ctx context.Context, r Remark) (bool, error) {
	type user struct {
		Name string `json:"name"`
	}
	may := false
	query := url.Values{"filter": {r.Author}, "permission": {"REPO_WRITE"}, "permission.projectKey": {d.at.owner}, "permission.repositorySlug": {d.at.name}}
	err := walk(ctx, d.api, "/users", query, func(list []user) bool {
		may = may || slices.Contains(list, user{r.Author})
		return !may
	})
	return may, err
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

type bitbucketComment struct {
	ID      int64 `json:"id"`
	Content struct {
		Raw string `json:"raw"`
	} `json:"content"`
	User *struct {
		UUID string `json:"uuid"`
	} `json:"user"`
	Made    time.Time `json:"created_on"`
	Edited  time.Time `json:"updated_on"`
	Deleted bool      `json:"deleted"`
	Inline  *struct{} `json:"inline"`
	Parent  *struct{} `json:"parent"`
	Links   struct {
		HTML struct {
			Href string `json:"href"`
		} `json:"html"`
	} `json:"links"`
}

func (c bitbucketComment) comment() Comment {
	return Comment{ID: c.ID, Body: fromPlain(c.Content.Raw), URL: c.Links.HTML.Href}
}

// me is the account that is signed in.
func (b *bitbucketForge) me(ctx context.Context) (string, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.login != "" {
		return b.login, nil
	}
	var user struct {
		UUID string `json:"uuid"`
	}
	err := b.api.get(ctx, "/user", nil, &user)
	b.login = user.UUID
	return b.login, err
}

func (b *bitbucketForge) comments(number int64) string {
	return b.git + "/pullrequests/" + strconv.FormatInt(number, 10) + "/comments"
}

// list reads the comments on a pull request, without those on lines, and who is
// signed in. Those since a time are read from the newest on, so that older ones cannot
// crowd them out.
func (b *bitbucketForge) list(ctx context.Context, number int64, since time.Time) (list []listed, me string, err error) {
	if me, err = b.me(ctx); err != nil {
		return nil, "", err
	}
	query := url.Values{"pagelen": {strconv.Itoa(largePage)}, "sort": {"created_on"}}
	if !since.IsZero() {
		query.Set("sort", "-updated_on")
	}
	err = pages(ctx, b.api, b.comments(number), query, func(page []bitbucketComment) bool {
		for _, c := range page {
			if c.Edited.Before(since) {
				return false
			}
			if c.User != nil && !c.Deleted && c.Inline == nil {
				list = append(list, listed{c.comment(), c.User.UUID, 0, c.Made, c.Edited})
			}
		}
		return true
	})
	slices.SortStableFunc(list, func(x, y listed) int { return x.at.Compare(y.at) })
	return list, me, err
}

// Own lists the comments of the account that is signed in.
func (b *bitbucketForge) Own(ctx context.Context, number int64, since time.Time) ([]Comment, error) {
	list, me, err := b.list(ctx, number, since)
	return ownOf(list, me), err
}

// Others lists those of everybody else.
func (b *bitbucketForge) Others(ctx context.Context, number int64, after time.Time) ([]Remark, error) {
	list, me, err := b.list(ctx, number, after)
	return othersOf(list, me, after), err
}

// Write makes or edits a comment.
func (b *bitbucketForge) Write(ctx context.Context, number, id int64, body string) (Comment, error) {
	method, path := http.MethodPost, b.comments(number)
	if id != 0 {
		method, path = http.MethodPut, path+"/"+strconv.FormatInt(id, 10)
	}
	var written bitbucketComment
	err := b.api.send(ctx, method, path, map[string]any{"content": map[string]string{"raw": toPlain(body)}}, &written)
	return written.comment(), err
}

// MayWrite asks for somebody's right, which Bitbucket tells to administrators of the
// repository only.
func (b *bitbucketForge) MayWrite(ctx context.Context, r Remark) (bool, error) {
	type right struct {
		Permission string `json:"permission"`
		User       struct {
			UUID string `json:"uuid"`
		} `json:"user"`
	}
	may := false
	path := "/workspaces/" + url.PathEscape(b.at.owner) + "/permissions/repositories/" + url.PathEscape(b.at.name)
	err := pages(ctx, b.api, path, url.Values{"q": {"user.uuid=" + quoted(r.Author)}}, func(list []right) bool {
		for _, is := range list {
			may = may || is.User.UUID == r.Author && (is.Permission == "write" || is.Permission == "admin")
		}
		return !may
	})
	return may, err
}

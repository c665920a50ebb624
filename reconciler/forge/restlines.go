// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"context"
	"errors"
	"net/http"
	"net/url"
	"strconv"
)

// Azure DevOps and Bitbucket do not say who resolved a comment, or not in a list: that
// one is settled its text says, which is edited.

// azurePlace is a place in a file, counted from 1.
type azurePlace struct {
	Line   int `json:"line"`
	Offset int `json:"offset"`
}

// azureSpan is the line that a thread is on, of the head.
type azureSpan struct {
	File  string      `json:"filePath,omitempty"` // from the root, with a slash
	Start *azurePlace `json:"rightFileStart,omitempty"`
	End   *azurePlace `json:"rightFileEnd,omitempty"`
}

// OnLines lists the threads on files that the account began.
func (a *azureForge) OnLines(ctx context.Context, number int64) ([]LineComment, error) {
	me, err := a.me(ctx)
	if err != nil {
		return nil, err
	}
	var threads azureList[azureThread]
	if err := a.api.get(ctx, a.threads(number), a.v(), &threads); err != nil {
		return nil, err
	}
	var own []LineComment
	for _, t := range threads.Value {
		if t.Deleted || t.Context == nil || t.Context.File == "" || len(t.Comments) == 0 {
			continue
		}
		if first := t.Comments[0]; first.Author.ID == me && !first.Deleted && first.Type != "system" {
			own = append(own, onLine(t.ID<<commentBits|first.ID, first.Content, false))
		}
	}
	return own, nil
}

// WriteOnLine makes a thread on a line. It is open: it asks for something.
func (a *azureForge) WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error {
	place := azurePlace{Line: at.New, Offset: 1}
	thread := azureThread{
		Status: "active", Comments: []azureComment{{Content: body, Type: "text"}},
		Context: &azureSpan{File: "/" + at.File, Start: &place, End: &place},
	}
	return a.send(ctx, http.MethodPost, a.threads(pr.Number), thread, nil)
}

// SettleOnLine edits a comment, and says of its thread that it is fixed.
func (a *azureForge) SettleOnLine(ctx context.Context, number int64, c LineComment, body string) error {
	if _, err := a.Write(ctx, number, c.number(), body); err != nil {
		return err
	}
	thread := a.threads(number) + "/" + strconv.FormatInt(c.number()>>commentBits, 10)
	return a.send(ctx, http.MethodPatch, thread, azureThread{Status: "fixed"}, nil)
}

// OnLines lists the comments of the account on lines that answer no other.
func (b *bitbucketForge) OnLines(ctx context.Context, number int64) ([]LineComment, error) {
	me, err := b.me(ctx)
	if err != nil {
		return nil, err
	}
	var own []LineComment
	query := url.Values{"pagelen": {strconv.Itoa(largePage)}, "sort": {"created_on"}}
	read := 0
	err = pages(ctx, b.api, b.comments(number), query, func(page []bitbucketComment) bool {
		read++
		for _, c := range page {
			if c.User != nil && c.User.UUID == me && c.Inline != nil && c.Parent == nil && !c.Deleted {
				own = append(own, onLine(c.ID, fromPlain(c.Content.Raw), false))
			}
		}
		return true
	})
	if err == nil && read == largePages {
		err = errUnread
	}
	return own, err
}

// WriteOnLine comments on a line of the head.
func (b *bitbucketForge) WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error {
	return b.api.send(ctx, http.MethodPost, b.comments(pr.Number), map[string]any{
		"content": map[string]string{"raw": toPlain(body)},
		"inline":  map[string]any{"path": at.File, "to": at.New},
	}, nil)
}

// SettleOnLine edits a comment and resolves it, which Bitbucket refuses where somebody
// has done that.
func (b *bitbucketForge) SettleOnLine(ctx context.Context, number int64, c LineComment, body string) error {
	if _, err := b.Write(ctx, number, c.number(), body); err != nil {
		return err
	}
	err := b.api.send(ctx, http.MethodPost, b.comments(number)+"/"+c.ID+"/resolve", nil, nil)
	var refused *Error
	if errors.As(err, &refused) && refused.Reason == ReasonForgeRefused {
		return nil
	}
	return err
}

// OnLines lists the comments of the account on lines, which are what happened to the
// pull request.
func (d *datacenterForge) OnLines(ctx context.Context, number int64) ([]LineComment, error) {
	me, err := d.me(ctx)
	if err != nil {
		return nil, err
	}
	var own []LineComment
	read, seen := 0, map[int64]bool{} // a reply brings its whole thread once more
	err = walk(ctx, d.api, d.pullPath(number)+"/activities", url.Values{}, func(page []datacenterActivity) bool {
		read++
		for _, a := range page {
			if a.Action == "COMMENTED" && a.Comment != nil && a.Anchor != nil && a.Comment.Author.Name == me && !seen[a.Comment.ID] {
				seen[a.Comment.ID] = true
				own = append(own, onLine(a.Comment.ID, fromPlain(a.Comment.Text), false))
			}
		}
		return true
	})
	if err == nil && read == largePages {
		err = errUnread
	}
	return own, err
}

// WriteOnLine comments on a line of the head, and says whether the pull request adds
// it, and what its file was called before.
func (d *datacenterForge) WriteOnLine(ctx context.Context, pr PullRequest, at Line, body string) error {
	kind := "ADDED"
	if at.Old > 0 {
		kind = "CONTEXT"
	}
	anchor := map[string]any{"path": at.File, "line": at.New, "lineType": kind, "fileType": "TO", "diffType": "EFFECTIVE"}
	if at.OldFile != "" {
		anchor["srcPath"] = at.OldFile
	}
	return d.api.send(ctx, http.MethodPost, d.pullPath(pr.Number)+"/comments", map[string]any{"text": toPlain(body), "anchor": anchor}, nil)
}

// SettleOnLine edits a comment and resolves its thread in one.
func (d *datacenterForge) SettleOnLine(ctx context.Context, number int64, c LineComment, body string) error {
	path := d.pullPath(number) + "/comments/" + c.ID
	var now datacenterComment
	if err := d.api.get(ctx, path, nil, &now); err != nil {
		return err
	}
	return d.api.send(ctx, http.MethodPut, path, map[string]any{"text": toPlain(body), "version": now.Version, "threadResolved": true}, nil)
}

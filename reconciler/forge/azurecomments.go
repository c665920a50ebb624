// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"cmp"
	"context"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"time"
)

type azureThread struct {
	ID       int64          `json:"id,omitempty"`
	Deleted  bool           `json:"isDeleted,omitempty"`
	Status   string         `json:"status,omitempty"`
	Context  *azureSpan     `json:"threadContext,omitempty"` // of one on a line
	Comments []azureComment `json:"comments,omitempty"`
}

type azureComment struct {
	ID      int64       `json:"id,omitempty"`
	Parent  int64       `json:"parentCommentId,omitempty"`
	Content string      `json:"content"`
	Type    string      `json:"commentType,omitempty"`
	Deleted bool        `json:"isDeleted,omitempty"`
	Made    time.Time   `json:"publishedDate,omitzero"`
	Edited  time.Time   `json:"lastContentUpdatedDate,omitzero"`
	Author  azureAuthor `json:"author,omitzero"`
}

type azureAuthor struct {
	ID string `json:"id"`
}

// A comment on Azure DevOps is one of a thread, and counted from 1 in each: its number
// here is that of the thread with room for that of the comment.
const commentBits = 16

func (a *azureForge) threads(number int64) string {
	return a.git + "/pullRequests/" + strconv.FormatInt(number, 10) + "/threads"
}

// list reads the comments on a pull request that were made or edited since a time, the
// oldest first, and who is signed in. Azure DevOps gives all threads at once.
func (a *azureForge) list(ctx context.Context, number int64, since time.Time) (list []listed, me string, err error) {
	if me, err = a.me(ctx); err != nil {
		return nil, "", err
	}
	var threads azureList[azureThread]
	if err := a.api.get(ctx, a.threads(number), a.v(), &threads); err != nil {
		return nil, "", err
	}
	for _, t := range threads.Value {
		for _, c := range t.Comments {
			last := c.Edited
			if last.IsZero() {
				last = c.Made
			}
			if t.Deleted || c.Deleted || c.Type == "system" || last.Before(since) {
				continue
			}
			list = append(list, listed{Comment{ID: t.ID<<commentBits | c.ID, Body: c.Content, URL: a.commentURL(number, t.ID)}, c.Author.ID, 0, c.Made, last})
		}
	}
	slices.SortStableFunc(list, func(x, y listed) int { return cmp.Or(x.at.Compare(y.at), cmp.Compare(x.ID, y.ID)) })
	return list, me, nil
}

func (a *azureForge) commentURL(number, thread int64) string {
	return a.at.String() + "/pullrequest/" + strconv.FormatInt(number, 10) + "?discussionId=" + strconv.FormatInt(thread, 10)
}

// Own lists the comments of the account that is signed in.
func (a *azureForge) Own(ctx context.Context, number int64, since time.Time) ([]Comment, error) {
	list, me, err := a.list(ctx, number, since)
	return ownOf(list, me), err
}

// Others lists those of everybody else. What is said later has the larger number: a
// reply in an old thread has not, and so they are numbered by their time.
func (a *azureForge) Others(ctx context.Context, number int64, after time.Time) ([]Remark, error) {
	list, me, err := a.list(ctx, number, after)
	others := othersOf(list, me, after)
	for i := range others {
		others[i].ID = others[i].At.UnixMicro()
	}
	return others, err
}

// Write makes a thread of one comment, which waits for nobody, or edits a comment.
func (a *azureForge) Write(ctx context.Context, number, id int64, body string) (Comment, error) {
	if id != 0 {
		thread, comment := id>>commentBits, id&(1<<commentBits-1)
		path := a.threads(number) + "/" + strconv.FormatInt(thread, 10) + "/comments/" + strconv.FormatInt(comment, 10)
		var written azureComment
		err := a.send(ctx, http.MethodPatch, path, azureComment{Content: body}, &written)
		return Comment{ID: id, Body: written.Content, URL: a.commentURL(number, thread)}, err
	}
	// A thread that is active may keep a pull request from being completed.
	thread := azureThread{Status: "closed", Comments: []azureComment{{Content: body, Type: "text"}}}
	var made azureThread
	if err := a.send(ctx, http.MethodPost, a.threads(number), thread, &made); err != nil {
		return Comment{}, err
	}
	written := Comment{Body: body, ID: made.ID<<commentBits | 1, URL: a.commentURL(number, made.ID)}
	if len(made.Comments) > 0 {
		written.ID, written.Body = made.ID<<commentBits|made.Comments[0].ID, made.Comments[0].Content
	}
	return written, nil
}

// The namespace of permissions for Git repositories, the same everywhere, and the bit
// of the right to push there.
const (
	azureGitRights  = "2e9eb7ed-3c0a-47d4-87c1-0ffdd275fd87"
	azureContribute = 4
)

// MayWrite asks for somebody's right to contribute, as groups and inheritance leave it.
func (a *azureForge) MayWrite(ctx context.Context, r Remark) (bool, error) {
	var people azureList[struct {
		Descriptor string `json:"descriptor"`
	}]
	identities := a.api
	identities.base = azureIdentities(a.at.server)
	if err := identities.get(ctx, "/_apis/identities", a.v("identityIds", r.Author), &people); err != nil {
		return false, err
	}
	if len(people.Value) == 0 || people.Value[0].Descriptor == "" {
		return false, nil
	}
	var repository struct {
		ID      string `json:"id"`
		Project struct {
			ID string `json:"id"`
		} `json:"project"`
	}
	if err := a.api.get(ctx, a.git, a.v(), &repository); err != nil {
		return false, err
	}
	var lists azureList[struct {
		Entries map[string]struct {
			Extended struct {
				Allow int64 `json:"effectiveAllow"`
				Deny  int64 `json:"effectiveDeny"`
			} `json:"extendedInfo"`
		} `json:"acesDictionary"`
	}]
	who := people.Value[0].Descriptor
	err := a.api.get(ctx, "/_apis/accesscontrollists/"+azureGitRights, a.v("token", "repoV2/"+repository.Project.ID+"/"+repository.ID,
		"descriptors", who, "includeExtendedInfo", "true"), &lists)
	if err != nil {
		return false, err
	}
	may := false
	for _, l := range lists.Value {
		entry := l.Entries[who].Extended
		if entry.Deny&azureContribute != 0 {
			return false, nil
		}
		may = may || entry.Allow&azureContribute != 0
	}
	return may, nil
}

// azureIdentities is where people are looked up: the service keeps them on another
// host than repositories, a server does not.
func azureIdentities(server string) string {
	u, err := url.Parse(server)
	if err != nil {
		return server
	}
	switch {
	case u.Host == "dev.azure.com":
		u.Host = "vssps.dev.azure.com"
	case len(u.Host) > len(visualStudio) && u.Host[len(u.Host)-len(visualStudio):] == visualStudio:
		u.Host = u.Host[:len(u.Host)-len(visualStudio)] + ".vssps" + visualStudio
	}
	return u.String()
}

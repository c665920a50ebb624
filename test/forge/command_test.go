// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"fmt"
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitea"
)

// remark comments on a pull request.
func (p *project) remark(by *gitea.User, number int64, body string) int64 {
	p.t.Helper()
	comment, _, err := by.CreateIssueComment(owner, p.name, number, sdk.CreateIssueCommentOption{Body: body})
	must(p.t, err)
	return comment.ID
}

// by are the comments of the account of the review on a pull request.
func (p *project) byBot(number int64) []string {
	p.t.Helper()
	var list []string
	for _, c := range p.comments(number) {
		if c.Poster.UserName == p.bot.Name {
			list = append(list, c.Body)
		}
	}
	return list
}

// TestCommands: people who may write to the repository are heard, by webhook, and
// nobody else; one of them can have a fork's head planned.
func TestCommands(t *testing.T) {
	p := newProject(t, "commands")
	// Gitea tells the administrators of a repository only who may write to it.
	admin := sdk.AccessModeAdmin
	_, err := p.gitea.Admin.AddCollaborator(owner, p.name, p.bot.Name, sdk.AddCollaboratorOption{Permission: &admin})
	must(t, err)
	p.sync(func(s *v1alpha1.RepoSync) { s.Spec.Review.Commands = true })
	p.branch("shorter")
	p.replace("contextLength: 32768", "contextLength: 16384")
	head := p.push("shorter", "phi-4-mini: a shorter context")
	number := p.open(p.dev, "shorter", "A shorter context")
	p.answered(number, head)

	ignored := p.remark(p.visitor, number, "/espalier plan")
	p.remark(p.visitor, number, "/espalier help")
	p.remark(p.dev, number, "/espalier help")
	var last []string
	seen := func() string { return fmt.Sprint(last) }
	p.until("help", func() bool {
		last = p.byBot(number)
		return len(last) == 2 && strings.Contains(last[1], "`/espalier plan`")
	}, seen)
	asked := p.remark(p.dev, number, "/espalier plan\n\nthe branch has moved")
	p.until("a plan that was asked for", func() bool {
		last = p.byBot(number)
		return strings.Contains(last[0], fmt.Sprintf("<!-- espalier-asked %d -->", asked))
	}, seen)
	if len(last) != 2 || strings.Contains(fmt.Sprint(last), fmt.Sprint("espalier-help ", ignored)) {
		t.Errorf("the account said more than it was asked for by those who may: %s", last)
	}

	fork, _, err := p.visitor.CreateFork(owner, p.name, sdk.CreateForkOption{})
	must(t, err)
	p.git(p.folder, "remote", "add", "fork", p.gitea.CloneURL(p.visitor, fork.FullName))
	p.git(p.folder, "push", "--quiet", "fork", "HEAD:theirs")
	number = p.open(p.visitor, p.visitor.Name+":theirs", "The same from outside")
	p.remark(p.visitor, number, "/espalier plan")
	p.remark(p.dev, number, "/espalier plan")
	p.until("a fork that somebody vouched for", func() bool {
		last = p.byBot(number)
		return len(last) == 1 && strings.Contains(last[0], head+" ") && strings.Contains(last[0], "context 32,768 → 16,384")
	}, seen)
}

// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"flag"
	"fmt"
	"os"
	"path"
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// linePage is like page, of a comment on a line: go test ./test/forge -run TestLines
// -args -line-page /tmp/lines.html
var linePage = flag.String("line-page", "", "file to write a rendered comment on a line to")

// onLines are the comments on lines of a pull request, in their order.
func (p *project) onLines(number int64) []*sdk.PullReviewComment {
	p.t.Helper()
	reviews, _, err := p.dev.ListPullReviews(owner, p.name, number, sdk.ListPullReviewsOptions{})
	must(p.t, err)
	var list []*sdk.PullReviewComment
	for _, r := range reviews {
		comments, _, err := p.dev.ListPullReviewComments(owner, p.name, number, r.ID)
		must(p.t, err)
		list = append(list, comments...)
	}
	return list
}

// TestLines is the life of comments on lines on a real forge: one appears where the
// diff shows it, a second push repeats none, what a person answered stays, and what is
// mended is resolved.
func TestLines(t *testing.T) {
	p := newProject(t, "lines")
	p.sync(func(s *v1alpha1.RepoSync) { s.Spec.Review.LineComments = v1alpha1.FindingLineComments })
	p.branch("slip")
	p.replace("contextLength:", "contextLenght:")
	head := p.push("slip", "phi-4-mini: a slip of the keyboard")
	number := p.open(p.dev, "slip", "A slip")
	comment := p.answered(number, head)
	said := p.onLines(number)
	if len(said) != 1 || said[0].Reviewer.UserName != p.bot.Name || said[0].Path != served || said[0].CommitID != head || said[0].LineNum == 0 {
		t.Fatalf("want one comment by %s on a line of %s at %s, got %+v", p.bot.Name, served, head, said)
	}
	for _, part := range []string{"contextLenght", "(UnknownField)", "```diff\n-    contextLenght: 32768\n+    contextLength: 32768\n```"} {
		if !strings.Contains(said[0].Body, part) {
			t.Errorf("the comment on the line does not hold %q:\n%s", part, said[0].Body)
		}
	}
	if !strings.Contains(said[0].DiffHunk, "+    contextLenght: 32768") {
		t.Errorf("it does not stand at the line:\n%s", said[0].DiffHunk)
	}
	if want := "*On lines of the diff: 1 of 2 findings;"; !strings.Contains(comment.Body, want) {
		t.Errorf("the comment does not hold %q:\n%s", want, comment.Body)
	}
	p.lookAtLine(said[0])

	_, _, err := p.dev.CreatePullReview(owner, p.name, number, sdk.CreatePullReviewOptions{
		State: sdk.ReviewStateComment, CommitID: head,
		Comments: []sdk.CreatePullReviewComment{{Path: served, NewLineNum: int64(said[0].LineNum), Body: "I see it, one moment."}},
	})
	must(t, err)
	p.write("README.md", "moved on\n")
	head = p.push("slip", "readme: another commit")
	p.answered(number, head)
	if again := p.onLines(number); len(again) != 2 || again[0].ID != said[0].ID || again[0].Resolver != nil {
		t.Fatalf("want the comment and its answer as they were, got %v", texts(again))
	}

	p.replace("contextLenght:", "contextLength:")
	head = p.push("slip", "phi-4-mini: mended")
	comment = p.answered(number, head)
	p.status(head, "espalier/plan", sdk.StatusSuccess)
	last := p.onLines(number)
	if len(last) != 2 || last[0].Body != said[0].Body || last[0].Resolver == nil || last[0].Resolver.UserName != p.bot.Name {
		t.Fatalf("want the comment resolved and its answer there, got %v", texts(last))
	}
	if strings.Contains(comment.Body, "On lines of") {
		t.Errorf("nothing stands on a line any more:\n%s", comment.Body)
	}

	p.replace("contextLength:", "contextLenght:")
	head = p.push("slip", "phi-4-mini: the slip again")
	p.answered(number, head)
	if last = p.onLines(number); len(last) != 3 || last[2].Resolver != nil {
		t.Fatalf("want what is settled said anew where it comes back, got %v", texts(last))
	}
}

// TestLinesRenamed: in a file that the pull request renames, a comment stands on the line
// that was edited, under the new name; and who switches comments on lines off has them
// resolved without a push.
func TestLinesRenamed(t *testing.T) {
	p := newProject(t, "renamed")
	sync := p.sync(func(s *v1alpha1.RepoSync) { s.Spec.Review.LineComments = v1alpha1.FindingLineComments })
	p.branch("rename")
	p.replace("contextLength:", "contextLenght:")
	renamed := path.Join(path.Dir(served), "phi.yaml")
	p.git(p.folder, "mv", served, renamed)
	p.write(path.Join(path.Dir(served), "kustomization.yaml"), "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [phi.yaml]\n"+
		"components: [../../components/names]\nconfigMapGenerator: [{name: phi-4-mini-config, files: [inference_config.yaml]}]\n")
	head := p.push("rename", "phi-4-mini: another name")
	number := p.open(p.dev, "rename", "Another name")
	p.answered(number, head)
	said := p.onLines(number)
	if len(said) != 1 || said[0].Path != renamed || !strings.HasSuffix(strings.TrimSpace(said[0].DiffHunk), "+    contextLenght: 32768") {
		t.Fatalf("want a comment at the slip in %s, got %v", renamed, texts(said))
	}
	if diff := p.git(p.folder, "diff", "--find-renames", "--name-status", "main", "HEAD", "--", path.Dir(served)); !strings.Contains(diff, "R0") {
		t.Fatalf("git does not call it renamed: %s", diff)
	}

	must(t, p.Client.Get(t.Context(), client.ObjectKeyFromObject(sync), sync))
	sync.Spec.Review.LineComments = v1alpha1.NoLineComments
	must(t, p.Client.Update(t.Context(), sync))
	p.until("resolved", func() bool { said = p.onLines(number); return len(said) == 1 && said[0].Resolver != nil }, func() string { return fmt.Sprint(texts(said)) })
	var body string
	p.until("a comment without them", func() bool {
		body = p.answered(number, head).Body
		return !strings.Contains(body, "On lines of")
	}, func() string { return body })
}

func texts(comments []*sdk.PullReviewComment) []string {
	var list []string
	for _, c := range comments {
		list = append(list, fmt.Sprintf("%s %s:%d %q resolved by %v", c.Reviewer.UserName, c.Path, c.LineNum, c.Body, c.Resolver))
	}
	return list
}

// lookAtLine renders a comment on a line as the forge shows it, asserts what shows and
// what does not, and writes it with its piece of the diff for a browser.
func (p *project) lookAtLine(c *sdk.PullReviewComment) {
	p.t.Helper()
	shown, _, err := p.dev.RenderMarkdown(sdk.MarkdownOption{Text: c.Body, Mode: "gfm"})
	must(p.t, err)
	if strings.Contains(shown, "espalier-line") || !strings.Contains(shown, "<pre") {
		p.t.Errorf("the mark is shown, or no block of code:\n%s", shown)
	}
	hunk, _, err := p.dev.RenderMarkdown(sdk.MarkdownOption{Text: "```diff\n" + c.DiffHunk + "\n```", Mode: "gfm"})
	must(p.t, err)
	if *linePage != "" {
		text := style + hunk + "<div style='border:1px solid #d0d7de;border-radius:6px;padding:4px 14px;margin-left:24px'>" + shown + "</div>"
		must(p.t, os.WriteFile(*linePage, []byte(text), 0o600))
	}
}

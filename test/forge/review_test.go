// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"flag"
	"fmt"
	"os"
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// page is a file that the rendered comment is written to, for a browser and
// docs/review.png: go test ./test/forge -run TestReview -args -page /tmp/review.html
var page = flag.String("page", "", "file to write the rendered comment to")

// style stands in for the forge's own, which is built from another source.
const style = `<!doctype html><meta charset="utf-8"><style>
body{font:14px/1.5 system-ui,"DejaVu Sans",sans-serif;max-width:1180px;margin:16px;color:#1f2328}
table{border-collapse:collapse}td,th{border:1px solid #d0d7de;padding:6px 10px;vertical-align:top;text-align:left}
code{background:#eff1f3;border-radius:4px;padding:1px 4px;font-size:90%}tr:nth-child(even){background:#f6f8fa}h3{margin:18px 0 6px}
details{margin:6px 0}pre{background:#f6f8fa;padding:8px}pre code{background:none;padding:0}
.gd{color:#82071e;background:#ffebe9}.gi{color:#116329;background:#dafbe1}</style>`

// look renders a comment as the forge shows it, asserts that nothing of it is
// formatted by accident, and writes it for a browser.
func (p *project) look(comment *sdk.Comment) {
	p.t.Helper()
	html, _, err := p.dev.RenderMarkdown(sdk.MarkdownOption{Text: comment.Body, Mode: "gfm"})
	must(p.t, err)
	for _, part := range []string{"<table>", "<strong>", "<code>" + p.name + "/phi-4-mini</code>", "<details>"} {
		if !strings.Contains(html, part) {
			p.t.Errorf("the forge renders no %s:\n%s", part, html)
		}
	}
	if strings.Contains(html, "espalier-review") {
		p.t.Errorf("the mark is shown:\n%s", html)
	}
	if *page != "" {
		must(p.t, os.WriteFile(*page, []byte(style+html), 0o600))
	}
}

// TestReview is the whole story: a push is synced and its commit says so, a pull
// request is answered and answered anew in the same comment, what cannot work is
// refused, and what is merged becomes ready.
func TestReview(t *testing.T) {
	p := newProject(t, "story")
	first := p.git(p.folder, "rev-parse", "HEAD")
	p.sync(func(s *v1alpha1.RepoSync) { s.Spec.Report.PullRequest = true })
	const ready = "espalier/story/ready"
	p.status(first, ready, sdk.StatusSuccess)

	p.branch("longer")
	p.replace("contextLength: 32768", "contextLength: 65536")
	head := p.push("longer", "phi-4-mini: a longer context")
	number := p.open(p.dev, "longer", "A longer context")
	comment := p.answered(number, head)
	if comment.Poster.UserName != p.bot.Name || !strings.Contains(comment.Body, "context 32,768 → 65,536") || !strings.Contains(comment.Body, "1 workspace changes") {
		t.Errorf("the comment of %s says:\n%s", comment.Poster.UserName, comment.Body)
	}
	for name, part := range map[string]string{"espalier/plan": "1 workspace changes", "espalier/fit": "fits", "espalier/cost": "/month list price"} {
		if s := p.status(head, name, sdk.StatusSuccess); !strings.Contains(s.Description, part) || !strings.Contains(s.TargetURL, "/pulls/") {
			t.Errorf("%s: %+v, want %q and an address", name, s, part)
		}
	}

	p.look(comment)

	p.replace("contextLength: 65536", "contextLength: 99999999")
	head = p.push("longer", "phi-4-mini: far too long a context")
	edited := p.answered(number, head)
	if edited.ID != comment.ID {
		t.Errorf("a second comment %d, want %d edited in place", edited.ID, comment.ID)
	}
	p.status(head, "espalier/plan", sdk.StatusFailure)
	p.status(head, "espalier/fit", sdk.StatusFailure)

	p.replace("contextLength: 99999999", "contextLength: 16384")
	head = p.push("longer", "phi-4-mini: a shorter context")
	p.answered(number, head)
	p.status(head, "espalier/plan", sdk.StatusSuccess)
	merged := p.merge(number, sdk.MergeStyleMerge)
	p.status(merged, ready, sdk.StatusSuccess)
	done := p.becomes(number, merged)
	if done.ID != comment.ID {
		t.Errorf("a second comment %d, want %d edited in place", done.ID, comment.ID)
	}
	p.look(done)

	// What is squashed is another commit, of which the forge alone knows whose it is.
	p.git(p.folder, "checkout", "--quiet", "main")
	p.git(p.folder, "pull", "--quiet", "origin", "main")
	p.branch("squashed")
	p.replace("contextLength: 16384", "contextLength: 8192")
	head = p.push("squashed", "phi-4-mini: shorter still")
	number = p.open(p.dev, "squashed", "Shorter still")
	p.answered(number, head)
	p.status(head, "espalier/plan", sdk.StatusSuccess)
	p.becomes(number, p.merge(number, sdk.MergeStyleSquash))
}

// merge merges a pull request and returns the commit that it became.
func (p *project) merge(number int64, style sdk.MergeStyle) string {
	p.t.Helper()
	var refused error
	p.until("the merge", func() bool { // the forge first looks whether it can be merged, and says no meanwhile
		var merged bool
		merged, _, refused = p.dev.MergePullRequest(owner, p.name, number, sdk.MergePullRequestOption{Style: style})
		return merged
	}, func() string { return fmt.Sprint(refused) })
	p.git(p.folder, "fetch", "--quiet", "origin", "main")
	return p.git(p.folder, "rev-parse", "FETCH_HEAD")
}

// becomes waits for the one comment on a merged pull request to tell of its
// progress, and then of its end.
func (p *project) becomes(number int64, merged string) *sdk.Comment {
	p.t.Helper()
	var last []*sdk.Comment
	for _, part := range []string{"Merged as `" + merged[:7] + "`", "✅ Done in cluster"} {
		p.until(part, func() bool {
			last = p.comments(number)
			return len(last) == 1 && strings.Contains(last[0].Body, part)
		}, func() string { return fmt.Sprint(bodies(last)) })
	}
	for _, part := range []string{"`http://phi-4-mini." + p.name + ".svc", "/h |", "The plan, as it was before the merge"} {
		if !strings.Contains(last[0].Body, part) {
			p.t.Errorf("the comment does not hold %q:\n%s", part, last[0].Body)
		}
	}
	return last[0]
}

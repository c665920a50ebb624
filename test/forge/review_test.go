// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
)

const served = "models/phi-4-mini/workspace.yaml"

// TestReview is the whole story: a push is synced and its commit says so, a pull
// request is answered and answered anew in the same comment, what cannot work is
// refused, and what is merged becomes ready.
func TestReview(t *testing.T) {
	p := newProject(t, "story")
	first := p.git(p.folder, "rev-parse", "HEAD")
	p.sync(nil)
	const ready = "espalier/story/ready"
	p.status(first, ready, sdk.StatusSuccess)

	p.branch("longer")
	p.replace(served, "contextLength: 32768", "contextLength: 65536")
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

	p.replace(served, "contextLength: 65536", "contextLength: 99999999")
	head = p.push("longer", "phi-4-mini: far too long a context")
	edited := p.answered(number, head)
	if edited.ID != comment.ID {
		t.Errorf("a second comment %d, want %d edited in place", edited.ID, comment.ID)
	}
	p.status(head, "espalier/plan", sdk.StatusFailure)
	t.Log(edited.Body, p.statuses(head))

	p.replace(served, "contextLength: 99999999", "contextLength: 16384")
	head = p.push("longer", "phi-4-mini: a shorter context")
	p.answered(number, head)
	p.status(head, "espalier/plan", sdk.StatusSuccess)
	must(t, second(p.dev.MergePullRequest(owner, p.name, number, sdk.MergePullRequestOption{Style: sdk.MergeStyleMerge})))
	p.git(p.folder, "fetch", "--quiet", "origin", "main")
	merged := p.git(p.folder, "rev-parse", "FETCH_HEAD")
	p.status(merged, ready, sdk.StatusSuccess)
}

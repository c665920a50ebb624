// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestStrangers: a pull request from a fork is left alone unless the RepoSync says
// otherwise, and whatever is in it, the comment mentions nobody, links nowhere and
// shows no secret, as the forge itself renders it.
func TestStrangers(t *testing.T) {
	p := newProject(t, "strangers")
	s := p.sync(nil)
	fork, _, err := p.visitor.CreateFork(owner, p.name, sdk.CreateForkOption{})
	must(t, err)
	p.branch("hostile")
	const secret = "hunter2-5ecret-value"
	p.write("clusters/staging/workspaces/kustomization.yaml", "resources:\n- ../../../models/phi-4-mini\n- mine.yaml\n")
	p.write("clusters/staging/workspaces/mine.yaml", `apiVersion: v1
kind: Secret
metadata: {name: mine}
stringData: {token: `+secret+`}
---
apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata: {name: "@dev <img src=x onerror=alert(1)> #1 [x](https://evil.example.com)"}
spec: {}
`)
	p.git(p.folder, "remote", "add", "fork", p.gitea.CloneURL(p.visitor, fork.FullName))
	p.git(p.folder, "add", "--all")
	p.git(p.folder, "commit", "--quiet", "--message", "hello")
	p.git(p.folder, "push", "--quiet", "fork", "HEAD:hostile")
	head := p.git(p.folder, "rev-parse", "HEAD")
	number := p.open(p.visitor, p.visitor.Name+":hostile", "Please merge")

	// The answer to a pull request of a friend comes after the stranger's was seen.
	p.git(p.folder, "checkout", "--quiet", "main")
	p.branch("friend")
	p.replace("contextLength: 32768", "contextLength: 16384")
	friend := p.push("friend", "phi-4-mini: a shorter context")
	p.answered(p.open(p.dev, "friend", "A shorter context"), friend)
	if said := p.comments(number); len(said) != 0 || len(p.statuses(head)) != 0 {
		t.Fatalf("a fork is ignored unless the RepoSync says otherwise: %v", bodies(said))
	}

	must(t, p.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s))
	s.Spec.Review.Forks, s.Spec.Review.LineComments = v1alpha1.PlanForks, v1alpha1.FindingLineComments
	must(t, p.Client.Update(t.Context(), s))
	comment := p.answered(number, head)
	p.status(head, "espalier/plan", sdk.StatusFailure)
	said := []string{comment.Body}
	for _, c := range p.onLines(number) {
		said = append(said, c.Body)
	}
	if len(said) < 2 {
		t.Error("nothing is said on a line")
	}
	for _, text := range said {
		p.harmless(text, secret)
	}
	t.Log(said)
}

// harmless asserts what the forge does not make of a comment.
func (p *project) harmless(text, secret string) {
	p.t.Helper()
	html, _, err := p.dev.RenderMarkdown(sdk.MarkdownOption{Text: text, Mode: "gfm"})
	must(p.t, err)
	for _, bad := range []string{"<img", "onerror=alert(1)>", `href="/dev"`, "/dev\"", `href="https://evil`, `class="mention"`, "issues/1", "pulls/1", secret} {
		if strings.Contains(html, bad) || bad == secret && strings.Contains(text, bad) {
			p.t.Errorf("the comment holds %q:\n%s", bad, html)
		}
	}
}

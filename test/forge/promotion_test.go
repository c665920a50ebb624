// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"fmt"
	"strings"
	"testing"

	sdk "code.gitea.io/sdk/gitea"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestPromotion: a service waits for its adapter without a node, a run publishes it,
// a pull request brings its digest, is planned like any other, and once it is merged
// the service has what was trained.
func TestPromotion(t *testing.T) {
	p := newProject(t, "promotion")
	const adapter = harness.TrainedImage
	p.write("clusters/staging/workspaces/kustomization.yaml", "resources:\n- ../../../models/dolly-run\n- ../../../models/phi-3\n")
	for name, text := range harness.Promotion("    evaluation: {split: 5%, minImprovement: 10%}\n", `, "evaluation": {"lossBefore": "1.8300", "lossAfter": "1.2100"}`) {
		p.write(name, text)
	}
	p.push("main", "models: train dolly, and serve it")
	p.sync(func(s *v1alpha1.RepoSync) { s.Spec.Substitutions = nil })

	w := &v1alpha1.Workspace{}
	read := func() string {
		err := p.Client.Get(t.Context(), client.ObjectKey{Namespace: p.name, Name: "phi-3"}, w)
		if apierrors.IsNotFound(err) {
			return "not there"
		}
		must(t, err)
		c := condition.Get(w, v1alpha1.ConditionReady)
		if c == nil {
			return "no condition"
		}
		return c.Reason + ": " + c.Message
	}
	p.until("a service that waits", func() bool { return strings.HasPrefix(read(), v1alpha1.ReasonWaitingForAdapter) }, read)
	if w.Status.NodePool != "" {
		t.Errorf("it has asked for nodes: %s", w.Status.NodePool)
	}

	var found []*sdk.PullRequest
	p.until("a pull request", func() bool {
		list, _, err := p.dev.ListRepoPullRequests(owner, p.name, sdk.ListPullRequestsOptions{State: sdk.StateOpen})
		must(t, err)
		found = list
		return len(list) == 1
	}, func() string { return fmt.Sprint(len(found), " pull requests; the service: ", read()) })
	pr := found[0]
	if pr.Poster.UserName != p.bot.Name || !strings.Contains(pr.Body, adapter) || !strings.Contains(pr.Body, "loss 1.8300 → 1.2100 (33.8 % less)") || pr.Title != "phi-3: serve adapter dolly as dolly-run trained it" {
		t.Errorf("%s proposes %q:\n%s", pr.Poster.UserName, pr.Title, pr.Body)
	}
	p.answered(pr.Index, pr.Head.Sha)
	p.status(pr.Head.Sha, "espalier/plan", sdk.StatusSuccess)
	p.git(p.folder, "fetch", "--quiet", "origin", pr.Head.Ref)
	changed := p.git(p.folder, "diff", "--unified=0", "main", "FETCH_HEAD")
	for _, part := range []string{"-      image: registry.example.com/models/dolly:v1   # by digest once it is trained", "+      image: " + adapter + "   # by digest once it is trained"} {
		if !strings.Contains(changed, part+"\n") && !strings.HasSuffix(changed, part) || strings.Count(changed, "\n@@") != 1 {
			t.Errorf("the change is not the one line:\n%s", changed)
		}
	}
	p.merge(pr.Index, sdk.MergeStyleRebase)
	p.until("a service with its adapter", func() bool { read(); return condition.Is(w, v1alpha1.ConditionReady) }, read)
	if got := w.Spec.Inference.Adapters[0].Image; got != adapter {
		t.Errorf("it serves %s", got)
	}
}

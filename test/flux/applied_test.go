// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"fmt"
	"maps"
	"os"
	"os/exec"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/espalier-dev/espalier/test/gitserver"
)

// What Flux applies in the tests of this file: two Workspaces, and the RepoSync that
// reports on them. Flux gives them their namespace and their label.
const (
	first, second = "models/first.yaml", "models/second.yaml"

	list = "apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources: [first.yaml, second.yaml, reposync.yaml]\n"

	reporting = `apiVersion: espalier.dev/v1alpha1
kind: RepoSync
metadata:
  name: models
spec:
  mode: ReportOnly
  interval: 24h
  source:
    ref: {kind: GitRepository, name: models}
  workspaceSelector:
    matchLabels: {team: vision}
  report:
    commit:
      url: URL
      minInterval: 1s
      secretRef: {name: models-git}
`
)

func serving(name string) string {
	return fmt.Sprintf(`apiVersion: espalier.dev/v1alpha1
kind: Workspace
metadata:
  name: %s
spec:
  resource:
    instanceType: Standard_NC4as_T4_v3
  inference:
    preset: qwen3-8b-awq
    contextLength: 8192
`, name)
}

// following is a GitRepository and a Kustomization that waits for what it applies.
const following = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata:
  name: models
spec:
  url: URL
  ref: {branch: main}
  interval: 24h
  secretRef: {name: models-git}
---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata:
  name: models
spec:
  sourceRef: {kind: GitRepository, name: models}
  path: ./models
  interval: 24h
  retryInterval: 1s
  timeout: 90s
  prune: true
  wait: true
  targetNamespace: NAMESPACE
  commonMetadata:
    labels: {team: vision}
`

// native is a repository of native documents.
func (p *project) native() map[string]string {
	return map[string]string{
		"models/kustomization.yaml": list, first: serving("first"), second: serving("second"),
		"models/reposync.yaml": strings.Replace(reporting, "URL", p.world.Git.URL(p.Repo), 1),
	}
}

// follow lets Flux apply the repository.
func (p *project) follow() {
	p.t.Helper()
	p.apply(strings.NewReplacer("URL", p.world.Git.URL(p.Repo), "NAMESPACE", p.Namespace).Replace(following))
}

// ready waits until Flux says that a commit is applied and healthy, the RepoSync
// that it applied with it, and no Workspace contradicts.
func (p *project) ready(commit string, workspaces ...string) {
	p.t.Helper()
	p.until("Kustomization", "models", "Ready at "+commit[:7], func(s state) bool { return s.readyAt(commit) })
	for _, name := range workspaces {
		w := p.until("Workspace", name, "there", func(state) bool { return true })
		if !w.is("Ready", "True") || w.at("status", "observedGeneration") != w.at("metadata", "generation") {
			p.t.Errorf("Flux is Ready before Workspace %s: %s", name, w.condition("Ready"))
		}
	}
	p.until("RepoSync", "models", "Ready at "+commit[:7], func(s state) bool { return s.readyAt(commit) })
}

// TestApplied: Flux applies the Workspaces and waits for them, Espalier runs them and
// reports. What each kind of push does to a Kustomization with `wait: true` is what
// its users have in their hands.
func TestApplied(t *testing.T) {
	p := newProject(t, "applied")
	files := p.native()
	commit := p.push(files, "models: two that serve")
	p.follow()
	p.until("Kustomization", "models", "waiting for health", func(s state) bool { return s.is("Healthy", "Unknown") })
	if w := p.until("Workspace", "first", "there", func(state) bool { return true }); w.is("Ready", "True") {
		t.Error("the Workspace was Ready at once: nothing was waited for")
	}
	p.ready(commit, "first", "second")

	shorter := maps.Clone(files)
	p.replace(shorter, first, "contextLength: 8192", "contextLength: 4096")
	commit = p.push(shorter, "models: shorter context")
	p.ready(commit, "first", "second")
	p.context("first", "4096")

	// The RepoSync is part of what Flux waits for, and waits for Flux.
	shorter["README.md"] = "# Models\n"
	commit = p.push(shorter, "models: words")
	p.ready(commit, "first", "second")

	p.suspended(shorter)
	p.rolledBack(files)
	p.resting(files)
	p.forced(files)
	p.refused(files)
	p.pruned(files)
}

// context asserts what a Workspace was told.
func (p *project) context(name, want string) {
	p.t.Helper()
	w := p.until("Workspace", name, "there", func(state) bool { return true })
	if got := w.at("spec", "inference", "contextLength"); got != want {
		p.t.Errorf("Workspace %s has the context %s, want %s", name, got, want)
	}
}

// suspended: while the Kustomization is, the report says that Flux is behind.
func (p *project) suspended(files map[string]string) {
	p.t.Helper()
	p.suspend("Kustomization", true)
	next := maps.Clone(files)
	p.replace(next, first, "contextLength: 4096", "contextLength: 2048")
	commit := p.push(next, "models: shorter still")
	behind := p.until("RepoSync", "models", "waiting for Flux", func(s state) bool { return s.is("Ready", "False WaitingForFlux") })
	if said := behind.condition("Ready"); !strings.Contains(said, commit) {
		p.t.Errorf("the message names the commit that is waited for: %s", said)
	}
	p.context("first", "4096")
	p.suspend("Kustomization", false)
	p.ready(commit, "first", "second")
	p.context("first", "2048")
}

// rolledBack: a revert is a push like any other.
func (p *project) rolledBack(files map[string]string) {
	p.t.Helper()
	commit := p.push(files, "Revert \"models: shorter context\"")
	p.ready(commit, "first", "second")
	p.context("first", "8192")
}

// resting: what Git suspends is no failure to a Kustomization that judges as
// docs/flux.md has it; by kstatus alone it would wait until its timeout.
func (p *project) resting(files map[string]string) {
	p.t.Helper()
	page, err := os.ReadFile("../../docs/flux.md")
	must(p.t, err)
	_, rest, found := strings.Cut(string(page), "\n  healthCheckExprs:\n")
	expressions, _, _ := strings.Cut(rest, "```")
	patch, err := yaml.YAMLToJSON([]byte("spec:\n  healthCheckExprs:\n" + expressions))
	if must(p.t, err); !found {
		p.t.Fatal("docs/flux.md has no healthCheckExprs")
	}
	p.patch(p.object("Kustomization", models), string(patch))
	next := maps.Clone(files)
	p.replace(next, second, "spec:\n", "spec:\n  suspend: true\n")
	commit := p.push(next, "models: one rests")
	p.ready(commit, "first")
	if w := p.until("Workspace", "second", "there", func(state) bool { return true }); !w.is("Ready", "False Suspended") {
		p.t.Errorf("Flux is Ready before Workspace second rests: %s", w.condition("Ready"))
	}
	p.ready(p.push(files, "models: both serve"), "first", "second")
}

// forced: a branch that was pushed by force, to a history without a commit in common.
func (p *project) forced(files map[string]string) {
	p.t.Helper()
	next := maps.Clone(files)
	p.replace(next, second, "contextLength: 8192", "contextLength: 2048")
	must(p.t, orphan(p.world.Git, p.Repo))
	commit := p.push(next, "models: another history")
	log, err := p.world.Git.Log(p.Repo, "main")
	if must(p.t, err); len(log) != 1 {
		p.t.Fatalf("%d commits on main, want one without a parent", len(log))
	}
	p.ready(commit, "first", "second")
	p.context("second", "2048")
}

// orphan takes main away, so that the next push begins another history.
func orphan(git *gitserver.Server, repo string) error {
	return exec.Command("git", "-C", git.Dir(repo), "update-ref", "-d", "refs/heads/main").Run()
}

// refused: what can never work fails the Kustomization at once, and not after its
// timeout, and the RepoSync says why.
func (p *project) refused(files map[string]string) {
	p.t.Helper()
	next := maps.Clone(files)
	p.replace(next, second, "Standard_NC4as_T4_v3", "Standard_NC6s_v3")
	p.push(next, "models: a retired size")
	k := p.until("Kustomization", "models", "failed", func(s state) bool { return s.is("Ready", "False HealthCheckFailed") })
	if said := k.condition("Ready"); !strings.Contains(said, "second") || strings.Contains(said, "timeout") {
		p.t.Errorf("Flux names the Workspace, and does not wait in vain: %s", said)
	}
	s := p.until("RepoSync", "models", "failed too", func(s state) bool { return s.is("Ready", "False WorkspacesFailed") })
	if said := s.condition("Ready"); !strings.Contains(said, "retired") {
		p.t.Errorf("the message says why: %s", said)
	}
	commit := p.push(files, "models: a size that there is")
	p.ready(commit, "first", "second")
}

// pruned: what the folder no longer holds goes, with its nodes.
func (p *project) pruned(files map[string]string) {
	p.t.Helper()
	next := maps.Clone(files)
	delete(next, second)
	p.replace(next, "models/kustomization.yaml", "second.yaml, ", "")
	commit := p.push(next, "models: one is enough")
	p.gone("Workspace", "second")
	p.ready(commit, "first")

	// `flux reconcile` of ours, by the annotation.
	p.ask("RepoSync", "now")
	p.until("RepoSync", "models", "asked", func(s state) bool { return s.at("status", "lastHandledReconcileAt") == "now" })

	// Deleting the Kustomization takes everything that it has applied.
	must(p.t, p.world.Client.Delete(p.t.Context(), p.object("Kustomization", "models")))
	p.gone("Workspace", "first")
	p.gone("RepoSync", "models")
}

// SPDX-License-Identifier: Apache-2.0

// Package forge tests Espalier against a real forge: a Gitea that real git pushes
// to, its webhooks, and both controllers as processes with the accounts of deploy/.
//
// Nothing here is built by `make test`: where bin/gitea is not there, the tests are
// skipped and say so. `make e2e-forge` builds it and runs them.
package forge

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	sdk "code.gitea.io/sdk/gitea"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/example"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitea"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	patience  = 90 * time.Second
	owner     = "fleet"
	hookToken = "a-secret-of-the-webhook"
)

// names of the projects, each with a namespace of its own: two RepoSyncs that apply
// the same objects would be in each other's way.
var names = []string{"story", "lines", "renamed", "strangers", "commands", "promotion", "folder"}

// world is everything running, once for the package.
type world struct {
	*harness.Stand
	gitea   *gitea.Server
	review  *harness.Controller
	bot     *gitea.User // answers pull requests, and reads the repository
	dev     *gitea.User // makes them
	visitor *gitea.User // may only read and fork
}

var theWorld struct {
	once sync.Once
	*world
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if w := theWorld.world; w != nil {
		log, err := os.ReadFile(w.ReviewLog())
		if err != nil || strings.Contains(string(log), "is forbidden") || strings.Contains(string(log), w.bot.Token) {
			fmt.Fprintln(os.Stderr, "deploy/review lacks a right, or the log holds the token:", err, string(log))
			code = max(code, 1)
		}
		if err := errors.Join(w.review.Stop(), w.Stop(), w.gitea.Stop()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func start(t *testing.T) *world {
	t.Helper()
	theWorld.once.Do(func() { theWorld.world, theWorld.err = startWorld(context.Background()) })
	if errors.Is(theWorld.err, gitea.ErrNotBuilt) {
		t.Skip(theWorld.err)
	}
	if theWorld.err != nil {
		t.Fatal(theWorld.err)
	}
	return theWorld.world
}

func startWorld(ctx context.Context) (*world, error) {
	w := &world{}
	var err error
	if w.gitea, err = gitea.Start(ctx); err != nil {
		return nil, err
	}
	// The rights that docs/review.md lists for the account of the review.
	if w.bot, err = w.gitea.NewUser("espalier-bot", "write:issue", "write:repository", "read:user"); err != nil {
		return nil, err
	}
	if w.dev, err = w.gitea.NewUser("dev", "all"); err != nil {
		return nil, err
	}
	if w.visitor, err = w.gitea.NewUser("visitor", "all"); err != nil {
		return nil, err
	}
	if _, _, err = w.gitea.Admin.CreateOrg(sdk.CreateOrgOption{Name: owner, Visibility: "public"}); err != nil {
		return nil, fmt.Errorf("making the organisation: %w", err)
	}
	w.Stand, err = harness.Start(ctx, harness.Options{
		CreateDelay: 300 * time.Millisecond, GPUDelay: 200 * time.Millisecond, DeleteDelay: 200 * time.Millisecond,
		JobDuration: time.Second, PollInterval: 200 * time.Millisecond, Out: os.Stderr,
	})
	if err != nil {
		return nil, err
	}
	for _, name := range names {
		if err := w.Client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
			return nil, err
		}
	}
	if err := w.StartController(ctx); err != nil {
		return nil, err
	}
	w.review, err = w.StartReview(ctx, names, "--review-timeout=60s")
	return w, err
}

// project is one repository with its RepoSync.
type project struct {
	*world
	t      *testing.T
	name   string
	folder string // a clone of dev's
}

// newProject makes a repository whose main branch holds the sample, and its
// webhooks.
func newProject(t *testing.T, name string) *project {
	t.Helper()
	p := &project{world: start(t), t: t, name: name, folder: filepath.Join(t.TempDir(), name)}
	must(t, second(p.gitea.Admin.CreateOrgRepo(owner, sdk.CreateRepoOption{Name: name, DefaultBranch: "main"})))
	write, read := sdk.AccessModeWrite, sdk.AccessModeRead
	for user, mode := range map[string]*sdk.AccessMode{p.bot.Name: &write, p.dev.Name: &write, p.visitor.Name: &read} {
		_, err := p.gitea.Admin.AddCollaborator(owner, name, user, sdk.AddCollaboratorOption{Permission: mode})
		must(t, err)
	}
	for path, events := range map[string][]string{"/hook": {"push"}, "/review": {"pull_request", "pull_request_sync", "pull_request_comment"}} {
		target := p.review
		url := p.HookURL(name, name)
		if path == "/review" {
			url = target.HookURL(path, name, name)
		}
		must(t, second(p.gitea.Admin.CreateRepoHook(owner, name, sdk.CreateHookOption{
			Type: sdk.HookTypeGitea, Active: true, Events: events,
			Config: map[string]string{"url": url, "content_type": "json", "secret": hookToken},
		})))
	}
	p.git("", "init", "--quiet", "--initial-branch=main", p.folder)
	p.git(p.folder, "remote", "add", "origin", p.gitea.CloneURL(p.dev, owner+"/"+name))
	files, err := harness.Example()
	must(t, err)
	for file, content := range files {
		p.write(file, content)
	}
	p.push("main", "models: the sample")
	// Gitea takes no pull request, and lists none, while it thinks a repository empty,
	// which it does until its queue has come to the push.
	p.until("known not to be empty", func() bool {
		_, _, err := p.dev.ListRepoPullRequests(owner, name, sdk.ListPullRequestsOptions{})
		return err == nil
	}, func() string { return "no pull requests" })
	return p
}

// second is the error of a call of Gitea's library.
func second[A, B any](_ A, _ B, err error) error { return err }

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// git runs the real git as a person would.
func (p *project) git(dir string, args ...string) string {
	p.t.Helper()
	cmd := exec.CommandContext(p.t.Context(), "git", args...)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0",
		"GIT_AUTHOR_NAME=Dev", "GIT_AUTHOR_EMAIL=dev@example.com", "GIT_COMMITTER_NAME=Dev", "GIT_COMMITTER_EMAIL=dev@example.com")
	out, err := cmd.CombinedOutput()
	if err != nil {
		p.t.Fatalf("git %v: %v\n%s", args, err, out)
	}
	return strings.TrimSpace(string(out))
}

func (p *project) write(file, content string) {
	p.t.Helper()
	name := filepath.Join(p.folder, file)
	must(p.t, os.MkdirAll(filepath.Dir(name), 0o755))
	must(p.t, os.WriteFile(name, []byte(content), 0o600))
}

// served is the Workspace of the sample that serves.
const served = "models/phi-4-mini/workspace.yaml"

// replace edits what is served.
func (p *project) replace(from, to string) {
	p.t.Helper()
	content, err := os.ReadFile(filepath.Join(p.folder, served))
	must(p.t, err)
	changed := strings.Replace(string(content), from, to, 1)
	if changed == string(content) {
		p.t.Fatalf("%s holds no %q", served, from)
	}
	p.write(served, changed)
}

// branch begins one at main.
func (p *project) branch(name string) { p.git(p.folder, "checkout", "--quiet", "-B", name, "main") }

// push commits everything and pushes it, and returns the commit.
func (p *project) push(branch, message string) string {
	p.t.Helper()
	p.git(p.folder, "add", "--all")
	p.git(p.folder, "commit", "--quiet", "--message", message)
	p.git(p.folder, "push", "--quiet", "origin", "HEAD:"+branch)
	return p.git(p.folder, "rev-parse", "HEAD")
}

// sync creates the RepoSync, with its Secrets. It looks by itself so seldom that
// only webhooks bring anything in time.
func (p *project) sync(change func(*v1alpha1.RepoSync)) *v1alpha1.RepoSync {
	p.t.Helper()
	secrets := map[string]map[string]string{
		p.name + "-git":   {"username": p.bot.Name, "password": p.bot.Token},
		p.name + "-forge": {"token": p.bot.Token},
		p.name + "-hook":  {"token": hookToken},
	}
	for name, data := range secrets {
		must(p.t, p.Client.Create(p.t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: name}, StringData: data}))
	}
	push := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: harness.PushSecret},
		Type:       corev1.SecretTypeDockerConfigJson,
		StringData: map[string]string{corev1.DockerConfigJsonKey: `{"auths":{}}`},
	}
	must(p.t, client.IgnoreAlreadyExists(p.Client.Create(p.t.Context(), push)))
	s := &v1alpha1.RepoSync{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.name, Name: p.name},
		Spec: v1alpha1.RepoSyncSpec{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{
				URL: p.gitea.URL + "/" + owner + "/" + p.name + ".git", Ref: v1alpha1.GitRef{Branch: "main"},
				SecretRef: &v1alpha1.LocalObjectReference{Name: p.name + "-git"},
			}},
			Path: repolayout.PathRoot(example.Staging), Interval: metav1.Duration{Duration: time.Hour}, Timeout: metav1.Duration{Duration: 20 * time.Second},
			Substitutions: map[string]string{harness.RetiredSize: harness.MovedToSize},
			Hook:          &v1alpha1.Hook{SecretRef: v1alpha1.LocalObjectReference{Name: p.name + "-hook"}},
			Review:        &v1alpha1.Review{Provider: v1alpha1.Gitea, SecretRef: v1alpha1.LocalObjectReference{Name: p.name + "-forge"}},
			Report:        &v1alpha1.Report{Statuses: true},
		},
	}
	if change != nil {
		change(s)
	}
	must(p.t, p.Client.Create(p.t.Context(), s))
	p.t.Cleanup(func() {
		if p.t.Failed() {
			log, _ := os.ReadFile(p.ReviewLog())
			events, _ := p.Cluster.Kubectl(context.Background(), "get", "events", "--namespace", p.name)
			p.t.Logf("review log:\n%s\nevents:\n%s", log, events)
		}
	})
	return s
}

// open makes a pull request to main.
func (p *project) open(by *gitea.User, head, title string) int64 {
	p.t.Helper()
	pr, _, err := by.CreatePullRequest(owner, p.name, sdk.CreatePullRequestOption{Head: head, Base: "main", Title: title})
	must(p.t, err)
	return pr.Index
}

// comments are those on a pull request.
func (p *project) comments(number int64) []*sdk.Comment {
	p.t.Helper()
	list, _, err := p.dev.ListIssueComments(owner, p.name, number, sdk.ListIssueCommentOptions{})
	must(p.t, err)
	return list
}

// answered waits for the one comment to speak of a head, and returns it.
func (p *project) answered(number int64, head string) *sdk.Comment {
	p.t.Helper()
	var last []*sdk.Comment
	p.until("answered", func() bool {
		last = p.comments(number)
		return len(last) == 1 && strings.Contains(last[0].Body, head+" ")
	}, func() string { return fmt.Sprint(bodies(last)) })
	return last[0]
}

func bodies(comments []*sdk.Comment) []string {
	var list []string
	for _, c := range comments {
		list = append(list, c.Body)
	}
	return list
}

// statuses are those of a commit, state and text by name.
func (p *project) statuses(commit string) map[string]sdk.Status {
	p.t.Helper()
	combined, _, err := p.dev.GetCombinedStatus(owner, p.name, commit)
	must(p.t, err)
	found := map[string]sdk.Status{}
	for _, s := range combined.Statuses {
		found[s.Context] = *s
	}
	return found
}

// status waits for a status of a commit to be in a state.
func (p *project) status(commit, name string, state sdk.StatusState) sdk.Status {
	p.t.Helper()
	var last map[string]sdk.Status
	p.until(name+" "+string(state), func() bool {
		last = p.statuses(commit)
		return last[name].State == state
	}, func() string { return fmt.Sprintf("%+v", last) })
	return last[name]
}

func (p *project) until(what string, holds func() bool, seen func() string) {
	p.t.Helper()
	err := wait.PollUntilContextTimeout(p.t.Context(), 200*time.Millisecond, patience, true, func(context.Context) (bool, error) {
		return holds(), nil
	})
	if err != nil {
		p.t.Fatalf("waiting for %s: %v; last seen: %s", what, err, seen())
	}
}

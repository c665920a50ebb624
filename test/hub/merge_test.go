// SPDX-License-Identifier: Apache-2.0

package hub

import (
	"context"
	"encoding/base64"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/forgefake"
	"github.com/espalier-dev/espalier/test/harness"
)

const (
	watched = "clusters/west/workspaces"
	service = harness.Trained
	adapter = harness.TrainedImage
)

// trained are a service, and a run that promotes its adapter to it.
func trained() map[string]string {
	files := harness.Promotion("", "")
	files[watched+"/kustomization.yaml"] = "resources: [config.yaml, ../../../models/dolly-run, ../../../models/phi-3]\n"
	return files
}

// TestMerged: the pull requests of a RepoSync that applies to another cluster are
// answered, followed after the merge, and made for an adapter, as those of this one: by
// the process of the hub that holds the forge's token, while the spoke has no word of
// the forge and that process none of the spoke.
func TestMerged(t *testing.T) {
	w := newWorld(t)
	first := w.push(untrained(), "models: nothing yet")
	forge := w.startForge(first)
	w.tell("value", w.config(w.spoke, "session-1"))
	sync := w.RepoSync(nil)
	sync.Spec.Path, sync.Spec.KubeConfig = watched, &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: kubeconfig}}
	sync.Spec.Review = &v1alpha1.Review{Provider: v1alpha1.BitbucketServer, URL: forge.url, SecretRef: v1alpha1.LocalObjectReference{Name: "forge"}}
	sync.Spec.Report.PullRequest = true
	if err := w.Client.Create(t.Context(), sync); err != nil {
		t.Fatal(err)
	}
	review, err := w.StartReview(t.Context(), []string{namespace})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = review.Stop() })

	files := untrained()
	maps.Copy(files, trained())
	forge.Change(1, func(p *forgefake.Pull) { p.Head = w.branch("feature", files) })
	forge.says(1, "dolly-run", "phi-3", "Standard_NC24ads_A100_v4")
	merged := w.push(files, "models: train dolly, and serve it")
	forge.Change(1, func(p *forgefake.Pull) { p.State, p.Result, p.At = forgefake.Merged, merged, time.Now() })
	forge.says(1, "to the cluster of its `spec.kubeConfig`", "✅ tuned", adapter, "waiting for its adapter")

	branch := forge.proposed()
	proposed, err := w.Git.Files(w.Repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	head, err := w.Git.Head(w.Repo, branch)
	if err != nil {
		t.Fatal(err)
	}
	path := "models/" + service + "/workspace.yaml"
	if want := strings.Replace(files[path], harness.TrainedTag+" ", adapter+" ", 1); proposed[path] != want {
		t.Errorf("%s has\n%s", branch, proposed[path])
	}
	forge.Change(2, func(p *forgefake.Pull) { p.Head, p.MergeBase = head, merged })
	forge.says(2, service)
	promoted := w.push(proposed, "models: serve what was trained")
	forge.Change(2, func(p *forgefake.Pull) { p.State, p.Result, p.At = forgefake.Merged, promoted, time.Now() })
	o := workspace(service)
	if err := harness.Until(w.patient(), w.spoke, o, "Ready with its adapter", func(o *v1alpha1.Workspace) bool {
		return isReady(o) && o.Spec.Inference.Adapters[0].Image == adapter
	}); err != nil {
		t.Fatal(err)
	}
	for number := range int64(2) {
		forge.says(number+1, "✅ Done in cluster", " true)")
	}
	w.apart()
	for _, p := range forge.Problems() {
		t.Error(p)
	}
}

func untrained() map[string]string {
	return map[string]string{
		watched + "/kustomization.yaml": "resources: [config.yaml]\n",
		watched + "/config.yaml":        "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: config}\n",
	}
}

// branch pushes to another branch than the one that is synced.
func (w *world) branch(name string, files map[string]string) string {
	commit, err := w.Git.Push(w.Repo, name, files, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return commit
}

// apart: nothing of the forge is in the spoke, and nothing of the spoke in the log of the
// process that answers pull requests, or in the status that tells it of Workspaces.
func (w *world) apart() {
	secrets := w.kubectl(w.spoke, "get", "secrets,configmaps,workspaces", "--all-namespaces", "--output", "yaml")
	for _, token := range []string{forgefake.Token, base64.StdEncoding.EncodeToString([]byte(forgefake.Token))} {
		if strings.Contains(secrets, token) {
			w.t.Error("the token of the forge is in the spoke")
		}
	}
	log, err := os.ReadFile(w.ReviewLog())
	if err != nil {
		w.t.Fatal(err)
	}
	for _, secret := range append(w.said, forgefake.Token) {
		if strings.Contains(string(log), secret) && !strings.Contains(w.Cluster.Config.Host, secret) {
			w.t.Errorf("%q is in the log of the review", secret)
		}
	}
	if strings.Contains(string(log), "forbidden") {
		w.t.Errorf("deploy/review lacks a right:\n%s", log)
	}
	s := w.sync()
	if err := harness.Until(w.patient(), w.Stand, s, "with what is told", func(s *v1alpha1.RepoSync) bool { return s.Status.Spoke != nil }); err != nil {
		w.t.Fatal(err)
	}
	if s.Status.Spoke.Workspaces != 2 || len(s.Status.Spoke.List) > 4<<10 || !condition.Is(s, v1alpha1.ConditionReady) {
		w.t.Errorf("the status tells of %d Workspaces in %d bytes", s.Status.Spoke.Workspaces, len(s.Status.Spoke.List))
	}
}

// fakeForge is a forge with the repository of the team behind it, which it lets nobody
// into without its token.
type fakeForge struct {
	*forgefake.Repo
	url string
	w   *world
}

func (w *world) startForge(base string) fakeForge {
	w.t.Helper()
	f := fakeForge{w: w, Repo: forgefake.New(forgefake.Pull{Number: 1, Base: "main", Branch: "feature", Head: base, MergeBase: base, State: forgefake.Open})}
	git, err := url.Parse(w.Git.URL(w.Repo))
	if err != nil {
		w.t.Fatal(err)
	}
	const clone = "/scm/" + forgefake.Owner + "/" + forgefake.Name + ".git"
	behind := &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.Out.URL.Scheme, r.Out.URL.Host = git.Scheme, git.Host
		r.Out.URL.Path = git.Path + strings.TrimPrefix(r.In.URL.Path, clone)
		r.Out.SetBasicAuth(harness.GitUser, harness.GitPassword)
	}}
	mux := http.NewServeMux()
	mux.Handle("/", f.BitbucketServer())
	mux.HandleFunc(clone+"/", func(rw http.ResponseWriter, r *http.Request) {
		if _, password, _ := r.BasicAuth(); password != forgefake.Token {
			rw.Header().Set("WWW-Authenticate", "Basic")
			http.Error(rw, "sign in", http.StatusUnauthorized)
			return
		}
		behind.ServeHTTP(rw, r)
	})
	server := httptest.NewServer(mux)
	w.t.Cleanup(server.Close)
	f.url = server.URL + "/projects/" + forgefake.Owner + "/repos/" + forgefake.Name
	if out, err := exec.CommandContext(w.t.Context(), "git", "-C", w.Git.Dir(w.Repo), "config", "uploadpack.allowReachableSHA1InWant", "true").CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "forge"}, StringData: map[string]string{"token": forgefake.Token}}
	if err := w.Client.Create(w.t.Context(), secret); err != nil {
		w.t.Fatal(err)
	}
	return f
}

// says waits until the one comment on a pull request says all of it.
func (f fakeForge) says(number int64, words ...string) {
	f.w.t.Helper()
	var texts []string
	err := wait.PollUntilContextCancel(f.w.patient(), 100*time.Millisecond, true, func(context.Context) (bool, error) {
		texts = f.Texts(number, "bot")
		for _, word := range words {
			if len(texts) != 1 || !strings.Contains(texts[0], word) {
				return false, nil
			}
		}
		return true, nil
	})
	if err != nil {
		log, _ := os.ReadFile(f.w.ReviewLog())
		lines := strings.Split(string(log), "\n")
		f.w.t.Fatalf("the comment on %d never said %q; last: %q\n%s", number, words, texts, strings.Join(lines[max(0, len(lines)-30):], "\n"))
	}
}

// proposed waits for the pull request that the hub makes, and returns its branch.
func (f fakeForge) proposed() (branch string) {
	f.w.t.Helper()
	err := wait.PollUntilContextCancel(f.w.patient(), 100*time.Millisecond, true, func(context.Context) (bool, error) {
		f.Change(2, func(p *forgefake.Pull) {
			if p != nil {
				branch = p.Branch
			}
		})
		return branch != "", nil
	})
	if err != nil {
		log, _ := os.ReadFile(f.w.ReviewLog())
		f.w.t.Fatalf("nothing is proposed:\n%s", log)
	}
	if want := "espalier/promote/local/models_models_models/dolly-run/ab12ab12ab12"; branch != want {
		f.w.t.Errorf("proposed in %s, want %s", branch, want)
	}
	return branch
}

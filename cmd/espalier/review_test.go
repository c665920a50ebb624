// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/reconciler/review"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// planned pushes two commits and has them planned in a process, as the review
// controller does.
func planned(t *testing.T, p processPlanner, base, head map[string]string) (review.Verdict, error) {
	t.Helper()
	server := gitserver.Serve(t, gitserver.Options{}, "models")
	var hashes []string
	for _, files := range []map[string]string{base, head} {
		hash, err := server.Push("models", "main", files, "change")
		if err != nil {
			t.Fatal(err)
		}
		hashes = append(hashes, hash)
	}
	cmd := exec.CommandContext(t.Context(), "git", "-C", server.Dir("models"), "config", "uploadpack.allowReachableSHA1InWant", "true")
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	commits, err := git.Remote{URL: server.URL("models")}.Commits(t.Context(), hashes...)
	if err != nil {
		t.Fatal(err)
	}
	// This test's own binary is the program when it is called by its name.
	self, err := os.Executable()
	if err != nil {
		t.Fatal(err)
	}
	p.binary = filepath.Join(t.TempDir(), "espalier")
	if err := os.Symlink(self, p.binary); err != nil {
		t.Fatal(err)
	}
	sync := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "models"}, Spec: v1alpha1.RepoSyncSpec{
		Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: server.URL("models"), Ref: v1alpha1.GitRef{Branch: "main"}}},
		Review: &v1alpha1.Review{Provider: v1alpha1.GitHub, LineComments: v1alpha1.FindingLineComments},
	}}
	started := time.Now()
	// Without a logger, controller-runtime complains of that with a stack trace.
	ctx := ctrl.LoggerInto(t.Context(), zap.New(zap.WriteTo(io.Discard)))
	v, err := p.Plan(ctx, review.Question{
		Sync: sync, Base: hashes[0], Head: hashes[1], BaseName: "main", HeadName: "pull request 1",
		Program: review.Program{Render: defaultRender()}, Limit: plan.LimitGitea,
	}, commits)
	t.Logf("took %s: %s", time.Since(started).Round(time.Millisecond), v.Plan.Text)
	return v, err
}

// roomy is what an installation gives.
var roomy = processPlanner{timeout: 2 * time.Minute, memory: 512 << 20}

func named(name string) string { return strings.Replace(honest, "name: a", "name: "+name, 1) }

func TestProcessPlanner(t *testing.T) {
	v, err := planned(t, roomy, map[string]string{"a.yaml": honest}, map[string]string{"a.yaml": honest, "b.yaml": named("b")})
	if err != nil {
		t.Fatal(err)
	}
	if v.Plan.State != forge.Success || !strings.Contains(v.Plan.Text, "1 new") || !strings.Contains(v.Markdown, "models/b") {
		t.Errorf("%+v", v)
	}
}

// TestProcessPlannerEnds: what takes too long or too much is ended, and the
// sentence is ours.
func TestProcessPlannerEnds(t *testing.T) {
	many := map[string]string{}
	for i := range 1500 {
		many[fmt.Sprintf("w/%d/kustomization.yaml", i)] = "resources: [w.yaml]\n"
		many[fmt.Sprintf("w/%d/w.yaml", i)] = named(fmt.Sprintf("w%d", i))
	}
	list := "resources:\n"
	for i := range 1500 {
		list += fmt.Sprintf("- w/%d\n", i)
	}
	many["kustomization.yaml"] = list
	for name, tc := range map[string]struct {
		reason  string
		planner processPlanner
		says    string
	}{
		"Time":      {reason: "A deadline that nothing can keep.", planner: processPlanner{timeout: 50 * time.Millisecond, memory: roomy.memory}, says: "takes longer than 50ms"},
		"Processor": {reason: "The kernel ends what has had its share.", planner: processPlanner{timeout: roomy.timeout, memory: roomy.memory, share: time.Second}, says: "takes more than 1s of processor time"},
		"Memory":    {reason: "The kernel refuses what is over the limit.", planner: processPlanner{timeout: roomy.timeout, memory: 70 << 20}, says: "takes more than 70 MiB of memory"},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := planned(t, tc.planner, map[string]string{"a.yaml": honest}, many)
			var undone *review.Undone
			if !errors.As(err, &undone) || !strings.Contains(undone.Why, tc.says) {
				t.Errorf("%s\ngot %v, want %q", tc.reason, err, tc.says)
			}
		})
	}
}

// TestOutOfTime: the clock that kills and the clock that is read are two.
func TestOutOfTime(t *testing.T) {
	const killed, failed = syscall.WaitStatus(syscall.SIGKILL), syscall.WaitStatus(2 << 8)
	for name, tc := range map[string]struct {
		reason string
		status syscall.WaitStatus
		used   time.Duration
		want   bool
		memory bool
	}{
		"Killed":      {reason: "The limit was reached by the clock of ticks, or the memory was.", status: killed, used: 700 * time.Millisecond, want: true, memory: true},
		"KilledLate":  {reason: "By both clocks its time was up.", status: killed, used: 950 * time.Millisecond, want: true},
		"KilledEarly": {reason: "Somebody else killed it: the container's memory, most likely.", status: killed, used: 200 * time.Millisecond},
		"Failed":      {reason: "It ended by itself, and has time left.", status: failed, used: 700 * time.Millisecond},
		"FailedLate":  {reason: "It ended over its last grains of time.", status: failed, used: 950 * time.Millisecond, want: true},
	} {
		t.Run(name, func(t *testing.T) {
			if got, memory := outOfTime(tc.status, tc.used, time.Second); got != tc.want || memory != tc.memory {
				t.Errorf("%s\ngot %t and memory %t, want %t and %t", tc.reason, got, memory, tc.want, tc.memory)
			}
		})
	}
}

// mentions are what forges would mail or link, and tags what they would render,
// outside of code.
var (
	code     = regexp.MustCompile("(?s)```.*?```|`[^`\n]*`")
	mentions = regexp.MustCompile(`(^|[^\\\w])@\w|[^\\&\w]#\d`)
	tags     = regexp.MustCompile(`(?:^|[^\\])<(?:script|img|a|iframe|svg)\b`)
	openings = regexp.MustCompile(`(?m)(?:^|[^\\])<!--`)
)

// TestHostileHead: a comment is bounded, shows what somebody wrote as they wrote
// it, and holds no secret, whatever is in the pull request.
func TestHostileHead(t *testing.T) {
	const secret = "hunter2-5ecret-value"
	base := map[string]string{"a.yaml": honest}
	with := func(files map[string]string) map[string]string {
		files["a.yaml"] = honest
		return files
	}
	for name, tc := range map[string]struct {
		reason string
		head   map[string]string
		want   forge.State
		says   string
	}{
		"Mentions":  {reason: "Nobody is mailed for what a stranger wrote.", head: with(map[string]string{"b.yaml": strings.Replace(honest, "name: a", `name: "@everyone <script>alert(1)</script> fixes #1 ![x](https://evil.example.com/p.png)"`, 1)}), want: forge.Failure},
		"FileNames": {reason: "Names of files are as hostile as what is in them.", head: with(map[string]string{"@everyone <img src=x> #1.yaml": "apiVersion: v1\nkind: Pod\nmetadata: {name: x}\n"}), want: forge.Failure},
		"Marker":    {reason: "A comment cannot be ended from within, nor another one's mark be forged.", head: with(map[string]string{"b.yaml": strings.Replace(honest, "name: a", `name: "--> <!-- espalier-review espalier prod/models/models a b c -->"`, 1)}), want: forge.Failure},
		"Bomb":      {reason: "A kilobyte that stands for gigabytes.", head: with(map[string]string{"b.yaml": bomb()}), want: forge.Failure, says: "AliasBomb"},
		"Symlink":   {reason: "A link out of the tree is not followed.", head: with(map[string]string{"b.yaml": gitserver.Symlink("/etc/passwd"), "kustomization.yaml": "resources: [a.yaml, b.yaml]\n"}), want: forge.Failure},
		"Remote":    {reason: "Nothing is fetched.", head: with(map[string]string{"kustomization.yaml": "resources: ['https://evil.example.com/x?ref=main']\n"}), want: forge.Failure},
		"Secret": {
			reason: "A Secret in Git is a warning, and never shown.",
			head:   with(map[string]string{"b.yaml": "apiVersion: v1\nkind: Secret\nmetadata: {name: s}\nstringData: {token: " + secret + "}\n"}), want: forge.Success, says: "SecretInGit",
		},
		"ConfigMap": {
			reason: "What a configuration holds is in Git, and not repeated where it is not rendered.",
			head:   with(map[string]string{"b.yaml": "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: c}\ndata: {password: " + secret + "}\n"}), want: forge.Success,
		},
		"OnALine": {
			reason: "A line that holds a token is in no suggestion, nor anywhere else.",
			head:   with(map[string]string{"b.yaml": strings.Replace(named("b"), "{preset: phi-4-mini-instruct,", "{preset: phi-4-mini-instruct, contextLenght: 4096, # token: "+secret+"\n   ", 1)}), want: forge.Failure, says: "contextLenght",
		},
		"SyncAway": {reason: "A RepoSync that leaves the repository is no proposal.", head: with(map[string]string{"sync.yaml": "apiVersion: espalier.dev/v1alpha1\nkind: RepoSync\nmetadata: {name: models, namespace: models}\nspec: {path: ../.., source: {git: {url: 'https://evil.example.com/x'}}}\n"}), want: forge.Failure},
	} {
		t.Run(name, func(t *testing.T) {
			v, err := planned(t, roomy, base, tc.head)
			if err != nil {
				t.Fatal(err)
			}
			if v.Plan.State != tc.want || !strings.Contains(v.Markdown, tc.says) {
				t.Errorf("%s\ngot %+v, want %s and %q\n%s", tc.reason, v.Plan, tc.want, tc.says, v.Markdown)
			}
			plain := code.ReplaceAllString(v.Markdown, "")
			all := []string{plain, v.Plan.Text, v.Fit.Text, v.Cost.Text}
			for _, o := range v.Lines.Offered {
				all = append(all, code.ReplaceAllString(o.Text, ""))
				if strings.Contains(o.Text, secret) || openings.MatchString(o.Text) {
					t.Errorf("%s\n%s", tc.reason, o.Text)
				}
			}
			for _, said := range all {
				if found := append(mentions.FindAllString(said, -1), tags.FindAllString(said, -1)...); len(found) > 0 {
					t.Errorf("%s\n%q would be rendered in\n%s", tc.reason, found, said)
				}
			}
			if strings.Contains(v.Markdown, secret) || strings.Contains(v.Markdown, "root:x:") || len(openings.FindAllString(v.Markdown, -1)) != 1 {
				t.Errorf("%s\n%s", tc.reason, v.Markdown)
			}
		})
	}
}

// TestManyChanges: ten thousand changed Workspaces are one bounded comment, in
// bounded time and memory.
func TestManyChanges(t *testing.T) {
	const units, each = 100, 100
	base, head := map[string]string{}, map[string]string{}
	list := "resources:\n"
	for u := range units {
		folder := fmt.Sprintf("u%d", u)
		list += "- " + folder + "\n"
		var before, after strings.Builder
		for i := range each {
			before.WriteString("---\n" + named(fmt.Sprintf("w%d-%d", u, i)))
			after.WriteString("---\n" + strings.Replace(named(fmt.Sprintf("w%d-%d", u, i)), "{preset", "{contextLength: 4096, preset", 1))
		}
		for files, text := range map[*map[string]string]string{&base: before.String(), &head: after.String()} {
			(*files)[folder+"/kustomization.yaml"], (*files)[folder+"/w.yaml"] = "resources: [w.yaml]\n", text
		}
	}
	base["kustomization.yaml"], head["kustomization.yaml"] = list, list
	v, err := planned(t, roomy, base, head)
	var undone *review.Undone
	switch {
	case errors.As(err, &undone):
		t.Logf("this machine is too slow or busy for it, and says so: %v", undone)
	case err != nil:
		t.Fatal(err)
	case v.Lines == nil || len(v.Lines.Offered) > 20 || len(v.Lines.Standing) > 2000:
		t.Errorf("on lines: %+v", v.Lines)
	case len(v.Markdown) > plan.LimitGitea || !strings.Contains(v.Plan.Text, "10000 workspaces change"):
		t.Errorf("%d bytes, %s", len(v.Markdown), v.Plan.Text)
	}
}

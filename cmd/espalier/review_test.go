// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"io"
	"maps"
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
func planned(t *testing.T, p processPlanner, base, head map[string]string, live ...func(*v1alpha1.RepoSync)) (review.Verdict, error) {
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
	for _, change := range live {
		change(sync)
	}
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

// TestSyncOfHead: what becomes of the RepoSync itself is part of the plan, and
// what it builds with is taken from head, as far as a stranger may say it.
func TestSyncOfHead(t *testing.T) {
	const small, large = "Standard_NC24ads_A100_v4", "Standard_NC40ads_H100_v5"
	file := func(more string) string {
		return "apiVersion: espalier.dev/v1alpha1\nkind: RepoSync\nmetadata: {name: models, namespace: models}\nspec:\n  path: w\n" +
			"  source: {git: {url: 'https://git.example.com/models', ref: {branch: main}}}\n" + more
	}
	size := func(name string) string { return "  postBuild: {substitute: {SIZE: " + name + "}}\n" }
	sized := strings.Replace(honest, small, `"${SIZE}"`, 1)
	lives := func(s *v1alpha1.RepoSync) {
		s.Spec.Path, s.Spec.DeletionPolicy = "w", v1alpha1.Delete
		s.Spec.PostBuild = &v1alpha1.PostBuild{Substitute: map[string]v1alpha1.VariableValue{"SIZE": small}}
		s.Spec.Defaults = &v1alpha1.SyncDefaults{Budget: &v1alpha1.Budget{MaxUSDPerHour: "20"}}
	}
	limited := "  defaults: {budget: {maxUSDPerHour: '20'}}\n"
	const settings = "apiVersion: v1\nkind: ConfigMap\nmetadata: {name: settings}\n"
	base := map[string]string{"w/a.yaml": sized, "sync.yaml": file(size(small) + limited)}
	for name, tc := range map[string]struct {
		reason string
		base   map[string]string // beside the Workspace and the RepoSync
		head   map[string]string
		live   func(*v1alpha1.RepoSync)
		want   forge.State // "": Success
		line   string      // of the status
		says   []string
		hides  []string // neither in the status nor in the comment
	}{
		"Removed": {
			reason: "What applies the file may prune the RepoSync, which takes every Workspace.",
			head:   map[string]string{"w/a.yaml": sized},
			line:   "the RepoSync is removed · no workspace changes",
			says:   []string{"RepoSyncDeleted", "deletionPolicy Delete takes what it applied", "1 Workspace"},
			hides:  []string{"nothing changes"},
		},
		"RemovedOrphan": {
			reason: "What is left is not followed any more, and costs on.",
			head:   map[string]string{"w/a.yaml": sized},
			live:   func(s *v1alpha1.RepoSync) { s.Spec.DeletionPolicy = v1alpha1.Orphan },
			says:   []string{"RepoSyncDeleted", "deletionPolicy Orphan leaves what it applied"},
			hides:  []string{"nothing changes", "takes what it applied"},
		},
		"Renamed": {
			reason: "Another name is another RepoSync.",
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": strings.Replace(base["sync.yaml"], "name: models,", "name: other,", 1)},
			line:   "the RepoSync is removed",
			says:   []string{"RepoSyncDeleted"},
		},
		"Moved": {
			reason: "In which file it stands is all the same.",
			head:   map[string]string{"w/a.yaml": sized, "b/c.yaml": base["sync.yaml"]},
			line:   "nothing changes",
			hides:  []string{"RepoSyncDeleted", "RepoSyncChanged"},
		},
		"Unlisted": {
			reason: "Flux prunes what a kustomization no longer lists, whether the file stays or not.",
			base:   map[string]string{"flux/kustomization.yaml": "resources:\n- other.yaml\n- ../sync.yaml\n", "flux/other.yaml": settings},
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": base["sync.yaml"], "flux/kustomization.yaml": "resources:\n- other.yaml\n", "flux/other.yaml": settings},
			line:   "the RepoSync is removed · no workspace changes",
			says:   []string{"RepoSyncDeleted", "flux/kustomization.yaml:3", "deletionPolicy Delete takes what it applied", "1 Workspace"},
			hides:  []string{"nothing changes", "no longer holds"},
		},
		"ListedElsewhere": {
			reason: "What moves from one listing to another is still applied.",
			base:   map[string]string{"flux/kustomization.yaml": "resources: [../sync.yaml]\n"},
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": base["sync.yaml"], "prod/kustomization.yaml": "resources: [../sync.yaml]\n"},
			line:   "nothing changes",
			hides:  []string{"RepoSyncDeleted"},
		},
		"Variable": {
			reason: "Another value of a variable moves what names it.",
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": file(size(large) + limited)},
			line:   "1 workspace changes",
			says:   []string{"**replaced with downtime**", "RepoSyncChanged"},
		},
		"VariableAdded": {
			reason: "A variable and what names it come in one pull request.",
			head: map[string]string{"w/a.yaml": sized, "w/b.yaml": strings.Replace(named("b"), small, `"${OTHER}"`, 1),
				"sync.yaml": file("  postBuild: {substitute: {SIZE: " + small + ", OTHER: " + large + "}}\n" + limited)},
			line:  "1 new",
			says:  []string{"RepoSyncChanged"},
			hides: []string{"VariableUnset"},
		},
		"Suspended": {
			reason: "What is not planned is named.",
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": file(size(small) + limited + "  suspend: true\n  deletionPolicy: Orphan\n")},
			line:   "the RepoSync changes · no workspace changes",
			says:   []string{"RepoSyncChanged", "deletionPolicy, suspend"},
		},
		"Default": {
			reason: "Defaults are as much of the head as what they fill in.",
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": file(size(small) + strings.Replace(limited, "}\n", ", registryMirror: mirror.example.com}\n", 1))},
			says:   []string{"mirror.example.com", "RepoSyncChanged"},
		},
		"Budget": {
			reason: "Nobody raises their own limit: the cluster's stays, and the plan says so.",
			head: map[string]string{"w/a.yaml": sized, "w/b.yaml": strings.Replace(named("b"), small, "Standard_ND96isr_H100_v5", 1),
				"sync.yaml": file(size(small) + strings.Replace(limited, "20", "2000", 1))},
			want: forge.Failure,
			says: []string{"BudgetExceeded", "defaults.budget"},
		},
		"PatchedInTheCluster": {
			reason: "What the file does not change stays the cluster's, which need not be as in the file.",
			head:   map[string]string{"w/a.yaml": sized, "sync.yaml": strings.Replace(file(size(small)+limited), "path: w", "path: w\n  suspend: true", 1)},
			live:   func(s *v1alpha1.RepoSync) { s.Spec.TargetNamespace = "patched" },
			says:   []string{"1 stays as it is"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			changes := []func(*v1alpha1.RepoSync){lives}
			if tc.live != nil {
				changes = append(changes, tc.live)
			}
			before := maps.Clone(base)
			maps.Copy(before, tc.base)
			v, err := planned(t, roomy, before, tc.head, changes...)
			if err != nil {
				t.Fatal(err)
			}
			if tc.want == "" {
				tc.want = forge.Success
			}
			if v.Plan.State != tc.want || !strings.Contains(v.Plan.Text, tc.line) {
				t.Errorf("%s\ngot %+v, want %s and %q", tc.reason, v.Plan, tc.want, tc.line)
			}
			for _, part := range tc.says {
				if !strings.Contains(v.Markdown, part) {
					t.Errorf("%s\nit does not say %q:\n%s", tc.reason, part, v.Markdown)
				}
			}
			for _, part := range tc.hides {
				if strings.Contains(v.Plan.Text+v.Markdown, part) {
					t.Errorf("%s\nit says %q:\n%s", tc.reason, part, v.Markdown)
				}
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

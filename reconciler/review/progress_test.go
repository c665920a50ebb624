// SPDX-License-Identifier: Apache-2.0

package review

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/plan"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

const mergedAs = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"

// workspaceOf is a Workspace of the namespace team that stands as change says.
func workspaceOf(name string, change func(*v1alpha1.Workspace)) *v1alpha1.Workspace {
	w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name, Generation: 2}}
	w.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4"}}
	w.Status.Sizing = &v1alpha1.SizingStatus{USDPerHour: "0.526"}
	if change != nil {
		change(w)
	}
	return w
}

func waiting(reason string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { condition.Progressing(w, reason, "1 of 2 is there") }
}

func answering(w *v1alpha1.Workspace) {
	condition.Ready(w, v1alpha1.ReasonSucceeded, "The model answers")
	condition.True(w, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSucceeded, "1 of 1 nodes is ready")
	w.Status.Instance = "Standard_NC4as_T4_v3"
	w.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: "http://phi.team.svc/v1"}
}

// appliedAt is one that a commit changed last.
func appliedAt(commit string, change func(*v1alpha1.Workspace)) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		change(w)
		w.Annotations = map[string]string{repolayout.AnnotationRevision: "main@sha1:" + commit}
	}
}

var began = metav1.NewTime(time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC))

func training(w *v1alpha1.Workspace) {
	w.Spec.Inference, w.Spec.Tuning = nil, &v1alpha1.TuningSpec{}
	condition.Progressing(w, v1alpha1.ReasonJobRunning, "The run has begun")
	condition.True(w, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSucceeded, "1 of 1 nodes is ready")
	w.Status.Instance = "Standard_NC4as_T4_v3"
	w.Status.Tuning = &v1alpha1.TuningStatus{StartedAt: &began, Attempts: 2}
}

func tuned(w *v1alpha1.Workspace) {
	training(w)
	condition.Ready(w, v1alpha1.ReasonSucceeded, "The adapter is published")
	condition.True(w, v1alpha1.ConditionResourceReady, v1alpha1.ReasonReleased, "The nodes are given back")
	ended := metav1.NewTime(began.Add(90 * time.Minute))
	w.Status.Tuning.FinishedAt, w.Status.Tuning.Adapter = &ended, "registry.example.com/models/dolly@sha256:"+strings.Repeat("ab12", 16)
}

func refused(w *v1alpha1.Workspace) {
	condition.Stalled(w, v1alpha1.ReasonRefused, "Standard_NC6s_v3 was retired <b>; @ops see https://evil.example")
}

func TestProgress(t *testing.T) {
	for name, tc := range map[string]struct {
		reason     string
		workspaces []*v1alpha1.Workspace
		touched    []Touched
		change     func(*progress)
		ended      bool
	}{
		"merged": {
			reason:  "Before the cluster has come to the commit nothing else is known, and the last state is another's.",
			touched: []Touched{{"team", "phi", false}}, workspaces: []*v1alpha1.Workspace{workspaceOf("phi", answering)},
			change: func(p *progress) {
				p.came, p.applied = "", false
				condition.False(p.sync, v1alpha1.ConditionSourceReady, v1alpha1.ReasonSourceUnreachable, "git.example.com does not answer")
			},
		},
		"phases": {
			reason: "Each step has one word, however often the message changes.",
			touched: []Touched{
				{"team", "a-nodes", false}, {"team", "b-pods", false}, {"team", "c-said", false}, {"team", "c-training", false}, {"team", "d-new", false}, {"team", "e-input", false},
				{"team", "f-older", false}, {"team", "g-dropped", true},
			},
			workspaces: []*v1alpha1.Workspace{
				workspaceOf("a-nodes", waiting(v1alpha1.ReasonWaitingForNodes)), workspaceOf("b-pods", waiting(v1alpha1.ReasonWaitingForPods)),
				workspaceOf("c-training", training), workspaceOf("c-said", func(w *v1alpha1.Workspace) {
					training(w)
					w.Status.Tuning.Progress = &v1alpha1.TuningProgress{Percent: 37, Loss: "0.8", Remaining: &metav1.Duration{Duration: 170 * time.Minute}}
				}), workspaceOf("e-input", waiting(v1alpha1.ReasonInputMissing)),
				workspaceOf("f-older", func(w *v1alpha1.Workspace) {
					answering(w)
					condition.Get(w, v1alpha1.ConditionReady).ObservedGeneration = 1
				}), workspaceOf("g-dropped", answering),
			},
		},
		"done": {
			reason:  "What there is to use, and what it cost as far as it is known.",
			touched: []Touched{{"team", "counted", false}, {"team", "dolly", false}, {"team", "old", true}, {"team", "phi", false}},
			workspaces: []*v1alpha1.Workspace{workspaceOf("phi", answering), workspaceOf("dolly", tuned), workspaceOf("counted", func(w *v1alpha1.Workspace) {
				tuned(w)
				w.Status.Tuning.SpentUSD = "1.07"
			})}, ended: true,
		},
		"failed": {
			reason:     "What a person must do stands there, and formats nothing.",
			touched:    []Touched{{"team", "big", false}, {"team", "phi", false}},
			workspaces: []*v1alpha1.Workspace{workspaceOf("phi", answering), workspaceOf("big", refused)}, ended: true,
			change: func(p *progress) { p.more = 3 },
		},
		"stalled": {
			reason:  "What the RepoSync stumbled over is why nothing is there.",
			touched: []Touched{{"team", "broken", false}, {"team", "held", true}}, ended: true,
			workspaces: []*v1alpha1.Workspace{workspaceOf("held", answering)},
			change: func(p *progress) {
				condition.Stalled(p.sync, v1alpha1.ReasonBuildFailed, "a.yaml:3: no such field (UnknownField)")
			},
		},
		"existing-stalled": {
			reason: "One that was there before and still answers says nothing of what was never applied; nor does it cost less.",
			touched: []Touched{
				{"team", "changed", false}, {"team", "new", false}, {"team", "old", true}, {"team", "phi", false},
			}, ended: true,
			workspaces: []*v1alpha1.Workspace{workspaceOf("phi", appliedAt("0ldc0mm1t", answering)), workspaceOf("changed", appliedAt(mergedAs, answering)), workspaceOf("old", answering)},
			change: func(p *progress) {
				p.applied = false
				condition.Stalled(p.sync, v1alpha1.ReasonFieldConflict, "kubectl-edit owns spec.replicas of Workspace team/phi")
			},
		},
		"existing-unverified": {
			reason:     "Nothing of an unsigned commit is applied.",
			touched:    []Touched{{"team", "phi", false}},
			workspaces: []*v1alpha1.Workspace{workspaceOf("phi", answering)}, ended: true,
			change: func(p *progress) {
				p.applied = false
				condition.Stalled(p.sync, v1alpha1.ReasonInvalidCommitSignature, "Commit "+mergedAs+" carries no signature")
			},
		},
		"existing-progressing": {
			reason:     "While it is being applied, or waits for the API server, how one stood before is not told.",
			touched:    []Touched{{"team", "changed", false}, {"team", "phi", false}, {"team", "wrong", false}},
			workspaces: []*v1alpha1.Workspace{workspaceOf("phi", answering), workspaceOf("changed", appliedAt("1ater", answering)), workspaceOf("wrong", refused)},
			change: func(p *progress) {
				p.applied = false
				p.sync.Status.LastAttemptedRevision = "main@sha1:1ater"
				condition.Progressing(p.sync, v1alpha1.ReasonApplyFailed, "the API server does not answer")
			},
		},
		"applied-then-stalled": {
			reason:     "What a later commit stumbles over is not this one's: it was applied.",
			touched:    []Touched{{"team", "phi", false}},
			workspaces: []*v1alpha1.Workspace{workspaceOf("phi", waiting(v1alpha1.ReasonWaitingForNodes))},
			change: func(p *progress) {
				condition.Stalled(p.sync, v1alpha1.ReasonBuildFailed, "b.yaml:1: no such field (UnknownField)")
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := progress{
				cluster: "prod", merged: mergedAs, came: mergedAs, applied: true, touched: tc.touched, workspaces: map[string]*v1alpha1.Workspace{},
				sync: &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: "models"}},
			}
			for _, w := range tc.workspaces {
				p.workspaces[w.Namespace+"/"+w.Name] = w
			}
			if tc.change != nil {
				tc.change(&p)
			}
			got, ended := p.words()
			if ended != tc.ended {
				t.Errorf("%s\nended: %v", tc.reason, ended)
			}
			file := filepath.Join("testdata", "progress", name+".md")
			if *update {
				if err := os.WriteFile(file, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Errorf("%s (-want +got):\n%s", tc.reason, diff)
			}
		})
	}
}

// TestSameButLoss: a comment is edited for a step of the percent, and not for each loss.
func TestSameButLoss(t *testing.T) {
	const was = "| `a` | training | 30 % trained, loss 0.8, about 3 h left |"
	for name, tc := range map[string]struct {
		reason, is string
		same       bool
	}{
		"Loss":    {"Another step of the trainer is no news.", "| `a` | training | 30 % trained, loss 0.7531, about 3 h left |", true},
		"Percent": {"Another tenth is, and brings the loss of then.", "| `a` | training | 40 % trained, loss 0.7, about 3 h left |", false},
		"Left":    {"So is the time.", "| `a` | training | 30 % trained, loss 0.8, about 2 h left |", false},
		"NaN":     {"So is a run that has broken down.", "| `a` | training | 30 % trained, loss NaN, about 3 h left |", false},
		"First":   {"So is the first loss.", "| `a` | training | 30 % trained, about 3 h left |", false},
	} {
		t.Run(name, func(t *testing.T) {
			if sameButLoss(was, tc.is) != tc.same {
				t.Errorf("%s", tc.reason)
			}
		})
	}
}

// TestBody: what was written is read again, however the forge ends its lines, and
// what is too long lets go of the plan.
func TestBody(t *testing.T) {
	plans := "a plan\n\n<details><summary>Rendered</summary>\n\n```\n</details>\n" + planBegin + "```\n\n</details>\n"
	b := body{
		mark:    mark{prefix: "espalier", owner: "prod/team/models", about: subject{"b", "h", "s"}},
		touched: []Touched{{"team", "old", true}, {"team", "phi", false}}, more: 2, plan: plans,
	}
	for name, tc := range map[string]struct {
		reason string
		after  *after
	}{
		"Open":   {reason: "Before the merge there is the plan."},
		"Merged": {reason: "After it the plan is folded away.", after: &after{edits: 3, words: "### ⏳ on its way\n"}},
		"Ended":  {reason: "A controller that starts anew must know the end.", after: &after{edits: 9, ended: true, words: "### ✅ done\n"}},
	} {
		b.after = tc.after
		for _, text := range []string{b.text(1 << 16), strings.ReplaceAll(b.text(1<<16), "\n", "\r\n"), strings.TrimSpace(b.text(1 << 16))} {
			got, ok := readBody(text)
			if tc.after != nil && got.after != nil {
				got.after.words = strings.TrimSpace(got.after.words) + "\n"
			}
			if got.plan = strings.TrimSpace(got.plan) + "\n"; !ok {
				t.Errorf("%s: %s it is not read", name, tc.reason)
			}
			if diff := cmp.Diff(b, got, cmp.AllowUnexported(body{}, mark{}, subject{}, after{})); diff != "" {
				t.Errorf("%s: %s (-want +got):\n%s", name, tc.reason, diff)
			}
		}
	}
	b.after = &after{edits: 1, words: "### ⏳ on its way\n"}
	small := b.text(len(plans))
	if got, ok := readBody(small); !ok || got.plan != "" || !same(got.after.words, "### ⏳ on its way") || !strings.Contains(small, "history of this comment") {
		t.Errorf("of %q: %+v", small, got)
	}
	for _, text := range []string{"hello", b.mark.String() + "a plan of an earlier version", ""} {
		if got, ok := readBody(text); ok {
			t.Errorf("%q is no comment of ours: %+v", text, got)
		}
	}
}

// TestTouched: what is followed is bounded, and nothing is believed that a comment
// was made to say.
func TestTouched(t *testing.T) {
	var p plan.Plan
	add := func(kind, name string, effect plan.EffectKind) {
		p.Changes = append(p.Changes, plan.Change{Kind: kind, Namespace: "team", Name: name, Effect: plan.Effect{Kind: effect}})
	}
	add(v1alpha1.WorkspaceKind, "old", plan.Deleted)
	add(v1alpha1.WorkspaceKind, "--> <b>", plan.Refused)
	add(v1alpha1.WorkspaceKind, "moved", plan.None)
	add(v1alpha1.GPUNodePoolKind, "pool", plan.Created)
	add(v1alpha1.WorkspaceKind, "new", plan.Created)
	list, more := touched(p)
	if diff := cmp.Diff([]Touched{{"team", "new", false}, {"team", "old", true}}, list); diff != "" || more != 0 {
		t.Errorf("%d more, -want +got:\n%s", more, diff)
	}
	for range 10_000 {
		add(v1alpha1.WorkspaceKind, strings.Repeat("x", 48), plan.Created)
	}
	list, more = touched(p)
	line := touchedLine(list, more)
	if len(list)+more != 10_002 || len(line) > maxTouchedBytes+100 {
		t.Errorf("%d and %d more in %d bytes", len(list), more, len(line))
	}
	again, rest, ok := readTouched(line)
	if diff := cmp.Diff(list, again); diff != "" || rest != more || !ok {
		t.Errorf("%d more, %v, -want +got:\n%s", rest, ok, diff)
	}
	if evil, _, _ := readTouched(touchedBegin + " ../etc x/y/z - / team/UPPER +-3" + touchedEnd); len(evil) != 0 {
		t.Errorf("taken for Workspaces: %+v", evil)
	}
}

// TestNumbersOfOthers: another cluster may write anything where a number is said, and names
// nobody with it.
func TestNumbersOfOthers(t *testing.T) {
	for said, shown := range map[string]bool{"0.6021": true, "nan": true, "@acme/everyone": false, "[ok](//evil.example) | x": false, "": false} {
		w := workspaceOf("dolly", tuned)
		w.Status.Tuning.SpentUSD = said
		if got := runCost(w); strings.Contains(got, "by list prices") != shown {
			t.Errorf("spent %q: %q", said, got)
		}
		w.Status.Tuning.Progress = &v1alpha1.TuningProgress{Percent: 37, Loss: said}
		if got := trained(w.Status.Tuning); strings.Contains(got, "loss") != shown {
			t.Errorf("loss %q: %q", said, got)
		}
	}
}

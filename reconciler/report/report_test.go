// SPDX-License-Identifier: Apache-2.0

package report

import (
	"flag"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

var at = time.Date(2026, 11, 23, 14, 5, 6, 0, time.FixedZone("CET", 3600))

func is(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message,
		ObservedGeneration: 3, LastTransitionTime: metav1.NewTime(at),
	}
}

const commit = "1a2b3c4d5e6f708192a3b4c5d6e7f8091a2b3c4d"

func serving(name string, conditions ...metav1.Condition) v1alpha1.Workspace {
	w := v1alpha1.Workspace{}
	w.Namespace, w.Name, w.Generation = "models", name, 3
	w.Spec.Inference = &v1alpha1.InferenceSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct"}}
	w.Status.Revision = "main@sha1:" + commit
	w.Status.Conditions = conditions
	return w
}

func onNodes(w v1alpha1.Workspace, usd string) v1alpha1.Workspace {
	w.Status.Instance, w.Status.NodePool = "Standard_NC4as_T4_v3", w.Name
	w.Status.Sizing = &v1alpha1.SizingStatus{
		Verdict: v1alpha1.Fits, Message: "weights 7.2 + cache 4.0 = 11.2 of 14.6 GiB", InstanceType: "Standard_NC4as_T4_v3",
		Nodes: 1, USDPerHour: usd, PriceDate: "2026-06-18",
	}
	w.Status.Conditions = append(w.Status.Conditions, is("ResourceReady", "True", "Succeeded", "1 of 1 nodes is ready"))
	return w
}

func tuned() v1alpha1.Workspace {
	w := serving("tuning-phi-3",
		is("Ready", "True", "Succeeded", "The adapter is published"),
		is("WorkspaceReady", "True", "Succeeded", "The adapter is published"),
		is("TuningSucceeded", "True", "Succeeded", "The adapter is published"),
		is("ResourceReady", "True", "Released", "The run is done and its nodes are given back"))
	w.Namespace = "research"
	w.Spec.Inference = nil
	w.Spec.Tuning = &v1alpha1.TuningSpec{ModelRef: v1alpha1.ModelRef{Preset: "phi-3-mini-128k-instruct"}, Method: v1alpha1.QLoRA}
	w.Status.Instance = "Standard_NC4as_T4_v3"
	w.Status.Sizing = &v1alpha1.SizingStatus{Verdict: v1alpha1.Tight, Nodes: 1, USDPerHour: "0.526"}
	started, finished := metav1.NewTime(at), metav1.NewTime(at.Add(time.Hour))
	w.Status.Tuning = &v1alpha1.TuningStatus{
		Run: "tuning-phi-3-0a1b2c3d", Digest: "sha256:" + strings.Repeat("0a1b", 16), Attempts: 1, StartedAt: &started, FinishedAt: &finished,
		Adapter: "registry.example.com/models/phi-3-dolly@sha256:" + strings.Repeat("ab12", 16),
		Evaluation: &v1alpha1.EvaluationStatus{
			LossBefore: "1.8300", LossAfter: "1.2100",
			Tasks: []v1alpha1.TaskScore{{Name: "gsm8k", Metric: "exact_match,strict-match", Before: "0.3100", After: "0.4200"}},
		},
	}
	w.Status.Resolved = &v1alpha1.Resolved{
		Digest: "sha256:x", Runtime: "axolotl", Version: "0.13.0", Image: "registry.example.com/axolotl@sha256:" + strings.Repeat("c", 64),
		Preset: "microsoft/Phi-3-mini-128k-instruct", ModelRevision: strings.Repeat("d", 40),
	}
	return w
}

func served() v1alpha1.Workspace {
	w := onNodes(serving("phi-4-mini", is("Ready", "True", "Succeeded", "The model answers")), "0.526")
	w.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: "http://phi-4-mini.models.svc.cluster.local", Models: []string{"phi-4-mini-instruct", "dolly"}}
	return w
}

func refused() v1alpha1.Workspace {
	const why = "Standard_NC6s_v3 was retired by Azure on 2025-09-30; Standard_NC4as_T4_v3 is the cheapest that works ($0.526/h)"
	w := serving("big", is("Ready", "False", "Refused", why), is("Stalled", "True", "Refused", why),
		is("ResourceReady", "False", "Refused", "No node was requested: "+why))
	w.Status.Sizing = &v1alpha1.SizingStatus{Verdict: v1alpha1.No, Nodes: 2, USDPerHour: "6.12"}
	return w
}

func hostile() v1alpha1.Workspace {
	const evil = "a | b `c` <!-- hidden --> <script>x</script> [click](http://evil.example) https://evil.example www.evil.example\n" +
		"@everyone #1 !2 **bold** _em_ under_score ~~gone~~ &amp; $x$ \u202egnp.exe \x1b[31m | | |"
	w := serving("hostile", is("Ready", "False", "Progressing", evil))
	w.Spec.Inference.Preset = "x`|`@team <b>"
	w.Status.Revision = "main@sha1:|"
	w.Status.Instance = "Standard_NC24ads_A100_v4|`"
	w.Status.Inference = &v1alpha1.InferenceStatus{Endpoint: "http://x|y`z"}
	return w
}

type rendered struct {
	reason string
	in     Snapshot
}

func snapshots() map[string]rendered {
	base := Snapshot{Cluster: "prod-eu", Namespace: "models", Name: "fleet", Revision: "main@sha1:" + commit}
	with := func(f func(*Snapshot)) Snapshot {
		s := base
		f(&s)
		return s
	}
	return map[string]rendered{
		"empty": {
			reason: "Before the first Workspace there is a README that says so.",
			in:     base,
		},
		"states": {
			reason: "Each state has its word, and what does not exist is a dash.",
			in: with(func(s *Snapshot) {
				failed := serving("failed", is("Ready", "False", "JobFailed", "The run ended with exit code 1"), is("Stalled", "True", "JobFailed", "The run ended with exit code 1"))
				suspended := serving("asleep", is("Ready", "False", "Suspended", "Suspended: no pod runs"))
				fresh := serving("fresh")
				fresh.Status = v1alpha1.WorkspaceStatus{}
				stale := serving("stale", is("Ready", "True", "Succeeded", "The model answers"))
				stale.Generation = 4
				going := onNodes(serving("going", is("Ready", "True", "Succeeded", "")), "3.673")
				now := metav1.NewTime(at)
				going.DeletionTimestamp = &now
				s.Workspaces = pointers(tuned(), served(), refused(), failed, suspended, fresh, stale, going)
			}),
		},
		"findings": {
			reason: "What is wrong in Git and what is held is told with what to do.",
			in: with(func(s *Snapshot) {
				s.Workspaces = pointers(served())
				s.Held = "This revision drops 3 of 4 objects, more than the 2 that go unasked: deleting is held"
				s.Approval = "1a2b3c4d5e6f-0a1b2c3d"
				s.Findings = []v1alpha1.Finding{
					{Severity: "error", Code: "UnknownInstanceType", File: "teams/a/llama.yaml", Line: 7, Message: "Standard_NC999 is no size of Azure; the nearest is Standard_NC96ads_A100_v4"},
					{Severity: "warning", Code: "InputNotInGit", Object: "ConfigMap/models/tuning", Message: "is in the cluster and not in Git"},
					{Severity: "error", Code: "BuildFailed", File: "teams/b", Message: "no kustomization.yaml"},
				}
			}),
		},
		"hostile": {
			reason: "Nothing that somebody writes into a Workspace can format, link, mention or hide.",
			in: with(func(s *Snapshot) {
				s.Workspaces = pointers(hostile())
				s.Held = "<img src=x onerror=alert(1)> | ``` \n# heading"
				s.Approval = "1a2b3c4d5e6f-0a1b2c3d"
				s.Findings = []v1alpha1.Finding{{Severity: "error", Code: "X", File: "a`b|c.yaml", Line: 1, Message: "@admin <!-- [x](y) -->"}}
			}),
		},
		"cost": {
			reason: "A shared pool is paid once, and an unknown price is not nothing.",
			in: with(func(s *Snapshot) {
				one, two, unknown := onNodes(serving("one"), ""), onNodes(serving("two"), ""), onNodes(serving("unknown"), "")
				one.Status.NodePool, two.Status.NodePool = "shared", "shared"
				s.Pools = map[types.NamespacedName]string{{Namespace: "models", Name: "shared"}: "3.673"}
				two.Status.Sizing.Nodes = 2
				s.Workspaces = pointers(one, two, unknown, served())
			}),
		},
	}
}

func TestFiles(t *testing.T) {
	for name, tc := range snapshots() {
		t.Run(name, func(t *testing.T) {
			got := archive(Files(tc.in))
			slices.Reverse(tc.in.Workspaces)
			if again := archive(Files(tc.in)); again != got {
				t.Errorf("%s\nthe order of the input changes the bytes:\n%s", tc.reason, cmp.Diff(got, again))
			}
			golden := filepath.Join("testdata", name+".txt")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if d := cmp.Diff(string(want), got); d != "" {
				t.Errorf("%s\n(-want +got):\n%s", tc.reason, d)
			}
		})
	}
}

// archive joins files into one text, in the form of txtar.
func archive(files map[string][]byte) string {
	var b strings.Builder
	for _, name := range slices.Sorted(maps.Keys(files)) {
		b.WriteString("-- " + name + " --\n")
		b.Write(files[name])
	}
	return b.String()
}

func TestLongListsAreCut(t *testing.T) {
	s := Snapshot{Findings: make([]v1alpha1.Finding, 60)}
	s.Findings[0].Message = strings.Repeat("x", 10000)
	got := string(Files(s)["README.md"])
	if !strings.Contains(got, "and 10 more") || len(got) > 5000 {
		t.Errorf("got %d bytes:\n%s", len(got), got)
	}
	d, read := newDifference(), 0
	last := func() (*said, error) { //nolint:unparam // what is read of a branch can fail
		read++
		return &said{}, nil
	}
	for _, c := range "abcdefghijklmnopqrstuvwxyz" {
		d.gone = append(d.gone, "workspaces/models/"+string(c)+".yaml", "badges/models/"+string(c)+".svg")
		d.was["workspaces/models/"+string(c)+".yaml"] = last
	}
	w := &writer{Target: Target{Namespace: "models"}}
	lines, more, err := w.changes(d)
	if err != nil || len(lines) != maxLines || more != 6 || lines[0] != "a: removed" {
		t.Errorf("got %v, %d more, %v", lines, more, err)
	}
	if read != maxLines {
		t.Errorf("%d documents of the branch were read for %d lines", read, maxLines)
	}
}

func TestStateOf(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		in     []metav1.Condition
		want   State
	}{
		"Nothing":     {reason: "Nobody has looked yet.", want: Progressing},
		"Ready":       {reason: "Ready is Ready.", in: []metav1.Condition{is("Ready", "True", "Succeeded", "")}, want: Ready},
		"Released":    {reason: "A tuning run that is done is Ready too.", in: []metav1.Condition{is("Ready", "True", "Released", "")}, want: Ready},
		"Waiting":     {reason: "Waiting is no failure.", in: []metav1.Condition{is("Ready", "False", "WaitingForNodes", "")}, want: Progressing},
		"Retried":     {reason: "What is retried is on its way.", in: []metav1.Condition{is("Ready", "False", "ApplyFailed", ""), is("Reconciling", "True", "ApplyFailed", "")}, want: Progressing},
		"Refused":     {reason: "Only Git can help.", in: []metav1.Condition{is("Ready", "False", "Refused", ""), is("Stalled", "True", "Refused", "")}, want: Refused},
		"OtherReason": {reason: "Any terminal fault waits for Git.", in: []metav1.Condition{is("Ready", "False", "FieldConflict", ""), is("Stalled", "True", "FieldConflict", "")}, want: Refused},
		"JobFailed":   {reason: "It ran.", in: []metav1.Condition{is("Ready", "False", "JobFailed", ""), is("Stalled", "True", "JobFailed", "")}, want: Failed},
		"Suspended":   {reason: "On request.", in: []metav1.Condition{is("Ready", "False", "Suspended", "")}, want: Suspended},
	} {
		t.Run(name, func(t *testing.T) {
			w := serving("w", tc.in...)
			if got := StateOf(&w); got != tc.want {
				t.Errorf("%s\ngot %s, want %s", tc.reason, got, tc.want)
			}
		})
	}
}

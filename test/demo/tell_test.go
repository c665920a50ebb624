// SPDX-License-Identifier: Apache-2.0

package main

import (
	"bytes"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func workspace(change func(*v1alpha1.Workspace)) *v1alpha1.Workspace {
	w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
		Name: "phi", Annotations: map[string]string{repolayout.AnnotationSource: "models/phi/workspace.yaml:1"},
	}}
	change(w)
	return w
}

func condition(kind string, status metav1.ConditionStatus, reason, message string) metav1.Condition {
	return metav1.Condition{Type: kind, Status: status, Reason: reason, Message: message}
}

func TestTellWorkspace(t *testing.T) {
	nothing := workspace(func(*v1alpha1.Workspace) {})
	for name, tc := range map[string]struct {
		reason  string
		was, is *v1alpha1.Workspace
		want    []string
	}{
		"Created": {
			reason: "Where it stands in Git is what a person looks for.",
			is:     nothing, want: []string{"created from models/phi/workspace.yaml:1"},
		},
		"Gone":      {reason: "The end is told.", was: nothing, want: []string{"gone"}},
		"Unchanged": {reason: "A touched object is no news.", was: nothing, is: nothing},
		"Sized": {
			reason: "The verdict comes before anything is paid, and so does its line.",
			was:    nothing,
			is: workspace(func(w *v1alpha1.Workspace) {
				w.Status.Sizing = &v1alpha1.SizingStatus{
					Verdict: v1alpha1.Fits, Message: "5 of 15 GiB", InstanceType: "T4", Nodes: 1, USDPerHour: "0.526", PriceDate: "2026-06-18",
				}
			}),
			want: []string{"sizing: fits on 1 × T4, 0.526 USD/h at list price of 2026-06-18: 5 of 15 GiB"},
		},
		"PriceUnknown": {
			reason: "A price that is not known is left out: of a size that is not sold any more there is none.",
			was:    nothing,
			is: workspace(func(w *v1alpha1.Workspace) {
				w.Status.Sizing = &v1alpha1.SizingStatus{Verdict: v1alpha1.Unknown, InstanceType: "X", Message: "shape not known"}
			}),
			want: []string{"sizing: unknown on 1 × X: shape not known"},
		},
		"Conditions": {
			reason: "What became true is told once, with its reason where that says more than success.",
			was: workspace(func(w *v1alpha1.Workspace) {
				w.Status.Conditions = []metav1.Condition{condition(v1alpha1.ConditionJobStarted, metav1.ConditionTrue, "Succeeded", "")}
			}),
			is: workspace(func(w *v1alpha1.Workspace) {
				w.Status.Conditions = []metav1.Condition{
					condition(v1alpha1.ConditionJobStarted, metav1.ConditionTrue, "Succeeded", ""),
					condition(v1alpha1.ConditionResourceReady, metav1.ConditionTrue, v1alpha1.ReasonReleased, ""),
					condition(v1alpha1.ConditionReady, metav1.ConditionFalse, v1alpha1.ReasonRefused, "retired"),
				}
			}),
			want: []string{"ResourceReady True (Released)", "Refused: retired"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, tellWorkspace(tc.was, tc.is)); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestTellNode(t *testing.T) {
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: "n", Labels: map[string]string{corev1.LabelInstanceTypeStable: "T4"}}}
	ready := node.DeepCopy()
	ready.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue}}
	gpus := ready.DeepCopy()
	gpus.Status.Allocatable = corev1.ResourceList{"nvidia.com/gpu": resource.MustParse("2")}
	life := []*corev1.Node{nil, node, ready, gpus, gpus, nil}
	var got []string
	for i := 1; i < len(life); i++ {
		got = append(got, tellNode(life[i-1], life[i])...)
	}
	want := []string{"joined: T4", "Ready", "nvidia.com/gpu: 2 allocatable", "gone"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestTellJob(t *testing.T) {
	one := int32(1)
	created := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Name: "run"}}
	running := created.DeepCopy()
	running.Status.Ready = &one
	done := created.DeepCopy()
	done.Status.Conditions = []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	life := []*batchv1.Job{nil, created, running, running, done, nil}
	var got []string
	for i := 1; i < len(life); i++ {
		got = append(got, tellJob(life[i-1], life[i])...)
	}
	if diff := cmp.Diff([]string{"created", "running", "Complete", "gone"}, got); diff != "" {
		t.Error(diff)
	}
}

func TestWrap(t *testing.T) {
	var out bytes.Buffer
	s := newScreen(&out)
	s.event("pool", "phi", strings.Repeat("word – ", 20))
	for _, line := range strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n") {
		if n := len([]rune(line)); n > width {
			t.Errorf("%d columns: %q", n, line)
		}
	}
	if got := wrap("a "+strings.Repeat("x", 200)+" b", "", width); strings.Count(got, "\n") != 2 {
		t.Errorf("a word that is too long stands alone: %q", got)
	}
}

func TestCredentials(t *testing.T) {
	address, err := withCredentials("http://127.0.0.1:1/models.git", "me", "s3cret")
	if err != nil {
		t.Fatal(err)
	}
	w := worktree{address: address}
	if got := w.clean("To " + address + "\n"); got != "To http://127.0.0.1:1/models.git\n" {
		t.Errorf("what git prints keeps the password: %q", got)
	}
}

func TestChanges(t *testing.T) {
	got := changes("espalier: main@1a2b3c4\n\na: Progressing → Ready\nb: removed\n\n[skip ci]\n\nEspalier-Cluster: local\n")
	if diff := cmp.Diff([]string{"a: Progressing → Ready", "b: removed"}, got); diff != "" {
		t.Error(diff)
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"fmt"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestCountCopies(t *testing.T) {
	deployment := func(want int32, s appsv1.DeploymentStatus) *pass {
		return &pass{ws: &v1alpha1.Workspace{Spec: v1alpha1.WorkspaceSpec{Inference: &v1alpha1.InferenceSpec{}}}, deployment: &appsv1.Deployment{
			ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: appsv1.DeploymentSpec{Replicas: ptr.To(want)}, Status: s,
		}}
	}
	scaled := func(p *pass, ready bool) *pass {
		p.ws.Spec.Inference.Autoscale = &v1alpha1.Autoscale{MinReplicas: ptr.To[int32](2), MaxReplicas: 5}
		if ready {
			condition.True(p.ws, v1alpha1.ConditionInferenceReady, v1alpha1.ReasonSucceeded, "")
		}
		return p
	}
	rolled := func(p *pass) *pass {
		p.rolled = true
		return p
	}
	more := appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}
	set := func(s appsv1.StatefulSetStatus) appsv1.StatefulSet {
		return appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Spec: appsv1.StatefulSetSpec{Replicas: ptr.To[int32](2)}, Status: s}
	}
	up := appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, ReadyReplicas: 2, CurrentRevision: "b", UpdateRevision: "b"}
	half := up
	half.ReadyReplicas = 1
	old := appsv1.StatefulSetStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 1, ReadyReplicas: 2, CurrentRevision: "a", UpdateRevision: "b"}
	for name, tc := range map[string]struct {
		reason string
		p      *pass
		done   bool
		text   string
	}{
		"Answers":     {reason: "every copy of the current version", p: deployment(2, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 2, AvailableReplicas: 2}), done: true, text: "2 of 2 replicas answer"},
		"Loading":     {reason: "the model is not loaded yet", p: deployment(1, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 1, UpdatedReplicas: 1}), text: "0 of 1 replicas answer"},
		"OldAnswers":  {reason: "during a surge the old copy answers, and Git says something else", p: deployment(1, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 2, UpdatedReplicas: 1, AvailableReplicas: 1}), text: "1 of 1 replicas answer; 1 are of the version before"},
		"NotSeen":     {reason: "the status speaks of what was there before", p: deployment(1, appsv1.DeploymentStatus{ObservedGeneration: 1, Replicas: 1, UpdatedReplicas: 1, AvailableReplicas: 1}), text: "1 of 1 replicas answer; the last change is not rolled out yet"},
		"Stopped":     {reason: "no copy is wanted while suspended", p: deployment(0, appsv1.DeploymentStatus{ObservedGeneration: 2}), text: "0 of 0 replicas answer"},
		"Nodes":       {reason: "all pods of a copy make one replica", p: &pass{sets: []appsv1.StatefulSet{set(up), set(up)}}, done: true, text: "2 of 2 replicas answer"},
		"HalfOfNodes": {reason: "a copy that lacks a pod does not answer", p: &pass{sets: []appsv1.StatefulSet{set(up), set(half)}}, text: "1 of 2 replicas answer"},
		"Grows":       {reason: "what answers is as much as before while another copy loads", p: scaled(deployment(3, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 2}), false), done: true, text: "2 of 3 replicas answer; 2 to 5 by load"},
		"TooFew":      {reason: "fewer than the fewest are too few", p: scaled(deployment(3, appsv1.DeploymentStatus{ObservedGeneration: 2, Replicas: 3, UpdatedReplicas: 3, AvailableReplicas: 1}), true), text: "1 of 3 replicas answer; 2 to 5 by load"},
		"Asked":       {reason: "another number of copies is another generation and no other version", p: scaled(deployment(3, more), true), done: true, text: "2 of 3 replicas answer; 2 to 5 by load"},
		"AskedRolled": {reason: "another version is not there before it is seen", p: rolled(scaled(deployment(3, more), true)), text: "2 of 3 replicas answer; the last change is not rolled out yet; 2 to 5 by load"},
		"OldNodes":    {reason: "a copy that is being replaced is old", p: &pass{sets: []appsv1.StatefulSet{set(old)}}, text: "1 of 1 replicas answer; 1 are of the version before"},
	} {
		t.Run(name, func(t *testing.T) {
			c := tc.p.countCopies()
			if c.done() != tc.done || c.String() != tc.text {
				t.Errorf("%s: done %v, %q; want %v, %q", tc.reason, c.done(), c, tc.done, tc.text)
			}
		})
	}
}

// TestOtherPods: only pods that were asked for in this very pass are not looked at; those of
// a copy over several nodes that cannot start are told like any others.
func TestOtherPods(t *testing.T) {
	template := func(inputs string) corev1.PodTemplateSpec {
		return corev1.PodTemplateSpec{ObjectMeta: metav1.ObjectMeta{Annotations: map[string]string{repolayout.AnnotationInputDigest: inputs}}}
	}
	deployment := func(inputs string) *appsv1.Deployment {
		return &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "chat"}, Spec: appsv1.DeploymentSpec{Template: template(inputs)}}
	}
	sets := func(inputs ...string) (all []appsv1.StatefulSet) {
		for i, digest := range inputs {
			all = append(all, appsv1.StatefulSet{ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("chat-%d", i)}, Spec: appsv1.StatefulSetSpec{Template: template(digest)}})
		}
		return all
	}
	for name, tc := range map[string]struct {
		reason  string
		was     *appsv1.Deployment
		wasSets []appsv1.StatefulSet
		p       pass
		want    bool
	}{
		"New":          {"nothing was there", nil, nil, pass{deployment: deployment("a")}, true},
		"Same":         {"its pods had their time", deployment("a"), nil, pass{deployment: deployment("a")}, false},
		"OtherInputs":  {"its pods are replaced", deployment("a"), nil, pass{deployment: deployment("b")}, true},
		"NewNodes":     {"nothing was there", nil, nil, pass{sets: sets("a", "a")}, true},
		"SameNodes":    {"a wrong image of a copy over two nodes would never be told", nil, sets("a", "a"), pass{sets: sets("a", "a")}, false},
		"OtherNodes":   {"the pods of one copy are replaced", nil, sets("a", "a"), pass{sets: sets("a", "b")}, true},
		"MoreNodes":    {"a copy more is new", nil, sets("a"), pass{sets: sets("a", "a")}, true},
		"FewerNodes":   {"what stays was not asked for", nil, sets("a", "a"), pass{sets: sets("a")}, false},
		"BecameNodes":  {"a copy that takes several nodes from now on is new", deployment("a"), nil, pass{sets: sets("a")}, true},
		"NothingToRun": {"no pods were asked for", nil, nil, pass{}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.p.otherPods(tc.was, tc.wasSets); got != tc.want {
				t.Errorf("%s: asked for in this pass: %v, want %v", tc.reason, got, tc.want)
			}
		})
	}
}

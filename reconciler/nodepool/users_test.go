// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestUsers: a pool keeps and buys nodes for Workspaces that can use them, and is
// deleted under none that may come back to it.
func TestUsers(t *testing.T) {
	run := func(reason string, change ...func(*v1alpha1.Workspace)) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) {
			w.Spec.Tuning = &v1alpha1.TuningSpec{}
			condition.False(w, v1alpha1.ConditionTuningSucceeded, reason, "")
			for _, c := range change {
				c(w)
			}
		}
	}
	ready := func(reason string) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) { condition.False(w, v1alpha1.ConditionReady, reason, "") }
	}
	nodes := func(reason string) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) { condition.False(w, v1alpha1.ConditionResourceReady, reason, "") }
	}
	started := func(w *v1alpha1.Workspace) { w.Status.Tuning = &v1alpha1.TuningStatus{Run: "a-1"} }
	both := func(change ...func(*v1alpha1.Workspace)) func(*v1alpha1.Workspace) {
		return func(w *v1alpha1.Workspace) {
			for _, c := range change {
				c(w)
			}
		}
	}
	cases := map[string]struct {
		reason     string
		change     func(*v1alpha1.Workspace)
		uses, held bool
	}{
		"New":                     {"Nothing is known yet: it may need the nodes at once.", both(), true, true},
		"Suspended":               {"No pod of it runs.", func(w *v1alpha1.Workspace) { w.Spec.Suspend = true }, false, false},
		"Done":                    {"A run is never repeated.", func(w *v1alpha1.Workspace) { condition.True(w, v1alpha1.ConditionTuningSucceeded, "x", "") }, false, false},
		"Running":                 {"A run that runs.", run(v1alpha1.ReasonJobRunning, started), true, true},
		"BudgetSpent":             {"No pod runs before somebody raises the budget.", run(v1alpha1.ReasonBudgetSpent, started), false, true},
		"JobFailed":               {"No pod runs before somebody asks for it.", run(v1alpha1.ReasonJobFailed, started), false, true},
		"FailedRunBecameAService": {"A condition of an earlier task says nothing of this one.", both(run(v1alpha1.ReasonJobFailed), func(w *v1alpha1.Workspace) { w.Spec.Tuning = nil }), true, true},
		"Queued":                  {"The Job is there, and Kueue holds its pods.", run(v1alpha1.ReasonWaitingForQueue, started, ready(v1alpha1.ReasonWaitingForQueue)), false, true},
		"RunWithoutInput":         {"There is no Job before its Secret.", run(v1alpha1.ReasonWaitingForNodes, ready(v1alpha1.ReasonInputMissing), nodes(v1alpha1.ReasonWaitingForNodes)), false, true},
		"RunLostItsInput":         {"The Job is there, and may go on.", run(v1alpha1.ReasonJobRunning, started, ready(v1alpha1.ReasonInputMissing)), true, true},
		"RunRefused":              {"Only a change of it can help.", run(v1alpha1.ReasonWaitingForNodes, ready(v1alpha1.ReasonRefused)), false, true},
		"ServiceRefused":          {"It never came as far as to need nodes.", ready(v1alpha1.ReasonRefused), false, true},
		"ServiceWithoutInput":     {"Likewise.", ready(v1alpha1.ReasonInputMissing), false, true},
		"ServiceCameBackToNoSecret": {
			"It was suspended, and nothing of it runs.", both(nodes(v1alpha1.ReasonSuspended), ready(v1alpha1.ReasonInputMissing)), false, true,
		},
		"ServiceRunsAndIsRefused": {"What was refused is the change: the pods of before serve on.", both(nodes(v1alpha1.ReasonSucceeded), ready(v1alpha1.ReasonRefused)), true, true},
		"ServiceWithoutGateway": {
			"What is missing publishes it: it waits for its nodes all the same.", both(nodes(v1alpha1.ReasonWaitingForNodes), ready(v1alpha1.ReasonInputMissing)), true, true,
		},
		"ServiceWithoutAdapter": {"No node is needed before a run has pushed.", ready(v1alpha1.ReasonWaitingForAdapter), false, true},
		"ServesWithoutAdapter": {
			"An adapter was added to a service that runs: it serves on as it is, on its nodes.",
			both(func(w *v1alpha1.Workspace) {
				condition.True(w, v1alpha1.ConditionResourceReady, v1alpha1.ReasonSucceeded, "")
			}, ready(v1alpha1.ReasonWaitingForAdapter)), true, true,
		},
		"RunOnAnotherClass":     {"The volume of an earlier run has another class: no Job is made.", run(v1alpha1.ReasonWaitingForNodes, ready(v1alpha1.ReasonClaimClassDiffers)), false, true},
		"RunOnVolumeOfOneNode":  {"Likewise.", run(v1alpha1.ReasonWaitingForNodes, ready(v1alpha1.ReasonClaimNotShared)), false, true},
		"QueuedOnAnotherClass":  {"The Job is there: it may go on.", run(v1alpha1.ReasonJobRunning, started, ready(v1alpha1.ReasonClaimClassDiffers)), true, true},
		"RunWithoutRight":       {"Its account is asked for before a node is.", run(v1alpha1.ReasonWaitingForNodes, ready(v1alpha1.ReasonAccessDenied)), false, true},
		"RunLostItsRight":       {"The Job is there, and runs without.", run(v1alpha1.ReasonJobRunning, started, ready(v1alpha1.ReasonAccessDenied)), true, true},
		"ServiceWithoutAccount": {"Likewise.", ready(v1alpha1.ReasonServiceAccountNotFound), false, true},
		"ServiceNeverAsked":     {"It had a pool of its own in mind, and was denied it.", both(nodes(v1alpha1.ReasonAccessDenied), ready(v1alpha1.ReasonAccessDenied)), false, true},
		"ServiceLostItsAccount": {"Its pods serve on.", both(nodes(v1alpha1.ReasonSucceeded), ready(v1alpha1.ReasonServiceAccountNotFound)), true, true},
		"RunBeforeTheRegistry":  {"No node is requested before it has answered.", run(v1alpha1.ReasonWaitingForNodes, ready(v1alpha1.ReasonRegistryUnreachable)), false, true},
		"WaitingForNodes":       {"That is whom nodes are bought for.", both(nodes(v1alpha1.ReasonWaitingForNodes), ready(v1alpha1.ReasonWaitingForNodes)), true, true},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			fresh := v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "a"}}
			fresh.Spec.Resource.NodePool = subject
			w := *fresh.DeepCopy()
			tc.change(&w)
			p := idlePool(v1alpha1.IdleScaleToZero, t4)
			if uses := len(usersOf(p, []v1alpha1.Workspace{w}, usesNone)) == 1; uses != tc.uses {
				t.Errorf("%s\nuses the nodes: %t", tc.reason, uses)
			}
			if held := len(usersOf(p, []v1alpha1.Workspace{w}, finished)) == 1; held != tc.held {
				t.Errorf("%s\nholds the deletion: %t", tc.reason, held)
			}
			w.Spec.Suspend = false // a change of the spec is another generation
			wants := !tc.uses && name != "Suspended" || waits(&w)
			if tells := useChanged().Update(event.UpdateEvent{ObjectOld: &fresh, ObjectNew: &w}); tells != wants {
				t.Errorf("%s\nthe pool is told: %t", tc.reason, tells)
			}
		})
	}
}

// TestIdleWithoutUse: a run that has spent its budget gives the nodes of a shared
// pool back, and has them again when it goes on.
func TestIdleWithoutUse(t *testing.T) {
	w := newWorld(t)
	w.create(idlePool(v1alpha1.IdleScaleToZero, t4))
	w.use("a", true)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 })
	w.tunes("a", v1alpha1.ReasonBudgetSpent)
	w.drive(&life{}, []string{"p"}, w.phase(v1alpha1.PhaseIdle))
	if len(w.nodes()) != 0 {
		t.Errorf("nodes %v", w.nodes())
	}
	w.tunes("a", v1alpha1.ReasonJobRunning)
	w.drive(&life{}, []string{"p"}, func() bool { return w.get("p").Status.ReadyNodes == 2 && w.ready("p")() })
}

// tunes makes a Workspace a run that has come to a state.
func (w *world) tunes(name, reason string) {
	w.t.Helper()
	ws := &v1alpha1.Workspace{}
	ws.Namespace, ws.Name = "team-a", name
	if err := w.kube.Get(w.ctx, client.ObjectKeyFromObject(ws), ws); err != nil {
		w.t.Fatal(err)
	}
	ws.Spec.Tuning = &v1alpha1.TuningSpec{}
	condition.False(ws, v1alpha1.ConditionTuningSucceeded, reason, "")
	if err := w.kube.Update(w.ctx, ws); err != nil { // its status is no subresource here
		w.t.Fatal(err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// TestAutoscale follows a service through all that scaling can do to it, with the
// HorizontalPodAutoscaler of the real controller manager: nodes follow the copies,
// the service stays Ready meanwhile, suspending stops it all, and turning it off
// takes the number of copies back without a conflict.
func TestAutoscale(t *testing.T) {
	t.Parallel()
	team := newTeam(t, "autoscale")
	files := onlyInference(t)
	const off = "  inference:\n"
	on := off + "    autoscale: {minReplicas: 1, maxReplicas: 3}\n"
	replace(t, files, inferenceFile, off, on)
	replace(t, files, budgetFile, `maxUSDPerHour: "8"`, `maxUSDPerHour: "20"`)
	appliedCommit(t, team, pushAndApply(t, team, files))
	ready(t, team, harness.InferenceName)
	copiesAndNodes(t, team, 1, 1)

	// What an autoscaler that has metrics does: it writes the subresource.
	scaleTo(t, team, 2)
	copiesAndNodes(t, team, 2, 2)
	ready(t, team, harness.InferenceName)
	heldBy(t, team, "somebody")

	// The controller manager's own autoscaler has no metrics here, and still holds
	// the bounds.
	replace(t, files, inferenceFile, "minReplicas: 1", "minReplicas: 3")
	appliedCommit(t, team, push(t, team, files, "models: three at least"))
	copiesAndNodes(t, team, 3, 3)
	heldBy(t, team, "kube-controller-manager")

	replace(t, files, inferenceFile, "spec:\n", "spec:\n  suspend: true\n")
	push(t, team, files, "models: stop over the holidays")
	if err := harness.Gone(patient(t), team.Stand, pool(team, harness.InferenceName)); err != nil {
		t.Fatal(err)
	}
	if err := harness.Gone(patient(t), team.Stand, podAutoscaler(team)); err != nil {
		t.Fatal(err)
	}
	replace(t, files, inferenceFile, "  suspend: true\n", "")
	push(t, team, files, "models: back")
	copiesAndNodes(t, team, 3, 3)
	scaleTo(t, team, 2) // below the bounds: the autoscaler undoes it
	heldBy(t, team, "kube-controller-manager")

	replace(t, files, inferenceFile, strings.Replace(on, "minReplicas: 1", "minReplicas: 3", 1), off+"    replicas: 2\n")
	commit := push(t, team, files, "models: two, whatever the load")
	appliedCommit(t, team, commit)
	if err := harness.Gone(patient(t), team.Stand, podAutoscaler(team)); err != nil {
		t.Fatal(err)
	}
	copiesAndNodes(t, team, 2, 2)
	ready(t, team, harness.InferenceName)
	heldBy(t, team, "espalier")

	// What nobody was given is nobody's: a person who scales by hand is told so.
	scaleTo(t, team, 1)
	err := harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "in conflict", func(w *v1alpha1.Workspace) bool {
		c := condition.Get(w, v1alpha1.ConditionStalled)
		return c != nil && c.Reason == v1alpha1.ReasonFieldConflict && strings.Contains(c.Message, "somebody")
	})
	if err != nil {
		t.Error(err)
	}
}

func podAutoscaler(team *harness.Team) *autoscalingv2.HorizontalPodAutoscaler {
	return &autoscalingv2.HorizontalPodAutoscaler{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: harness.InferenceName}}
}

// scaleTo writes the subresource scale, as autoscalers do.
func scaleTo(t *testing.T, team *harness.Team, copies int32) {
	t.Helper()
	scale := &autoscalingv1.Scale{Spec: autoscalingv1.ScaleSpec{Replicas: copies}}
	err := team.Client.SubResource("scale").Update(t.Context(), deployment(team), client.WithSubResourceBody(scale), client.FieldOwner("somebody"))
	if err != nil {
		t.Fatal(err)
	}
}

// copiesAndNodes waits until so many copies are there, on so many nodes, of a
// Workspace that is Ready.
func copiesAndNodes(t *testing.T, team *harness.Team, copies, nodes int32) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, deployment(team), "scaled", func(d *appsv1.Deployment) bool {
		return ptr.Deref(d.Spec.Replicas, 1) == copies && d.Status.AvailableReplicas == copies
	})
	if err != nil {
		t.Fatal(err)
	}
	err = harness.Until(patient(t), team.Stand, pool(team, harness.InferenceName), "scaled", func(p *v1alpha1.GPUNodePool) bool {
		return p.DesiredReplicas() == nodes && p.Status.ReadyNodes == nodes && condition.Is(p, v1alpha1.ConditionReady)
	})
	if err != nil {
		t.Fatal(err)
	}
	err = harness.Until(patient(t), team.Stand, workspace(team, harness.InferenceName), "sized", func(w *v1alpha1.Workspace) bool {
		return w.Status.Sizing != nil && w.Status.Sizing.Nodes == nodes
	})
	if err != nil {
		t.Fatal(err)
	}
}

// heldBy waits until a manager owns the number of copies.
func heldBy(t *testing.T, team *harness.Team, manager string) {
	t.Helper()
	err := harness.Until(patient(t), team.Stand, deployment(team), "held by "+manager, func(d *appsv1.Deployment) bool {
		for _, m := range d.ManagedFields {
			if m.FieldsV1 != nil && strings.Contains(m.FieldsV1.GetRawString(), `"f:replicas":{}`) && m.Manager == manager && (m.Subresource == "scale") == (manager != "espalier") {
				return true
			}
		}
		return false
	})
	if err != nil {
		t.Error(err)
	}
}

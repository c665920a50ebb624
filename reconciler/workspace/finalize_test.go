// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestRemoveClaims: the checkpoints of a run that has published nothing outlive the
// Workspace, whatever its status knows of the run.
func TestRemoveClaims(t *testing.T) {
	const volume = "pvc-0f6a9b1e"
	ran := &v1alpha1.TuningStatus{Run: "tune-1"}
	for name, tc := range map[string]struct {
		reason    string
		retain    v1alpha1.Retention
		status    *v1alpha1.TuningStatus
		volume    string // of the claim; "": no pod has mounted it
		published bool
		service   bool
		kept      bool
	}{
		"NeverBegan":   {reason: "There is nothing on it."},
		"Runs":         {reason: "It is the only trace of what was paid for.", status: ran, volume: volume, kept: true},
		"LeftQueue":    {reason: "A run that was suspended has no Job, and has trained for hours.", volume: volume, kept: true},
		"Published":    {reason: "The adapter is where it belongs.", status: ran, volume: volume, published: true},
		"PublishedOld": {reason: "So it is where another Workspace of that name has trained it.", volume: volume, published: true},
		"Always":       {reason: "It is left to the user.", retain: v1alpha1.RetainAlways, status: ran, published: true, kept: true},
		"Service":      {reason: "A service trains nothing: they are of a run of its name, which was deleted before.", volume: volume, service: true, kept: true},
	} {
		t.Run(name, func(t *testing.T) {
			r, fake := withChildren(t)
			recorder := events.NewFakeRecorder(4)
			r.Events = recorder
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "tune", UID: "w"}}
			ws.Spec.Tuning = &v1alpha1.TuningSpec{Checkpoints: &v1alpha1.Checkpoints{Retain: tc.retain}}
			if tc.service {
				ws.Spec.Tuning, ws.Spec.Inference = nil, &v1alpha1.InferenceSpec{}
			}
			ws.Status.Tuning = tc.status
			if tc.published {
				condition.True(ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonSucceeded, "published")
			}
			claim := claimOf(ws)
			claim.Spec.VolumeName = tc.volume
			if err := fake.Create(t.Context(), claim); err != nil {
				t.Fatal(err)
			}
			if _, err := r.removeClaims(t.Context(), &pass{ws: ws}); err != nil {
				t.Fatal(err)
			}
			err := fake.Get(t.Context(), client.ObjectKeyFromObject(claim), &corev1.PersistentVolumeClaim{})
			if client.IgnoreNotFound(err) != nil || (err == nil) != tc.kept {
				t.Errorf("%s\ngot %v", tc.reason, err)
			}
			if told := len(recorder.Events) > 0; told != (tc.kept && tc.retain != v1alpha1.RetainAlways) {
				t.Errorf("%s\nthe event CheckpointsKept was told: %t", tc.reason, told)
			}
		})
	}
}

// claimOf is the claim of the checkpoints of a Workspace, as it is applied.
func claimOf(ws *v1alpha1.Workspace) *corev1.PersistentVolumeClaim {
	return &corev1.PersistentVolumeClaim{ObjectMeta: metav1.ObjectMeta{
		Namespace: ws.Namespace, Name: repolayout.WorkClaimName(ws.Name), Labels: map[string]string{repolayout.LabelWorkspace: ws.Name},
	}}
}

// TestDropCheckpoints: the claim of a run goes as soon as its adapter is published, where the
// spec says so, and a claim of somebody else's never.
func TestDropCheckpoints(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		retain    v1alpha1.Retention
		label     string
		published bool
		gone      bool
	}{
		"Published":   {"Nothing else is wanted of it.", v1alpha1.RetainUntilPublished, "tune", true, true},
		"Unpublished": {"The run goes on from it.", v1alpha1.RetainUntilPublished, "tune", false, false},
		"Kept":        {"It goes with the Workspace.", v1alpha1.RetainUntilDeleted, "tune", true, false},
		"Nobodys":     {"A claim of that name which Espalier has not made is not Espalier's to delete.", v1alpha1.RetainUntilPublished, "", true, false},
		"Others":      {"Nor is another Workspace's.", v1alpha1.RetainUntilPublished, "other", true, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, fake := withChildren(t)
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "tune", UID: "w"}}
			ws.Spec.Tuning = &v1alpha1.TuningSpec{Checkpoints: &v1alpha1.Checkpoints{Retain: tc.retain}}
			if tc.published {
				condition.True(ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonSucceeded, "published")
			}
			claim := claimOf(ws)
			claim.Labels[repolayout.LabelWorkspace] = tc.label
			if err := fake.Create(t.Context(), claim); err != nil {
				t.Fatal(err)
			}
			if err := r.dropCheckpoints(t.Context(), &pass{ws: ws, claim: claim}); err != nil {
				t.Fatal(err)
			}
			err := fake.Get(t.Context(), client.ObjectKeyFromObject(claim), &corev1.PersistentVolumeClaim{})
			if apierrors.IsNotFound(err) != tc.gone {
				t.Errorf("%s\ngot %v", tc.reason, err)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestJudgeStart(t *testing.T) {
	now := time.Date(2026, 11, 25, 12, 0, 0, 0, time.UTC)
	ago := func(d time.Duration) metav1.Time { return metav1.NewTime(now.Add(-d)) }
	const limit = 30 * time.Minute
	stopped := ago(time.Hour)
	for name, c := range map[string]struct {
		reason string
		was    *v1alpha1.StartStatus
		seen   seenStart
		want   *v1alpha1.StartStatus
	}{
		"Starts": {
			reason: "What works needs no record.",
			was:    &v1alpha1.StartStatus{FailingSince: ago(time.Hour)},
			seen:   seenStart{started: true, runs: true},
		},
		"FirstSight": {
			reason: "The time counts from when it was first seen.",
			seen:   seenStart{why: "image", inputs: "a", uid: "1"},
			want:   &v1alpha1.StartStatus{FailingSince: ago(0), Message: "image", Inputs: "a", UID: "1"},
		},
		"WithinTheLimit": {
			reason: "Images take their time; the last known reason stays.",
			was:    &v1alpha1.StartStatus{FailingSince: ago(limit - time.Second), Message: "image", Inputs: "a", UID: "1"},
			seen:   seenStart{inputs: "a", uid: "1"},
			want:   &v1alpha1.StartStatus{FailingSince: ago(limit - time.Second), Message: "image", Inputs: "a", UID: "1"},
		},
		"AtTheLimit": {
			reason: "Nobody pays on for a GPU that nothing uses.",
			was:    &v1alpha1.StartStatus{FailingSince: ago(limit), Inputs: "a", UID: "1"},
			seen:   seenStart{why: "image", inputs: "a", uid: "1"},
			want:   &v1alpha1.StartStatus{FailingSince: ago(limit), Message: "image", Inputs: "a", UID: "1", StoppedAt: &metav1.Time{Time: now}},
		},
		"RunsAfterACrash": {
			reason: "A container that runs just now may come up: it is not cut off, and not forgiven either.",
			was:    &v1alpha1.StartStatus{FailingSince: ago(limit), Inputs: "a", UID: "1"},
			seen:   seenStart{runs: true, inputs: "a", uid: "1"},
			want:   &v1alpha1.StartStatus{FailingSince: ago(limit), Inputs: "a", UID: "1"},
		},
		"StaysStopped": {
			reason: "Only a change or a person starts it again.",
			was:    &v1alpha1.StartStatus{FailingSince: ago(2 * time.Hour), StoppedAt: &stopped},
			seen:   seenStart{started: true},
			want:   &v1alpha1.StartStatus{FailingSince: ago(2 * time.Hour), StoppedAt: &stopped},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, judgeStart(c.was, c.seen, now, limit)); diff != "" {
				t.Errorf("%s\n%s", c.reason, diff)
			}
		})
	}
}

func TestHasWorked(t *testing.T) {
	progressing := func(reason string) []appsv1.DeploymentCondition {
		return []appsv1.DeploymentCondition{{Type: appsv1.DeploymentProgressing, Reason: reason}}
	}
	for name, c := range map[string]struct {
		reason string
		status appsv1.DeploymentStatus
		want   bool
	}{
		"New":    {reason: "Nothing has answered yet.", status: appsv1.DeploymentStatus{Conditions: progressing("ReplicaSetUpdated")}},
		"Answer": {reason: "A replica answers, if of an earlier template: stopping would be an outage.", status: appsv1.DeploymentStatus{AvailableReplicas: 1}, want: true},
		"Outage": {
			reason: "It has answered as it is: what is down later may come back.",
			status: appsv1.DeploymentStatus{ObservedGeneration: 2, Conditions: progressing("NewReplicaSetAvailable")}, want: true,
		},
		"OldNews": {
			reason: "What was said of an earlier template says nothing of this one.",
			status: appsv1.DeploymentStatus{ObservedGeneration: 1, Conditions: progressing("NewReplicaSetAvailable")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Generation: 2}, Status: c.status}
			if got := hasWorked(d); got != c.want {
				t.Errorf("%s\ngot %v, want %v", c.reason, got, c.want)
			}
		})
	}
}

// TestShortly: what is cut off is zeros alone.
func TestShortly(t *testing.T) {
	for in, want := range map[time.Duration]string{
		30 * time.Minute: "30m", time.Hour: "1h", 90 * time.Second: "1m30s", 10 * time.Second: "10s", 70 * time.Minute: "1h10m", 10 * time.Hour: "10h",
	} {
		if got := shortly(in); got != want {
			t.Errorf("%s is said as %s, want %s", in, got, want)
		}
	}
}

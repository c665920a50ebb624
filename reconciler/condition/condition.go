// SPDX-License-Identifier: Apache-2.0

// Package condition writes conditions as kstatus reads them: Ready always
// there, Reconciling and Stalled only while true. Messages carry no clock and
// no counter that changes when the world does not, because every change of a
// condition may become a commit.
//
// It decides no state; it only keeps the form.
package condition

import (
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// maxMessage keeps a condition within the API server's limit, and readable.
const maxMessage = 4096

// Holder is an object with conditions.
type Holder interface {
	GetGeneration() int64
	GetConditions() []metav1.Condition
	SetConditions([]metav1.Condition)
}

// True sets a condition to True. The transition time moves only when the status
// does, here as with False and Unknown.
func True(h Holder, kind, reason, message string) {
	set(h, kind, metav1.ConditionTrue, reason, message)
}

// False sets a condition to False.
func False(h Holder, kind, reason, message string) {
	set(h, kind, metav1.ConditionFalse, reason, message)
}

// Unknown sets a condition to Unknown.
func Unknown(h Holder, kind, reason, message string) {
	set(h, kind, metav1.ConditionUnknown, reason, message)
}

// Remove takes a condition away: right for conditions that are only there while
// something is wrong.
func Remove(h Holder, kinds ...string) {
	conditions := h.GetConditions()
	for _, kind := range kinds {
		meta.RemoveStatusCondition(&conditions, kind)
	}
	h.SetConditions(conditions)
}

// Is says whether a condition is True.
func Is(h Holder, kind string) bool {
	return meta.IsStatusConditionTrue(h.GetConditions(), kind)
}

// Get returns a condition, nil when it is absent.
func Get(h Holder, kind string) *metav1.Condition {
	return meta.FindStatusCondition(h.GetConditions(), kind)
}

// Ready says that what was asked for is there.
func Ready(h Holder, reason, message string) {
	True(h, v1alpha1.ConditionReady, reason, message)
	Remove(h, v1alpha1.ConditionReconciling, v1alpha1.ConditionStalled)
}

// Progressing says that the world is on its way.
func Progressing(h Holder, reason, message string) {
	False(h, v1alpha1.ConditionReady, reason, message)
	True(h, v1alpha1.ConditionReconciling, reason, message)
	Remove(h, v1alpha1.ConditionStalled)
}

// Stalled says that only a change in Git or of the object can help.
func Stalled(h Holder, reason, message string) {
	False(h, v1alpha1.ConditionReady, reason, message)
	True(h, v1alpha1.ConditionStalled, reason, message)
	Remove(h, v1alpha1.ConditionReconciling)
}

func set(h Holder, kind string, status metav1.ConditionStatus, reason, message string) {
	if len(message) > maxMessage {
		// Half a letter would come back as another, and be written anew with every pass.
		message = strings.ToValidUTF8(message[:maxMessage-3], "") + "..."
	}
	conditions := h.GetConditions()
	meta.SetStatusCondition(&conditions, metav1.Condition{
		Type: kind, Status: status, Reason: reason, Message: message, ObservedGeneration: h.GetGeneration(),
	})
	h.SetConditions(conditions)
}

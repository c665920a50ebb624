// SPDX-License-Identifier: Apache-2.0

package slim

import (
	"hash/maphash"
	"maps"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Carried is a sum of the labels, annotations and owners of an object, the same for an object
// and for what Transform has made of it, and in this process alone. Left out is what says
// nothing of who changed it: where Git says an object, and what Kubernetes' controllers and
// kubectl note.
func Carried(o metav1.Object) uint64 {
	if sum, err := strconv.ParseUint(o.GetSelfLink(), noted, 64); err == nil {
		return sum
	}
	var sum uint64
	for key, value := range o.GetLabels() {
		sum += pair("label", key, value)
	}
	for key, value := range o.GetAnnotations() {
		if !isRemark(key) {
			sum += pair("annotation", key, value)
		}
	}
	for _, owner := range o.GetOwnerReferences() {
		sum += pair("owner", string(owner.UID), "")
	}
	return sum
}

// noted is the base in which a sum is noted, in the field selfLink: no API server has set that
// since Kubernetes 1.20, and a map with a single entry takes twenty times as much.
const noted = 36

// note notes the sum of an object, and drops what it is of but for the owners.
func note(o metav1.Object) {
	if o.GetSelfLink() != "" {
		return // a cache may transform what it holds once more
	}
	o.SetSelfLink(strconv.FormatUint(Carried(o), noted))
	o.SetLabels(nil)
	annotations := o.GetAnnotations()
	maps.DeleteFunc(annotations, func(key, _ string) bool { return key != repolayout.AnnotationAutoscaler })
	o.SetAnnotations(annotations)
}

// isCompared says of a child of a Workspace that its labels and annotations are compared
// with those that were applied, and nothing else is read of them.
func isCompared(o metav1.Object) bool {
	switch o := o.(type) {
	case *appsv1.Deployment:
		return true
	case *metav1.PartialObjectMetadata:
		return o.Kind == "Service" || o.Kind == "PodDisruptionBudget" || o.Kind == "NetworkPolicy"
	}
	return false
}

func isRemark(annotation string) bool {
	switch annotation {
	case repolayout.AnnotationSource, repolayout.AnnotationRevision, corev1.LastAppliedConfigAnnotation:
		return true
	}
	return strings.HasPrefix(annotation, "deployment.kubernetes.io/")
}

var seed = maphash.MakeSeed()

// pair is what a sum adds for a key and its value, in any order.
func pair(kind, key, value string) uint64 {
	var h maphash.Hash
	h.SetSeed(seed)
	for _, part := range []string{kind, key, value} {
		_, _ = h.WriteString(part) // it never fails
		_ = h.WriteByte(0)
	}
	return h.Sum64()
}

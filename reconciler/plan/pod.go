// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"reflect"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/render/desired"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// pod says what differs between two pods of the user's own.
func (w *words) pod(was, is *corev1.PodTemplateSpec) {
	if was == nil && is == nil {
		return
	}
	before, after := imagesOf(was), imagesOf(is)
	w.change("pod", before, after)
	if before == after && !reflect.DeepEqual(was, is) {
		w.add("pod template")
	}
}

// imagesOf names a pod by the images that it runs; "" for none.
func imagesOf(pod *corev1.PodTemplateSpec) string {
	if pod == nil {
		return ""
	}
	var images []string
	for _, c := range pod.Spec.Containers {
		images = append(images, brief(c.Image))
	}
	return joined(images)
}

// imageOf is the image that a spec puts in the place of the pinned one.
func imageOf(s *v1alpha1.WorkspaceSpec) string {
	if s.Runtime == nil || s.Runtime.Image == "" {
		return ""
	}
	return brief(s.Runtime.Image) + " (CUDA " + s.Runtime.CUDA + ")"
}

// ownDriver says what is known of the driver and an image of the user's own.
func ownDriver(has string) string {
	if has == "" {
		return "not known; nor is what the image needs"
	}
	return has + "; what the image needs is not known"
}

// answersWhen says from when on requests are answered.
func answersWhen(w *desired.Workspace) string {
	if w.Assessment.Pod != nil {
		return " answers when the pod says that it is ready; whether it fits shows then"
	}
	return " answers when the model is loaded"
}

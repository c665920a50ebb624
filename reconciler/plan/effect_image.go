// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"strings"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// because names another image of the same version, which restarts pods and which no
// field of the Workspace says: the driver of the nodes decides.
func (t transition) because(e Effect) Effect {
	if e.Kind != Restarted && e.Kind != Rolls || t.is.job() || t.saysImage() {
		return e
	}
	before, after := t.was.images(), t.is.images()
	for _, container := range union(before, after) {
		if from, to := before[container], after[container]; from != to && from != "" && to != "" {
			e.Message += "; the image becomes " + shortImage(to, from) + ", where it was " + shortImage(from, to)
			break
		}
	}
	return e
}

// saysImage says that the words of the change tell of another image.
func (t transition) saysImage() bool {
	was, is := t.from.Assessment.Resolved, t.to.Assessment.Resolved
	a, b := &t.from.Workspace.Spec, &t.to.Workspace.Spec
	return t.to.Assessment.Pod != nil || was.Runtime != is.Runtime || was.Version != is.Version ||
		imageOf(a) != imageOf(b) || mirror(a.Runtime) != mirror(b.Runtime)
}

// shortImage leaves the digest out where the rest tells an image from the other.
func shortImage(image, other string) string {
	short, _, _ := strings.Cut(image, "@")
	if beside, _, _ := strings.Cut(other, "@"); short == beside {
		return image
	}
	return short
}

// images are those of a service's containers, by their names.
func (r rendered) images() map[string]string {
	images := map[string]string{}
	for _, o := range r.objects {
		if o.GetKind() != "Deployment" && o.GetKind() != "StatefulSet" {
			continue
		}
		containers, _, _ := unstructured.NestedSlice(o.Object, "spec", "template", "spec", "containers")
		for _, c := range containers {
			if c, is := c.(map[string]any); is {
				name, _ := c["name"].(string)
				images[name], _ = c["image"].(string)
			}
		}
	}
	return images
}

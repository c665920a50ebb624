// SPDX-License-Identifier: Apache-2.0

package render

import (
	"slices"
	"strings"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// withIdentity has a helper sign in by the identity of the pod.
const withIdentity = "--workload-identity"

// azureIdentity is the label by which Azure's webhook gives a pod the identity of its
// ServiceAccount.
const azureIdentity = "azure.workload.identity/use"

// skipped is what keeps a cloud's webhook from giving containers a token: an annotation of
// the pod that lists their names, and what is between them. Google's metadata server
// answers the whole pod.
var skipped = map[v1alpha1.Cloud]struct{ annotation, between string }{
	v1alpha1.CloudAzure:  {"azure.workload.identity/skip-containers", ";"},
	v1alpha1.CloudAmazon: {"eks.amazonaws.com/skip-containers", ","},
}

// identityLabels are labels of the pods for the cloud.
func (j job) identityLabels() object {
	var weights *v1alpha1.Weights
	if s := j.spec.Inference; s != nil {
		weights = s.Weights
	}
	reads := weights != nil && weights.ServiceAccountName != "" && (weights.Store() == "az" || weights.Registry != nil)
	if !reads && !slices.Contains(j.clouds(), v1alpha1.CloudAzure) {
		return nil
	}
	return object{azureIdentity: "true"}
}

// clouds are those whose registries the pods sign in to.
func (j job) clouds() []v1alpha1.Cloud {
	var clouds []v1alpha1.Cloud
	for _, image := range j.spec.SignedIn() {
		clouds = append(clouds, v1alpha1.CloudOf(image))
	}
	slices.Sort(clouds)
	return slices.Compact(clouds)
}

// signsIn gives a pod template the account that signs in to registries, and the cloud's
// token to the containers that use it: the trainer and the model see none.
func (j job) signsIn(template object) {
	clouds := j.clouds()
	if len(clouds) == 0 {
		return
	}
	pod, meta := template["spec"].(object), template["metadata"].(object)
	pod["serviceAccountName"] = j.spec.ServiceAccountName
	if s := j.spec.Inference; s != nil && s.Weights != nil && s.Weights.ServiceAccountName != "" {
		return // the runtime itself reads its weights so
	}
	annotations := meta["annotations"].(object)
	for _, cloud := range clouds {
		if skip, known := skipped[cloud]; known {
			annotations[skip.annotation] = strings.Join(others(pod), skip.between)
		}
	}
}

// others are the containers of a pod that do not sign in.
func others(pod object) []string {
	var names []string
	for _, list := range []string{"initContainers", "containers"} {
		all, _ := pod[list].([]any)
		for _, c := range all {
			c := c.(object)
			args, _ := c["args"].([]any)
			if c["$patch"] == nil && !slices.Contains(args, any(withIdentity)) {
				names = append(names, c["name"].(string))
			}
		}
	}
	return names
}

// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"strconv"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// ownPod renders a service whose pod is the user's own. What is added to it:
// the nodes of the pool, the tolerations they need, our labels, the digest of every
// input, and that no token of the cluster is mounted. What a tenant may not ask for
// is refused, as in a patch.
func (j job) ownPod(l *layer) error {
	template, err := j.podOf(*j.Assessment.Pod)
	if err != nil {
		return fmt.Errorf("spec.inference.template: %w", err)
	}
	replicas := j.copies()
	if j.spec.Suspend {
		replicas = 0
	}
	selector := mapping(j.selector())
	l.objects = append(l.objects, object{
		"apiVersion": "apps/v1", "kind": "Deployment", "metadata": object{"name": j.name},
		"spec": object{
			"replicas": replicas, "revisionHistoryLimit": 2, "progressDeadlineSeconds": patientStart,
			"selector": object{"matchLabels": selector},
			"strategy": object{"type": "RollingUpdate", "rollingUpdate": j.rollout()},
			"template": template,
		},
	})
	_, port, _ := repolayout.AnsweringPort(j.Assessment.Pod.Spec)
	l.patches = append(l.patches, patch{kind: "Service", name: "workspace", body: object{
		"metadata": object{"name": j.name},
		"spec": object{"selector": selector, "ports": []any{object{
			"name": "http", "port": 80, "protocol": "TCP", "targetPort": portOf(port),
		}}},
	}}, j.budget())
	return nil
}

// patientStart is how long a rollout may take, in seconds: as for vLLM, progress is
// judged by the probes.
const patientStart = 7200

// portOf is a port by number where it is one, else by name.
func portOf(port string) any {
	if n, err := strconv.Atoi(port); err == nil {
		return n
	}
	return port
}

// podOf is the user's template with what Espalier adds.
func (j job) podOf(own corev1.PodTemplateSpec) (object, error) {
	for key := range own.Spec.NodeSelector {
		if repolayout.ReservedPodKey(key) {
			return nil, fmt.Errorf("nodeSelector %s chooses the nodes of the Workspace's pool, which is Espalier's to do", key)
		}
	}
	for _, keys := range []map[string]string{own.Labels, own.Annotations} {
		for key := range keys {
			if repolayout.ReservedPodKey(key) {
				return nil, fmt.Errorf("label or annotation %s is Espalier's", key)
			}
		}
	}
	spec, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&own.Spec)
	if err != nil {
		return nil, err
	}
	if err := cmp.Or(confinedAnnotations(own.Annotations), confined(spec)); err != nil {
		return nil, err
	}
	for key, value := range j.nodeSelector() {
		if has, ok := own.Spec.NodeSelector[key]; ok && has != value {
			return nil, fmt.Errorf("nodeSelector %s is %s on the nodes of this Workspace", key, value)
		}
		entry(spec, "nodeSelector")[key] = value
	}
	j.keepOff(spec)
	tolerations, _ := spec["tolerations"].([]any)
	spec["tolerations"] = append(tolerations, j.tolerations()...)
	spec["automountServiceAccountToken"] = false
	labels, annotations := mapping(own.Labels), mapping(own.Annotations)
	for key, value := range j.selector() {
		labels[key] = value
	}
	annotations[repolayout.AnnotationInputDigest] = j.digest
	return object{"metadata": object{"labels": labels, "annotations": annotations}, "spec": spec}, nil
}

// entry is a mapping within an object, made where there is none.
func entry(o object, key string) object {
	if _, ok := o[key].(object); !ok {
		o[key] = object{}
	}
	return o[key].(object)
}

// tolerations of the taints on the nodes of a pool, as in the bases.
func (j job) tolerations() []any {
	return []any{
		object{"key": gpuTaint, "operator": "Exists"},
		object{"key": "sku", "operator": "Equal", "value": "gpu", "effect": "NoSchedule"},
		object{"key": "kubernetes.azure.com/scalesetpriority", "operator": "Equal", "value": "spot", "effect": "NoSchedule"},
		j.tolerate()["value"],
	}
}

// mapping is a map of texts as an object, never nil.
func mapping(m map[string]string) object {
	o := object{}
	for key, value := range m {
		o[key] = value
	}
	return o
}

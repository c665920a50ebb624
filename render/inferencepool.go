// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"io/fs"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// KindInferencePool is the kind of the Gateway API Inference Extension.
const KindInferencePool = "InferencePool"

const inferenceGroup = "inference.networking.k8s.io"

// inferencePool is the pods that answer, for Gateways that ask an endpoint picker
// which of them is to. Requests reach the pods themselves, past the Service.
func (j job) inferencePool(base fs.FS) (object, error) {
	port, err := j.answeringPort(base)
	if err != nil {
		return nil, err
	}
	picker := j.spec.Inference.Route.InferencePool.EndpointPickerRef
	return object{
		"apiVersion": inferenceGroup + "/v1", "kind": KindInferencePool, "metadata": object{"name": j.name},
		"spec": object{
			"selector":    object{"matchLabels": j.answering()},
			"targetPorts": []any{object{"number": port}},
			"endpointPickerRef": object{
				"group": "", "kind": "Service", "name": picker.Name, "port": object{"number": int64(picker.At())},
				"failureMode": string(picker.Fails()),
			},
		},
	}, nil
}

// answeringPort is the number of the port that the Service sends requests to: a pool
// has no names of ports.
func (j job) answeringPort(base fs.FS) (int64, error) {
	if own := j.Assessment.Pod; own != nil {
		return numberOf(own.Spec)
	}
	file := "deployment.yaml"
	if j.spread() {
		file = "nodes/copy.yaml"
	}
	text, err := fs.ReadFile(base, file)
	if err != nil {
		return 0, fmt.Errorf("reading the port of the base: %w", err)
	}
	var workload struct {
		Spec struct {
			Template corev1.PodTemplateSpec `json:"template"`
		} `json:"spec"`
	}
	if err := yaml.Unmarshal(text, &workload); err != nil {
		return 0, fmt.Errorf("reading the port of the base: %w", err)
	}
	return numberOf(workload.Spec.Template.Spec)
}

func numberOf(spec corev1.PodSpec) (int64, error) {
	container, _, found := repolayout.AnsweringPort(spec)
	if !found {
		return 0, errors.New("no container of the pod has a port")
	}
	return int64(spec.Containers[container].Ports[0].ContainerPort), nil
}

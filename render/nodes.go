// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"io/fs"
	"maps"
	"strconv"
	"time"

	"sigs.k8s.io/yaml"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// Ports of a copy over several nodes, as in the base.
const memberPort = 8470

// spread says whether one copy takes several nodes.
func (j job) spread() bool { return j.spec.Inference != nil && j.Candidate.CopyNodes > 1 }

// keepHelper notes the image of Espalier that the pods of a service run a program
// of. The first one stays, so that an upgrade moves no pod.
func (j *job) keepHelper() {
	r := &j.Assessment.Resolved
	switch {
	case !j.spread() && !j.fetches():
		r.HelperImage = ""
	case r.HelperImage == "":
		r.HelperImage = j.Options.HelperImage
	}
}

// membersName is the headless Service, and the NetworkPolicy, of the pods.
func (j job) membersName() string { return repolayout.MembersName(j.name) }

// copyName is the StatefulSet of one copy, and its value of LabelCopy.
func (j job) copyName(n int) string { return j.name + "-" + strconv.Itoa(n) }

// spreadArguments are those of vLLM's own mode for several nodes: each holds a
// part of the layers, and the pods of a copy find each other at its leader.
func (j job) spreadArguments() map[string]string {
	if !j.spread() {
		return nil
	}
	return map[string]string{
		"distributed-executor-backend": "mp",
		"master-addr":                  fmt.Sprintf("$(COPY)-0.%s.%s.svc", j.membersName(), j.namespace),
		"nnodes":                       strconv.Itoa(j.Candidate.CopyNodes),
		"node-rank":                    "$(RANK)",
		"pipeline-parallel-size":       strconv.Itoa(j.Candidate.CopyNodes),
	}
}

// nodes renders a StatefulSet for each copy, whose pods are members of a group.
func (j job) nodes(l *layer, pod object) error {
	if err := j.needHelper("serving on several nodes"); err != nil {
		return err
	}
	l.folder = "nodes"
	copyOf, err := copyBase(l.base)
	if err != nil {
		return err
	}
	size := j.Candidate.CopyNodes
	if j.spec.Suspend {
		size = 0
	}
	for n := range j.copies() {
		name := j.copyName(n)
		set := clone(copyOf)
		set["metadata"] = object{"name": name}
		l.objects = append(l.objects, set)
		labels := j.copyLabels(n)
		template := j.template(j.member(pod, name))
		all := clone(labels)
		maps.Copy(all, j.identityLabels())
		template["metadata"].(object)["labels"] = all
		l.patches = append(l.patches, patch{kind: "StatefulSet", name: name, body: object{
			"metadata": object{"name": name, "labels": object{repolayout.LabelCopy: name}},
			"spec": object{
				"replicas": size, "serviceName": j.membersName(),
				"selector": object{"matchLabels": labels},
				"template": template,
			},
		}, operations: []object{j.tolerate()}})
	}
	l.patches = append(l.patches, j.budget(), j.leaders(), j.members(), j.isolation())
	return nil
}

func (j job) copyLabels(n int) object {
	return object{repolayout.LabelWorkspace: j.name, repolayout.LabelCopy: j.copyName(n)}
}

// member turns the pod of a single node into a member of a copy.
func (j job) member(pod object, name string) object {
	out := clone(pod)
	init, _ := out["initContainers"].([]any)
	out["initContainers"] = append([]any{object{"name": "helper", "image": j.Assessment.Resolved.HelperImage}}, init...)
	container := out["containers"].([]any)[0].(object)
	env, _ := container["env"].([]any)
	container["env"] = append([]any{object{"name": "COPY", "value": name}}, env...)
	minutes := time.Duration(startupFailures(j.Assessment.Preset.Model.WeightBytes)) * 10 * time.Second
	args := []any{
		"--rank=$(RANK)", "--size=" + strconv.Itoa(j.Candidate.CopyNodes), "--group=" + j.digest,
		fmt.Sprintf("--peer=$(COPY)-%%d.%s.%s.svc:%d", j.membersName(), j.namespace, memberPort),
		"--start-within=" + minutes.String(), "--worker-arg=--headless", "--", "vllm", "serve",
	}
	container["args"] = append(args, container["args"].([]any)...)
	return out
}

// answering are the labels of the pods that answer requests: of a copy over several
// nodes the one of rank 0, for all.
func (j job) answering() object {
	labels := mapping(j.selector())
	if j.spread() {
		labels["apps.kubernetes.io/pod-index"] = "0"
	}
	return labels
}

// leaders is the Service: requests reach the pods of rank 0.
func (j job) leaders() patch {
	return patch{kind: "Service", name: "workspace", body: object{
		"metadata": j.serviceMeta(), "spec": object{"selector": j.answering()},
	}}
}

func (j job) members() patch {
	return patch{kind: "Service", name: "workspace-nodes", body: object{
		"metadata": object{"name": j.membersName()}, "spec": object{"selector": j.selector()},
	}}
}

// isolation lets only the pods of the Workspace reach each other's ports.
func (j job) isolation() patch {
	from := mapping(j.selector())
	return patch{kind: "NetworkPolicy", name: "workspace-nodes", body: object{
		"metadata": object{"name": j.membersName()},
		"spec":     object{"podSelector": object{"matchLabels": j.selector()}},
	}, operations: []object{{"op": "add", "path": "/spec/ingress/-", "value": object{
		"from": []any{object{"podSelector": object{"matchLabels": from}}},
	}}}}
}

// copyBase reads the StatefulSet of one copy.
func copyBase(base fs.FS) (object, error) {
	text, err := fs.ReadFile(base, "nodes/copy.yaml")
	if err != nil {
		return nil, fmt.Errorf("reading the base of a copy over several nodes: %w", err)
	}
	var set object
	if err := yaml.Unmarshal(text, &set); err != nil {
		return nil, fmt.Errorf("reading the base of a copy over several nodes: %w", err)
	}
	return set, nil
}

// clone copies an object that is patched for each copy.
func clone(o object) object {
	out := object{}
	for k, v := range o {
		out[k] = cloneValue(v)
	}
	return out
}

func cloneValue(v any) any {
	switch v := v.(type) {
	case object:
		return clone(v)
	case []any:
		list := make([]any, len(v))
		for i := range v {
			list[i] = cloneValue(v[i])
		}
		return list
	}
	return v
}

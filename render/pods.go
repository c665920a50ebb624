// SPDX-License-Identifier: Apache-2.0

package render

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	"github.com/espalier-dev/espalier/presets/runtimes"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// gpuTaint is the taint that nodes with GPUs may have.
const gpuTaint = "nvidia.com/gpu"

// gpuResource is what the device plugin of the nodes calls what a pod takes.
func (j job) gpuResource() string {
	if j.Assessment.Pool != nil {
		return j.Assessment.Pool.GPUResource()
	}
	return v1alpha1.SliceResource(j.spec.Resource.MIG)
}

// labels of every child, by the Kubernetes recommendations.
func (j job) labels() map[string]string {
	component := runtimes.Inference
	if j.spec.Tuning != nil {
		component = runtimes.Tuning
	}
	return map[string]string{
		repolayout.LabelWorkspace:      j.name,
		"app.kubernetes.io/name":       j.Assessment.Resolved.Runtime,
		"app.kubernetes.io/instance":   j.name,
		"app.kubernetes.io/version":    j.Assessment.Resolved.Version,
		"app.kubernetes.io/component":  component,
		"app.kubernetes.io/managed-by": "espalier",
	}
}

// selector finds the pods of the Workspace; it cannot change on a Deployment.
func (j job) selector() map[string]string {
	return map[string]string{repolayout.LabelWorkspace: j.name}
}

// poolName is the node pool the pods run on.
func (j job) poolName() string {
	if shared := j.spec.Resource.NodePool; shared != "" {
		return shared
	}
	return j.name
}

// provider of the node pool.
func (j job) provider() v1alpha1.Provider {
	if j.Assessment.Pool != nil {
		return j.Assessment.Pool.Provider
	}
	return cmp.Or(j.Provider, j.spec.Resource.Provider, j.Options.Provider)
}

func (j job) matchLabels() map[string]string { return j.spec.Resource.Labels() }

// nodeSelector chooses the nodes of the pool. Nodes that exist carry no label
// of ours: there the pool's own labels select.
func (j job) nodeSelector() map[string]string {
	selector := map[string]string{}
	if j.provider() == v1alpha1.ProviderExisting {
		if j.Assessment.Pool != nil {
			maps.Copy(selector, j.Assessment.Pool.NodeLabels)
		}
	} else {
		selector[repolayout.LabelPool] = repolayout.PoolLabelValue(j.namespace, j.poolName())
	}
	maps.Copy(selector, j.matchLabels())
	return selector
}

// tolerate adds the taint of the pool's nodes to the tolerations of the base.
func (j job) tolerate() object {
	return object{"op": "add", "path": "/spec/template/spec/tolerations/-", "value": object{
		"key": repolayout.LabelPool, "operator": "Equal", "effect": "NoSchedule",
		"value": repolayout.PoolLabelValue(j.namespace, j.poolName()),
	}}
}

// pool is the GPUNodePool of the Workspace.
func (j job) pool() object {
	var candidates []any
	for _, c := range j.Assessment.Usable() {
		entry := object{"instanceType": c.InstanceType, "priority": string(c.Priority)}
		if len(c.Zones) > 0 {
			entry["zones"] = texts(c.Zones)
		}
		candidates = append(candidates, entry)
	}
	spec := object{
		"provider":   string(j.provider()),
		"candidates": candidates,
		"replicas":   j.nodesWanted(),
	}
	if l := j.matchLabels(); len(l) > 0 {
		spec["nodeLabels"] = l
	}
	if part := j.part(); part != nil {
		spec["existing"] = part
	}
	if driver := j.spec.Resource.Driver; driver != "" && j.provider() == v1alpha1.ProviderExisting {
		spec["driver"] = driver
	}
	return object{
		"apiVersion": v1alpha1.GroupVersion.String(), "kind": v1alpha1.GPUNodePoolKind,
		"metadata": object{"name": j.name}, "spec": spec,
	}
}

// part is what the pods take of nodes that exist, where the spec says it; nil: what
// the candidate has.
func (j job) part() object {
	r := j.spec.Resource
	if r.MIG == "" && r.GPUs == 0 || j.provider() != v1alpha1.ProviderExisting {
		return nil
	}
	nodes := max(1, j.nodesWanted())
	perNode := (max(1, j.copies())*j.Candidate.CopyNodes + nodes - 1) / nodes
	part := object{"gpus": perNode * j.Candidate.PodGPUs}
	if r.MIG != "" {
		part["mig"] = r.MIG
	}
	return part
}

// nodesWanted is the number of nodes of the pool: they follow the copies of a
// service that scales by itself.
func (j job) nodesWanted() int {
	if s := j.spec.Inference; s == nil || s.Autoscale == nil {
		return j.Candidate.Nodes
	}
	return j.Candidate.NodesFor(j.copies())
}

// gpus is the resource section of the container that computes. Requests of
// extended resources equal their limits.
func (j job) gpus() object {
	n := strconv.Itoa(j.Candidate.PodGPUs)
	resource := j.gpuResource()
	return object{"limits": object{resource: n}, "requests": object{resource: n}}
}

// image of the runtime, from the mirror where there is one: the repository and the
// digest stay, so that what runs is the same.
func (j job) image() string {
	image := j.Assessment.Resolved.Image
	if r := j.spec.Runtime; r == nil || r.Mirror == "" || r.Image != "" { // of one's own says itself where it is
		return image
	}
	host, repository, _ := strings.Cut(image, "/")
	if !strings.ContainsAny(host, ".:") && host != "localhost" {
		repository = image // of Docker Hub, whose host is not written
	}
	return j.spec.Runtime.Mirror + "/" + repository
}

// token is the environment variable for gated models.
func (j job) token(accessSecret string) []any {
	if accessSecret == "" {
		return nil
	}
	return []any{object{"name": "HF_TOKEN", "valueFrom": object{
		"secretKeyRef": object{"name": accessSecret, "key": "HF_TOKEN"},
	}}}
}

func pullSecrets(names []string) []any {
	names = slices.Sorted(slices.Values(names))
	var refs []any
	for _, n := range slices.Compact(names) {
		refs = append(refs, object{"name": n})
	}
	return refs
}

func texts[S ~string](list []S) []any {
	out := make([]any, 0, len(list))
	for _, s := range list {
		out = append(out, string(s))
	}
	return out
}

// set puts a value where it is not empty: Kustomize would write the null.
func set(o object, key string, values []any) {
	if len(values) > 0 {
		o[key] = values
	}
}

func imageVolume(name, reference string) object {
	return object{"name": name, "image": object{"reference": reference, "pullPolicy": "IfNotPresent"}}
}

func mount(name, at string) object {
	return object{"name": name, "mountPath": at, "readOnly": true}
}

// needHelper says what the helper image would be for, when it is missing.
func (j job) needHelper(task string) error {
	if j.Options.HelperImage == "" {
		return fmt.Errorf("%s: this installation names no image of Espalier for it (--helper-image)", task)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package karpenter

import (
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Marks of our objects. Karpenter copies the labels of a NodeClaim to its node.
const (
	LabelOwner        = "espalier.dev/owner-uid"
	LabelInstallation = "espalier.dev/installation"
	LabelAttempt      = "espalier.dev/attempt"
)

// Labels of Karpenter and of KAITO.
const (
	labelNodePool     = "karpenter.sh/nodepool"
	labelCapacityType = "karpenter.sh/capacity-type"

	labelKAITOWorkspace = "kaito.sh/workspace"
	labelKAITONamespace = "kaito.sh/workspacenamespace"
	labelKAITOMachine   = "kaito.sh/machine-type"
)

type object = map[string]any

// selector selects the nodes of one attempt.
func selector(uid string, attempt int32) map[string]string {
	return map[string]string{LabelOwner: uid, LabelAttempt: strconv.Itoa(int(attempt))}
}

// marks are the labels of every object of a target.
func marks(t pool.Target) map[string]string {
	all := selector(t.UID, t.Attempt)
	all[LabelInstallation] = t.Installation
	all[repolayout.LabelPool] = repolayout.PoolLabelValue(t.Namespace, t.Name)
	return all
}

// nodeLabels are the labels of the nodes of a target.
func nodeLabels(t pool.Target) map[string]string {
	all := map[string]string{}
	maps.Copy(all, t.NodeLabels)
	maps.Copy(all, marks(t))
	return all
}

// foreign says why an object is not the target's; empty: it is.
func foreign(o *unstructured.Unstructured, t pool.Target) string {
	for _, key := range []string{LabelInstallation, LabelOwner, LabelAttempt} {
		if have, want := o.GetLabels()[key], marks(t)[key]; have != want {
			return fmt.Sprintf("its label %s is %q and not %q", key, have, want)
		}
	}
	return ""
}

// claimName is the name of a target's NodeClaim with an index. gpu-provisioner
// makes it the name of an agent pool: at most 12 lower-case letters and digits.
func claimName(t pool.Target, index int32, plain bool) string {
	if plain {
		return pool.Name(t.Installation, fmt.Sprintf("%s/%d", t.UID, index), t.Attempt)
	}
	return fmt.Sprintf("%s-%d", t.PoolName, index)
}

// claimNames are the names of all NodeClaims that a target wants.
func claimNames(t pool.Target, plain bool) []string {
	var names []string
	for i := range t.Replicas {
		names = append(names, claimName(t, i, plain))
	}
	return names
}

// marked is an object with our marks.
func marked(kind schema.GroupKind, version, name string, t pool.Target) *unstructured.Unstructured {
	o := &unstructured.Unstructured{Object: object{}}
	o.SetGroupVersionKind(kind.WithVersion(version))
	o.SetName(name)
	o.SetLabels(marks(t))
	o.SetAnnotations(map[string]string{annotationPool: t.Namespace + "/" + t.Name, annotationCandidate: written(t.Candidate)})
	return o
}

// nodePool is where the NodeClaims of a target are at home. Karpenter adds no
// node to it by itself (a limit of no CPU), and takes none away: nothing is
// consolidated, replaced for drift or expired under a run.
func nodePool(t pool.Target, class v1alpha1.NodeClassReference, version, region string) *unstructured.Unstructured {
	o := marked(NodePool, version, t.PoolName, t)
	o.Object["spec"] = object{
		"template": object{
			"metadata": object{"labels": texts(nodeLabels(t))},
			"spec": object{
				"nodeClassRef": object{"group": class.Group, "kind": class.Kind, "name": class.Name},
				"taints":       taints(t),
				"requirements": requirements(t, region),
				"expireAfter":  "Never",
			},
		},
		"limits": object{"cpu": "0"},
		"disruption": object{
			"consolidationPolicy": "WhenEmpty", "consolidateAfter": "Never",
			"budgets": []any{object{"nodes": "0"}},
		},
	}
	return o
}

// nodeClaim is the order of one node.
func nodeClaim(t pool.Target, class v1alpha1.NodeClassReference, name, version string) *unstructured.Unstructured {
	o := marked(NodeClaim, version, name, t)
	o.SetLabels(nodeLabels(t))
	o.SetFinalizers([]string{repolayout.Finalizer})
	o.Object["spec"] = object{
		"nodeClassRef": object{"group": class.Group, "kind": class.Kind, "name": class.Name},
		"taints":       taints(t),
		"expireAfter":  "Never",
	}
	return o
}

// member makes a NodeClaim one of a NodePool, as Karpenter's own are.
func member(o *unstructured.Unstructured, t pool.Target, in nodePoolSeen, gpus int, region string) {
	labels := o.GetLabels()
	labels[labelNodePool] = in.name
	o.SetLabels(labels)
	spec := o.Object["spec"].(object)
	spec["requirements"] = requirements(t, region)
	spec["resources"] = object{"requests": object{string(pool.ResourceGPU): strconv.Itoa(gpus)}}
	_ = unstructured.SetNestedSlice(o.Object, []any{object{
		"apiVersion": NodePool.Group + "/" + in.version, "kind": NodePool.Kind, "name": in.name, "uid": string(in.uid),
	}}, "metadata", "ownerReferences") // the values are JSON
}

// standalone makes a NodeClaim one that gpu-provisioner takes: it knows no
// NodePool, looks for KAITO's labels, and reads the disk from the requests.
func standalone(o *unstructured.Unstructured, t pool.Target) {
	labels := o.GetLabels()
	labels[labelNodePool] = "kaito"
	labels[labelKAITOWorkspace], labels[labelKAITONamespace], labels[labelKAITOMachine] = t.PoolName, t.Namespace, "gpu"
	o.SetLabels(labels)
	spec := o.Object["spec"].(object)
	spec["requirements"] = []any{in(corev1.LabelInstanceTypeStable, t.Candidate.InstanceType)}
	spec["resources"] = object{"requests": object{"storage": fmt.Sprintf("%dGi", t.OSDiskSizeGiB)}}
}

// aksNodeClass is the node class of one attempt.
func aksNodeClass(t pool.Target, version string) *unstructured.Unstructured {
	o := marked(AKSNodeClass, version, t.PoolName, t)
	o.Object["spec"] = object{
		"imageFamily":  "Ubuntu",
		"osDiskSizeGB": int64(t.OSDiskSizeGiB),
		"tags": object{
			"espalier-owner-uid": t.UID, "espalier-installation": t.Installation, "espalier-pool": t.Namespace + "/" + t.Name,
		},
	}
	return o
}

func taints(t pool.Target) []any {
	return []any{
		object{"key": "sku", "value": "gpu", "effect": "NoSchedule"},
		object{"key": repolayout.LabelPool, "value": repolayout.PoolLabelValue(t.Namespace, t.Name), "effect": "NoSchedule"},
	}
}

// requirements are what a node of the candidate is.
func requirements(t pool.Target, region string) []any {
	capacity := "on-demand"
	if t.Candidate.Priority == v1alpha1.Spot {
		capacity = "spot"
	}
	all := []any{
		in(corev1.LabelInstanceTypeStable, t.Candidate.InstanceType),
		in(labelCapacityType, capacity),
		in(corev1.LabelOSStable, "linux"),
	}
	if len(t.Candidate.Zones) > 0 {
		var zones []string
		for _, z := range t.Candidate.Zones {
			zones = append(zones, zoneLabel(z, region))
		}
		all = append(all, in(corev1.LabelTopologyZone, zones...))
	}
	return all
}

// zoneLabel is a zone as nodes are labelled with it: AKS names zone 1 of a
// region eastus-1; what is not a number is a label already.
func zoneLabel(zone, region string) string {
	if numbered(zone) && region != "" {
		return region + "-" + zone
	}
	return zone
}

func numbered(zone string) bool {
	_, err := strconv.Atoi(zone)
	return err == nil
}

func in(key string, values ...string) object {
	list := make([]any, 0, len(values))
	for _, v := range values {
		list = append(list, v)
	}
	return object{"key": key, "operator": "In", "values": list}
}

func texts(m map[string]string) object {
	out := object{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// annotationPool is the GPUNodePool that an object was made for, as namespace/name.
const annotationPool = "espalier.dev/pool"

// annotationCandidate is what an object was made for, as a spec writes it.
const annotationCandidate = "espalier.dev/candidate"

// written is a candidate in one line, whatever the order of its zones.
func written(c v1alpha1.Candidate) string {
	priority := c.Priority
	if priority == "" {
		priority = v1alpha1.OnDemand
	}
	return strings.Join(append([]string{c.InstanceType, string(priority)}, slices.Sorted(slices.Values(c.Zones))...), " ")
}

// candidate reads it back.
func candidate(text string) v1alpha1.Candidate {
	words := strings.Fields(text)
	if len(words) < 2 {
		return v1alpha1.Candidate{}
	}
	return v1alpha1.Candidate{InstanceType: words[0], Priority: v1alpha1.Priority(words[1]), Zones: words[2:]}
}

// refusal says why the provider cannot make nodes of a candidate; empty: it can.
func refusal(t pool.Target, plain bool, region string) string {
	switch {
	case !plain && region == "" && slices.ContainsFunc(t.Candidate.Zones, numbered):
		return "zones that are numbers need the region to name them by: start the controller with --region, or write zones as nodes are labelled, such as eastus-1"
	case !plain:
		return ""
	case t.Candidate.Priority == v1alpha1.Spot:
		return "gpu-provisioner makes no spot nodes"
	case len(t.Candidate.Zones) > 0:
		return "gpu-provisioner puts no nodes into named zones"
	}
	return ""
}

// identity is what identifies an object as it was read.
type identity struct {
	uid     types.UID
	version string // resource version
}

func identify(o *unstructured.Unstructured) identity {
	return identity{uid: o.GetUID(), version: o.GetResourceVersion()}
}

// drift names what the target wants otherwise and NodeClaims cannot change.
func (a things) drift(t pool.Target, class v1alpha1.NodeClassReference) []string {
	var out []string
	for _, c := range a.claims {
		if c.class != class && c.class.Name != "" {
			out = append(out, fmt.Sprintf("node class %s (is %s)", class, c.class))
		}
		for _, k := range slices.Sorted(maps.Keys(t.NodeLabels)) {
			if have := c.labels[k]; have != t.NodeLabels[k] {
				out = append(out, fmt.Sprintf("node label %s=%s (is %q)", k, t.NodeLabels[k], have))
			}
		}
	}
	for i := range a.classes {
		if size, _, _ := unstructured.NestedInt64(a.classes[i].Object, "spec", "osDiskSizeGB"); size != int64(t.OSDiskSizeGiB) {
			out = append(out, fmt.Sprintf("osDiskSizeGiB %d (is %d)", t.OSDiskSizeGiB, size))
		}
	}
	slices.Sort(out)
	return slices.Compact(out)
}

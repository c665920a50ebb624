// SPDX-License-Identifier: Apache-2.0

package render

import (
	"errors"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// permittedFields compares what a patch may not change below spec.
func permittedFields(own, out *unstructured.Unstructured) error {
	kind := out.GetKind()
	for _, field := range fixed[kind] {
		if !reflect.DeepEqual(at(own, field), at(out, field)) {
			return fmt.Errorf("%s cannot be patched: %s", field, fixedBy[field])
		}
	}
	free, closed := open[kind]
	if !closed {
		return nil
	}
	before, after := without(own, free), without(out, free)
	for _, key := range slices.Sorted(maps.Keys(after)) {
		if _, had := before[key]; !had {
			before[key] = nil
		}
	}
	for _, key := range slices.Sorted(maps.Keys(before)) {
		if !reflect.DeepEqual(before[key], after[key]) {
			return fmt.Errorf("spec.%s cannot be patched: of the spec of this %s a patch may change %s and nothing else", key, kind, strings.Join(free, ", "))
		}
	}
	return nil
}

// open are the fields below spec that a patch may change, of kinds that others act on, with
// what is theirs or for what somebody pays. All others are closed, those of a later release too.
// What is said of the elements of a list is so of each.
var open = map[string][]string{
	v1alpha1.GPUNodePoolKind: {"osDiskSizeGiB", "timeouts", "aks.osDiskType", "aks.gpuDriver"},
	KindServiceMonitor:       {"endpoints.interval", "endpoints.scrapeTimeout"},
	KindScaledObject: {
		"pollingInterval", "cooldownPeriod", "initialCooldownPeriod", "advanced.horizontalPodAutoscalerConfig.behavior", "triggers.metricType", "triggers.useCachedMetrics",
		"triggers.metadata.threshold", "triggers.metadata.activationThreshold", "triggers.metadata.ignoreNullValues", "triggers.metadata.authModes",
	},
	KindRoute:         {"rules"},
	KindInferencePool: {"appProtocol"},
	"NetworkPolicy":   {"ingress"},
}

// without is the spec of an object but some fields, and what is empty without them.
func without(o *unstructured.Unstructured, fields []string) object {
	spec, _ := o.Object["spec"].(object)
	spec = clone(spec)
	for _, f := range fields {
		drop(spec, strings.Split(f, "."))
	}
	return spec
}

func drop(value any, path []string) {
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			drop(element, path)
		}
	case object:
		if len(path) == 1 {
			delete(v, path[0])
			return
		}
		drop(v[path[0]], path[1:])
		if inner, ok := v[path[0]].(object); ok && len(inner) == 0 {
			delete(v, path[0])
		}
	}
}

// permittedKeys refuses annotations by which KEDA is told a number of copies past the bounds.
func permittedKeys(out *unstructured.Unstructured) error {
	for _, key := range slices.Sorted(maps.Keys(out.GetAnnotations())) {
		if domain, _, _ := strings.Cut(key, "/"); domain == "keda.sh" || strings.HasSuffix(domain, ".keda.sh") {
			return fmt.Errorf("annotation %s is not allowed: %s", key, boundsOf)
		}
	}
	return nil
}

// permittedPolicy sees that a NetworkPolicy lets in nobody whom ours does not: a rule is one
// of ours, which says who where ours lets in all.
func permittedPolicy(own, out *unstructured.Unstructured) error {
	if own.GetKind() != "NetworkPolicy" {
		return nil
	}
	ours := objects(at(own, "spec.ingress"))
	rules, _ := at(out, "spec.ingress").([]any)
	for _, r := range rules {
		rule, _ := r.(object)
		if !slices.ContainsFunc(ours, func(o object) bool { return within(rule, o) }) {
			return errors.New("spec.ingress lets in more than ours: a patch may leave out a rule, and say who (from) in one that says nobody")
		}
	}
	return nil
}

func within(rule, ours object) bool {
	if ours["from"] == nil {
		rule = maps.Clone(rule)
		delete(rule, "from")
	}
	return reflect.DeepEqual(rule, ours)
}

// permittedGPUs sees that each container takes the GPUs that were sized for it: with more its
// pod is placed nowhere, or takes what is counted for others of a shared pool; with fewer it
// cannot be spread over what it was told.
func permittedGPUs(own, out *unstructured.Unstructured) error {
	before, after := gpuLimits(own), gpuLimits(out)
	all := maps.Clone(before)
	maps.Copy(all, after)
	for _, limit := range slices.Sorted(maps.Keys(all)) {
		if before[limit] == after[limit] {
			continue
		}
		by := "set spec.resource.gpus, or tensor-parallel-size in the ConfigMap of spec.inference.config, which are what is sized and priced; of a pod of your own spec.inference.template"
		if own.GetKind() == "Job" {
			by = "a run trains on all GPUs of its nodes; set spec.resource, which is what is sized and priced"
		}
		return fmt.Errorf("%s cannot be patched: %s", limit, by)
	}
	return nil
}

// gpuLimits are the GPUs that containers are limited to, by the words for each limit.
func gpuLimits(o *unstructured.Unstructured) map[string]int64 {
	all := map[string]int64{}
	pod, _ := at(o, "spec.template.spec").(object)
	for _, list := range podContainers {
		for _, c := range objects(pod[list]) {
			limits, _, _ := unstructured.NestedMap(c, "resources", "limits")
			for name, amount := range limits {
				if name == v1alpha1.ResourceGPU || strings.HasPrefix(name, "nvidia.com/mig-") {
					q, _ := resource.ParseQuantity(fmt.Sprint(amount)) // what is none the API server refuses
					all[fmt.Sprintf("container %v: resources.limits %s", c["name"], name)] = q.Value()
				}
			}
		}
	}
	return all
}

// fixed are fields that decide what is paid for or who is reached, by kind.
var fixed = map[string][]string{
	v1alpha1.GPUNodePoolKind: {"spec.provider", "spec.karpenter", "spec.existing", "spec.driver", "spec.candidates", "spec.replicas", "spec.nodeLabels", "spec.deletionPolicy"},
	"Deployment":             {"spec.selector", "spec.replicas"},
	"StatefulSet":            {"spec.selector", "spec.replicas", "spec.serviceName", "spec.podManagementPolicy"},
	"NetworkPolicy":          {"spec.podSelector"},
	KindServiceMonitor:       {"spec.selector", "spec.namespaceSelector"},
	KindHPA:                  {"spec.scaleTargetRef", "spec.minReplicas", "spec.maxReplicas"},
	KindScaledObject:         {"spec.scaleTargetRef", "spec.minReplicaCount", "spec.maxReplicaCount", "spec.idleReplicaCount", "spec.advanced.horizontalPodAutoscalerConfig.name", "spec.fallback"},
	KindRoute:                {"spec.parentRefs", "spec.hostnames"},
	KindInferencePool:        {"spec.selector", "spec.targetPorts", "spec.endpointPickerRef"},
	"Job":                    {"spec.suspend", "spec.parallelism", "spec.completions", "spec.completionMode", "spec.selector", "spec.manualSelector"},
	"PodDisruptionBudget":    {"spec.selector"},
	"Service":                {"spec.selector", "spec.externalIPs", "spec.externalName"},
}

const boundsOf = "set spec.inference.autoscale, which is what is sized and priced"

// fixedBy says where a fixed field comes from.
var fixedBy = map[string]string{
	"spec.provider":            "the installation chooses it",
	"spec.karpenter":           "the installation chooses it; a GPUNodePool that Git declares can name a node class",
	"spec.existing":            "set spec.resource.gpus or spec.resource.mig, which are what is sized",
	"spec.driver":              "set spec.resource.driver, which is what the image is chosen by",
	"spec.candidates":          "set spec.resource, which is what is sized and priced",
	"spec.replicas":            "set spec.inference.replicas or spec.resource.count, which are what is sized and priced",
	"spec.nodeLabels":          "set spec.resource.labelSelector",
	"spec.deletionPolicy":      "nodes of a Workspace go with it",
	"spec.selector":            "it finds the pods of this Workspace and no others",
	"spec.serviceName":         "pods find each other by it",
	"spec.podManagementPolicy": "a pod alone is of no use",
	"spec.scaleTargetRef":      "it scales this Workspace and no other",
	"spec.minReplicas":         boundsOf,
	"spec.maxReplicas":         boundsOf,
	"spec.minReplicaCount":     boundsOf,
	"spec.maxReplicaCount":     boundsOf,
	"spec.idleReplicaCount":    boundsOf,
	"spec.fallback":            boundsOf,
	"spec.advanced.horizontalPodAutoscalerConfig.name": "it is found by its name when the copies are taken back",
	"spec.namespaceSelector":                           "it finds the pods of this Workspace and no others",
	"spec.podSelector":                                 "it finds the pods of this Workspace and no others",
	"spec.manualSelector":                              "it finds the pods of this Workspace and no others",
	"spec.suspend":                                     "set spec.suspend of the Workspace",
	"spec.parentRefs":                                  "set spec.inference.route, which is what is reviewed",
	"spec.hostnames":                                   "set spec.inference.route, which is what is reviewed",
	"spec.endpointPickerRef":                           "set spec.inference.route.inferencePool, which is what is reviewed",
	"spec.targetPorts":                                 "it is the port at which the pods answer",
	"spec.parallelism":                                 "set spec.resource.count, which is what is sized and priced",
	"spec.completions":                                 "set spec.resource.count, which is what is sized and priced",
	"spec.completionMode":                              "pods on several nodes know each other by their index",
	"spec.externalIPs":                                 "it takes over traffic to an address that may be somebody else's",
	"spec.externalName":                                "it takes over traffic to a name that may be somebody else's",
}

func at(o *unstructured.Unstructured, field string) any {
	v, _, _ := unstructured.NestedFieldNoCopy(o.Object, strings.Split(field, ".")...)
	return v
}

// SPDX-License-Identifier: Apache-2.0

package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"

	"github.com/espalier-dev/espalier/render/check"
)

// keepOff keeps a pod off those nodes of a pool that Karpenter fills which are of a
// candidate that the task cannot use: the pool has nodes of several at a time. Where
// the pods of the user's own choose nodes already, each choice is narrowed.
func (j job) keepOff(pod object) {
	types := j.unusable()
	if len(types) == 0 {
		return
	}
	other := object{"key": corev1.LabelInstanceTypeStable, "operator": "NotIn", "values": texts(types)}
	required := entry(entry(entry(pod, "affinity"), "nodeAffinity"), "requiredDuringSchedulingIgnoredDuringExecution")
	terms, _ := required["nodeSelectorTerms"].([]any)
	if len(terms) == 0 {
		terms = []any{object{}}
	}
	for _, term := range terms {
		t, ok := term.(object)
		if !ok {
			continue
		}
		expressions, _ := t["matchExpressions"].([]any)
		t["matchExpressions"] = append(expressions, other)
	}
	required["nodeSelectorTerms"] = terms
}

// unusable are the instance types of the pool that the task cannot run on.
func (j job) unusable() []string {
	if j.Assessment.Pool == nil || !j.Assessment.Pool.ByKarpenter() {
		return nil
	}
	var types []string
	for _, c := range j.Assessment.Candidates {
		used := slices.ContainsFunc(j.Assessment.Usable(), func(u check.Candidate) bool { return u.InstanceType == c.InstanceType })
		if !used {
			types = append(types, c.InstanceType)
		}
	}
	slices.Sort(types)
	return slices.Compact(types)
}

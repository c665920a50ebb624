// SPDX-License-Identifier: Apache-2.0

package render

import (
	"fmt"
	"strconv"
	"strings"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Kinds of autoscalers.
const (
	KindHPA          = "HorizontalPodAutoscaler"
	KindScaledObject = "ScaledObject"
)

// The queue of vLLM, as its /metrics name it and as an adapter of Prometheus
// offers it for pods.
const (
	metricWaiting = "vllm:num_requests_waiting"
	metricRunning = "vllm:num_requests_running"
)

// Pace of scaling, in seconds. A burst that is over within growAfter buys no
// node; copies go one a minute, so that each that is wanted after all is kept.
const (
	growAfter  = 60
	shrinkEach = 60
	askEach    = 15 // how often KEDA asks
)

// autoscaled says whether an autoscaler decides the number of copies.
func (j job) autoscaled() bool {
	return j.spec.Inference != nil && j.spec.Inference.Autoscale != nil && !j.spec.Suspend && !j.spread()
}

func (j job) autoscalerKind() string {
	if j.spec.Inference.Autoscale.KEDA != nil {
		return KindScaledObject
	}
	return KindHPA
}

// deploymentMeta notes on the Deployment who is given its number of copies.
func (j job) deploymentMeta() object {
	meta := object{"name": j.name}
	if j.autoscaled() {
		meta["annotations"] = object{repolayout.AnnotationAutoscaler: j.autoscalerKind()}
	}
	return meta
}

func (j job) autoscaler() object {
	a := j.spec.Inference.Autoscale
	if a.KEDA != nil {
		return j.scaledObject(*a)
	}
	return j.podAutoscaler(*a)
}

// behavior is the pace of a HorizontalPodAutoscaler, which KEDA makes as well.
func behavior(a v1alpha1.Autoscale) object {
	return object{
		"scaleUp": object{"stabilizationWindowSeconds": growAfter},
		"scaleDown": object{
			"stabilizationWindowSeconds": int(a.Cooldown()),
			"policies":                   []any{object{"type": "Pods", "value": 1, "periodSeconds": shrinkEach}},
		},
	}
}

// podAutoscaler reads the queue of each pod from the API of custom metrics.
func (j job) podAutoscaler(a v1alpha1.Autoscale) object {
	metrics := []any{podMetric(metricWaiting, a.Waiting())}
	if a.RunningRequests > 0 {
		metrics = append(metrics, podMetric(metricRunning, a.RunningRequests))
	}
	return object{
		"apiVersion": "autoscaling/v2", "kind": KindHPA, "metadata": object{"name": j.name},
		"spec": object{
			"scaleTargetRef": object{"apiVersion": "apps/v1", "kind": "Deployment", "name": j.name},
			"minReplicas":    int(a.Least()), "maxReplicas": int(a.MaxReplicas),
			"metrics": metrics, "behavior": behavior(a),
		},
	}
}

func podMetric(name string, each int32) object {
	return object{"type": "Pods", "pods": object{
		"metric": object{"name": name},
		"target": object{"type": "AverageValue", "averageValue": strconv.Itoa(int(each))},
	}}
}

// scaledObject has KEDA ask Prometheus, and look at the clock.
func (j job) scaledObject(a v1alpha1.Autoscale) object {
	return object{
		"apiVersion": "keda.sh/v1alpha1", "kind": KindScaledObject, "metadata": object{"name": j.name},
		"spec": object{
			"scaleTargetRef":  object{"apiVersion": "apps/v1", "kind": "Deployment", "name": j.name},
			"minReplicaCount": int(a.Least()), "maxReplicaCount": int(a.MaxReplicas),
			"pollingInterval": askEach, "cooldownPeriod": int(a.Cooldown()),
			"advanced": object{"horizontalPodAutoscalerConfig": object{"name": j.name, "behavior": behavior(a)}},
			"triggers": j.triggers(a),
		},
	}
}

// triggers: the most copies that one of them asks for are run.
func (j job) triggers(a v1alpha1.Autoscale) []any {
	k := *a.KEDA
	list := []any{prometheus(k, "waiting", j.total(metricWaiting), a.Waiting())}
	if a.RunningRequests > 0 {
		list = append(list, prometheus(k, "running", j.total(metricRunning), a.RunningRequests))
	}
	if a.Least() == 0 {
		// Nobody waits while the last requests run: they keep a copy.
		list = append(list, prometheus(k, "busy", j.total(metricRunning)+" > bool 0", 1))
	}
	if k.WakeQuery != "" {
		list = append(list, prometheus(k, "wake", "sum("+strings.TrimSpace(k.WakeQuery)+") > bool 0", 1))
	}
	for i, s := range k.Schedules {
		list = append(list, object{"type": "cron", "name": "schedule-" + strconv.Itoa(i), "metadata": object{
			"start": s.Start, "end": s.End, "timezone": s.TimeZone, "desiredReplicas": strconv.Itoa(int(s.Replicas)),
		}})
	}
	return list
}

func prometheus(k v1alpha1.KEDA, name, query string, each int32) object {
	t := object{"type": "prometheus", "name": name, "metadata": object{
		"serverAddress": k.PrometheusAddress, "query": query, "threshold": strconv.Itoa(int(each)),
	}}
	if k.Authentication != "" {
		t["authenticationRef"] = object{"name": k.Authentication}
	}
	return t
}

// total adds up a metric over the pods of the Deployment: its name, the hash of
// a ReplicaSet and five letters. Kubernetes drops the dash between the last two
// where the whole would be too long.
func (j job) total(metric string) string {
	return fmt.Sprintf(`sum(%s{namespace=%q,pod=~%q})`, metric, j.namespace, j.name+"-[a-z0-9]{1,10}-?[a-z0-9]{5}")
}

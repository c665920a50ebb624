// SPDX-License-Identifier: Apache-2.0

package render

import (
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// monitor is the PodMonitor of a service: Prometheus asks each copy, not the
// Service, behind which it would meet one at a time. Of a copy over several nodes
// the leader counts for all.
func (j job) monitor() object {
	metadata := object{"name": j.name}
	if len(j.Options.MonitorLabels) > 0 {
		labels := object{}
		for k, v := range j.Options.MonitorLabels {
			labels[k] = v
		}
		metadata["labels"] = labels
	}
	return object{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "PodMonitor", "metadata": metadata,
		"spec": object{
			"selector":            object{"matchLabels": j.answering()},
			"podTargetLabels":     []any{repolayout.LabelWorkspace},
			"podMetricsEndpoints": []any{object{"port": "http", "path": "/metrics"}},
		},
	}
}

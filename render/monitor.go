// SPDX-License-Identifier: Apache-2.0

package render

import (
	repolayout "github.com/espalier-dev/espalier/repo-layout"
)

// KindServiceMonitor is the Prometheus operator's kind for what is behind a Service.
const KindServiceMonitor = "ServiceMonitor"

// monitored says whether Prometheus asks the service for its metrics. Those of KAITO's
// transformers engine are no exposition of Prometheus, and a pod of one's own may have none.
func (j job) monitored() bool {
	return j.Options.ServiceMonitors && j.Assessment.Pod == nil && !j.unpaged()
}

// serviceMeta is the name of the Service, and the label that its monitor finds it by:
// that of a copy over several nodes has a headless one beside it, with all other labels
// the same.
func (j job) serviceMeta() object {
	meta := object{"name": j.name}
	if j.monitored() {
		meta["labels"] = object{repolayout.LabelMonitored: "true"}
	}
	return meta
}

// monitor is the ServiceMonitor of a service: Prometheus asks each pod behind the Service,
// under the name that the Service has for the port. Of a copy over several nodes these are
// the leaders, which count for all.
func (j job) monitor() object {
	metadata := object{"name": j.name}
	if len(j.Options.MonitorLabels) > 0 {
		metadata["labels"] = mapping(j.Options.MonitorLabels)
	}
	selector := mapping(j.selector())
	selector[repolayout.LabelMonitored] = "true"
	return object{
		"apiVersion": "monitoring.coreos.com/v1", "kind": KindServiceMonitor, "metadata": metadata,
		"spec": object{
			"selector":     object{"matchLabels": selector},
			"targetLabels": []any{repolayout.LabelWorkspace},
			"endpoints":    []any{object{"port": "http", "path": "/metrics"}},
		},
	}
}

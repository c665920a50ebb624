// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/notice"
)

// withEvents is a manager whose recorders keep to what Kubernetes takes of an event, and
// post each to --events-addr too, where there is one.
func withEvents(mgr ctrl.Manager, address string) (ctrl.Manager, error) {
	if address == "" {
		return eventsManager{Manager: mgr}, nil
	}
	sender, err := notice.New(address, mgr.GetScheme())
	if err != nil {
		return nil, fmt.Errorf("--events-addr: %w", err)
	}
	if err := mgr.Add(sender); err != nil {
		return nil, fmt.Errorf("adding the sender of events: %w", err)
	}
	return eventsManager{Manager: mgr, sender: sender}, nil
}

type eventsManager struct {
	ctrl.Manager
	sender *notice.Sender // nil: nowhere else
}

// GetEventRecorder implements cluster.Cluster.
func (m eventsManager) GetEventRecorder(name string) events.EventRecorder {
	recorder := notice.Bounded(m.Manager.GetEventRecorder(name))
	if m.sender == nil {
		return recorder
	}
	return m.sender.Recorder(recorder, "espalier")
}

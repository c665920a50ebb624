// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"

	corev1 "k8s.io/api/core/v1"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/client-go/tools/record"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/notice"
)

// repeats says which events are told as one. Those of tools/events, which a manager has by
// itself, are each remembered for 6 to 12 minutes, and each waits in a goroutine of its own
// for its turn to be sent: a first push of thousands of Workspaces holds tens of thousands.
// These are a thousand at most, and wait in a queue of a thousand; what comes on top is lost
// and logged. What differs in its words is told by itself, unless it is a flood.
var repeats = record.CorrelatorOptions{LRUCacheSize: 1024, MaxEvents: 100, BurstSize: 100, QPS: 0.1}

// withEvents is a manager whose recorders keep to what Kubernetes takes of an event, and
// post each to --events-addr too, where there is one. The function ends what it has started.
func withEvents(mgr ctrl.Manager, address string) (ctrl.Manager, func(), error) {
	client, err := corev1client.NewForConfigAndClient(mgr.GetConfig(), mgr.GetHTTPClient())
	if err != nil {
		return nil, nil, fmt.Errorf("making a client for events: %w", err)
	}
	m := eventsManager{Manager: mgr}
	if address != "" {
		if m.sender, err = notice.New(address, mgr.GetScheme()); err != nil {
			return nil, nil, fmt.Errorf("--events-addr: %w", err)
		}
		if err := mgr.Add(m.sender); err != nil {
			return nil, nil, fmt.Errorf("adding the sender of events: %w", err)
		}
	}
	m.broadcaster = record.NewBroadcaster(record.WithCorrelatorOptions(repeats))
	m.broadcaster.StartRecordingToSink(&corev1client.EventSinkImpl{Interface: client.Events("")})
	return m, m.broadcaster.Shutdown, nil
}

type eventsManager struct {
	ctrl.Manager
	broadcaster record.EventBroadcaster
	sender      *notice.Sender // nil: nowhere else
}

// GetEventRecorder implements cluster.Cluster.
func (m eventsManager) GetEventRecorder(name string) events.EventRecorder {
	recorder := m.broadcaster.NewRecorder(m.GetScheme(), corev1.EventSource{Component: name})
	bounded := notice.Bounded(record.NewEventRecorderAdapter(recorder))
	if m.sender == nil {
		return bounded
	}
	return m.sender.Recorder(bounded, "espalier")
}

// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"fmt"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/metrics"
)

// otherHost is what metrics call every server but that of this cluster.
const otherHost = "other cluster"

// HideHosts keeps the addresses of other clusters out of the metrics of requests, where
// each that a kubeconfig has ever named would be a series for ever. It is called before
// anything is asked.
func HideHosts(own *rest.Config) error {
	at, _, err := rest.DefaultServerUrlFor(own)
	if err != nil {
		return fmt.Errorf("reading the address of the API server: %w", err)
	}
	metrics.RequestResult = hiding{metrics.RequestResult, at.Host}
	return nil
}

type hiding struct {
	metrics.ResultMetric
	own string
}

// Increment implements metrics.ResultMetric.
func (h hiding) Increment(ctx context.Context, code, method, host string) {
	if host != h.own {
		host = otherHost
	}
	h.ResultMetric.Increment(ctx, code, method, host)
}

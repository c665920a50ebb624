// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"net/http"

	"go.opentelemetry.io/contrib/instrumentation/net/http/otelhttp"
	oteltrace "go.opentelemetry.io/otel/trace"
)

// Requests makes a span of every request within a pass, and hands the trace on to
// the server, which can carry it on: the API server does where it is told to.
// Watches belong to no pass and make none.
func Requests(next http.RoundTripper) http.RoundTripper {
	return otelhttp.NewTransport(next, otelhttp.WithFilter(func(r *http.Request) bool {
		return oteltrace.SpanContextFromContext(r.Context()).IsValid()
	}))
}

// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/go-logr/logr"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/test/collector"
)

func TestConfigured(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		env    map[string]string
		on     bool
		errs   string
	}{
		"NothingIsSet": {reason: "no collector, no traces", env: nil},
		"Endpoint":     {reason: "the one variable that is needed", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, on: true},
		"TracesEndpoint": {
			reason: "for those whose metrics go elsewhere", env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, on: true,
		},
		"Disabled": {
			reason: "the SDK's own switch", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"},
		},
		"None": {
			reason: "a platform that sets the endpoint for all", env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"},
		},
		"GRPC": {
			reason: "spoken to in another protocol, a collector drops everything in silence",
			env:    map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, errs: "set it to http/protobuf",
		},
		"TracesProtocolGoesFirst": {
			reason: "as the specification says",
			env: map[string]string{
				"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf",
			}, on: true,
		},
		"OtherExporter": {
			reason: "it would be a setting that nothing honours",
			env:    map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "zipkin"}, errs: "by otlp, or nowhere by none",
		},
	} {
		t.Run(name, func(t *testing.T) {
			on, err := configured(func(key string) string { return c.env[key] })
			if on != c.on || (err == nil) != (c.errs == "") || err != nil && !strings.Contains(err.Error(), c.errs) {
				t.Errorf("%s: on %t, %v", c.reason, on, err)
			}
		})
	}
}

// named is the one span of a name.
func named(t *testing.T, c *collector.Collector, name string) collector.Span {
	t.Helper()
	for _, span := range c.Spans() {
		if span.Name == name {
			return span
		}
	}
	t.Fatalf("no span %q among %v", name, c.Spans())
	return collector.Span{}
}

// TestSpans has one pass of two steps and one request told to a collector, in the
// protocol that it speaks.
func TestSpans(t *testing.T) {
	into := collector.Start()
	t.Cleanup(into.Close)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") == "" && r.URL.Path == "/within" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(api.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", into.URL)
	stop, on, err := Start(t.Context(), "v1", logr.Discard())
	if err != nil || !on {
		t.Fatalf("on %t, %v", on, err)
	}
	client := &http.Client{Transport: Requests(http.DefaultTransport)}
	pass := Passes("Workspace", reconcile.Func(func(ctx context.Context, _ ctrl.Request) (ctrl.Result, error) {
		Revision(ctx, "main@sha1:0123")
		_ = Step(ctx, "render", func(ctx context.Context) error { return get(ctx, t, client, api.URL+"/within") })
		_ = Step(ctx, "provide", func(context.Context) error { return fault.Wait("WaitingForGPUs", time.Second, "not there yet") })
		err := Step(ctx, "work", func(context.Context) error { return errors.New(strings.Repeat("ä", maxText)) })
		return ctrl.Result{RequeueAfter: time.Second}, err
	}))
	if _, err := pass.Reconcile(t.Context(), ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: "phi"}}); err == nil {
		t.Error("the pass itself is as it was")
	}
	if err := get(t.Context(), t, client, api.URL+"/watch"); err != nil {
		t.Fatal(err)
	}
	if err := stop(t.Context()); err != nil {
		t.Fatal(err)
	}
	whole, render := named(t, into, "reconcile Workspace"), named(t, into, "render")
	if !named(t, into, "HTTP GET").Within(render) || !render.Within(whole) || whole.Service != serviceName {
		t.Error("a request belongs to its step, a step to its pass, and that to the program")
	}
	if whole.Attribute("k8s.namespace.name") != "team-a" || whole.Attribute("espalier.object.name") != "phi" || whole.Attribute("vcs.ref.head.revision") != "main@sha1:0123" {
		t.Errorf("a pass says of what it was: %v", whole)
	}
	if waits := named(t, into, "provide"); waits.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR || waits.Attribute("espalier.reason") != "WaitingForGPUs" {
		t.Errorf("waiting is no error: %v", waits)
	}
	if failed := named(t, into, "work"); failed.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR || len(failed.Status.Message) > maxText {
		t.Errorf("want an error of bounded length: %v", failed)
	}
	if n := len(into.Spans()); n != 5 {
		t.Errorf("a request outside of a pass is no span: got %d spans", n)
	}
}

func get(ctx context.Context, t *testing.T, client *http.Client, url string) error {
	t.Helper()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return err
	}
	res, err := client.Do(req)
	if err != nil {
		return err
	}
	defer res.Body.Close()
	if res.StatusCode != http.StatusOK {
		t.Errorf("%s: the request carries the trace on: %s", url, res.Status)
	}
	return nil
}

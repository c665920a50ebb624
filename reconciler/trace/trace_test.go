// SPDX-License-Identifier: Apache-2.0

package trace

import (
	"context"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-logr/logr"
	collector "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracev1 "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/fault"
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

// spans is a collector that keeps what it is sent.
type spans struct {
	mu   sync.Mutex
	kept []*tracev1.Span
}

func (s *spans) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var in collector.ExportTraceServiceRequest
	if err != nil || r.URL.Path != "/v1/traces" || proto.Unmarshal(body, &in) != nil {
		w.WriteHeader(http.StatusBadRequest)
		return
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, resource := range in.ResourceSpans {
		for _, scope := range resource.ScopeSpans {
			s.kept = append(s.kept, scope.Spans...)
		}
	}
}

func (s *spans) named(t *testing.T, name string) *tracev1.Span {
	t.Helper()
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, span := range s.kept {
		if span.Name == name {
			return span
		}
	}
	t.Fatalf("no span %q among %v", name, s.kept)
	return nil
}

func attributes(span *tracev1.Span) string {
	var all []string
	for _, a := range span.Attributes {
		all = append(all, a.Key+"="+a.Value.GetStringValue())
	}
	return strings.Join(all, " ")
}

// TestSpans has one pass of two steps and one request told to a collector, in the
// protocol that it speaks.
func TestSpans(t *testing.T) {
	into := &spans{}
	server := httptest.NewServer(into)
	t.Cleanup(server.Close)
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Header.Get("Traceparent") == "" && r.URL.Path == "/within" {
			w.WriteHeader(http.StatusTeapot)
		}
	}))
	t.Cleanup(api.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
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
	whole, render, request := into.named(t, "reconcile Workspace"), into.named(t, "render"), into.named(t, "HTTP GET")
	if string(render.ParentSpanId) != string(whole.SpanId) || string(request.ParentSpanId) != string(render.SpanId) {
		t.Error("a request belongs to its step, and a step to its pass")
	}
	if got := attributes(whole); !strings.Contains(got, "k8s.namespace.name=team-a espalier.object.name=phi vcs.ref.head.revision=main@sha1:0123") {
		t.Errorf("a pass says of what it was: %s", got)
	}
	if waits := into.named(t, "provide"); waits.Status.GetCode() == tracev1.Status_STATUS_CODE_ERROR || attributes(waits) != "espalier.reason=WaitingForGPUs" {
		t.Errorf("waiting is no error: %+v", waits)
	}
	if failed := into.named(t, "work"); failed.Status.GetCode() != tracev1.Status_STATUS_CODE_ERROR || len(failed.Status.Message) > maxText {
		t.Errorf("want an error of bounded length: %+v", failed)
	}
	if len(into.kept) != 5 {
		t.Errorf("a request outside of a pass is no span: %v", into.kept)
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

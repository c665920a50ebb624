// SPDX-License-Identifier: Apache-2.0

// Package trace tells an OpenTelemetry collector how long each pass of a
// controller, each step of it and each request to the API server took. It decides
// what becomes a span and what a span says; it never changes what a pass does, and
// costs next to nothing where no collector is configured.
//
// The configuration is OpenTelemetry's own, by environment:
// https://opentelemetry.io/docs/specs/otel/configuration/sdk-environment-variables/
package trace

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	oteltrace "go.opentelemetry.io/otel/trace"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/fault"
)

const scope = "github.com/espalier-dev/espalier"

// serviceName is what spans are filed under unless OTEL_SERVICE_NAME or
// OTEL_RESOURCE_ATTRIBUTES say otherwise.
const serviceName = "espalier"

// sayAgain is how long a collector that takes nothing is not complained about again:
// each batch of spans is an error.
const sayAgain = 10 * time.Minute

// maxText bounds what a span says about an error, in bytes.
const maxText = 1024

// Attributes of our own; the others are of OpenTelemetry's semantic conventions.
const (
	keyNamespace = attribute.Key("k8s.namespace.name")
	keyRevision  = attribute.Key("vcs.ref.head.revision")
	keyName      = attribute.Key("espalier.object.name")
	keyReason    = attribute.Key("espalier.reason") // of a step that ended the pass
	keyAfter     = attribute.Key("espalier.requeue_after_seconds")
)

// Start begins to export where the environment names a collector, and says
// whether it does. stop sends what is left. version is that of the program.
func Start(ctx context.Context, version string, log logr.Logger) (stop func(context.Context) error, on bool, err error) {
	stop = func(context.Context) error { return nil }
	if on, err = configured(os.Getenv); err != nil || !on {
		return stop, false, err
	}
	exporter, err := otlptracehttp.New(ctx)
	if err != nil {
		return stop, false, fmt.Errorf("preparing to export traces: %w", err)
	}
	about, err := resource.New(ctx,
		resource.WithAttributes(attribute.String("service.name", serviceName), attribute.String("service.version", version)),
		resource.WithTelemetrySDK(), resource.WithFromEnv())
	if err != nil {
		return stop, false, fmt.Errorf("reading OTEL_RESOURCE_ATTRIBUTES: %w", err)
	}
	var said atomic.Int64 // when, in Unix seconds
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) {
		last, now := said.Load(), time.Now()
		if now.Sub(time.Unix(last, 0)) < sayAgain || !said.CompareAndSwap(last, now.Unix()) {
			return
		}
		log.Info("Traces could not be exported: see the address in OTEL_EXPORTER_OTLP_ENDPOINT, and whether the collector takes http/protobuf there", "reason", err.Error())
	}))
	provider := sdktrace.NewTracerProvider(sdktrace.WithBatcher(exporter), sdktrace.WithResource(about))
	otel.SetTracerProvider(provider)
	otel.SetTextMapPropagator(propagation.TraceContext{})
	return provider.Shutdown, true, nil
}

// configured says whether the environment asks for traces. They are off unless a
// collector is named: the SDK would try one on the Pod's own localhost.
func configured(env func(string) string) (bool, error) {
	endpoint := env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") + env("OTEL_EXPORTER_OTLP_ENDPOINT")
	if strings.EqualFold(env("OTEL_SDK_DISABLED"), "true") || env("OTEL_TRACES_EXPORTER") == "none" || endpoint == "" {
		return false, nil
	}
	if e := env("OTEL_TRACES_EXPORTER"); e != "" && e != "otlp" {
		return false, fmt.Errorf("OTEL_TRACES_EXPORTER is %q: traces go to a collector by otlp, or nowhere by none", e)
	}
	for _, name := range []string{"OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "OTEL_EXPORTER_OTLP_PROTOCOL"} {
		switch p := env(name); p {
		case "":
			continue
		case "http/protobuf":
			return true, nil
		default:
			return false, fmt.Errorf("%s is %q: set it to http/protobuf, and the endpoint to the collector's port for that, which is 4318 by convention", name, p)
		}
	}
	return true, nil
}

// Passes makes a span of every pass of a reconciler over an object of a kind.
func Passes(kind string, r reconcile.Reconciler) reconcile.Reconciler {
	return passes{kind, r}
}

type passes struct {
	kind string
	next reconcile.Reconciler
}

// Reconcile is the pass of the reconciler within.
func (p passes) Reconcile(ctx context.Context, req ctrl.Request) (ctrl.Result, error) {
	ctx, span := otel.Tracer(scope).Start(ctx, "reconcile "+p.kind, oteltrace.WithAttributes(keyNamespace.String(req.Namespace), keyName.String(req.Name)))
	defer span.End()
	result, err := p.next.Reconcile(ctx, req)
	if result.RequeueAfter > 0 {
		span.SetAttributes(keyAfter.Float64(result.RequeueAfter.Seconds()))
	}
	conclude(span, err)
	return result, err
}

// Step makes a span of one step of a pass.
func Step(ctx context.Context, name string, do func(context.Context) error) error {
	ctx, span := otel.Tracer(scope).Start(ctx, name)
	defer span.End()
	err := do(ctx)
	conclude(span, err)
	return err
}

// Revision notes the revision that the pass of ctx is about, as Flux writes it.
func Revision(ctx context.Context, revision string) {
	oteltrace.SpanFromContext(ctx).SetAttributes(keyRevision.String(revision))
}

// conclude says how something ended. Waiting is no error.
func conclude(span oteltrace.Span, err error) {
	if err == nil || !span.IsRecording() {
		return
	}
	if reason := fault.Reason(err, ""); reason != "" {
		span.SetAttributes(keyReason.String(reason))
	}
	if _, waits := fault.AsWaiting(err); waits || errors.Is(err, context.Canceled) {
		return
	}
	text := err.Error()
	span.SetStatus(codes.Error, strings.ToValidUTF8(text[:min(len(text), maxText)], ""))
}

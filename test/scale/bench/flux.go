// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/test/cluster"
)

// tuned are flags of kustomize-controller for many Kustomizations, as Flux's own
// page on scaling has them, and a short wait for what fails.
var tuned = []string{"--concurrent=20", "--kube-api-qps=500", "--kube-api-burst=1000", "--requeue-dependency=5s"}

// source is a GitRepository that is only looked at when asked.
const source = `apiVersion: source.toolkit.fluxcd.io/v1
kind: GitRepository
metadata: {name: fleet}
spec: {url: URL, ref: {branch: main}, interval: 24h, timeout: 5m}
`

// following is a Kustomization, which does not wait for health: Espalier's times are
// to the same event, the object in the API server.
const following = `---
apiVersion: kustomize.toolkit.fluxcd.io/v1
kind: Kustomization
metadata: {name: NAME}
spec:
  sourceRef: {kind: GitRepository, name: fleet}
  path: ./workspacesPATH
  targetNamespace: NAMESPACE
  interval: 24h
  retryInterval: 10s
  timeout: 10m
  prune: true
`

// flux is kustomize-controller and source-controller with the fleet.
type flux struct {
	*world
	how            string
	namespace      string
	fleet          *fleet
	pids           []int
	workspaces     *follower
	kustomizations *follower
	count          int // of Kustomizations
	looks          int
}

// measureFlux lets Flux fill a namespace of its own, and measures the same pushes.
func (w *world) measureFlux(ctx context.Context, how string, touches []int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	x := &flux{world: w, how: how, namespace: "flux-" + how, fleet: newFleet(w.o.n, w.o.filler), count: 1}
	if strings.HasPrefix(how, "many") {
		x.count = w.o.n
	}
	if err := x.begin(ctx); err != nil {
		return err
	}
	defer w.Cluster.StopFlux()
	if err := x.fill(ctx); err != nil {
		return err
	}
	for _, k := range touches {
		// Each is one push: nothing is kept between two.
		err := x.measure(ctx, fmt.Sprintf("1 push that touches %d of %d", k, w.o.n), func(ctx context.Context, r *row) error { return x.change(ctx, k, r) })
		if err != nil {
			return err
		}
	}
	return nil
}

func (x *flux) begin(ctx context.Context) error {
	if err := x.git.Create(x.namespace); err != nil {
		return fmt.Errorf("making a repository: %w", err)
	}
	if err := x.world.namespace(ctx, x.namespace); err != nil {
		return err
	}
	var flags []string
	if strings.HasSuffix(x.how, "tuned") {
		flags = tuned
	}
	if _, err := x.Cluster.StartFluxWith(ctx, cluster.FluxNewest, flags...); err != nil {
		return fmt.Errorf("starting Flux: %w", err)
	}
	x.pids = []int{x.Cluster.PID("source-controller"), x.Cluster.PID("kustomize-controller")}
	var err error
	if x.workspaces, err = follow(ctx, x.client, workspaces, x.namespace, nil); err != nil {
		return err
	}
	x.kustomizations, err = follow(ctx, x.client, kustomizations, x.namespace, nil)
	return err
}

// measure measures what happens until Flux asks for nothing more, or patience ends:
// then the row says so.
func (x *flux) measure(ctx context.Context, what string, happen func(context.Context, *row) error) error {
	if _, _, err := x.rest(ctx, fluxCalls); err != nil {
		return err
	}
	r := row{who: "Flux, " + strings.ReplaceAll(x.how, "-", " "), what: what}
	if err := forgetPeak(x.pids...); err != nil {
		return err
	}
	before, err := processor(x.pids...)
	if err != nil {
		return err
	}
	from := time.Now()
	if err := x.patiently(ctx, what, &r, func(ctx context.Context) error { return happen(ctx, &r) }); err != nil {
		return err
	}
	patient, cancel := context.WithTimeout(ctx, 10*atRest) // one that was given up goes on
	defer cancel()
	calls, last, err := x.rest(patient, fluxCalls)
	if err != nil && ctx.Err() != nil {
		return err
	}
	r.calls, r.rest = calls, max(0, last.Sub(from))
	after, err := processor(x.pids...)
	if err != nil {
		return err
	}
	if r.peak, err = peak(x.pids...); err != nil {
		return err
	}
	r.cpu = after - before
	r.print(os.Stdout, os.Stderr)
	return nil
}

func (x *flux) fill(ctx context.Context) error {
	commit, err := x.push(x.namespace, x.fleet, "the whole fleet")
	if err != nil {
		return err
	}
	documents := strings.Replace(source, "URL", x.git.URL(x.namespace), 1)
	for i := range x.count {
		path := ""
		if x.count > 1 {
			path = "/" + name(i)
		}
		documents += strings.NewReplacer("PATH", path, "NAMESPACE", x.namespace, "NAME", name(i)).Replace(following)
	}
	return x.measure(ctx, fmt.Sprintf("first push, %d Workspaces", x.o.n), func(ctx context.Context, r *row) error {
		from := time.Now()
		if _, err := x.Cluster.KubectlInput(ctx, []byte(documents), "apply", "--namespace", x.namespace, "-f", "-"); err != nil {
			return fmt.Errorf("creating the Kustomizations: %w", err)
		}
		return x.arrive(ctx, arrival{k: x.o.n, commit: commit, from: from}, r)
	})
}

func (x *flux) change(ctx context.Context, k int, r *row) error {
	x.fleet.touch(k)
	a := arrival{k: k, workspaces: x.workspaces.generations()}
	var err error
	if a.commit, err = x.push(x.namespace, x.fleet, fmt.Sprintf("touch %d", k)); err != nil {
		return err
	}
	a.from = time.Now()
	x.looks++
	o := &metav1.PartialObjectMetadata{ObjectMeta: metav1.ObjectMeta{Namespace: x.namespace, Name: "fleet"}}
	o.SetGroupVersionKind(gitRepositories)
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":"look %d"}}}`, x.looks)
	if err := x.client.Patch(ctx, o, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("asking for a look: %w", err)
	}
	return x.arrive(ctx, a, r)
}

// arrive waits until what was touched is applied, and every Kustomization is at the
// commit; where nothing was touched, that is what is timed.
func (x *flux) arrive(ctx context.Context, a arrival, r *row) error {
	var err error
	if a.k > 0 {
		if r.applied, err = x.workspaces.until(ctx, a.k, a.from, newer(a.workspaces)); err != nil {
			return err
		}
	}
	times, err := x.kustomizations.until(ctx, x.count, a.from, func(_ string, s seen) bool { return strings.HasSuffix(s.revision, a.commit) })
	if a.k == 0 {
		r.applied = times
	}
	return err
}

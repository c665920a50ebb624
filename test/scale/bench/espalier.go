// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// place is the namespace, the repository and the RepoSync of Espalier's fleet.
const place = "fleet"

// espalier is the product with its fleet.
type espalier struct {
	*world
	fleet       *fleet
	controller  *harness.Controller
	workspaces  *follower
	deployments *follower
	configMaps  *follower
	looks       int
}

// measureEspalier lets Espalier fill a cluster, and measures what comes after.
func (w *world) measureEspalier(ctx context.Context, touches []int) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	e := &espalier{world: w, fleet: newFleet(w.o.n, w.o.filler)}
	if err := e.begin(ctx); err != nil {
		return err
	}
	defer func() { _ = e.controller.Stop() }() // what it has to say is in its log
	for _, step := range []func(context.Context) error{
		e.fill,
		func(ctx context.Context) error { return e.touchAll(ctx, touches) },
		e.drift, e.restart, e.quiet,
	} {
		if err := step(ctx); err != nil {
			return fmt.Errorf("%w; the end of the controller's log:\n%s", err, e.log())
		}
	}
	return nil
}

// log is the end of the controller's log.
func (e *espalier) log() string {
	text, err := os.ReadFile(e.ControllerLog())
	if err != nil {
		return err.Error()
	}
	return string(text[max(0, len(text)-3000):])
}

// begin starts the controller beside a repository that nobody follows yet.
func (e *espalier) begin(ctx context.Context) error {
	if err := errors.Join(e.git.Create(place), e.namespace(ctx, place)); err != nil {
		return fmt.Errorf("making the place: %w", err)
	}
	var err error
	if e.deployments, err = e.playKubelets(ctx, place); err != nil {
		return err
	}
	if e.workspaces, err = follow(ctx, e.client, workspaces, place, nil); err != nil {
		return err
	}
	if e.configMaps, err = follow(ctx, e.client, configMaps, place, nil); err != nil {
		return err
	}
	return e.start(ctx)
}

func (e *espalier) start(ctx context.Context) error {
	if e.container != nil {
		if err := unread(e.Binary()); err != nil {
			return err
		}
	}
	flags := []string{"--leader-elect=false"}
	if e.o.profiles != "" {
		flags = append(flags, "--pprof-addr", pprofAddr)
	}
	if e.o.qps > 0 {
		flags = append(flags, fmt.Sprintf("--kube-api-qps=%d", e.o.qps), fmt.Sprintf("--kube-api-burst=%d", 2*e.o.qps))
	}
	var err error
	e.controller, err = e.StartReplica(ctx, flags...)
	if err != nil {
		return fmt.Errorf("starting the controller: %w", err)
	}
	return nil
}

// measure measures what happens from now until the controller asks for nothing
// more. happen waits for what it is about.
func (e *espalier) measure(ctx context.Context, what string, happen func(context.Context, time.Time, *row) error) error {
	if _, _, err := e.rest(ctx, espalierCalls); err != nil {
		return err
	}
	r := row{who: "Espalier", what: what}
	pid := e.controller.PID()
	if err := forgetPeak(pid); err != nil {
		return err
	}
	before, err := processor(pid)
	if err != nil {
		return err
	}
	ctx, cancel := e.whileItRuns(ctx)
	defer cancel()
	profile := e.profile(ctx, what)
	from := time.Now()
	if err := e.patiently(ctx, what, &r, func(ctx context.Context) error { return happen(ctx, from, &r) }); err != nil {
		return err
	}
	var last time.Time
	if r.calls, last, err = e.rest(ctx, espalierCalls); err != nil {
		return fmt.Errorf("%s: %w", what, err)
	}
	r.rest = max(0, last.Sub(from))
	after, err := processor(pid)
	if err != nil {
		return err
	}
	if r.peak, err = peak(pid); err != nil {
		return err
	}
	r.cpu = after - before
	r.print(os.Stdout, os.Stderr)
	return errors.Join(e.container.tell(os.Stderr), profile())
}

// whileItRuns is a context that ends with the controller.
func (e *espalier) whileItRuns(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancel(ctx)
	go func() {
		select {
		case <-e.controller.Ended():
			fmt.Fprintln(os.Stderr, "  "+e.controller.Err().Error())
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, cancel
}

// fill is the first push: every Workspace is new.
func (e *espalier) fill(ctx context.Context) error {
	commit, err := e.push(place, e.fleet, "the whole fleet")
	if err != nil {
		return err
	}
	sync := &v1alpha1.RepoSync{
		ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: place},
		Spec: v1alpha1.RepoSyncSpec{
			Source: v1alpha1.Source{Git: &v1alpha1.GitSource{URL: e.git.URL(place), Ref: v1alpha1.GitRef{Branch: "main"}}},
			Path:   "workspaces", Interval: metav1.Duration{Duration: time.Hour}, Timeout: metav1.Duration{Duration: time.Minute},
			Report: &v1alpha1.Report{Commit: &v1alpha1.CommitReport{MinInterval: metav1.Duration{Duration: time.Second}}},
		},
	}
	return e.measure(ctx, fmt.Sprintf("first push, %d Workspaces", e.o.n), func(ctx context.Context, from time.Time, r *row) error {
		if err := e.client.Create(ctx, sync); err != nil {
			return fmt.Errorf("creating the RepoSync: %w", err)
		}
		return e.arrive(ctx, arrival{k: e.o.n, commit: commit, from: from}, r)
	})
}

// arrival is a push that touches the first k Workspaces.
type arrival struct {
	k                       int
	commit                  string
	from                    time.Time
	workspaces, deployments map[string]int64 // generations before
}

// arrive waits until a push is applied, and reported.
func (e *espalier) arrive(ctx context.Context, a arrival, r *row) error {
	applied, err := e.workspaces.until(ctx, a.k, a.from, newer(a.workspaces))
	if err != nil {
		return err
	}
	children, err := e.deployments.until(ctx, a.k, a.from, newer(a.deployments))
	if err != nil {
		return err
	}
	if a.k == 0 {
		if err := e.until(ctx, a.commit); err != nil {
			return err
		}
		applied = []time.Duration{time.Since(a.from)}
	}
	if err := e.reported(ctx, a); err != nil {
		return err
	}
	r.applied, r.children = append(r.applied, applied...), append(r.children, children...)
	r.report = max(r.report, time.Since(a.from))
	return nil
}

// until waits until the RepoSync says that a commit is applied.
func (e *espalier) until(ctx context.Context, commit string) error {
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: place}}
	err := harness.Until(ctx, e.Stand, s, "at "+commit, func(s *v1alpha1.RepoSync) bool { return strings.HasSuffix(s.Status.LastAppliedRevision, commit) })
	if err != nil {
		return fmt.Errorf("waiting for the RepoSync: %w", err)
	}
	return nil
}

// reported waits until the README of the status branch says of every Workspace that
// was touched that it is Ready at the commit; where none was, that it tells of it.
func (e *espalier) reported(ctx context.Context, a arrival) error {
	branch := repolayout.StatusBranch(harness.ClusterName, place, place)
	head, last := "", ""
	for {
		now, err := e.git.Head(place, branch)
		if err == nil && now != head {
			head = now
			text, err := e.git.ReadFile(place, branch, repolayout.StatusReadme)
			if err == nil && tells(text, a) {
				return nil
			}
			last = text
		}
		select {
		case <-time.After(50 * time.Millisecond):
		case <-ctx.Done():
			return fmt.Errorf("waiting for the report of %s: %w; it says\n%s", a.commit, ctx.Err(), last[:min(len(last), 2000)])
		}
	}
}

// mostRows is how many Workspaces the table of a README has. Where there are more it
// says beside it how many are Ready.
const mostRows = 1000

// tells says whether a README has every Workspace that was touched as Ready at the commit.
func tells(readme string, a arrival) bool {
	short, rows, ready := a.commit[:7], 0, 0
	for line := range strings.Lines(readme) {
		switch {
		case strings.HasPrefix(line, "| [`w") && strings.Contains(line, short) && strings.Contains(line, "Ready"):
			rows++
		case strings.Contains(line, " Workspaces:** "):
			if _, err := fmt.Sscanf(line[strings.Index(line, ":** ")+len(":** "):], "%s %d Ready", new(string), &ready); err != nil {
				ready = 0 // what is counted first is something else: none is
			}
		}
	}
	return rows >= min(a.k, mostRows) && (a.k <= mostRows || ready >= a.k) && strings.Contains(readme, short)
}

// touchAll pushes several times what touches few, and once what touches more.
func (e *espalier) touchAll(ctx context.Context, touches []int) error {
	for _, k := range touches {
		times := e.o.again
		if k > 10 {
			times = 1
		}
		what := fmt.Sprintf("pushes that touch %d of %d, %d times", k, e.o.n, times)
		err := e.measure(ctx, what, func(ctx context.Context, _ time.Time, r *row) error {
			for range times {
				if err := e.change(ctx, k, r); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	return nil
}

// change makes a push that touches k, and waits for it.
func (e *espalier) change(ctx context.Context, k int, r *row) error {
	e.fleet.touch(k)
	a := arrival{k: k, workspaces: e.workspaces.generations(), deployments: e.deployments.generations()}
	var err error
	if a.commit, err = e.push(place, e.fleet, fmt.Sprintf("touch %d", k)); err != nil {
		return err
	}
	a.from = time.Now()
	if err := e.look(ctx); err != nil {
		return err
	}
	return e.arrive(ctx, a, r)
}

// look makes the RepoSync look at its source, as a webhook does.
func (e *espalier) look(ctx context.Context) error {
	e.looks++
	s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: place, Name: place}}
	patch := fmt.Appendf(nil, `{"metadata":{"annotations":{%q:"look %d"}}}`, repolayout.AnnotationReconcileAt, e.looks)
	if err := e.client.Patch(ctx, s, client.RawPatch("application/merge-patch+json", patch)); err != nil {
		return fmt.Errorf("asking for a look: %w", err)
	}
	return nil
}

// restart kills the controller and starts another, which finds everything in place.
func (e *espalier) restart(ctx context.Context) error {
	if err := e.controller.Stop(); err != nil {
		return fmt.Errorf("stopping the controller: %w", err)
	}
	if _, _, err := e.rest(ctx, espalierCalls); err != nil {
		return err
	}
	r := row{who: "Espalier", what: fmt.Sprintf("start with %d in place", e.o.n)}
	from := time.Now()
	if err := e.start(ctx); err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, e.o.patience)
	defer cancel()
	first, err := e.begun(ctx, espalierCalls)
	if err != nil {
		return err
	}
	rest, last, err := e.rest(ctx, espalierCalls)
	if err != nil {
		return err
	}
	r.calls, r.rest = append(first, rest...), last.Sub(from)
	pid := e.controller.PID()
	if r.cpu, err = processor(pid); err != nil {
		return err
	}
	if r.peak, err = peak(pid); err != nil {
		return err
	}
	r.print(os.Stdout, os.Stderr)
	return e.container.tell(os.Stderr)
}

// quiet watches that nothing is asked for.
func (e *espalier) quiet(ctx context.Context) error {
	if e.o.quiet == 0 {
		return nil
	}
	return e.measure(ctx, fmt.Sprintf("%s in which nothing happens", e.o.quiet), func(ctx context.Context, _ time.Time, _ *row) error {
		select {
		case <-time.After(e.o.quiet):
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	})
}

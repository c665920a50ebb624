// SPDX-License-Identifier: Apache-2.0

// Command bench measures what a push costs on a real API server, for Espalier and
// for Flux's kustomize-controller with the same repository, and prints a table:
// `make bench-scale`. docs/performance.md has the tables of record.
//
// It asserts nothing, and measures on whatever machine it runs: etcd, the API
// server, Git and the controller share it.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// options of the bench.
type options struct {
	n, filler int
	touch     string // as the flag has it
	again     int
	quiet     time.Duration
	flux      string
	patience  time.Duration
	profiles  string
	qps       int
	memory    string
	only      string
}

func main() {
	var o options
	flag.IntVar(&o.n, "n", 100, "Workspaces")
	flag.IntVar(&o.filler, "filler", 0, "Files in the repository that are nobody's business")
	flag.StringVar(&o.touch, "touch", "0,1,all", "How many Workspaces the pushes touch")
	flag.IntVar(&o.again, "again", 5, "Pushes that touch few, of each kind")
	flag.DurationVar(&o.quiet, "quiet", 0, "How long to watch that nothing is asked for when nothing happens; 0: not at all")
	flag.StringVar(&o.flux, "flux", "one,many,one-tuned,many-tuned", "How Flux is measured: one Kustomization for all or many, one a Workspace; tuned: with --concurrent=20 and more requests; empty: not at all. `make e2e-flux` builds it")
	flag.StringVar(&o.only, "only", "", "Measure only Espalier or only flux; empty: both")
	flag.DurationVar(&o.patience, "patience", 3*time.Minute, "How long to wait for what a push brings")
	flag.StringVar(&o.profiles, "profiles", "", "Folder to write profiles of the controller to: of processors over each kind of push, and of memory; empty: none")
	flag.IntVar(&o.qps, "kube-api-qps", 0, "The controller's --kube-api-qps, with twice that as burst; 0: its default")
	flag.StringVar(&o.memory, "memory-limit", "", "Memory of the controller's container, such as 300Mi: a control group, which only root can make; empty: no container")
	flag.Parse()
	o.patience = max(o.patience, o.quiet+time.Minute)
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	log.SetLogger(zap.New(zap.UseDevMode(false)))
	if err := run(ctx, o); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func run(ctx context.Context, o options) (err error) {
	touches, err := o.touches()
	if err != nil {
		return err
	}
	if o.profiles != "" {
		if err := os.MkdirAll(o.profiles, 0o750); err != nil {
			return fmt.Errorf("-profiles: %w", err)
		}
	}
	w, err := newWorld(ctx, o)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, w.stop()) }()
	fmt.Printf("\n%s, %d processors, %s: go run ./test/scale/bench %s\n\n", time.Now().UTC().Format(time.DateOnly), runtime.NumCPU(), memory(), strings.Join(os.Args[1:], " "))
	fmt.Print(header)
	if o.only != "flux" {
		if err := w.measureEspalier(ctx, touches); err != nil {
			return err
		}
	}
	if o.only == "espalier" || o.flux == "" {
		return nil
	}
	for _, how := range strings.Split(o.flux, ",") {
		if err := w.measureFlux(ctx, how, touches); err != nil {
			return err
		}
	}
	return nil
}

// touches are the numbers of Workspaces that pushes touch.
func (o options) touches() ([]int, error) {
	var all []int
	for _, text := range strings.Split(o.touch, ",") {
		if text == "all" {
			all = append(all, o.n)
			continue
		}
		k, err := strconv.Atoi(text)
		if err != nil || k < 0 || k > o.n {
			return nil, fmt.Errorf("-touch %q: numbers up to -n, or all", text)
		}
		all = append(all, k)
	}
	return all, nil
}

// memory of the machine.
func memory() string {
	text, err := os.ReadFile("/proc/meminfo")
	if err != nil {
		return "memory unknown"
	}
	fields := strings.Fields(string(text))
	kib, _ := strconv.Atoi(fields[1])
	return fmt.Sprintf("%d GiB", (kib+1<<19)>>20)
}

// SPDX-License-Identifier: Apache-2.0

// Command demo shows the whole of Espalier on one machine: it builds what it
// needs, starts a local control plane, a Git server, a fake Azure and the
// product's own binary, pushes the sample repository, and tells what happens
// from what the API server and Git say.
//
// It decides nothing and helps nothing along: what plays the part of containers
// lives in test/cluster, and comes in through the product's ordinary doors. It
// ends with 0 when the loop was seen whole, and 1 when it was not.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"io"
	"os"
	"os/signal"
	"syscall"
	"time"

	"sigs.k8s.io/controller-runtime/pkg/log"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
)

// options of the demo.
type options struct {
	keep       bool
	kubeconfig string
	deadline   time.Duration
	pace       pace
}

// pace is how fast the world of the demo turns: slow enough to be read.
type pace struct {
	createPool, gpus, deletePool time.Duration
	podStart, job                time.Duration
	look                         time.Duration // how often the controller asks the cloud
}

var readable = pace{
	createPool: 6 * time.Second, gpus: 3 * time.Second, deletePool: 4 * time.Second,
	podStart: 2 * time.Second, job: 8 * time.Second, look: time.Second,
}

func main() {
	o := options{pace: readable}
	flag.BoolVar(&o.keep, "keep", false, "Stay up after the last act, until interrupted")
	flag.StringVar(&o.kubeconfig, "kubeconfig", "", "Use this cluster instead of starting one. It must have no namespace \"models\" and a default StorageClass that binds at once; the CRDs stay in it")
	flag.DurationVar(&o.deadline, "deadline", 10*time.Minute, "Give up when the loop takes longer, building not counted")
	flag.Parse()
	if flag.NArg() > 0 {
		fmt.Fprintln(os.Stderr, "demo takes flags only; see -help")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	if err := run(ctx, o, os.Stdout); err != nil {
		fmt.Fprintln(os.Stderr, "\nThe demo did not come to its end:", err)
		stop()
		os.Exit(1)
	}
}

// run builds, starts, plays and stops.
func run(ctx context.Context, o options, out io.Writer) error {
	log.SetLogger(zap.New(zap.WriteTo(io.Discard))) // the watches' own talk
	s := newScreen(out)
	defer s.close()
	s.heading("Espalier: from git push to GPUs, and back to Git")
	s.say("Everything below is real but for two things: Azure is a fake that speaks its protocol, and the nodes are simulated. Simulated nodes run no container: kwok plays their kubelets, and says of the tuning Job that it completed.")
	if err := buildPrograms(ctx, s); err != nil {
		return err
	}
	interrupt := ctx // staying up has no deadline
	ctx, cancel := context.WithTimeoutCause(ctx, o.deadline, fmt.Errorf("it took longer than --deadline %s", o.deadline))
	defer cancel()
	st, err := newStory(ctx, s, o)
	if err != nil {
		return err
	}
	err = st.play(ctx)
	if err != nil {
		err = errors.Join(err, context.Cause(ctx))
		st.showFailure()
	}
	switch {
	case err != nil:
	case o.keep:
		st.stayUp(interrupt)
	default:
		s.say("Everything is stopped and removed now; make demo ARGS=--keep leaves it up to go on by hand.")
	}
	return errors.Join(err, st.end())
}

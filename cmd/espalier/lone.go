// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"fmt"
	"os"
	"time"

	"golang.org/x/sync/errgroup"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/leaderelection"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// poolsLease is the Lease of the one controller among all shards that works on node
// pools: what it may delete within ten minutes is counted over all of them, and a
// cloud takes one change of a cluster at a time.
const poolsLease = "pools.espalier.dev"

// loneManager is a manager whose runnables run while a Lease of their own is held,
// after the manager's own. They share its cache and clients.
type loneManager struct {
	ctrl.Manager
	leader    leaderOptions
	runnables []manager.Runnable
	lease     func() (resourcelock.Interface, error)
	lost      func(error) // ends the process
}

// newLone returns a manager for what one process among all shards does.
func newLone(mgr ctrl.Manager, leader leaderOptions) (*loneManager, error) {
	var err error
	if leader.Namespace, err = leader.namespace("--watch-label-selector"); err != nil {
		return nil, err
	}
	lone := &loneManager{Manager: mgr, leader: leader, lost: func(err error) {
		ctrl.Log.Error(err, "ending")
		os.Exit(1)
	}}
	lone.lease = lone.lock
	if err := mgr.Add(manager.RunnableFunc(lone.run)); err != nil {
		return nil, fmt.Errorf("adding the election for node pools: %w", err)
	}
	return lone, nil
}

// Add implements manager.Manager.
func (l *loneManager) Add(r manager.Runnable) error {
	l.runnables = append(l.runnables, r)
	return nil
}

// run runs the runnables while the Lease is held. One that is lost ends the process at
// once, as that of the manager does: what a pass is about to do, another process may be
// doing already. A process that is asked to end keeps the Lease until its passes are over.
func (l *loneManager) run(ctx context.Context) error {
	lock, err := l.lease()
	if err != nil {
		return err
	}
	electing, release := context.WithCancel(context.WithoutCancel(ctx))
	defer release()
	leading, over := make(chan context.Context, 1), make(chan struct{})
	elector, err := leaderelection.NewLeaderElector(leaderelection.LeaderElectionConfig{
		Lock: lock, Name: poolsLease, ReleaseOnCancel: true,
		LeaseDuration: l.leader.LeaseDuration, RenewDeadline: l.leader.RenewDeadline, RetryPeriod: l.leader.RetryPeriod,
		Callbacks: leaderelection.LeaderCallbacks{
			OnStartedLeading: func(held context.Context) { leading <- held },
			OnStoppedLeading: func() {
				if electing.Err() == nil {
					l.lost(fmt.Errorf("the Lease %s was lost", poolsLease))
				}
			},
		},
	})
	if err != nil {
		return fmt.Errorf("preparing the election for node pools: %w", err)
	}
	go func() {
		defer close(over)
		elector.Run(electing)
	}()
	select {
	case held := <-leading:
		working, stop := context.WithCancel(held)
		defer context.AfterFunc(ctx, stop)()
		err = l.start(working)
		stop()
	case <-ctx.Done():
	}
	release()
	<-over
	if err != nil && ctx.Err() == nil {
		return fmt.Errorf("working on node pools: %w", err)
	}
	return nil
}

// start runs the runnables until the Lease is given up.
func (l *loneManager) start(held context.Context) error {
	group, inner := errgroup.WithContext(held)
	for _, r := range l.runnables {
		group.Go(func() error { return r.Start(inner) })
	}
	return group.Wait()
}

func (l *loneManager) lock() (resourcelock.Interface, error) {
	config := rest.CopyConfig(l.GetConfig())
	config.Timeout = max(l.leader.RenewDeadline/2, time.Second)
	kube, err := kubernetes.NewForConfig(config)
	if err != nil {
		return nil, fmt.Errorf("connecting for the election for node pools: %w", err)
	}
	identity, err := processIdentity()
	if err != nil {
		return nil, err
	}
	lock, err := resourcelock.New(resourcelock.LeasesResourceLock, l.leader.Namespace, poolsLease, kube.CoreV1(), kube.CoordinationV1(),
		resourcelock.ResourceLockConfig{Identity: identity})
	if err != nil {
		return nil, fmt.Errorf("making the Lease of node pools: %w", err)
	}
	return lock, nil
}

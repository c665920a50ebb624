// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes/fake"
	clienttesting "k8s.io/client-go/testing"
	"k8s.io/client-go/tools/leaderelection/resourcelock"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/manager"
)

// TestLone: who loses the Lease ends without waiting for what it is doing, and who is
// asked to end keeps it for as long as it does anything.
func TestLone(t *testing.T) {
	kube := fake.NewClientset()
	holder := func() string {
		lease, err := kube.CoordinationV1().Leases("espalier-system").Get(t.Context(), poolsLease, metav1.GetOptions{})
		if err != nil {
			t.Fatal(err)
		}
		return ptr.Deref(lease.Spec.HolderIdentity, "")
	}
	lost, working, finish := make(chan error, 1), make(chan struct{}, 1), make(chan struct{})
	lone := func() *loneManager {
		l := &loneManager{leader: leaderOptions{LeaseDuration: 700 * time.Millisecond, RenewDeadline: 500 * time.Millisecond, RetryPeriod: 50 * time.Millisecond}}
		l.lost = func(err error) { lost <- err }
		l.lease = func() (resourcelock.Interface, error) {
			return resourcelock.New(resourcelock.LeasesResourceLock, "espalier-system", poolsLease, kube.CoreV1(), kube.CoordinationV1(), resourcelock.ResourceLockConfig{Identity: "ours"})
		}
		_ = l.Add(manager.RunnableFunc(func(context.Context) error { // a pass that does not look at its context
			working <- struct{}{}
			<-finish
			return nil
		}))
		return l
	}

	ctx, end := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- lone().run(ctx) }()
	<-working
	end()
	select {
	case err := <-ended:
		t.Fatalf("ended (%v) in the middle of a pass", err)
	case <-time.After(time.Second): // longer than the Lease lasts without being renewed
	}
	if got := holder(); got != "ours" {
		t.Errorf("the Lease is %q's while a pass is under way", got)
	}
	finish <- struct{}{}
	if err := <-ended; err != nil || holder() != "" {
		t.Errorf("ended with %v, and the Lease is %q's: want it given back", err, holder())
	}

	go func() { ended <- lone().run(t.Context()) }()
	<-working
	kube.PrependReactor("*", "leases", func(clienttesting.Action) (bool, runtime.Object, error) {
		return true, nil, errors.New("connection refused")
	})
	select {
	case err := <-lost:
		t.Log(err)
	case err := <-ended:
		t.Errorf("returned %v before it was said that the Lease is lost", err)
	}
	close(finish)
	<-ended
}

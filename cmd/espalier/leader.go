// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/client-go/tools/leaderelection"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/shard"
)

// leaderOptions say how replicas agree on the one that acts. The default times
// are those of Flux's controllers: with client-go's shorter ones an API server
// that is busy for ten seconds ends the leader.
type leaderOptions struct {
	Elect     bool
	Namespace string

	LeaseDuration, RenewDeadline, RetryPeriod time.Duration
}

// BindFlags binds the options to flags, named as in kube-controller-manager.
func (o *leaderOptions) BindFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.Elect, "leader-elect", true, "Run only as the leader, so that two replicas never act at once")
	fs.StringVar(&o.Namespace, "leader-elect-namespace", "", "Namespace of the leader's Lease; empty: the controller's own")
	fs.DurationVar(&o.LeaseDuration, "leader-elect-lease-duration", 35*time.Second, "How long others wait for a leader that is gone without a word")
	fs.DurationVar(&o.RenewDeadline, "leader-elect-renew-deadline", 30*time.Second, "How long the leader tries to renew its Lease before it ends")
	fs.DurationVar(&o.RetryPeriod, "leader-elect-retry-period", 5*time.Second, "How often the Lease is renewed, or tried to be had")
}

// Validate repeats what client-go asks of the times, before anything is started.
func (o *leaderOptions) Validate() error {
	if !o.Elect {
		return nil
	}
	jittered := time.Duration(leaderelection.JitterFactor * float64(o.RetryPeriod))
	if o.RetryPeriod <= 0 || o.RenewDeadline <= jittered || o.LeaseDuration <= o.RenewDeadline {
		return fmt.Errorf("--leader-elect-lease-duration %s must be longer than --leader-elect-renew-deadline %s, and that longer than %v times --leader-elect-retry-period %s",
			o.LeaseDuration, o.RenewDeadline, leaderelection.JitterFactor, o.RetryPeriod)
	}
	return nil
}

// apply writes the options into those of the manager.
func (o *leaderOptions) apply(m *ctrl.Options, controllers string, of *shard.Shard) {
	m.LeaderElection, m.LeaderElectionNamespace = o.Elect, o.Namespace
	m.LeaderElectionID = of.Lease("controller.espalier.dev")
	if controllers == reviewController {
		m.LeaderElectionID = "review.espalier.dev"
	}
	m.LeaseDuration, m.RenewDeadline, m.RetryPeriod = &o.LeaseDuration, &o.RenewDeadline, &o.RetryPeriod
	// A leader that is asked to end hands over at once.
	m.LeaderElectionReleaseOnCancel = true
}

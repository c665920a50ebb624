// SPDX-License-Identifier: Apache-2.0

package main

import (
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/util/rand"
	"k8s.io/client-go/tools/leaderelection"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/lease"
	"github.com/espalier-dev/espalier/reconciler/shard"
)

// ownNamespace is where a pod finds the name of its namespace.
const ownNamespace = "/var/run/secrets/kubernetes.io/serviceaccount/namespace"

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

// namespace is where Leases are kept; flag is what asks for one.
func (o *leaderOptions) namespace(flag string) (string, error) {
	if o.Namespace != "" {
		return o.Namespace, nil
	}
	text, err := os.ReadFile(ownNamespace)
	if err != nil {
		return "", fmt.Errorf("%s needs --leader-elect-namespace outside of a cluster: Leases are kept there", flag)
	}
	return strings.TrimSpace(string(text)), nil
}

// processIdentity names this process in a Lease. Its end is random: a pod may have the name of its
// node, and is process 1.
func processIdentity() (string, error) {
	host, err := os.Hostname()
	if err != nil {
		return "", fmt.Errorf("asking for the name of this machine: %w", err)
	}
	return fmt.Sprintf("%s_%d_%s", host, os.Getpid(), rand.String(8)), nil
}

// branches is what takes the Leases of the branches that reports go to; nil where this
// process is said to be the only one.
func (o *leaderOptions) branches(mgr ctrl.Manager) (*lease.Holder, error) {
	if !o.Elect {
		return nil, nil
	}
	namespace, err := o.namespace("--leader-elect")
	if err != nil {
		return nil, err
	}
	identity, err := processIdentity()
	if err != nil {
		return nil, err
	}
	holder := &lease.Holder{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Namespace: namespace, Identity: identity, Duration: o.LeaseDuration, Clock: time.Now,
	}
	if err := mgr.Add(holder); err != nil {
		return nil, fmt.Errorf("adding what gives back the Leases of branches: %w", err)
	}
	return holder, nil
}

// SPDX-License-Identifier: Apache-2.0

package api

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"
	coordinationv1 "k8s.io/api/coordination/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/lease"
)

const leaseNamespace = "espalier-system"

// asController is a client with the rights that deploy/ gives the controller to Leases.
func asController(t *testing.T) client.Client {
	t.Helper()
	c := shared.Get(t)
	for _, args := range [][]string{
		{"create", "namespace", leaseNamespace},
		{"apply", "--server-side", "-f", "../../deploy/rbac/leader-election.yaml"},
	} {
		if _, err := c.Kubectl(t.Context(), args...); err != nil && !strings.Contains(err.Error(), "already exists") {
			t.Fatal(err)
		}
	}
	config := rest.CopyConfig(c.Config)
	config.Impersonate.UserName = "system:serviceaccount:" + leaseNamespace + ":espalier"
	as, err := client.New(config, client.Options{Scheme: clientgoscheme.Scheme})
	if err != nil {
		t.Fatal(err)
	}
	// The authorizer sees a new binding a moment later.
	if err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 30*time.Second, true, func(ctx context.Context) (bool, error) {
		err := as.List(ctx, &coordinationv1.LeaseList{}, client.InNamespace(leaseNamespace))
		if apierrors.IsForbidden(err) {
			return false, nil
		}
		return err == nil, err
	}); err != nil {
		t.Fatal(err)
	}
	return as
}

// TestLeases: against a real API server, with the rights that are shipped, of many
// processes that want a Lease at once one has it, another when it has run out or was given
// back, and a Lease that nobody has used for a day goes.
func TestLeases(t *testing.T) {
	api, now := asController(t), time.Now()
	process := func(n int) *lease.Holder {
		return &lease.Holder{
			Client: api, Reader: api, Namespace: leaseNamespace, Identity: fmt.Sprintf("process-%d", n), Duration: 35 * time.Second,
			Clock: func() time.Time { return now },
		}
	}
	holder := func(name string) string {
		l := &coordinationv1.Lease{}
		if err := api.Get(t.Context(), types.NamespacedName{Namespace: leaseNamespace, Name: name}, l); err != nil {
			t.Fatal(err)
		}
		return ptr.Deref(l.Spec.HolderIdentity, "")
	}
	var processes []*lease.Holder
	for n := range 8 {
		processes = append(processes, process(n))
	}
	const name = "report.espalier.dev-1"
	// one lets all try at once, asserts that one of them did it, and returns which.
	one := func(reason string) *lease.Holder {
		t.Helper()
		var all errgroup.Group
		did := make(chan *lease.Holder, len(processes))
		for _, p := range processes {
			all.Go(func() error {
				err := p.Hold(t.Context(), name, "models/models", func(context.Context) error { did <- p; return nil })
				var taken *lease.TakenError
				if errors.As(err, &taken) {
					return nil
				}
				return err
			})
		}
		if err := all.Wait(); err != nil || len(did) != 1 {
			t.Fatalf("%s: %d did it: %v", reason, len(did), err)
		}
		p := <-did
		if got := holder(name); got != p.Identity {
			t.Errorf("%s: %s did it, and it is held by %s", reason, p.Identity, got)
		}
		return p
	}
	first := one("nobody had it")
	now = now.Add(34 * time.Second)
	if again := one("its holder asks in time"); again != first {
		t.Errorf("%s has it, while %s held it", again.Identity, first.Identity)
	}
	processes = slices.DeleteFunc(processes, func(p *lease.Holder) bool { return p == first }) // it dies
	now = now.Add(35 * time.Second)
	second := one("its holder is gone")
	second.Release(t.Context(), name)
	if got := holder(name); got != "" {
		t.Errorf("given back, and held by %q", got)
	}
	now = now.Add(25 * time.Hour)
	if err := second.Hold(t.Context(), "report.espalier.dev-2", "models/other", func(context.Context) error { return nil }); err != nil {
		t.Fatal(err)
	}
	err := api.Get(t.Context(), types.NamespacedName{Namespace: leaseNamespace, Name: name}, &coordinationv1.Lease{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("a Lease that nobody has used for a day is there: %v", err)
	}
}

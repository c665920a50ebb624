// SPDX-License-Identifier: Apache-2.0

package remote

import (
	"context"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/metrics"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLimitedPass: a cluster that answers each request a little before its limit holds a
// worker for minutes, and not for an hour; it is not away for that.
func TestLimitedPass(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		g := guarded{of: &Cluster{of: source{name: "Secret models/spoke (spec.kubeConfig)"}, turned: func() { t.Error("it is not away") }}}
		slowly := func(context.Context) error { <-time.After(callLimit - time.Second); return nil }
		pass, began := Limited(t.Context()), time.Now()
		var err error
		for n := 0; n < 400 && err == nil; n++ {
			err = g.do(pass, slowly)
		}
		if took := time.Since(began); err == nil || took > passLimit+callLimit {
			t.Errorf("a pass took %s, %v", took, err)
		}
		if fault.Reason(err, "") != v1alpha1.ReasonClusterUnreachable || fault.IsTerminal(err) || !strings.Contains(err.Error(), "answers too slowly") {
			t.Errorf("says %v", err)
		}
		if err := g.do(Limited(t.Context()), slowly); err != nil {
			t.Errorf("the next pass has its own time: %v", err)
		}
		if err := g.do(t.Context(), slowly); err != nil {
			t.Errorf("what is no pass has no such limit: %v", err)
		}
	})
}

// counted remembers the last host.
type counted struct{ host string }

func (c *counted) Increment(_ context.Context, _, _, host string) { c.host = host }

// TestHideHosts: of other clusters the metrics have no address, and one series.
func TestHideHosts(t *testing.T) {
	before := metrics.RequestResult
	t.Cleanup(func() { metrics.RequestResult = before })
	c := &counted{}
	metrics.RequestResult = c
	if err := HideHosts(&rest.Config{Host: "https://10.0.0.1:443"}); err != nil {
		t.Fatal(err)
	}
	for host, want := range map[string]string{"10.0.0.1:443": "10.0.0.1:443", "hidden.example.com:6443": otherHost} {
		if metrics.RequestResult.Increment(t.Context(), "200", "GET", host); c.host != want {
			t.Errorf("%s is counted as %s, want %s", host, c.host, want)
		}
	}
}

// SPDX-License-Identifier: Apache-2.0

package aks

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/spf13/pflag"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

const size = "Standard_NC24ads_A100_v4"

// start runs the fake and a provider that reaches it as the controller does: by
// flags, a CA file, and a credential out of the environment.
func start(t *testing.T) (*fakearm.Server, *Provider) {
	t.Helper()
	arm, err := fakearm.Start(fakearm.Options{
		Sizes: func(name string) (fakearm.Hardware, bool) {
			if name != size {
				return fakearm.Hardware{}, false
			}
			return fakearm.Hardware{GPUs: 1, VCPUs: 24, Family: family}, true
		},
		CreateDelay: 4 * time.Minute, DeleteDelay: time.Minute, Manual: true,
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(arm.Close)
	for _, e := range arm.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	flags, err := arm.Flags(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	var o Options
	fs := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	o.BindFlags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Clock = arm.Now
	p, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return arm, p
}

func targetOf(name string, attempt int32) pool.Target {
	uid := "uid-" + name
	return pool.Target{
		Namespace: "team-a", Name: name, UID: uid, Installation: "i", Attempt: attempt, PoolName: pool.Name("i", uid, attempt),
		Candidate: v1alpha1.Candidate{InstanceType: size, Priority: v1alpha1.Spot, Zones: []string{"1", "2"}}, Replicas: 1,
		NodeLabels: map[string]string{"app": "phi-3"}, OSDiskSizeGiB: 256,
	}
}

func must[T any](t *testing.T) func(T, error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func classOfErr(err error) pool.Class {
	var f *pool.Failure
	if errors.As(err, &f) {
		return f.Class
	}
	return ""
}

// TestLife drives one pool through the real SDK: create, read, scale, delete.
func TestLife(t *testing.T) {
	arm, p := start(t)
	ctx, tgt := t.Context(), targetOf("a", 1)
	if step := must[pool.Step](t)(p.Ensure(ctx, tgt)); step != pool.StepCreated {
		t.Fatalf("step %q", step)
	}
	got := arm.Pools()[0]
	if got.Priority != "Spot" || !slices.Equal(got.Zones, []string{"1", "2"}) || got.Labels["app"] != "phi-3" || got.Labels["espalier.dev/pool"] != "team-a.a" ||
		!slices.Equal(got.Taints, []string{"espalier.dev/pool=team-a.a:NoSchedule", "sku=gpu:NoSchedule"}) || got.Tags[TagPool] != "team-a/a" {
		t.Errorf("ordered %+v", got)
	}
	if o := must[pool.Observation](t)(p.Observe(ctx, tgt)); !o.Owned || o.State != pool.StateRunning || !o.Fresh {
		t.Errorf("while creating: %+v", o)
	}
	arm.Advance(4 * time.Minute)
	if o := must[pool.Observation](t)(p.Observe(ctx, tgt)); o.State != pool.StateSucceeded || o.Count != 1 || len(o.Drift) != 0 {
		t.Errorf("created: %+v", o)
	}
	tgt.Replicas, tgt.OSDiskSizeGiB = 2, 512
	if o := must[pool.Observation](t)(p.Observe(ctx, tgt)); len(o.Drift) != 1 {
		t.Errorf("a disk that cannot grow is not told: %+v", o.Drift)
	}
	if step := must[pool.Step](t)(p.Ensure(ctx, tgt)); step != pool.StepScaled {
		t.Errorf("step %q", step)
	}
	arm.Advance(4 * time.Minute)
	if got := arm.Pools()[0]; got.Count != 2 || got.Tags[TagOwner] != tgt.UID {
		t.Errorf("scaled: %+v", got)
	}
	if step := must[pool.Step](t)(p.Delete(ctx, tgt)); step != pool.StepDeleted {
		t.Errorf("step %q", step)
	}
	if step := must[pool.Step](t)(p.Delete(ctx, tgt)); step != pool.StepNone {
		t.Errorf("a second delete: step %q", step)
	}
	arm.Advance(time.Minute)
	if step := must[pool.Step](t)(p.Delete(ctx, tgt)); step != pool.StepGone {
		t.Errorf("step %q", step)
	}
	if c := arm.Counts(); c["PUT"] != 2 || c["DELETE"] != 1 || c["OPERATION"] != 0 {
		t.Errorf("requests %v: want 2 PUT, 1 DELETE and no poll of an operation", c)
	}
}

// TestOwnership changes one mark at a time: any of them makes the pool foreign,
// and foreign pools are never written to.
func TestOwnership(t *testing.T) {
	marks := map[string]map[string]string{
		"OtherObject":       {TagOwner: "uid-b"},
		"OtherInstallation": {TagInstallation: "j"},
	}
	for name, tags := range marks {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			arm.Advance(4 * time.Minute)
			for k, v := range tags {
				arm.SetTag(tgt.PoolName, k, v)
			}
			notWritten(t, arm, p, tgt)
		})
	}
	t.Run("System", func(t *testing.T) { // whatever marks it has: the cluster's own pods run there
		arm, p := start(t)
		tgt := targetOf("a", 1)
		must[pool.Step](t)(p.Ensure(t.Context(), tgt))
		arm.Advance(4 * time.Minute)
		arm.SetProperty(tgt.PoolName, "mode", "System")
		notWritten(t, arm, p, tgt)
	})
	t.Run("NoMarks", func(t *testing.T) {
		arm, p := start(t)
		tgt := targetOf("a", 1)
		arm.AddPool(tgt.PoolName, size, nil, nil)
		notWritten(t, arm, p, tgt)
	})
	t.Run("LabelMissing", func(t *testing.T) {
		arm, p := start(t)
		tgt := targetOf("a", 1)
		arm.AddPool(tgt.PoolName, size, map[string]string{"Espalier-Owner-UID": tgt.UID, TagInstallation: "i", TagAttempt: "1"}, nil)
		notWritten(t, arm, p, tgt)
	})
	t.Run("CaseOfTagKeys", func(t *testing.T) {
		arm, p := start(t)
		tgt := targetOf("a", 1)
		arm.AddPool(tgt.PoolName, size, map[string]string{"Espalier-Owner-UID": tgt.UID, "ESPALIER-INSTALLATION": "i", TagAttempt: "1"}, map[string]string{LabelOwner: tgt.UID})
		if o := must[pool.Observation](t)(p.Observe(t.Context(), tgt)); !o.Owned {
			t.Errorf("not owned because %s: Azure keeps no case in tag keys", o.NotOwned)
		}
	})
}

func notWritten(t *testing.T, arm *fakearm.Server, p *Provider, tgt pool.Target) {
	t.Helper()
	before := arm.Counts()
	tgt.Replicas = 3
	if o := must[pool.Observation](t)(p.Observe(t.Context(), tgt)); o.Owned || o.NotOwned == "" {
		t.Errorf("observed as ours: %+v", o)
	}
	if _, err := p.Ensure(t.Context(), tgt); classOfErr(err) != pool.ClassOwnership {
		t.Errorf("ensure: %v", err)
	}
	if _, err := p.Delete(t.Context(), tgt); classOfErr(err) != pool.ClassOwnership {
		t.Errorf("delete: %v", err)
	}
	after := arm.Counts()
	if after["PUT"] != before["PUT"] || after["DELETE"] != before["DELETE"] {
		t.Errorf("a foreign pool was written to: %v", arm.Requests())
	}
}

// TestLeftovers finds earlier attempts by their marks, and nothing else.
func TestLeftovers(t *testing.T) {
	arm, p := start(t)
	old := targetOf("a", 2)
	must[pool.Step](t)(p.Ensure(t.Context(), old))
	arm.Advance(4 * time.Minute)
	arm.AddPool("impostor", size, map[string]string{TagOwner: old.UID, TagInstallation: "i", TagAttempt: "9"}, map[string]string{LabelOwner: old.UID})
	o := must[pool.Observation](t)(p.Observe(t.Context(), targetOf("a", 3)))
	if len(o.Leftovers) != 1 || o.Leftovers[0].Name != old.PoolName || o.Leftovers[0].Attempt != 2 || o.Leftovers[0].Candidate.Priority != v1alpha1.Spot {
		t.Errorf("leftovers %+v", o.Leftovers)
	}
}

// TestMutationsAreNotRetried: the queue paces them, not the SDK inside a worker.
func TestMutationsAreNotRetried(t *testing.T) {
	for kind, f := range map[string]fakearm.Fault{
		"Throttled": fakearm.Throttled(7 * time.Second),
		"Server":    {Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "down", RetryAfter: 7 * time.Second},
	} {
		t.Run(kind, func(t *testing.T) {
			arm, p := start(t)
			arm.FailNext("PUT", f)
			_, err := p.Ensure(t.Context(), targetOf("a", 1))
			var got *pool.Failure
			if !errors.As(err, &got) || got.RetryAfter != 7*time.Second {
				t.Errorf("got %v, want a failure that carries Retry-After", err)
			}
			if n := arm.Counts()["PUT"]; n != 1 {
				t.Errorf("%d PUTs, want 1", n)
			}
		})
	}
}

// TestReadsAreRetried: a read that hiccups is no failure.
func TestReadsAreRetried(t *testing.T) {
	arm, p := start(t)
	arm.FailNext("LIST", fakearm.Fault{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "down"})
	if _, err := p.Observe(t.Context(), targetOf("a", 1)); err != nil {
		t.Error(err)
	}
}

// TestThrottledReadsAreShared: what one pool was told holds for all of them.
func TestThrottledReadsAreShared(t *testing.T) {
	arm, p := start(t)
	arm.FailNext("LIST", fakearm.Throttled(30*time.Second))
	for range 50 {
		var f *pool.Failure
		if _, err := p.Observe(t.Context(), targetOf("a", 1)); !errors.As(err, &f) || f.Class != pool.ClassThrottled || f.RetryAfter != 30*time.Second {
			t.Fatalf("got %v, want to be told for how long", err)
		}
	}
	if n := arm.Counts()["LIST"]; n != 1 {
		t.Errorf("%d LISTs while throttled, want 1", n)
	}
	arm.Advance(30 * time.Second)
	if _, err := p.Observe(t.Context(), targetOf("a", 1)); err != nil {
		t.Error(err)
	}
}

// TestMissingClusterIsNoEmptyCluster: a wrong name must not look like "gone".
func TestMissingClusterIsNoEmptyCluster(t *testing.T) {
	_, p := start(t)
	p.cfg.ClusterName = "other"
	if _, err := p.Delete(t.Context(), targetOf("a", 1)); err == nil {
		t.Error("deleting in a cluster that is not there succeeded")
	}
	if found, err := p.get(t.Context(), "x"); err == nil {
		t.Errorf("a pool of a cluster that is not there reads as %v", found)
	}
}

// TestOneInFlight: while one pool is being created, no other mutation is sent.
func TestOneInFlight(t *testing.T) {
	arm, p := start(t)
	must[pool.Step](t)(p.Ensure(t.Context(), targetOf("a", 1)))
	if _, err := p.Ensure(t.Context(), targetOf("b", 1)); classOfErr(err) != pool.ClassBusy {
		t.Errorf("got %v, want busy", err)
	}
	if n := arm.Counts()["PUT"]; n != 1 {
		t.Errorf("%d PUTs, want 1", n)
	}
	if _, err := p.Ensure(t.Context(), targetOf("c", 1)); classOfErr(err) != pool.ClassBusy || !strings.Contains(err.Error(), "ahead") {
		t.Errorf("got %v, want b to be ahead of c", err)
	}
	arm.Advance(4 * time.Minute) // b gave up asking: its place is free after the patience
	if step, err := p.Ensure(t.Context(), targetOf("c", 1)); step != pool.StepCreated {
		t.Errorf("step %q, %v", step, err)
	}
	if step, err := p.Delete(t.Context(), targetOf("c", 1)); step != pool.StepDeleted {
		t.Errorf("deleting what is being created preempts it: step %q, %v", step, err)
	}
}

// TestShrink: machines go by name, those that never joined first; the count alone
// is set only where none is left, and what AKS shows meanwhile is not believed.
func TestShrink(t *testing.T) {
	cases := map[string]struct {
		reason     string
		registered int // of three machines
		remove     []int
		replicas   int32
		want       []int // machines that are left
		kind       string
	}{
		"ByName":      {"The one that is named, not the last.", 3, []int{0}, 2, []int{1, 2}, "REMOVE"},
		"NeverJoined": {"The third never joined: it goes before the empty one.", 2, []int{0}, 2, []int{0, 1}, "REMOVE"},
		"Both":        {"And then the empty one.", 2, []int{0}, 1, []int{1}, "REMOVE"},
		"None":        {"Nothing is left to choose.", 3, []int{0, 1, 2}, 0, nil, http.MethodPut},
		"NotAll":      {"Zero is wanted and one is busy: the others go.", 3, []int{0, 2}, 0, []int{1}, "REMOVE"},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			arm, p := start(t)
			tgt := targetOf("a", 1)
			tgt.Replicas = 3
			must[pool.Step](t)(p.Ensure(t.Context(), tgt))
			arm.Advance(4 * time.Minute)
			machines := arm.Pools()[0].Machines
			tgt.Shrink, tgt.Replicas, tgt.Registered = true, tc.replicas, machines[:tc.registered]
			for _, i := range tc.remove {
				tgt.Remove = append(tgt.Remove, machines[i])
			}
			if step := must[pool.Step](t)(p.Ensure(t.Context(), tgt)); step != pool.StepScaled {
				t.Errorf("%s\nstep %q", tc.reason, step)
			}
			requests := arm.Requests()
			if last := requests[len(requests)-1]; last.Kind != tc.kind {
				t.Errorf("%s\nasked by %s, want %s", tc.reason, last.Kind, tc.kind)
			}
			arm.Advance(4 * time.Minute)
			var want []string
			for _, i := range tc.want {
				want = append(want, machines[i])
			}
			if got := arm.Pools()[0].Machines; !slices.Equal(got, want) {
				t.Errorf("%s\nleft %v of %v, want %v", tc.reason, got, machines, want)
			}
		})
	}
}

// TestShrinkTrustsNoOtherNames: where nodes and machines are named otherwise, no
// machine is taken for one that never joined.
func TestShrinkTrustsNoOtherNames(t *testing.T) {
	arm, p := start(t)
	tgt := targetOf("a", 1)
	tgt.Replicas = 2
	must[pool.Step](t)(p.Ensure(t.Context(), tgt))
	arm.Advance(4 * time.Minute)
	tgt.Shrink, tgt.Replicas, tgt.Registered = true, 1, []string{"renamed"}
	if _, err := p.Ensure(t.Context(), tgt); classOfErr(err) != pool.ClassTransient || arm.Counts()["REMOVE"] != 0 {
		t.Errorf("got %v after %v", err, arm.Counts())
	}
}

// TestPoolLimit: a cluster that is full is not asked for one more.
func TestPoolLimit(t *testing.T) {
	arm, p := start(t)
	for i := range maxPools - 1 {
		arm.AddPool(fmt.Sprintf("other%d", i), size, nil, nil)
	}
	_, err := p.Ensure(t.Context(), targetOf("a", 1))
	if classOfErr(err) != pool.ClassPoolLimit || arm.Counts()["PUT"] != 0 {
		t.Errorf("got %v after %v, want to be told without asking", err, arm.Counts())
	}
	arm.Remove("other0")
	p.list.forget()
	if step, err := p.Ensure(t.Context(), targetOf("a", 1)); step != pool.StepCreated {
		t.Errorf("one pool less: step %q, %v", step, err)
	}
}

// TestBusyClosesTheGate: what AKS does by itself shows in no pool; whom it sends
// away keeps the place, and the others do not ask too.
func TestBusyClosesTheGate(t *testing.T) {
	arm, p := start(t)
	arm.BeginClusterOperation("Upgrading", time.Minute)
	for _, name := range []string{"a", "b", "c"} {
		if _, err := p.Ensure(t.Context(), targetOf(name, 1)); classOfErr(err) != pool.ClassBusy {
			t.Errorf("%s: got %v, want busy", name, err)
		}
	}
	if n := arm.Counts()["PUT"]; n != 1 {
		t.Errorf("%d PUTs of three pools into a busy cluster, want 1", n)
	}
	arm.Advance(time.Minute)
	if _, err := p.Ensure(t.Context(), targetOf("b", 1)); classOfErr(err) != pool.ClassBusy {
		t.Errorf("b went before a: %v", err)
	}
	if step, err := p.Ensure(t.Context(), targetOf("a", 1)); step != pool.StepCreated {
		t.Errorf("a kept its place: step %q, %v", step, err)
	}
}

// TestGateIsFair: first come, first served, and no one is served twice in turn.
func TestGateIsFair(t *testing.T) {
	at := testNow
	g := &gate{clock: func() time.Time { return at }}
	if g.enter("a-uid", "a") != "" || g.enter("b-uid", "b") != "a" || g.enter("c-uid", "c") != "a" {
		t.Fatal("a runs, b and c wait")
	}
	g.leave("a-uid", true)
	if ahead := g.enter("a-uid", "a"); ahead != "b" {
		t.Errorf("a again before b: ahead is %q", ahead)
	}
	if ahead := g.enter("c-uid", "c"); ahead != "b" {
		t.Errorf("c before b: ahead is %q", ahead)
	}
	if g.enter("b-uid", "b") != "" {
		t.Error("b is first and may not go")
	}
	g.leave("b-uid", false)
	if ahead := g.enter("c-uid", "c"); ahead != "b" {
		t.Errorf("b did not finish and lost its place to c: ahead is %q", ahead)
	}
	at = at.Add(patience + time.Second)
	if ahead := g.enter("c-uid", "c"); ahead != "" {
		t.Errorf("b asked no more and still holds up c: ahead is %q", ahead)
	}
}

// TestGateForgetsWhoIsGone: a GPUNodePool that is deleted before its turn came
// holds up nobody, and another attempt of a pool keeps the pool's place.
func TestGateForgetsWhoIsGone(t *testing.T) {
	arm, p := start(t)
	if step, err := p.Ensure(t.Context(), targetOf("a", 1)); step != pool.StepCreated {
		t.Fatalf("step %q, %v", step, err)
	}
	for _, name := range []string{"b", "c"} {
		if _, err := p.Ensure(t.Context(), targetOf(name, 1)); err == nil {
			t.Fatalf("%s must wait for a", name)
		}
	}
	gone := targetOf("b", 1)
	gone.Deleting = true
	if seen, err := p.Observe(t.Context(), gone); err != nil || seen.Exists {
		t.Fatalf("b was never created: %+v, %v", seen, err)
	}
	arm.Remove(targetOf("a", 1).PoolName)
	p.list.forget()
	if step, err := p.Ensure(t.Context(), targetOf("c", 2)); step != pool.StepCreated {
		t.Errorf("c is next, at its second attempt: step %q, %v", step, err)
	}
}

// TestListIsShared: many pools looking at once cost one request.
func TestListIsShared(t *testing.T) {
	arm, p := start(t)
	var wait sync.WaitGroup
	for range 50 {
		wait.Go(func() {
			tgt := targetOf("a", 1)
			tgt.PoolName, tgt.MaxAge = "", time.Minute
			if _, err := p.Observe(context.Background(), tgt); err != nil {
				t.Error(err)
			}
		})
	}
	wait.Wait()
	if n := arm.Counts()["LIST"]; n != 1 {
		t.Errorf("%d LISTs for 50 pools, want 1", n)
	}
	if c := arm.Counts(); c["TOKEN"] == 0 {
		t.Errorf("no token was asked for: %v", c)
	}
}

func TestOptions(t *testing.T) {
	cases := map[string]struct {
		in   Options
		want string
	}{
		"Off":        {Options{}, ""},
		"Whole":      {Options{SubscriptionID: "s", ResourceGroup: "g", ClusterName: "c"}, ""},
		"Half":       {Options{SubscriptionID: "s"}, "belong together"},
		"PlainHTTP":  {Options{Endpoint: "http://arm.example.com"}, "https"},
		"OtherCloud": {Options{Cloud: "moon"}, `"moon" is not public, government or china`},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			err := tc.in.Validate()
			if (err == nil) != (tc.want == "") || err != nil && !strings.Contains(err.Error(), tc.want) {
				t.Errorf("got %v, want %q", err, tc.want)
			}
		})
	}
}

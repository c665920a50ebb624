// SPDX-License-Identifier: Apache-2.0

package lease

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	coordinationv1 "k8s.io/api/coordination/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
)

const lasts = 30 * time.Second

var noon = time.Date(2026, 11, 27, 12, 0, 0, 0, time.UTC)

func TestWait(t *testing.T) {
	held := func(by string, renewed time.Duration) coordinationv1.LeaseSpec {
		return coordinationv1.LeaseSpec{
			HolderIdentity: &by, LeaseDurationSeconds: ptr.To[int32](30), RenewTime: ptr.To(metav1.NewMicroTime(noon.Add(renewed))),
		}
	}
	with := func(s coordinationv1.LeaseSpec, change func(*coordinationv1.LeaseSpec)) coordinationv1.LeaseSpec {
		change(&s)
		return s
	}
	for name, c := range map[string]struct {
		reason string
		spec   coordinationv1.LeaseSpec
		seen   time.Duration // first, from now
		want   time.Duration
	}{
		"New":        {"Nobody has it.", coordinationv1.LeaseSpec{}, 0, 0},
		"GivenBack":  {"Its holder has let go of it a moment ago.", with(held("", 0), func(s *coordinationv1.LeaseSpec) { s.HolderIdentity = nil }), 0, 0},
		"NoName":     {"An empty name is nobody's.", held("", 0), 0, 0},
		"Ours":       {"It is renewed.", held("me", 0), 0, 0},
		"OursLong":   {"It has run out, and nobody took it.", held("me", -time.Hour), 0, 0},
		"Theirs":     {"The rest of the time is its holder's.", held("other", -10*time.Second), 0, 20 * time.Second},
		"RunOut":     {"Whoever does not renew it has lost it, and one who has just come need not wait once more.", held("other", -lasts), 0, 0},
		"LongAgo":    {"A report that has not changed for days.", held("other", -48*time.Hour), 0, 0},
		"Ahead":      {"The clock of its holder is an hour ahead: it is waited for as long as a Lease lasts.", held("other", time.Hour), 0, lasts},
		"AheadStill": {"It was seen unchanged for as long as it lasts.", held("other", time.Hour), -lasts, 0},
		"AheadSoon":  {"It was seen unchanged for a part of that.", held("other", time.Hour), -12 * time.Second, 18 * time.Second},
		"NoTime":     {"Nobody knows since when: somebody has written it by hand.", with(held("other", 0), func(s *coordinationv1.LeaseSpec) { s.RenewTime = nil }), 0, 0},
		"NoDuration": {"Nobody knows for how long.", with(held("other", 0), func(s *coordinationv1.LeaseSpec) { s.LeaseDurationSeconds = nil }), 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			if got := wait(c.spec, "me", noon.Add(c.seen), noon); got != c.want {
				t.Errorf("%s\ngot %s, want %s", c.reason, got, c.want)
			}
		})
	}
}

// bench is an API server with processes that share a clock.
type bench struct {
	client.WithWatch
	now   time.Time
	calls []string // since they were looked at last
	fail  error    // of the next writes
}

func newBench(objects ...client.Object) *bench {
	b := &bench{now: noon}
	note := func(verb string, err error) error {
		b.calls = append(b.calls, verb)
		return err
	}
	b.WithWatch = kubefake.NewClientBuilder().WithScheme(clientgoscheme.Scheme).WithObjects(objects...).WithInterceptorFuncs(interceptor.Funcs{
		Get: func(ctx context.Context, under client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
			return note("get", under.Get(ctx, key, o, opts...))
		},
		List: func(ctx context.Context, under client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
			return note("list", under.List(ctx, list, opts...))
		},
		Create: func(ctx context.Context, under client.WithWatch, o client.Object, opts ...client.CreateOption) error {
			if b.fail != nil {
				return note("create", b.fail)
			}
			return note("create", under.Create(ctx, o, opts...))
		},
		Update: func(ctx context.Context, under client.WithWatch, o client.Object, opts ...client.UpdateOption) error {
			if b.fail != nil {
				return note("update", b.fail)
			}
			return note("update", under.Update(ctx, o, opts...))
		},
	}).Build()
	return b
}

func (b *bench) process(identity string) *Holder {
	return &Holder{Client: b, Reader: b, Namespace: "espalier-system", Identity: identity, Duration: lasts, Clock: func() time.Time { return b.now }}
}

// asked are the calls since the last look.
func (b *bench) asked() []string {
	calls := b.calls
	b.calls = nil
	return calls
}

// holder is who holds the Lease, "" for nobody.
func (b *bench) holder(t *testing.T, name string) string {
	t.Helper()
	l := &coordinationv1.Lease{}
	if err := b.Get(context.Background(), types.NamespacedName{Namespace: "espalier-system", Name: name}, l); err != nil {
		t.Fatal(err)
	}
	b.calls = b.calls[:len(b.calls)-1]
	return ptr.Deref(l.Spec.HolderIdentity, "")
}

func nothing(context.Context) error { return nil }

// after is when to ask again, 0 where it was done.
func after(t *testing.T, h *Holder, name string) time.Duration {
	t.Helper()
	done := false
	err := h.Hold(t.Context(), name, "team/models", func(context.Context) error { done = true; return nil })
	var taken *TakenError
	if errors.As(err, &taken) {
		if done {
			t.Error("it was done without the Lease")
		}
		return taken.After
	}
	if err != nil || !done {
		t.Fatalf("done %v: %v", done, err)
	}
	return 0
}

// TestCalls: what a Lease costs. A quiet process asks nothing at all.
func TestCalls(t *testing.T) {
	b := newBench()
	one := b.process("one")
	for _, step := range []struct {
		reason  string
		pass    time.Duration
		release bool
		want    []string
	}{
		{"The first looks and makes it, and looks for what nobody uses.", 0, false, []string{"get", "create", "list"}},
		{"It was renewed just now.", lasts / 6, false, nil},
		{"It is renewed while it still lasts.", lasts / 2, false, []string{"update"}},
		{"Hours later nobody else has had it: it is taken without a look.", 3 * time.Hour, true, []string{"update", "update"}},
		{"Nor is it looked at where nobody has had it since it was given back.", 0, true, []string{"update", "update"}},
	} {
		b.now = b.now.Add(step.pass)
		if wait := after(t, one, "a"); wait != 0 {
			t.Fatalf("%s\nnot had for %s", step.reason, wait)
		}
		if step.release {
			one.Release(t.Context(), "a")
			one.Release(t.Context(), "a") // which it has not any more
		}
		if diff := cmp.Diff(step.want, b.asked()); diff != "" {
			t.Errorf("%s\n(-want +got)\n%s", step.reason, diff)
		}
	}
	var none *Holder
	none.Release(t.Context(), "a")
	if err := none.Hold(t.Context(), "a", "", nothing); err != nil || b.asked() != nil {
		t.Errorf("without election: %v", err)
	}
}

// TestTwoProcesses: one holds it, and the other has it when it has run out or was given
// back.
func TestTwoProcesses(t *testing.T) {
	b := newBench()
	one, two := b.process("one"), b.process("two")
	if after(t, one, "a") != 0 || after(t, two, "b") != 0 {
		t.Fatal("each has its own")
	}
	if got := after(t, two, "a"); got != again {
		t.Errorf("held by the other: asks again after %s", got)
	}
	b.now = b.now.Add(lasts - time.Second)
	if got := after(t, two, "a"); got != time.Second {
		t.Errorf("about to run out: asks again after %s", got)
	}
	b.now = b.now.Add(time.Second)
	if got := after(t, two, "a"); got != 0 || b.holder(t, "a") != "two" {
		t.Errorf("run out: %s, held by %s", got, b.holder(t, "a"))
	}
	b.asked()
	if got := after(t, one, "a"); got == 0 || !slices.Equal(b.asked(), []string{"update", "get"}) {
		t.Errorf("one that thinks it has it finds that it has not: %s", got)
	}
	one.Release(t.Context(), "a") // of the other: not given back
	if b.asked() != nil || b.holder(t, "a") != "two" {
		t.Error("one gives back what is the other's")
	}
	two.Release(t.Context(), "a")
	if got := after(t, one, "a"); got != 0 || b.holder(t, "a") != "one" {
		t.Errorf("given back: %s, held by %s", got, b.holder(t, "a"))
	}
	l := &coordinationv1.Lease{}
	if err := b.Get(t.Context(), types.NamespacedName{Namespace: "espalier-system", Name: "a"}, l); err != nil {
		t.Fatal(err)
	}
	if ptr.Deref(l.Spec.LeaseTransitions, 0) != 2 || l.Annotations[About] != "team/models" || *l.Spec.LeaseDurationSeconds != 30 {
		t.Errorf("the Lease says %+v, %v", l.Spec, l.Annotations)
	}
	b.now = b.now.Add(lasts)
	b.asked()
	if one.Release(t.Context(), "a"); b.asked() != nil {
		t.Error("what has run out is given back with a call")
	}
}

// TestRefused: an API server that does not take it is an error like any other, and
// nothing is done.
func TestRefused(t *testing.T) {
	b := newBench()
	b.fail = errors.New("no right")
	err := b.process("one").Hold(t.Context(), "a", "", func(context.Context) error { t.Error("done without a Lease"); return nil })
	var taken *TakenError
	if !errors.Is(err, b.fail) || errors.As(err, &taken) {
		t.Errorf("got %v", err)
	}
}

// TestEnd: a process that ends gives back at once what it does nothing under, and the
// rest when that is over.
func TestEnd(t *testing.T) {
	b := newBench()
	one := b.process("one")
	after(t, one, "idle")
	ctx, end := context.WithCancel(t.Context())
	err := one.Hold(ctx, "busy", "", func(context.Context) error {
		end()
		if err := one.Start(ctx); err != nil {
			t.Error(err)
		}
		if b.holder(t, "idle") != "" || b.holder(t, "busy") != "one" {
			t.Errorf("idle is %q's, busy is %q's", b.holder(t, "idle"), b.holder(t, "busy"))
		}
		return nil
	})
	if err != nil || b.holder(t, "busy") != "" {
		t.Errorf("busy is %q's: %v", b.holder(t, "busy"), err)
	}
}

// TestLongWork: it is renewed while something is done, and the work ends where it cannot be.
func TestLongWork(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		while  func(t *testing.T, b *bench)
		lost   bool
	}{
		"Renewed": {"Ten times as long as a Lease lasts.", func(t *testing.T, b *bench) {
			<-time.After(10 * lasts)
			if got := after(t, b.live("two"), "a"); got == 0 {
				t.Error("another has it meanwhile")
			}
		}, false},
		"Away": {"The API server is away for a moment.", func(_ *testing.T, b *bench) {
			b.fail = errors.New("connection refused")
			<-time.After(lasts / 2)
			b.fail = nil
			<-time.After(2 * lasts)
		}, false},
		"AwayLong": {"The API server is away for longer than the Lease lasts.", func(_ *testing.T, b *bench) {
			b.fail = errors.New("connection refused")
			<-time.After(2 * lasts)
		}, true},
		"Robbed": {"Somebody has written another holder into it.", func(t *testing.T, b *bench) {
			l := &coordinationv1.Lease{}
			if err := b.Get(t.Context(), types.NamespacedName{Namespace: "espalier-system", Name: "a"}, l); err != nil {
				t.Error(err)
			}
			l.Spec.HolderIdentity = ptr.To("two")
			if err := b.Update(t.Context(), l); err != nil {
				t.Error(err)
			}
			<-time.After(lasts / 2)
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				b := newBench()
				err := b.live("one").Hold(t.Context(), "a", "", func(ctx context.Context) error {
					c.while(t, b)
					return ctx.Err()
				})
				var taken *TakenError
				if errors.As(err, &taken) != c.lost || !c.lost && err != nil {
					t.Errorf("%s\ngot %v", c.reason, err)
				}
			})
		})
	}
}

// TestPanic: what panics ends, and the Lease with it, whoever recovers.
func TestPanic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBench()
		func() {
			defer func() {
				if recover() == nil {
					t.Error("the panic is lost")
				}
			}()
			_ = b.live("one").Hold(t.Context(), "a", "", func(context.Context) error { panic("on what a server sent") })
		}()
		<-time.After(2 * lasts)
		if got := after(t, b.live("two"), "a"); got != 0 {
			t.Errorf("still held, for %s", got)
		}
	})
}

// live is a process with the clock of the test.
func (b *bench) live(identity string) *Holder {
	h := b.process(identity)
	h.Clock = time.Now
	return h
}

// TestSweep: what nobody has used for a day goes, where something new was made, and
// nothing else.
func TestSweep(t *testing.T) {
	lease := func(name string, renewed time.Time, labels map[string]string) *coordinationv1.Lease {
		return &coordinationv1.Lease{
			ObjectMeta: metav1.ObjectMeta{Namespace: "espalier-system", Name: name, Labels: labels},
			Spec:       coordinationv1.LeaseSpec{RenewTime: ptr.To(metav1.NewMicroTime(renewed))},
		}
	}
	ours := map[string]string{labelManager: manager, Label: kind}
	b := newBench(lease("old", noon.Add(-unused), ours), lease("young", noon.Add(-unused+time.Minute), ours), lease("leader", noon.Add(-240*time.Hour), nil))
	for i := range sweepMost {
		if err := b.Create(t.Context(), lease(fmt.Sprintf("z-%03d", i), noon.Add(-unused), ours)); err != nil {
			t.Fatal(err)
		}
	}
	one := b.process("one")
	names := func() (names []string) {
		list := &coordinationv1.LeaseList{}
		if err := b.List(t.Context(), list); err != nil {
			t.Fatal(err)
		}
		for _, l := range list.Items {
			names = append(names, l.Name)
		}
		return names
	}
	after(t, one, "a")
	if diff := cmp.Diff([]string{"a", "leader", "young", "z-099"}, names()); diff != "" {
		t.Errorf("after the first (-want +got)\n%s", diff)
	}
	b.asked()
	if after(t, one, "b"); slices.Contains(b.asked(), "list") {
		t.Error("looks more than once a day")
	}
	b.now = b.now.Add(unused)
	after(t, one, "b")
	if got := len(names()); got != 5 {
		t.Errorf("%d are left where nothing was made", got)
	}
	after(t, one, "c")
	if diff := cmp.Diff([]string{"b", "c", "leader"}, names()); diff != "" {
		t.Errorf("a day later (-want +got)\n%s", diff)
	}
	if got := after(t, one, "a"); got != 0 {
		t.Errorf("one that was deleted is made anew: %s", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

var errKilled = errors.New("the controller was killed")

// mortal is an API server, and controllers of which each makes a number of writes.
type mortal struct {
	client.Client
	left   atomic.Int64 // writes until the controller is killed
	status atomic.Int64 // bytes of the largest write of a status
}

func newMortal(t *testing.T, s *v1alpha1.RepoSync) *mortal {
	t.Helper()
	m := &mortal{}
	dies := func() error {
		if m.left.Add(-1) < 0 {
			return errKilled
		}
		return nil
	}
	m.Client = newReconciler(t, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if err := dies(); err != nil {
				return err
			}
			return c.Apply(ctx, o, opts...)
		},
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if err := dies(); err != nil {
				return err
			}
			return c.Delete(ctx, o, opts...)
		},
		SubResourcePatch: func(ctx context.Context, c client.Client, sub string, o client.Object, patch client.Patch, opts ...client.SubResourcePatchOption) error {
			if err := dies(); err != nil {
				return err
			}
			data, err := patch.Data(o)
			m.status.Store(max(m.status.Load(), int64(len(data))))
			return errors.Join(err, c.SubResource(sub).Patch(ctx, o, patch, opts...))
		},
	}, s).Client
	return m
}

// live is a controller that starts, makes one pass over what a commit holds, and is
// killed after so many writes.
func (m *mortal) live(t *testing.T, writes int64, tree fstest.MapFS) error {
	t.Helper()
	m.left.Store(writes)
	r := New(Deps{Client: m, Reader: m, Inventories: &inventory.Memory{}, Clock: time.Now})
	obj := team()
	if err := m.Get(t.Context(), client.ObjectKeyFromObject(obj), obj); err != nil {
		t.Fatal(err)
	}
	before := obj.DeepCopy()
	p := passOf(obj, assembleTree(t, obj, tree)).in(r)
	p.before = before
	for _, step := range []func(context.Context, *pass) error{
		func(_ context.Context, p *pass) error { return r.unpack(p.sync) }, r.foretell, r.apply, r.prune,
	} {
		if err := step(t.Context(), p); err != nil {
			return errors.Join(err, r.patchStatus(t.Context(), before, obj))
		}
	}
	return r.patchStatus(t.Context(), before, obj)
}

// there are the objects of the RepoSync in the cluster.
func (m *mortal) there(t *testing.T) []string {
	t.Helper()
	all := names(t, &Reconciler{Deps: Deps{Client: m}})
	list := &corev1.ConfigMapList{}
	if err := m.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	for i := range list.Items {
		all = append(all, list.Items[i].Name)
	}
	return slices.Sorted(slices.Values(all))
}

// folder has Workspaces, and many ConfigMaps.
func folder(configMaps []string, workspaces ...string) fstest.MapFS {
	tree, all := fstest.MapFS{}, strings.Builder{}
	for _, name := range workspaces {
		tree[name+".yaml"] = workspaceFile(name)
	}
	for _, name := range configMaps {
		fmt.Fprintf(&all, "---\napiVersion: v1\nkind: ConfigMap\nmetadata: {name: %s}\ndata: {a: '1'}\n", name)
	}
	tree["settings.yaml"] = &fstest.MapFile{Data: []byte(all.String())}
	return tree
}

func numbered(prefix string, n int) []string {
	var all []string
	for i := range n {
		all = append(all, fmt.Sprintf("%s-%03d", prefix, i))
	}
	return all
}

// TestKilledAtEveryWrite: whichever write was the last of a controller's life, and
// whatever Git says by the time of the next, there is in the end what Git holds: what
// was applied is known, be the inventory a list or packed.
func TestKilledAtEveryWrite(t *testing.T) {
	few, many := numbered("c", 4), numbered("c", 510)
	for name, c := range map[string]struct {
		reason string
		base   []string // ConfigMaps that stay
		kills  []int64
	}{
		"List":   {reason: "Few objects.", base: few, kills: []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10}},
		"Packed": {reason: "Many objects.", base: many, kills: []int64{0, 1, 2, 3, 4, 5, 6}},
	} {
		for _, kill := range c.kills {
			t.Run(fmt.Sprintf("%s/%d", name, kill), func(t *testing.T) {
				m := newMortal(t, team())
				must := func(writes int64, tree fstest.MapFS) {
					t.Helper()
					if err := m.live(t, writes, tree); err != nil {
						t.Fatalf("%s\n%v", c.reason, err)
					}
				}
				must(1<<20, folder(c.base, "a", "b"))
				// One commit brings and drops, its controller is killed, and the next takes all of it back.
				if err := m.live(t, kill, folder(append([]string{"new-1", "new-2", "new-3"}, c.base[1:]...), "a", "new")); err != nil && !errors.Is(err, errKilled) {
					t.Fatalf("%s\n%v", c.reason, err)
				}
				last := folder(c.base[1:], "a", "c")
				must(1<<20, last)
				if diff := cmp.Diff(slices.Sorted(slices.Values(append([]string{"models/a", "models/c"}, c.base[1:]...))), m.there(t)); diff != "" {
					t.Errorf("%s\n-git +cluster:\n%s", c.reason, diff)
				}
				must(0, last) // nothing is written any more
			})
		}
	}
}

// TestInventoryUnreadable: nothing is applied and nothing deleted while it is not known
// what is ours, not when the RepoSync is deleted either; and it is said what to do.
func TestInventoryUnreadable(t *testing.T) {
	m := newMortal(t, team())
	if err := m.live(t, 1<<20, folder(numbered("c", 3), "a")); err != nil {
		t.Fatal(err)
	}
	s := team()
	if err := m.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
		t.Fatal(err)
	}
	s.Status.PackedInventory = &v1alpha1.PackedInventory{Objects: 7, List: []byte("by hand")}
	if err := m.Status().Update(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	was := m.there(t)
	if err := m.live(t, 1<<20, folder(nil, "b")); fault.Reason(err, "") != v1alpha1.ReasonInventoryUnreadable || !fault.IsTerminal(err) {
		t.Errorf("a pass ends with %v", err)
	}
	r := New(Deps{Client: m, Reader: m, Clock: time.Now})
	if gone, err := r.takeDownAs(t.Context(), s); gone || err != nil {
		t.Errorf("it is gone: %v, %v", gone, err)
	}
	if now := m.there(t); !slices.Equal(was, now) {
		t.Errorf("there were %v, and are %v", was, now)
	}
	if is := condition.Get(s, v1alpha1.ConditionStalled); is == nil || is.Reason != v1alpha1.ReasonInventoryUnreadable || !strings.Contains(is.Message, "kubectl patch reposync team") {
		t.Errorf("it is said: %+v", is)
	}
}

// TestInventoryTooLarge: what etcd would not take is refused before anything of it is
// applied.
func TestInventoryTooLarge(t *testing.T) {
	m, s := newMortal(t, team()), team()
	m.left.Store(1 << 20)
	r := New(Deps{Client: m, Reader: m, Clock: time.Now})
	p := passOf(s, built{})
	p.before = s.DeepCopy()
	for i := range 120_000 { // names that do not compress
		e := v1alpha1.InventoryEntry{ID: fmt.Sprintf("models_m-%016x__ConfigMap", uint64(i)*0x9e3779b97f4a7c15), Version: "v1"}
		p.kept.built.wanted = append(p.kept.built.wanted, &wanted{entry: e})
	}
	err := r.foretell(t.Context(), p)
	if fault.Reason(err, "") != v1alpha1.ReasonInventoryTooLarge || !fault.IsTerminal(err) || !strings.Contains(err.Error(), "120000 objects") {
		t.Errorf("got %v", err)
	}
	if len(p.sync.Status.Inventory) > 0 || m.status.Load() > 0 {
		t.Error("something was written of it")
	}
}

// TestForetellConflict: somebody changed the RepoSync after it was read: what is there
// by now is not overwritten, nothing is applied, and it is no error.
func TestForetellConflict(t *testing.T) {
	r := newReconciler(t, interceptor.Funcs{SubResourcePatch: func(context.Context, client.Client, string, client.Object, client.Patch, ...client.SubResourcePatchOption) error {
		return apierrors.NewConflict(schema.GroupResource{Resource: "reposyncs"}, "team", errors.New("changed"))
	}}, team())
	p := passOf(team(), assembleTree(t, team(), folder(nil, "a")))
	p.before = p.sync.DeepCopy()
	if err := r.foretell(t.Context(), p); err == nil {
		t.Error("the pass goes on")
	} else if _, waits := fault.AsWaiting(err); !waits {
		t.Errorf("got %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"strings"
	"testing"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// listed are inventory entries of Workspaces, by namespace/name.
func listed(names ...string) []v1alpha1.InventoryEntry {
	var all []v1alpha1.InventoryEntry
	for _, n := range names {
		all = append(all, v1alpha1.InventoryEntry{ID: strings.ReplaceAll(n, "/", "_") + "_" + v1alpha1.Group + "_" + v1alpha1.WorkspaceKind, Version: "v1alpha1"})
	}
	return inventory.Union(all)
}

// TestReportsItsOwn: labels are written by anybody, the inventory by the controller.
func TestReportsItsOwn(t *testing.T) {
	for name, c := range map[string]struct {
		reason    string
		inventory []string
		objects   []client.Object
		count     string
	}{
		"Own":       {"What was applied is told.", []string{"models/a"}, []client.Object{appliedBy("team", "models", "a", nil)}, "0/1"},
		"Elsewhere": {"Somebody in another namespace labels a Workspace that is never ready.", []string{"models/a"}, []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "team-b", "b", nil)}, "0/1"},
		"Beside":    {"So does somebody in a namespace where it may write.", []string{"models/a"}, []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "serving", "b", nil)}, "0/1"},
		"Withdrawn": {"What an earlier pass applied to a namespace that is no longer allowed.", []string{"models/a", "team-b/b"}, []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "team-b", "b", nil)}, "0/1"},
		"OtherSync": {"The inventory says so, and another RepoSync has taken it.", []string{"models/a"}, []client.Object{appliedBy("other", "models", "a", nil)}, "0/0"},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			s.Status.Inventory = listed(c.inventory...)
			r := newReconciler(t, interceptor.Funcs{}, c.objects...)
			r.TargetNamespaces = []string{"serving"}
			p := passOf(s, built{})
			if err := r.observeAndReport(t.Context(), p.in(r)); err != nil {
				t.Fatal(err)
			}
			if s.Status.Workspaces != c.count {
				t.Errorf("%s\nstatus.workspaces is %s, want %s", c.reason, s.Status.Workspaces, c.count)
			}
		})
	}
}

// TestReportsWhatGoes: what Git dropped is told until it is gone, though it is in
// the inventory no more.
func TestReportsWhatGoes(t *testing.T) {
	s := team()
	s.Status.Inventory = listed("models/a", "models/b")
	r := newReconciler(t, interceptor.Funcs{}, appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", withFinalizer),
		appliedBy("team", "models", "stray", withFinalizer))
	p := passOf(s, built{wanted: []*wanted{{entry: listed("models/a")[0]}}})
	told := func(want string) {
		t.Helper()
		if err := r.observeAndReport(t.Context(), p.in(r)); err != nil || s.Status.Workspaces != want {
			t.Fatalf("told %s, want %s: %v", s.Status.Workspaces, want, err)
		}
	}
	if err := r.prune(t.Context(), p.in(r)); err != nil {
		t.Fatal(err)
	}
	told("0/2")
	going := appliedBy("team", "models", "b", nil)
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(going), going); err != nil {
		t.Fatal(err)
	}
	going.Finalizers = nil
	if err := r.Client.Update(t.Context(), going); err != nil {
		t.Fatal(err)
	}
	told("0/1")
	anew := appliedBy("team", "models", "b", func(w *v1alpha1.Workspace) { w.UID = "another" })
	if err := r.Client.Create(t.Context(), anew); err != nil {
		t.Fatal(err)
	}
	told("0/1")
}

// TestStrayDenied: what only labels say to be ours holds up nothing when it may
// not be deleted, and is spoken of once; what is in the inventory does.
func TestStrayDenied(t *testing.T) {
	for name, c := range map[string]struct {
		reason    string
		inventory []string
		stalls    bool
	}{
		"Stray":       {"Anybody may label a Workspace in a namespace that was allowed.", []string{"models/a"}, false},
		"Inventoried": {"That a right is missing to prune what Git dropped is for a person.", []string{"models/a", "serving/b"}, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			s.Status.Inventory = listed(c.inventory...)
			denied := interceptor.Funcs{Delete: func(ctx context.Context, under client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
				if o.GetNamespace() == "serving" {
					return apierrors.NewForbidden(schema.GroupResource{Group: v1alpha1.Group, Resource: "workspaces"}, o.GetName(), errors.New("not yours"))
				}
				return under.Delete(ctx, o, opts...)
			}}
			told := events.NewFakeRecorder(9)
			r := newReconciler(t, denied, s, appliedBy("team", "models", "a", nil), appliedBy("team", "serving", "b", nil))
			r.TargetNamespaces, r.Events = []string{"serving"}, told
			p := passOf(s, built{wanted: []*wanted{{entry: listed("models/a")[0]}}})
			for range 3 {
				if err := r.prune(t.Context(), p.in(r)); (err != nil) != c.stalls {
					t.Errorf("%s\nprune: %v", c.reason, err)
				}
			}
			if n := len(told.Events); n > 1 || c.stalls != (n == 0) {
				t.Errorf("%s\n%d events", c.reason, n)
			}
			gone, err := r.takeDown(t.Context(), r.own(), s)
			if gone == c.stalls || (err != nil) != c.stalls {
				t.Errorf("%s\ntaking down: gone %v, %v", c.reason, gone, err)
			}
			if got := names(t, r); strings.Join(got, " ") != "serving/b" {
				t.Errorf("%s\nleft: %v", c.reason, got)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"strings"
	"testing"
	"testing/fstest"
	"time"

	"github.com/google/go-cmp/cmp"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestRefusedStaysRefused: what the API server would not take back is tried in each pass,
// and said in each, though only what events spoke of is compared.
func TestRefusedStaysRefused(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		of     client.Object
	}{
		"Workspace": {"Somebody deleted it, and a quota refuses another.", appliedBy("team", "models", "model-00001", nil)},
		"Input":     {"So with what it reads.", configMap("model-00001")},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := shelved(t, 5)
			for range 2 { // what was written is to be seen before it counts
				r.mustReconcile(t)
			}
			s.refuses = apierrors.NewForbidden(schema.GroupResource{}, "model-00001", errors.New("the quota is used up"))
			s.applied = 0
			s.lose(t, r, c.of)
			for n := 1; n <= 3; n++ {
				r.mustReconcile(t)
				if said := condition.Get(s.sync, v1alpha1.ConditionReady); condition.Is(s.sync, v1alpha1.ConditionReady) || !strings.Contains(said.Message, "quota") {
					t.Errorf("%s\nafter pass %d it is said to be %v", c.reason, n, said)
				}
				if s.applied != n {
					t.Errorf("%s\ntried %d times after pass %d", c.reason, s.applied, n)
				}
			}
			s.refuses = nil
			for range 2 {
				r.mustReconcile(t)
			}
			if !condition.Is(s.sync, v1alpha1.ConditionReady) || s.applied != 4 {
				t.Errorf("%s\nnot there when it may be: %v, tried %d times", c.reason, condition.Get(s.sync, v1alpha1.ConditionReady), s.applied)
			}
		})
	}
}

// TestStraysStayHeld: what the guard of pruning holds is held in the next pass too, what is in
// no inventory and what is, until somebody approves it.
func TestStraysStayHeld(t *testing.T) {
	var objects []client.Object
	for _, n := range []string{"a", "b", "c", "d"} {
		objects = append(objects, appliedBy("team", "models", n, nil))
	}
	r, s := newReconciler(t, interceptor.Funcs{}, objects...), team()
	s.Status.Inventory = []v1alpha1.InventoryEntry{{ID: id("a"), Version: "v1alpha1"}, {ID: id("b"), Version: "v1alpha1"}}
	k := passOf(s, built{wanted: []*wanted{{entry: s.Status.Inventory[0]}}}).kept
	pass := func() {
		t.Helper()
		p := (&pass{sync: s, kept: k}).in(r)
		for _, step := range []func(context.Context, *pass) error{r.settle, unlessSettled(r.prune)} {
			if err := step(t.Context(), p); err != nil {
				t.Fatal(err)
			}
		}
	}
	for n := 1; n <= 3; n++ {
		pass()
		if diff := cmp.Diff([]string{"models/a", "models/b", "models/c", "models/d"}, names(t, r)); diff != "" || !condition.Is(s, v1alpha1.ConditionPruneHeld) {
			t.Fatalf("after pass %d, held %v: -want +got:\n%s", n, condition.Get(s, v1alpha1.ConditionPruneHeld), diff)
		}
	}
	held := []v1alpha1.InventoryEntry{{ID: id("b")}, {ID: id("c")}, {ID: id("d")}}
	s.Annotations = map[string]string{repolayout.AnnotationApprovePrune: inventory.PruneToken(testHash, held)}
	pass()
	if diff := cmp.Diff([]string{"models/a"}, names(t, r)); diff != "" {
		t.Errorf("once it is approved: -want +got:\n%s", diff)
	}
}

// TestCollidedMeanwhile: what was left out of a revision because another had its name is
// looked at when it is back, whatever happened to it meanwhile.
func TestCollidedMeanwhile(t *testing.T) {
	s, r, cache := team(), newReconciler(t, interceptor.Funcs{}), build.NewCache(build.CacheLimits{})
	tree := func(two string) fstest.MapFS {
		return fstest.MapFS{
			"kustomization.yaml":     {Data: []byte("resources: [one, two]\n")},
			"one/kustomization.yaml": {Data: []byte("resources: [a.yaml]\n")}, "one/a.yaml": workspaceFile("a"),
			"two/kustomization.yaml": {Data: []byte("resources: [b.yaml]\n")}, "two/b.yaml": workspaceFile(two),
		}
	}
	alone, both := tree("b"), tree("a")
	p := passOf(s, built{}).in(r)
	p.before = s.DeepCopy()
	push := func(revision string, tree fstest.MapFS) {
		t.Helper()
		units, err := cache.Build(t.Context(), tree, ".", build.DefaultLimits())
		if err != nil {
			t.Fatal(err)
		}
		k := p.kept
		k.built = k.assembled.assemble(s, "", revision, units)
		for range 2 { // what was written is to be seen before it counts
			p = (&pass{sync: s, before: s.DeepCopy(), kept: k, looked: true}).in(r)
			for _, step := range []func(context.Context, *pass) error{r.settle, unlessSettled(r.foretell), unlessSettled(r.apply), unlessSettled(r.prune)} {
				if err := step(t.Context(), p); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	if err := r.Client.Create(t.Context(), s); err != nil {
		t.Fatal(err)
	}
	push("main@sha1:1", alone)
	push("main@sha1:2", both)
	w := &v1alpha1.Workspace{}
	if err := r.Client.Get(t.Context(), types.NamespacedName{Namespace: "models", Name: "a"}, w); err != nil {
		t.Fatal(err)
	}
	if err := r.Client.Delete(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	r.stir(t.Context(), w)
	push("main@sha1:2", both)
	push("main@sha1:3", alone)
	if diff := cmp.Diff([]string{"models/a", "models/b"}, names(t, r)); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// TestBackupPutBack: versions begin again below those that were written. For a minute that
// may be a cache which has not heard of them; then it is what the cluster holds.
func TestBackupPutBack(t *testing.T) {
	r, s := shelved(t, 5)
	for range 2 {
		r.mustReconcile(t)
	}
	lost := configMap("model-00004")
	of := s.inputs[client.ObjectKeyFromObject(lost)]
	of.ResourceVersion, of.Annotations = "1", nil
	for _, c := range []struct {
		reason string
		after  time.Duration
		want   int
	}{
		{"The cache may be behind.", 0, 0},
		{"No cache is behind for so long.", 2 * apply.BelievedBehind, 1},
	} {
		s.applied, r.Clock = 0, func() time.Time { return time.Now().Add(c.after) }
		r.stir(t.Context(), lost)
		r.mustReconcile(t)
		if s.applied != c.want {
			t.Errorf("%s\n%d objects are applied, want %d", c.reason, s.applied, c.want)
		}
	}
}

// TestSourceAway: while the Git server does not answer, what somebody changes is put back to
// the commit that was read last, and what is wrong is said all the same.
func TestSourceAway(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*Reconciler, *shelf)
		want   int
	}{
		"Drift":   {"The commit is at hand.", func(*Reconciler, *shelf) {}, 1},
		"Spec":    {"It may be another commit that is wanted now.", func(_ *Reconciler, s *shelf) { s.sync.Generation++ }, 0},
		"Refused": {"It was not to be applied.", func(r *Reconciler, s *shelf) { r.recall(s.sync).judged.refused = errors.New("not signed") }, 0},
		"Another": {"Somebody asks by the annotation.", func(r *Reconciler, s *shelf) {
			r.recall(s.sync).away = away{errors.New("no answer"), question{}, time.Now().Add(time.Hour)}
			s.sync.Annotations = map[string]string{repolayout.AnnotationReconcileAt: "now"}
		}, 1},
		"Asked": {"A hook wants it read.", func(r *Reconciler, s *shelf) { r.asked.Store(s.sync.UID, true) }, 1},
		"NoAnswer": {"It is asked again later.", func(r *Reconciler, s *shelf) {
			r.recall(s.sync).away = away{errors.New("no answer"), question{}, time.Now().Add(time.Hour)}
		}, 1},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := shelved(t, 5)
			for range 2 { // what was written is to be seen before it counts
				r.mustReconcile(t)
			}
			r.Source = source.NewStore(source.Options{})
			s.sync.Spec.Source.Git.URL = "https://127.0.0.1:1/models.git"
			r.recall(s.sync).lookedAt, s.applied = time.Now().Add(-24*time.Hour), 0
			c.change(r, s)
			s.lose(t, r, configMap("model-00001"))
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s.sync)}); err == nil {
				t.Errorf("%s\nnobody tries again", c.reason)
			}
			said := condition.Get(s.sync, v1alpha1.ConditionReady)
			if name == "NoAnswer" != (said.Message == "no answer") {
				t.Errorf("%s\nsaid is %v", c.reason, said)
			}
			if s.applied != c.want || condition.Is(s.sync, v1alpha1.ConditionReady) {
				t.Errorf("%s\n%d objects are applied, want %d; said is %v", c.reason, s.applied, c.want, said)
			}
			if condition.Is(s.sync, v1alpha1.ConditionSourceReady) {
				t.Errorf("%s\nthe source is said to be read", c.reason)
			}
			if _, stands := r.asked.Load(s.sync.UID); stands != (name == "Asked") {
				t.Errorf("%s\nthe question stands: %v", c.reason, stands)
			}
		})
	}
}

// TestGonePast: nothing is kept of a RepoSync that went past its finalizer.
func TestGonePast(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		end    func(*testing.T, *Reconciler, *v1alpha1.RepoSync)
	}{
		"Gone": {"Its namespace was forced to go, for example.", func(t *testing.T, r *Reconciler, s *v1alpha1.RepoSync) {
			t.Helper()
			if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s)}); err != nil {
				t.Error(err)
			}
		}},
		"Going": {"Somebody has patched the finalizer off.", func(t *testing.T, r *Reconciler, s *v1alpha1.RepoSync) {
			t.Helper()
			if _, err := r.finalize(t.Context(), s); err != nil {
				t.Error(err)
			}
		}},
	} {
		t.Run(name, func(t *testing.T) {
			r, s, other := newReconciler(t, interceptor.Funcs{}), team(), team()
			s.UID, other.UID, other.Name = "1", "2", "other"
			r.recall(s)
			r.recall(other)
			r.asked.Store(s.UID, true)
			c.end(t, r, s)
			_, kept := r.kept.Load(s.UID)
			_, asked := r.asked.Load(s.UID)
			if _, stays := r.kept.Load(other.UID); kept || asked || !stays {
				t.Errorf("%s\nkept %v, asked %v, and of another %v", c.reason, kept, asked, stays)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"slices"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// TestFollowed: news of a status wait for more of them and stir nothing; whatever else
// has changed brings a pass that applies, at once.
func TestFollowed(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.Workspace)
		stirs  []string // RepoSyncs
	}{
		"Status":     {"The model answers.", func(w *v1alpha1.Workspace) { condition.Ready(w, v1alpha1.ReasonSucceeded, "It answers") }, nil},
		"Finalizer":  {"Git says nothing of it.", func(w *v1alpha1.Workspace) { w.Finalizers = []string{repolayout.Finalizer} }, nil},
		"Spec":       {"Somebody may have changed what Git says.", func(w *v1alpha1.Workspace) { w.Generation++ }, []string{"team"}},
		"Annotation": {"It may be one that was applied.", func(w *v1alpha1.Workspace) { w.Annotations = map[string]string{"a": "b"} }, []string{"team"}},
		"Deletion":   {"It is to come back.", func(w *v1alpha1.Workspace) { w.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, []string{"team"}},
		"Recreated":  {"Deleted and made anew between two looks.", func(w *v1alpha1.Workspace) { w.UID = "other" }, []string{"team"}},
		"Owner":      {"It would go with another object.", func(w *v1alpha1.Workspace) { w.OwnerReferences = []metav1.OwnerReference{{UID: "u"}} }, []string{"team"}},
		"LabelGone":  {"Nobody would know whose it is.", func(w *v1alpha1.Workspace) { w.Labels = nil }, []string{"team"}},
		"Taken":      {"Both have to look.", func(w *v1alpha1.Workspace) { w.Labels = appliedBy("other", "models", "a", nil).Labels }, []string{"team", "other"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newQueued(t)
			r.took.Store(types.NamespacedName{Namespace: "models", Name: "team"}, time.Hour)
			was := appliedBy("team", "models", "a", nil)
			is := was.DeepCopy()
			c.change(is)
			r.followed().Update(t.Context(), event.UpdateEvent{ObjectOld: was, ObjectNew: is}, r.queue)
			if got := r.queue.Len(); got != len(c.stirs) {
				t.Errorf("%s\n%d passes are due at once, want %d", c.reason, got, len(c.stirs))
			}
			for _, name := range []string{"team", "other"} {
				got := r.stirred.take(types.NamespacedName{Namespace: "models", Name: name})["models_a_espalier.dev_Workspace"]
				if want := len(c.stirs) > 0 && (name == "team" || len(c.stirs) > 1); got != want {
					t.Errorf("%s\n%s is stirred: %v, want %v", c.reason, name, got, want)
				}
			}
		})
	}
	t.Run("ComesAndGoes", func(t *testing.T) {
		for what, happen := range map[string]func(*queued, client.Object){
			"created": func(r *queued, o client.Object) {
				r.followed().Create(t.Context(), event.CreateEvent{Object: o}, r.queue)
			},
			"deleted": func(r *queued, o client.Object) {
				r.followed().Delete(t.Context(), event.DeleteEvent{Object: o}, r.queue)
			},
		} {
			r := newQueued(t)
			happen(r, appliedBy("team", "models", "a", nil))
			if stirred := len(r.stirred.take(types.NamespacedName{Namespace: "models", Name: "team"})) > 0; !stirred || r.queue.Len() != 1 {
				t.Errorf("a Workspace is %s: stirred %v, %d passes", what, stirred, r.queue.Len())
			}
		}
	})
}

type queued struct {
	*Reconciler
	queue workqueue.TypedRateLimitingInterface[reconcile.Request]
}

func newQueued(t *testing.T) *queued {
	t.Helper()
	r := &queued{New(Deps{}), workqueue.NewTypedRateLimitingQueue(workqueue.DefaultTypedControllerRateLimiter[reconcile.Request]())}
	t.Cleanup(r.queue.ShutDown)
	return r
}

// TestSettled: a pass compares nothing only where the one before it found all as the
// same revision says, and nothing has happened to it since.
func TestSettled(t *testing.T) {
	team := types.NamespacedName{Namespace: "models", Name: "team"}
	for name, c := range map[string]struct {
		reason string
		happen func(*testing.T, *Reconciler, *shelf, *kept)
		looks  int // at how many objects, of five Workspaces with a ConfigMap each
		writes int
	}{
		"News":    {reason: "A Workspace has become ready."},
		"Stirred": {"Something was changed by hand, and back.", func(_ *testing.T, r *Reconciler, _ *shelf, _ *kept) { r.stirred.add(team, "") }, 10, 0},
		"StirredOne": {"It is known which.", func(t *testing.T, r *Reconciler, _ *shelf, _ *kept) {
			r.stir(t.Context(), appliedBy("team", "models", "model-00001", nil))
		}, 1, 0},
		"StirredOther": {"Somebody has given an object of theirs our labels.", func(t *testing.T, r *Reconciler, _ *shelf, _ *kept) {
			r.stir(t.Context(), appliedBy("team", "models", "theirs", nil))
		}, 0, 0},
		"WorkspaceGone": {"It comes back.", func(t *testing.T, r *Reconciler, s *shelf, _ *kept) {
			s.lose(t, r, appliedBy("team", "models", "model-00001", nil))
		}, 1, 1},
		"ConfigMapGone": {"It comes back.", func(t *testing.T, r *Reconciler, s *shelf, _ *kept) { s.lose(t, r, configMap("model-00001")) }, 1, 1},
		"OtherRevision": {"A push that has changed nothing.", func(_ *testing.T, _ *Reconciler, _ *shelf, k *kept) {
			k.settled.revision, k.compared.revision = "main@sha1:0", "main@sha1:0"
		}, 0, 0},
		"Pushed": {"A push that has changed one of them.", func(_ *testing.T, _ *Reconciler, _ *shelf, k *kept) {
			k.settled.revision, k.compared.revision = "main@sha1:0", "main@sha1:0"
			changed := *k.built.wanted[3]
			o := changed.object()
			setLabels(o, map[string]string{"team": "other"})
			changed.digest, changed.there = apply.Digest(o), false
			changed.pack(o)
			k.built.wanted = slices.Clone(k.built.wanted)
			k.built.wanted[3] = &changed
		}, 1, 1},
		"LongAgo": {"However often there is a push, an interval ends.", func(_ *testing.T, _ *Reconciler, _ *shelf, k *kept) {
			k.settled.revision, k.compared.at = "main@sha1:0", k.compared.at.Add(-2*time.Hour)
		}, 10, 0},
		"OtherAccount": {"It acts as somebody else now.", func(_ *testing.T, _ *Reconciler, _ *shelf, k *kept) {
			k.settled.as = account.Account{Namespace: "models", Name: "a"}
			k.compared.as = k.settled.as
		}, 10, 0},
		"InventoryByHand": {"Somebody has taken an entry out.", func(_ *testing.T, _ *Reconciler, s *shelf, _ *kept) {
			s.sync.Status.Inventory = s.sync.Status.Inventory[1:]
		}, 10, 0},
		"Looked": {"The interval is over: all is compared, whatever events have said.", lookAgain, 10, 0},
		"AskedBefore": {"The source was looked at for it, and the cache has not heard of that status.", func(_ *testing.T, _ *Reconciler, s *shelf, k *kept) {
			s.sync.Annotations = map[string]string{repolayout.AnnotationReconcileAt: "1"}
			k.handled = "1"
		}, 0, 0},
		"LookedAtAPush": {"The interval is over, and finds a push that has changed nothing.", func(t *testing.T, r *Reconciler, s *shelf, k *kept) {
			lookAgain(t, r, s, k)
			k.settled.revision, k.compared.revision = "main@sha1:0", "main@sha1:0"
		}, 0, 0},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := shelved(t, 5)
			for range 2 { // what was written is to be seen before it counts
				r.mustReconcile(t)
			}
			k := r.recall(s.sync)
			s.gets, s.applied = 0, 0
			if c.happen != nil {
				c.happen(t, r, s, k)
			}
			r.mustReconcile(t)
			if s.gets != c.looks || s.applied != c.writes {
				t.Errorf("%s\nlooked at %d objects, want %d, and wrote %d", c.reason, s.gets, c.looks, s.applied)
			}
			if k.settled.revision != "" != (c.writes == 0) {
				t.Errorf("%s\nthat all is there is believed: %v", c.reason, k.settled)
			}
		})
	}
}

// lookAgain lets the interval end, with the revision that was read before.
func lookAgain(t *testing.T, r *Reconciler, s *shelf, k *kept) {
	t.Helper()
	server := gitserver.Serve(t, gitserver.Options{}, stormRepo)
	hash, err := server.Push(stormRepo, "main", map[string]string{"README.md": "theirs"}, "first")
	if err != nil {
		t.Fatal(err)
	}
	s.sync.Spec.Timeout.Duration = 30 * time.Second
	s.sync.Spec.Source.Git = &v1alpha1.GitSource{URL: server.URL(stormRepo), Ref: v1alpha1.GitRef{Branch: "main"}}
	r.Source = source.NewStore(source.Options{})
	k.built.revision = "main@sha1:" + hash
	k.settled.revision, k.compared.revision, k.lookedAt = k.built.revision, k.built.revision, k.lookedAt.Add(-time.Hour)
}

// TestHealsElsewhere: nobody hears of a change by hand of an input in another cluster. It
// is put right when the source is looked at, at the end of an interval.
func TestHealsElsewhere(t *testing.T) {
	settings := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "settings"}}
	for name, c := range map[string]struct {
		reason string
		change func(context.Context, client.Client) error
	}{
		"Changed": {"A value is taken out.", func(ctx context.Context, c client.Client) error {
			return c.Patch(ctx, settings.DeepCopy(), client.RawPatch(types.MergePatchType, []byte(`{"data":{"a":null}}`)))
		}},
		"Deleted": {"All of it is.", func(ctx context.Context, c client.Client) error { return c.Delete(ctx, settings.DeepCopy()) }},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newReconciler(t, interceptor.Funcs{}), team()
			r.Installation, s.Spec.KubeConfig = "hub", &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "spoke"}}
			units, err := build.Build(t.Context(), folder([]string{"settings"}), ".", build.DefaultLimits())
			if err != nil {
				t.Fatal(err)
			}
			p := passOf(s, new(assembled).assemble(s, r.hubOf(s), "", units)).in(r)
			p.before, p.at.hub, p.at.cluster, p.at.within = s.DeepCopy(), "hub", "spoke", "models"
			turn := func(looked bool) string {
				t.Helper()
				p.looked = looked
				for _, step := range []func(context.Context, *pass) error{r.settle, unlessSettled(r.apply), unlessSettled(r.prune)} {
					if err := step(t.Context(), p); err != nil {
						t.Fatal(err)
					}
				}
				is := &corev1.ConfigMap{}
				if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(settings), is); client.IgnoreNotFound(err) != nil {
					t.Fatal(err)
				}
				return is.Data["a"]
			}
			turn(true)
			turn(false) // what was written is to be seen before it counts
			if err := c.change(t.Context(), r.Client); err != nil {
				t.Fatal(err)
			}
			if is := turn(false); is != "" || !p.settled {
				t.Errorf("%s\nit is %q after a pass that only tells (settled %v)", c.reason, is, p.settled)
			}
			if is := turn(true); is != "1" {
				t.Errorf("%s\nit is %q after the source was looked at", c.reason, is)
			}
		})
	}
}

// TestForgets: nothing is kept under a name that somebody wrote into a label and no
// RepoSync has.
func TestForgets(t *testing.T) {
	r := newReconciler(t, interceptor.Funcs{})
	requests := r.stir(t.Context(), appliedBy("nobody", "models", "a", nil))
	r.took.Store(requests[0].NamespacedName, time.Second)
	if _, err := r.Reconcile(t.Context(), requests[0]); err != nil {
		t.Fatal(err)
	}
	r.took.Range(func(key, _ any) bool {
		t.Errorf("how long a pass took is kept of %v", key)
		return true
	})
	if len(r.stirred.of) > 0 {
		t.Errorf("kept are %v", r.stirred.of)
	}
}

// configMap is one as a watch of metadata has it.
func configMap(name string) client.Object {
	return &metav1.PartialObjectMetadata{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "ConfigMap"},
		ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: name, Labels: appliedBy("team", "models", name, nil).Labels},
	}
}

// lose deletes an object, which its watch tells.
func (s *shelf) lose(t *testing.T, r *Reconciler, o client.Object) {
	t.Helper()
	if _, ours := o.(*v1alpha1.Workspace); ours {
		_ = s.fleet.Delete(o)
	} else {
		delete(s.inputs, client.ObjectKeyFromObject(o))
	}
	r.stir(t.Context(), o)
}

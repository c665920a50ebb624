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
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/source"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const testHash = "4f5c2a9c0d3b1e6f7a8b9c0d1e2f3a4b5c6d7e8f"

func team() *v1alpha1.RepoSync {
	return &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "team", UID: "team-1"}}
}

// appliedBy is a Workspace that a RepoSync of the namespace models applied.
func appliedBy(sync, namespace, name string, change func(*v1alpha1.Workspace)) *v1alpha1.Workspace {
	w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{
		Namespace: namespace, Name: name, UID: types.UID(namespace + "-" + name),
		Labels: map[string]string{repolayout.LabelSyncName: sync, repolayout.LabelSyncNamespace: "models"},
	}}
	if change != nil {
		change(w)
	}
	return w
}

func keep(w *v1alpha1.Workspace) {
	w.Annotations = map[string]string{repolayout.AnnotationPrune: "disabled"}
}

func withFinalizer(w *v1alpha1.Workspace) { w.Finalizers = []string{repolayout.Finalizer} }

func id(name string) string {
	return "models_" + name + "_" + v1alpha1.Group + "_" + v1alpha1.WorkspaceKind
}

// newReconciler returns one over a fake API server, whose calls fail as funcs say.
func newReconciler(t *testing.T, funcs interceptor.Funcs, objects ...client.Object) *Reconciler {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	r := New(Deps{Clock: time.Now})
	c := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).WithStatusSubresource(&v1alpha1.RepoSync{}).
		WithIndex(&v1alpha1.RepoSync{}, indexSecret, credentials).WithIndex(&v1alpha1.RepoSync{}, indexConfig, clusterConfig).WithIndex(&v1alpha1.RepoSync{}, indexReport, r.reportedNamespace).
		WithIndex(&v1alpha1.RepoSync{}, indexDependency, dependencyNames).WithInterceptorFuncs(funcs).Build()
	r.Client, r.Reader = c, c
	return r
}

// names are the Workspaces that are still wanted in the cluster.
func names(t *testing.T, r *Reconciler) []string {
	t.Helper()
	list := &v1alpha1.WorkspaceList{}
	if err := r.Client.List(t.Context(), list); err != nil {
		t.Fatal(err)
	}
	var names []string
	for i := range list.Items {
		if list.Items[i].DeletionTimestamp.IsZero() {
			names = append(names, list.Items[i].Namespace+"/"+list.Items[i].Name)
		}
	}
	return names
}

func passOf(s *v1alpha1.RepoSync, b built) *pass {
	b.revision = "main@sha1:" + testHash
	s.Status.LastAttemptedRevision = b.revision
	return &pass{sync: s, kept: &kept{
		commit: &source.Commit{Revision: b.revision, Hash: testHash}, built: b, applied: map[string]apply.Mark{},
	}}
}

// in says that a pass is one of the Reconciler's own cluster.
func (p *pass) in(r *Reconciler) *pass {
	p.at = r.own()
	return p
}

func TestTargetNamespace(t *testing.T) {
	for name, c := range map[string]struct {
		reason  string
		target  string
		allowed []string
		want    bool
	}{
		"Own":     {"Whoever may write the RepoSync may write there.", "", nil, true},
		"OwnSaid": {"Saying so changes nothing.", "models", nil, true},
		"Other":   {"The editor of one namespace must not get the controller's rights in another.", "kube-system", nil, false},
		"Allowed": {"Whoever runs the controller may allow it.", "serving", []string{"serving"}, true},
		"Another": {"What is allowed is one namespace, not all.", "kube-system", []string{"serving"}, false},
	} {
		t.Run(name, func(t *testing.T) {
			r, s := newReconciler(t, interceptor.Funcs{}), team()
			r.TargetNamespaces, s.Spec.TargetNamespace = c.allowed, c.target
			p := passOf(s, built{})
			p.kept.built.generation = s.Generation
			err := r.build(t.Context(), p)
			if (err == nil) != c.want {
				t.Fatalf("%s\ngot %v", c.reason, err)
			}
			if err != nil && (!fault.IsTerminal(err) || fault.Reason(err, "") != v1alpha1.ReasonTargetNamespaceNotAllowed) {
				t.Errorf("want a terminal %s, got %v", v1alpha1.ReasonTargetNamespaceNotAllowed, err)
			}
		})
	}
}

func TestOtherSync(t *testing.T) {
	other := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "other"}}
	for name, c := range map[string]struct {
		reason  string
		holder  string
		objects []client.Object
		want    string
	}{
		"Own":   {"What it applied itself is its own.", "team", nil, ""},
		"Other": {"Two that apply one object would undo each other for ever.", "other", []client.Object{other}, "models/other"},
		"Gone":  {"A RepoSync that is gone holds nothing: its orphans can be taken over.", "other", nil, ""},
		"None":  {"What nobody applied is free.", "", nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, tree := newReconciler(t, interceptor.Funcs{}, c.objects...), fstest.MapFS{"a.yaml": workspaceFile("phi")}
			if c.holder != "" {
				holder := team()
				holder.Name = c.holder
				if _, err := apply.Object(t.Context(), r.Client, assembleTree(t, holder, tree).wanted[0].object(), nil); err != nil {
					t.Fatal(err)
				}
			}
			p := passOf(team(), assembleTree(t, team(), tree))
			if err := r.applyOne(t.Context(), p.in(r), p.kept.built.wanted[0]); err != nil {
				t.Fatal(err)
			}
			if got := strings.Join(p.conflicts, ";"); (c.want == "") != (got == "") || !strings.Contains(got, c.want) {
				t.Errorf("%s\nconflicts %q, want %q named", c.reason, got, c.want)
			}
			w := &v1alpha1.Workspace{}
			if err := r.Client.Get(t.Context(), types.NamespacedName{Namespace: "models", Name: "phi"}, w); err != nil {
				t.Fatal(err)
			}
			if got := w.Labels[repolayout.LabelSyncName]; (got == "team") != (c.want == "") {
				t.Errorf("%s\nit is labelled with %s", c.reason, got)
			}
		})
	}
}

// TestApplyGoesOn: one object that fails for now holds up no other, and what was
// applied is inventoried.
func TestApplyGoesOn(t *testing.T) {
	refused := apierrors.NewInternalError(errors.New("a webhook does not answer"))
	r := newReconciler(t, interceptor.Funcs{
		Apply: func(ctx context.Context, c client.WithWatch, o runtime.ApplyConfiguration, opts ...client.ApplyOption) error {
			if n, ok := o.(interface{ GetName() string }); ok && n.GetName() == "a" {
				return refused
			}
			return c.Apply(ctx, o, opts...)
		},
	})
	p := passOf(team(), assembleTree(t, team(), fstest.MapFS{"a.yaml": workspaceFile("a"), "b.yaml": workspaceFile("b")}))
	err := r.apply(t.Context(), p.in(r))
	if err == nil || fault.IsTerminal(err) || !strings.Contains(err.Error(), "models/a") {
		t.Errorf("want a retryable error that names the object, got %v", err)
	}
	if diff := cmp.Diff([]string{"models/b"}, names(t, r)); diff != "" {
		t.Errorf("the other must be applied: -want +got:\n%s", diff)
	}
	if len(p.sync.Status.Inventory) != 2 {
		t.Errorf("both may be there, and are inventoried: %v", p.sync.Status.Inventory)
	}
}

func TestPrune(t *testing.T) {
	wantsA := built{wanted: []*wanted{{entry: v1alpha1.InventoryEntry{ID: id("a"), Version: "v1alpha1"}}}}
	for name, c := range map[string]struct {
		reason    string
		objects   []client.Object
		inventory []string
		change    func(*v1alpha1.RepoSync)
		want      []string
	}{
		"Inventoried": {
			reason:    "What Git dropped goes.",
			objects:   []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", nil)},
			inventory: []string{"a", "b"}, want: []string{"models/a"},
		},
		"NeverInventoried": {
			reason:    "The controller ended between an apply and its status write; Git dropped the object meanwhile.",
			objects:   []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", nil)},
			inventory: []string{"a"}, want: []string{"models/a"},
		},
		"Kept": {
			reason:    "What is annotated stays whatever Git says.",
			objects:   []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", keep)},
			inventory: []string{"a"}, want: []string{"models/a", "models/b"},
		},
		"OtherSync": {
			reason:    "What another RepoSync applied is its own, whatever the inventory says.",
			objects:   []client.Object{appliedBy("team", "models", "a", nil), appliedBy("other", "models", "b", nil)},
			inventory: []string{"a", "b"}, want: []string{"models/a", "models/b"},
		},
		"ElsewhereLabelled": {
			reason:    "Labels in a namespace that this RepoSync may not write to are none of its own.",
			objects:   []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "serving", "b", nil)},
			inventory: []string{"a"}, want: []string{"models/a", "serving/b"},
		},
		"Disabled": {
			reason:    "With prune: false nothing goes.",
			objects:   []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", nil)},
			inventory: []string{"a"}, want: []string{"models/a", "models/b"},
			change: func(s *v1alpha1.RepoSync) { s.Spec.Prune = new(bool) },
		},
		"HeldWithStrays": {
			reason: "The guard counts what was never inventoried as well.",
			objects: []client.Object{
				appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", nil),
				appliedBy("team", "models", "c", nil), appliedBy("team", "models", "d", nil),
			},
			inventory: []string{"a", "b"}, want: []string{"models/a", "models/b", "models/c", "models/d"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			if c.change != nil {
				c.change(s)
			}
			for _, n := range c.inventory {
				s.Status.Inventory = append(s.Status.Inventory, v1alpha1.InventoryEntry{ID: id(n), Version: "v1alpha1"})
			}
			r, p := newReconciler(t, interceptor.Funcs{}, c.objects...), passOf(s, wantsA)
			if err := r.prune(t.Context(), p.in(r)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(c.want, names(t, r)); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

// TestPruneGoesOn: one deletion that fails holds up no other, and an approval
// still stands when it is tried again.
func TestPruneGoesOn(t *testing.T) {
	s, fails := team(), true
	objects := []client.Object{appliedBy("team", "models", "a", nil), appliedBy("team", "models", "b", nil)}
	for _, n := range []string{"a", "b"} {
		s.Status.Inventory = append(s.Status.Inventory, v1alpha1.InventoryEntry{ID: id(n), Version: "v1alpha1"})
	}
	s.Annotations = map[string]string{repolayout.AnnotationApprovePrune: inventory.PruneToken(testHash, s.Status.Inventory)}
	r := newReconciler(t, interceptor.Funcs{
		Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if fails && o.GetName() == "a" {
				return apierrors.NewInternalError(errors.New("a webhook does not answer"))
			}
			return c.Delete(ctx, o, opts...)
		},
	}, objects...)
	if err := r.prune(t.Context(), passOf(s, built{}).in(r)); err == nil {
		t.Error("the deletion that failed must be tried again")
	}
	if diff := cmp.Diff([]string{"models/a"}, names(t, r)); diff != "" {
		t.Errorf("the other must go: -want +got:\n%s", diff)
	}
	fails = false
	if err := r.prune(t.Context(), passOf(s, built{}).in(r)); err != nil {
		t.Error(err)
	}
	if got := names(t, r); len(got) > 0 || condition.Is(s, v1alpha1.ConditionPruneHeld) {
		t.Errorf("the approval was for both: %v is left", got)
	}
}

func TestTakeDown(t *testing.T) {
	for name, c := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		inventory bool
		gone      bool // nothing is waited for
		left      bool // the Workspace stays
	}{
		"Inventoried":      {"What was applied goes.", appliedBy("team", "models", "a", nil), true, true, false},
		"NeverInventoried": {"So does what the status never came to know.", appliedBy("team", "models", "a", nil), false, true, false},
		"Going":            {"Its nodes still cost money: it is waited for.", appliedBy("team", "models", "a", withFinalizer), true, false, false},
		"Kept":             {"It stays on purpose, and nobody waits for it.", appliedBy("team", "models", "a", keep), true, true, true},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			if c.inventory {
				s.Status.Inventory = []v1alpha1.InventoryEntry{{ID: id("a"), Version: "v1alpha1"}}
			}
			r := newReconciler(t, interceptor.Funcs{}, s, c.workspace)
			if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s); err != nil {
				t.Fatal(err)
			}
			gone, err := r.takeDown(t.Context(), r.own(), s)
			if err != nil {
				t.Fatal(err)
			}
			if gone != c.gone {
				t.Errorf("%s\ngone = %v", c.reason, gone)
			}
			if left := len(names(t, r)) > 0; left != c.left {
				t.Errorf("%s\nleft = %v", c.reason, left)
			}
		})
	}
}

// TestConfigMapWakes: a ConfigMap that leads to another cluster is watched as a Secret is.
func TestConfigMapWakes(t *testing.T) {
	federated, bySecret := team(), team()
	federated.Name, federated.UID = "federated", "1"
	federated.Spec.KubeConfig = &v1alpha1.KubeConfig{ConfigMapRef: &v1alpha1.LocalObjectReference{Name: "west"}}
	bySecret.Name, bySecret.UID = "by-secret", "2"
	bySecret.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "west"}}
	r := newReconciler(t, interceptor.Funcs{}, federated, bySecret)
	for index, want := range map[string]string{indexConfig: "federated", indexSecret: "by-secret"} {
		woken := r.naming(index)(t.Context(), &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "west"}})
		if len(woken) != 1 || woken[0].Name != want {
			t.Errorf("by %s %v are woken, want %s", index, woken, want)
		}
	}
}

// TestSecretWakes: a corrected Secret brings a pass, which looks at the source.
func TestSecretWakes(t *testing.T) {
	reads, writes, neither := team(), team(), team()
	reads.Name, reads.UID = "reads", "1"
	reads.Spec.Source.Git = &v1alpha1.GitSource{SecretRef: &v1alpha1.LocalObjectReference{Name: "git"}}
	writes.Name, writes.UID = "writes", "2"
	writes.Spec.Report = &v1alpha1.Report{Commit: &v1alpha1.CommitReport{SecretRef: &v1alpha1.LocalObjectReference{Name: "git"}}}
	neither.Name, neither.UID = "neither", "3"
	r := newReconciler(t, interceptor.Funcs{}, reads, writes, neither)
	var got []string
	for _, req := range r.naming(indexSecret)(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "git"}}) {
		got = append(got, req.Name)
	}
	if diff := cmp.Diff([]string{"reads", "writes"}, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if _, asked := r.asked.Load(reads.UID); !asked {
		t.Error("the pass must look at the source")
	}
	if other := r.naming(indexSecret)(t.Context(), &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "elsewhere", Name: "git"}}); len(other) > 0 {
		t.Errorf("a Secret of another namespace wakes %v", other)
	}
}

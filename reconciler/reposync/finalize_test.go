// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/remote"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestLetsGo: a RepoSync whose other cluster is not to be had goes only where nothing is
// known to be there, and not without a word.
func TestLetsGo(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.RepoSync)
		goes   bool
		says   string
	}{
		"Inventoried":  {"What is there may be nodes that are paid.", func(s *v1alpha1.RepoSync) { s.Status.Cluster, s.Status.Inventory = "spoke", listed("models/a") }, false, "Secret models/spoke"},
		"TakenAway":    {"A person took away an inventory that could not be read, as its message said.", func(s *v1alpha1.RepoSync) { s.Status.Cluster = "spoke" }, false, "Secret models/spoke"},
		"NeverReached": {"A kubeconfig that never worked must not hold its RepoSync for ever.", func(*v1alpha1.RepoSync) {}, true, ""},
		"Orphan":       {"A person says that it stays there.", func(s *v1alpha1.RepoSync) { s.Status.Cluster, s.Spec.DeletionPolicy = "spoke", v1alpha1.Orphan }, true, ""},
		"HubFails":     {"This cluster itself does not answer now, and may say in a moment what there is.", func(s *v1alpha1.RepoSync) { s.Spec.KubeConfig.SecretRef.Name = "unread" }, false, "no answer"},
	} {
		t.Run(name, func(t *testing.T) {
			s, now := team(), metav1.Now()
			s.Finalizers, s.DeletionTimestamp = []string{repolayout.Finalizer}, &now
			s.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "spoke"}}
			c.change(s)
			r, told := newReconciler(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
				if key.Name == "unread" {
					return errors.New("no answer")
				}
				return c.Get(ctx, key, o, opts...)
			}}, s), events.NewFakeRecorder(1)
			r.Events, r.Remotes = told, remote.New(t.Context(), remote.Options{Client: r.Client, Reader: r.Reader})
			_, _ = r.Reconcile(t.Context(), ctrl.Request{NamespacedName: client.ObjectKeyFromObject(s)}) // it may wait with an error
			err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(s), s)
			if gone := err != nil && client.IgnoreNotFound(err) == nil; gone != c.goes {
				t.Fatalf("%s\ngone: %v (%v)", c.reason, gone, err)
			}
			if is := condition.Get(s, v1alpha1.ConditionReady); !c.goes && (is == nil || !strings.Contains(is.Message, c.says)) {
				t.Errorf("%s\nit is said: %+v", c.reason, is)
			}
			if got := len(told.Events); (got == 1) != (c.goes && s.Spec.DeletionPolicy != v1alpha1.Orphan) {
				t.Errorf("%s\n%d events", c.reason, got)
			}
		})
	}
}

// TestReportOnlyLeaves: a RepoSync whose mode has become ReportOnly goes without what it
// applied in this cluster, also before a pass has handed it over.
func TestReportOnlyLeaves(t *testing.T) {
	s := reporting()
	s.Status.Inventory = listed("models/a")
	if leavesSomething(s) {
		t.Error("it would be taken down")
	}
	if s.Status.Cluster = "spoke"; !leavesSomething(s) {
		t.Error("what is in another cluster is forgotten")
	}
}

// TestTakesDownByLabels: what carries the labels of a RepoSync in another cluster goes
// with it though the status knows nothing of it: it may have come back from a backup.
func TestTakesDownByLabels(t *testing.T) {
	s := team()
	s.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "spoke"}}
	if !leavesSomething(s) {
		t.Error("nobody looks")
	}
	ours, theirs := appliedBy("team", "models", "ours", nil), appliedBy("team", "models", "theirs", nil)
	ours.Labels[repolayout.LabelSyncHub] = "hub"
	r := newReconciler(t, interceptor.Funcs{}, s, ours, theirs)
	at := r.own()
	at.hub, at.cluster, at.within = "hub", "spoke", "models"
	if gone, err := r.takeDown(t.Context(), at, s); err != nil || !gone {
		t.Fatalf("gone: %v, %v", gone, err)
	}
	if got := strings.Join(names(t, r), " "); got != "models/theirs" {
		t.Errorf("left is %q", got)
	}
}

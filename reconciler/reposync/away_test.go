// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"errors"
	"fmt"
	"strconv"
	"strings"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// sent is a Workspace that a hub has applied to this cluster, as to a spoke.
func sent(namespace, name string, change func(*v1alpha1.Workspace)) *v1alpha1.Workspace {
	w := appliedBy("team", namespace, name, change)
	w.Labels[repolayout.LabelSyncHub] = "hub"
	return w
}

// asSpoke is the Reconciler's own cluster in the part of another one.
func asSpoke(r *Reconciler) place {
	return place{client: r.Client, reader: r.Reader, cluster: "spoke", hub: "hub", within: "models"}
}

func leavingTo(names ...string) *v1alpha1.RepoSync {
	s := team()
	s.Finalizers = []string{repolayout.Finalizer}
	s.Spec.KubeConfig = &v1alpha1.KubeConfig{}
	s.Status.Cluster, s.Status.Inventory = "spoke", listed(names...)
	return s
}

// TestTakeDownThatFails: what holds up the end of a RepoSync in another cluster is told,
// with how to let go, whatever it is.
func TestTakeDownThatFails(t *testing.T) {
	s := leavingTo("models/a")
	r := newReconciler(t, interceptor.Funcs{List: func(context.Context, client.WithWatch, client.ObjectList, ...client.ListOption) error {
		return errors.New("it hails")
	}}, s)
	if _, err := r.takeDownAt(t.Context(), asSpoke(r), s); err == nil {
		t.Error("nobody tries again")
	}
	is := condition.Get(s, v1alpha1.ConditionReady)
	if is == nil || !strings.Contains(is.Message, "1 objects are not deleted") || !strings.Contains(is.Message, "it hails") || !strings.Contains(is.Message, "deletionPolicy: Orphan") {
		t.Errorf("the status says %v", is)
	}
}

// TestTakeDownOfNothing: where nothing is known to be applied, no number is made of it.
func TestTakeDownOfNothing(t *testing.T) {
	s := leavingTo()
	r := newReconciler(t, interceptor.Funcs{}, s)
	if err := r.sayLeft(t.Context(), s, errors.New("it hails")); err == nil {
		t.Error("nobody tries again")
	}
	is := condition.Get(s, v1alpha1.ConditionReady)
	if want := "Nothing is known to be applied, and nobody could look: it hails. To let go of what may be there, set spec.deletionPolicy: Orphan"; is == nil || is.Message != want {
		t.Errorf("the status says %v\nwant %s", is, want)
	}
}

// TestTakeDownElsewhere: what lies in the target namespace of yesterday is waited for.
func TestTakeDownElsewhere(t *testing.T) {
	s := leavingTo("yesterday/a")
	w := sent("yesterday", "a", func(w *v1alpha1.Workspace) { w.Finalizers = []string{"espalier.dev/nodes"} })
	r := newReconciler(t, interceptor.Funcs{}, s, w)
	gone, err := r.takeDownAt(t.Context(), asSpoke(r), s)
	if is := condition.Get(s, v1alpha1.ConditionReady); gone || err != nil || is == nil || is.Reason != v1alpha1.ReasonDeleting {
		t.Errorf("gone: %v (%v), and the status says %v", gone, err, is)
	}
	if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(w), w); err != nil {
		t.Fatal(err)
	}
	w.Finalizers = nil
	if err := r.Client.Update(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	if gone, err := r.takeDownAt(t.Context(), asSpoke(r), s); !gone || err != nil {
		t.Errorf("gone: %v, %v", gone, err)
	}
}

// TestTakeDownGoesOn: a take-down that was cut short goes on where it was, and one that
// the cluster ends asks for nothing more.
func TestTakeDownGoesOn(t *testing.T) {
	s := leavingTo("models/a", "models/b", "models/c")
	asked, left := map[string]int{}, 2
	r := newReconciler(t, interceptor.Funcs{Get: func(ctx context.Context, c client.WithWatch, key client.ObjectKey, o client.Object, opts ...client.GetOption) error {
		if _, isMetadata := o.(*metav1.PartialObjectMetadata); !isMetadata {
			return c.Get(ctx, key, o, opts...)
		}
		asked[key.Name]++
		if left--; left < 0 {
			return fault.Retry(v1alpha1.ReasonClusterUnreachable, errors.New("it answers too slowly"))
		}
		return c.Get(ctx, key, o, opts...)
	}}, s, sent("models", "a", nil), sent("models", "b", nil), sent("models", "c", nil))
	if gone, err := r.takeDownAt(t.Context(), asSpoke(r), s); gone || err == nil {
		t.Errorf("gone: %v, %v", gone, err)
	}
	left = 2
	if gone, err := r.takeDownAt(t.Context(), asSpoke(r), s); !gone || err != nil {
		t.Errorf("gone: %v, %v", gone, err)
	}
	if got := fmt.Sprint(asked); got != "map[a:1 b:1 c:2]" {
		t.Errorf("asked for %s", got)
	}
}

// TestPaged: a list past the cache is whole, whatever pages it comes in.
func TestPaged(t *testing.T) {
	pages := 0
	r := newReconciler(t, interceptor.Funcs{List: func(_ context.Context, _ client.WithWatch, list client.ObjectList, opts ...client.ListOption) error {
		o := (&client.ListOptions{}).ApplyOptions(opts)
		if o.Limit != pageSize || o.Namespace != "models" {
			t.Errorf("page %d is asked for with %+v", pages, o)
		}
		at, _ := strconv.Atoi(o.Continue)
		pages++
		found := list.(*v1alpha1.WorkspaceList)
		found.Items = []v1alpha1.Workspace{*sent("models", "a"+strconv.Itoa(at), nil)}
		if at < 2 {
			found.Continue = strconv.Itoa(at + 1)
		}
		return nil
	}})
	list := &v1alpha1.WorkspaceList{}
	if err := (paged{r.Reader}).List(t.Context(), list, client.InNamespace("models")); err != nil {
		t.Fatal(err)
	}
	if len(list.Items) != 3 || list.Items[0].Name != "a0" || list.Items[2].Name != "a2" || pages != 3 {
		t.Errorf("%d pages, and of them %v", pages, list.Items)
	}
}

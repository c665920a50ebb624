// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestKeptAgain: what pods were rendered to is recorded again after somebody deleted
// it, or the next release of Espalier would restart them.
func TestKeptAgain(t *testing.T) {
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	now := time.Unix(1e9, 0)
	kube := kubefake.NewClientBuilder().WithScheme(scheme).Build()
	r := New(Deps{Client: kube, Reader: kube, Clock: func() time.Time { return now }})
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "uid-1"}}
	ws.Spec.Inference = &v1alpha1.InferenceSpec{}
	look := func() bool {
		t.Helper()
		p := &pass{ws: ws, kept: map[string]bool{}}
		p.out.Workload, p.out.Pods = parsed(t, wantedDeployment), "sha256:0123456789abcdef0123456789abcdef"
		if err := r.keep(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		had := p.kept["phi"]
		if err := r.record(t.Context(), p, p.out.Workload); err != nil {
			t.Fatal(err)
		}
		return had
	}
	if look() || !look() || !look() {
		t.Fatal("it is recorded once, and known then")
	}
	revision := &appsv1.ControllerRevision{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: repolayout.RevisionName("phi", "sha256:0123456789abcdef0123456789abcdef")}}
	if err := kube.Delete(t.Context(), revision); err != nil {
		t.Fatal(err)
	}
	now = now.Add(believedKept)
	look()
	if err := kube.Get(t.Context(), client.ObjectKeyFromObject(revision), revision); err != nil {
		t.Errorf("it is not recorded again: %v", err)
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/events"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestWindingDownIsTried: what could not be done beside a pass that waits, or was refused,
// is tried again: nothing else may come that wakes the Workspace, and its nodes are paid for.
func TestWindingDownIsTried(t *testing.T) {
	refusing := errors.New("the API server does not answer")
	for name, tc := range map[string]struct {
		reason string
		change func(*v1alpha1.Workspace)
		fails  interceptor.Funcs
		fine   bool
	}{
		"Waits": {reason: "It waits for a ConfigMap.", fails: interceptor.Funcs{Delete: func(ctx context.Context, c client.WithWatch, o client.Object, opts ...client.DeleteOption) error {
			if _, is := o.(*v1alpha1.GPUNodePool); is {
				return refusing
			}
			return c.Delete(ctx, o, opts...)
		}}},
		"Start": {
			reason: "Whether its pods start could not be seen.", change: func(ws *v1alpha1.Workspace) { ws.Spec.Suspend = false },
			fails: interceptor.Funcs{List: func(ctx context.Context, c client.WithWatch, o client.ObjectList, opts ...client.ListOption) error {
				if _, is := o.(*corev1.PodList); is {
					return refusing
				}
				return c.List(ctx, o, opts...)
			}},
		},
		"Fine": {reason: "The watch of the ConfigMap wakes it.", fine: true},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "w", Finalizers: []string{repolayout.Finalizer}}}
			ws.Spec.Suspend, ws.Spec.Inference = true, &v1alpha1.InferenceSpec{Config: "missing"}
			if tc.change != nil {
				tc.change(ws)
			}
			own := []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "phi", UID: "w", Controller: ptr.To(true)}}
			pool := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", OwnerReferences: own}}
			pool.Status.Candidate = &v1alpha1.CandidateStatus{InstanceType: "Standard_NC4as_T4_v3"}
			pool.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: metav1.ConditionTrue, Reason: "Succeeded", LastTransitionTime: metav1.NewTime(noon)}}
			deployment := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", OwnerReferences: own}}
			fake := kubefake.NewClientBuilder().WithScheme(heldScheme).WithStatusSubresource(ws).WithObjects(ws, pool, deployment).Build()
			answers := interceptor.NewClient(fake, tc.fails)
			r := New(Deps{Client: answers, Reader: answers, Events: events.NewFakeRecorder(8), StartLimit: time.Hour, Clock: func() time.Time { return noon }})
			request := reconcile.Request{NamespacedName: client.ObjectKeyFromObject(ws)}
			_, err := r.Reconcile(t.Context(), request)
			if errors.Is(err, refusing) == tc.fine {
				t.Errorf("%s\ngot %v", tc.reason, err)
			}
		})
	}
}

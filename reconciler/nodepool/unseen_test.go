// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"net/http"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/gpu/pool"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/fakearm"
)

// TestUnseenWhileDegraded: a pool that was Ready for days lost a node or a GPU, and the
// cloud gives no answer once. No timeout takes away what is left of it, which runs work.
func TestUnseenWhileDegraded(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		breaks func(w *world, node string)
		phase  v1alpha1.PoolPhase
		later  time.Duration
	}{
		"NodeNotReady": {
			reason: "The order was taken days ago: the provision timeout is over.",
			breaks: func(w *world, node string) { w.setReady(node, corev1.ConditionUnknown) },
			phase:  v1alpha1.PhaseNodesJoining, later: defaultPoll,
		},
		"GPUGone": {
			reason: "GPUs that fail may need longer than those of a new node.",
			breaks: func(w *world, node string) {
				if err := (sink{w.kube, w}).SetGPUs(w.ctx, node, 0); err != nil {
					w.t.Fatal(err)
				}
			},
			phase: v1alpha1.PhaseGPUWaiting, later: 16 * time.Minute,
		},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.owned(subject)
			w.pod(subject, map[string]string{repolayout.LabelWorkspace: subject})
			w.arm.Advance(3 * 24 * time.Hour)
			tc.breaks(w, w.nodes()[0])
			r, _ := w.controller(&life{})
			pass := func() {
				_, _ = r.Reconcile(w.ctx, ctrl.Request{NamespacedName: types.NamespacedName{Namespace: "team-a", Name: subject}}) // what fails is written
				w.arm.Advance(time.Second)
			}
			pass()
			w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodesMissing, "0 of 1")
			w.arm.Advance(tc.later)
			w.arm.FailNext("LIST", fakearm.Fault{Status: http.StatusServiceUnavailable, Code: "ServiceUnavailable", Message: "try again"})
			pass()
			if w.arm.Waiting("LIST") {
				t.Fatal("the cloud was not asked")
			}
			w.want(v1alpha1.ConditionDegraded, metav1.ConditionTrue, pool.ReasonNodesMissing, "0 of 1")
			for range 3 {
				w.arm.Advance(defaultPoll)
				pass()
			}
			if st, n := w.get(subject).Status, w.arm.Counts()["DELETE"]; st.Phase != tc.phase || n != 0 {
				t.Errorf("%s\nphase %s, %d DELETEs; want %s and none", tc.reason, st.Phase, n, tc.phase)
			}
		})
	}
}

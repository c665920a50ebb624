// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestAdapters: no node is bought for a service before Git names the adapter by
// digest that another Workspace trains for it; what serves, serves on.
func TestAdapters(t *testing.T) {
	const dolly = "registry.example.com/models/dolly"
	pinned := dolly + "@sha256:" + strings.Repeat("a", 64)
	for name, tc := range map[string]struct {
		reason string
		image  string
		change func(p *pass, run *v1alpha1.Workspace)
		says   string // "" where it goes on
	}{
		"Trained":   {reason: "Nothing is there to serve yet.", image: dolly + ":v1", says: "Workspace dolly-run trains it"},
		"Published": {reason: "The line to write is said.", image: dolly + ":v1", change: func(_ *pass, run *v1alpha1.Workspace) { run.Status.Tuning = &v1alpha1.TuningStatus{Adapter: pinned} }, says: "or write image: " + pinned},
		"Pinned":    {reason: "Git says what runs.", image: pinned},
		"Serves":    {reason: "A promotion that is added stops no service.", image: dolly + ":v1", change: func(p *pass, _ *v1alpha1.Workspace) { p.deployment = &appsv1.Deployment{} }},
		"Alone":     {reason: "A tag that nobody trains is the user's own affair.", image: dolly + ":v1", change: func(_ *pass, run *v1alpha1.Workspace) { run.Spec.Tuning.Promote = nil }},
		"Others":    {reason: "Another Workspace's adapter is not waited for.", image: dolly + ":v1", change: func(_ *pass, run *v1alpha1.Workspace) { run.Namespace = "others" }},
		"Suspended": {reason: "It asks for nothing anyway.", image: dolly + ":v1", change: func(p *pass, _ *v1alpha1.Workspace) { p.ws.Spec.Suspend = true }},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi"}}}
			p.ws.Spec.Inference = &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: "dolly", Image: tc.image}}}
			run := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "dolly-run"}}
			run.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: dolly + ":v1"}, Promote: &v1alpha1.Promote{To: "phi"}}
			if tc.change != nil {
				tc.change(p, run)
			}
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			r := &Reconciler{Deps: Deps{Client: kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(run).Build()}}
			err := r.adapters(t.Context(), p)
			waiting, is := fault.AsWaiting(err)
			if is != (tc.says != "") || is && (waiting.Reason != v1alpha1.ReasonWaitingForAdapter || !strings.Contains(waiting.Message, tc.says)) || !is && err != nil {
				t.Errorf("%s\ngot %v", tc.reason, err)
			}
			if c := condition.Get(p.ws, v1alpha1.ConditionResourceReady); (c != nil) != is {
				t.Errorf("%s\nResourceReady is %+v", tc.reason, c)
			}
		})
	}
}

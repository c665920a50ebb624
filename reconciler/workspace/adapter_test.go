// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestAdapters: no node is bought for a service before Git names the adapter by
// digest that another Workspace trains for it; what serves, serves on.
func TestAdapters(t *testing.T) {
	const dolly = "registry.example.com/models/dolly"
	pinned := dolly + "@sha256:" + strings.Repeat("a", 64)
	// running is a service whose pods have these inputs, and are to have those.
	running := func(wanted, had string) func(*pass, *v1alpha1.Workspace) {
		return func(p *pass, _ *v1alpha1.Workspace) {
			p.pool, p.deployment = &v1alpha1.GPUNodePool{}, &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Name: "phi"}}
			p.deployment.Spec.Template.Annotations = map[string]string{repolayout.AnnotationInputDigest: had}
			p.out.Workload = parsed(t, "{apiVersion: apps/v1, kind: Deployment, metadata: {name: phi}, spec: {template: {metadata: {annotations: {espalier.dev/input-digest: "+wanted+"}}}}}")
		}
	}
	for name, tc := range map[string]struct {
		reason string
		image  string
		change func(p *pass, run *v1alpha1.Workspace)
		says   string // "" where it goes on
	}{
		"Trained":   {reason: "Nothing is there to serve yet.", image: dolly + ":v1", says: "Workspace dolly-run trains it"},
		"Published": {reason: "The line to write is said.", image: dolly + ":v1", change: func(_ *pass, run *v1alpha1.Workspace) { run.Status.Tuning = &v1alpha1.TuningStatus{Adapter: pinned} }, says: "or write image: " + pinned},
		"Pinned":    {reason: "Git says what runs.", image: pinned},
		"Serves":    {reason: "A promotion that is added to what is served stops no service.", image: dolly + ":v1", change: running("a", "a")},
		"AddedToAService": {
			reason: "Pods with an adapter that is not there yet would take the place of those that serve, and never be ready.",
			image:  dolly + ":v1", change: running("b", "a"), says: "what serves goes on as it is until then",
		},
		"AddedToNodes": {
			reason: "So would those of copies over several nodes.", image: dolly + ":v1", says: "what serves goes on as it is until then",
			change: func(p *pass, run *v1alpha1.Workspace) {
				running("b", "a")(p, run)
				p.deployment, p.sets = nil, []appsv1.StatefulSet{{ObjectMeta: p.deployment.ObjectMeta, Spec: appsv1.StatefulSetSpec{Template: p.deployment.Spec.Template}}}
				p.out.Workload.SetKind("StatefulSet")
			},
		},
		"BecomesNodes": {
			reason: "And those of another kind.", image: dolly + ":v1", says: "what serves goes on as it is until then",
			change: func(p *pass, run *v1alpha1.Workspace) {
				running("a", "a")(p, run)
				p.out.Workload.SetKind("StatefulSet")
			},
		},
		"PublishedForAService": {
			reason: "The line to write is said to it too.", image: dolly + ":v1", says: "or write image: " + pinned,
			change: func(p *pass, run *v1alpha1.Workspace) {
				running("b", "a")(p, run)
				run.Status.Tuning = &v1alpha1.TuningStatus{Adapter: pinned}
			},
		},
		"Alone": {reason: "A tag that nobody trains is the user's own affair.", image: dolly + ":v2", change: func(_ *pass, run *v1alpha1.Workspace) { run.Spec.Tuning.Promote = nil }},
		"Tag": {
			reason: "The tag that a run pushes to holds nothing yet, whoever promotes what.", image: dolly + ":v1", says: "Workspace dolly-run pushes to " + dolly + ":v1, and has not done so",
			change: func(_ *pass, run *v1alpha1.Workspace) { run.Spec.Tuning.Promote = nil },
		},
		"TagOfAnother": {
			reason: "A run that promotes to somebody else pushes to the same tag.", image: dolly + ":v1", says: "has not done so",
			change: func(_ *pass, run *v1alpha1.Workspace) { run.Spec.Tuning.Promote.To = "other" },
		},
		"TagPushed": {
			reason: "The tag holds an adapter now.", image: dolly + ":v1",
			change: func(_ *pass, run *v1alpha1.Workspace) {
				run.Spec.Tuning.Promote, run.Status.Tuning = nil, &v1alpha1.TuningStatus{Adapter: pinned}
			},
		},
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
			if c := condition.Get(p.ws, v1alpha1.ConditionResourceReady); (c != nil) != (is && p.pool == nil) {
				t.Errorf("%s\nResourceReady is %+v", tc.reason, c)
			}
			if !is {
				return
			}
			p.conclude(err)
			if c := condition.Get(p.ws, v1alpha1.ConditionReconciling); c == nil || c.Status != metav1.ConditionTrue || c.Reason != v1alpha1.ReasonWaitingForAdapter || condition.Is(p.ws, v1alpha1.ConditionStalled) {
				t.Errorf("%s\nReconciling is %+v", tc.reason, c)
			}
		})
	}
}

// TestAwaiting: a service is woken for the end of the run that it waits for, and not for
// each step of it.
func TestAwaiting(t *testing.T) {
	const dolly = "registry.example.com/models/dolly"
	pinned := dolly + "@sha256:" + strings.Repeat("a", 64)
	ready := func(w *v1alpha1.Workspace) { condition.Ready(w, v1alpha1.ReasonSucceeded, "it answers") }
	waiting := func(w *v1alpha1.Workspace) { condition.Progressing(w, v1alpha1.ReasonWaitingForAdapter, "trained") }
	for name, tc := range map[string]struct {
		reason  string
		image   string
		service func(*v1alpha1.Workspace)
		run     func(*v1alpha1.Workspace)
		woken   bool
	}{
		"Waits":     {reason: "It waits for whatever comes.", image: dolly + ":v1", service: waiting, woken: true},
		"Serves":    {reason: "How far a run is concerns nobody who serves.", image: dolly + ":v1", service: ready},
		"Published": {reason: "There is something to serve now, seen or not.", image: dolly + ":v1", service: ready, woken: true, run: func(w *v1alpha1.Workspace) { w.Status.Tuning = &v1alpha1.TuningStatus{Adapter: pinned} }},
		"Pinned":    {reason: "It names what is there.", image: pinned, service: waiting},
		"Promoted":  {reason: "The one that it promotes to.", image: pinned, service: ready, woken: true, run: func(w *v1alpha1.Workspace) { w.Spec.Tuning.Promote = &v1alpha1.Promote{To: "phi"} }},
	} {
		t.Run(name, func(t *testing.T) {
			service := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi"}}
			service.Spec.Inference = &v1alpha1.InferenceSpec{Adapters: []v1alpha1.Adapter{{Name: "dolly", Image: tc.image}}}
			tc.service(service)
			run := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "dolly-run"}}
			run.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: dolly + ":v1"}}
			if tc.run != nil {
				tc.run(run)
			}
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			index := func(o client.Object) []string { return adapterRepositories(&o.(*v1alpha1.Workspace).Spec) }
			kube := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(service).WithIndex(&v1alpha1.Workspace{}, indexAdapter, index).Build()
			got := (&Reconciler{Deps: Deps{Client: kube}}).awaiting(t.Context(), run)
			if (len(got) > 0) != tc.woken || tc.woken && got[0] != requestOf("models", "phi") {
				t.Errorf("%s\nwoken are %v", tc.reason, got)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"strings"
	"testing"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestGiveBack: nodes that a Workspace lets go are marked as such, and those that go
// with it are not: Git may have dropped it by mistake.
func TestGiveBack(t *testing.T) {
	release := func(r *Reconciler, p *pass) error { return r.giveBack(context.Background(), p.ws, p.pool) }
	remove := func(r *Reconciler, p *pass) error {
		_, err := r.removePools(context.Background(), p)
		return err
	}
	cases := map[string]struct {
		reason        string
		change        func(*v1alpha1.GPUNodePool)
		do            func(*Reconciler, *pass) error
		leaves, marks bool
	}{
		"Released": {"It is deleted, and said to be.", func(*v1alpha1.GPUNodePool) {}, release, true, true},
		"CutOff": {
			"The controller died between the two, or a person was faster.",
			func(p *v1alpha1.GPUNodePool) { p.DeletionTimestamp = &metav1.Time{Time: time.Unix(1, 0)} }, release, true, true,
		},
		"Deleted": {"The Workspace goes, which may be a mistake.", func(*v1alpha1.GPUNodePool) {}, remove, true, false},
		"Formers": {
			"It is of a Workspace of this name that is gone, and paid for all the same.",
			func(p *v1alpha1.GPUNodePool) { p.OwnerReferences[0].UID = "former" }, release, true, true,
		},
		"FormersDeleted": {"So it is when this one goes before it was taken over.", func(p *v1alpha1.GPUNodePool) { p.OwnerReferences[0].UID = "former" }, remove, true, false},
		"OtherWorkspaces": {
			"One of another name has bought it.",
			func(p *v1alpha1.GPUNodePool) { p.OwnerReferences[0].UID, p.OwnerReferences[0].Name = "former", "other" }, release, false, false,
		},
		"SomebodyElses": {"It is left to others.", func(p *v1alpha1.GPUNodePool) { p.OwnerReferences = nil }, release, false, false},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			yes := true
			ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "w", UID: "ws"}}
			pool := &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{
				Namespace: "a", Name: "w", UID: "pool", Finalizers: []string{repolayout.Finalizer},
				OwnerReferences: []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "w", UID: "ws", Controller: &yes}},
			}}
			tc.change(pool)
			scheme := runtime.NewScheme()
			if err := v1alpha1.AddToScheme(scheme); err != nil {
				t.Fatal(err)
			}
			r := New(Deps{Client: kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(pool).Build()})
			if err := tc.do(r, &pass{ws: ws, pool: pool}); err != nil {
				t.Fatal(err)
			}
			got := &v1alpha1.GPUNodePool{}
			if err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(pool), got); err != nil {
				t.Fatal(err)
			}
			if leaves, marks := got.DeletionTimestamp != nil, got.Annotations[repolayout.AnnotationGivenBack] == "pool"; leaves != tc.leaves || marks != tc.marks {
				t.Errorf("%s\ndeleted %t, marked %t", tc.reason, leaves, marks)
			}
		})
	}
}

// TestReleaseLeft: the nodes that a run has left for a shared pool are kept for the Job that
// is on them, and no longer.
func TestReleaseLeft(t *testing.T) {
	ended := []batchv1.JobCondition{{Type: batchv1.JobComplete, Status: corev1.ConditionTrue}}
	for name, tc := range map[string]struct {
		reason string
		on     string // the pool that the Job names; "": there is no Job
		change func(*pass)
		gone   bool
	}{
		"Runs":      {reason: "A Job stays where it is.", on: "tune"},
		"Elsewhere": {reason: "The Job is on the shared pool.", on: "shared", gone: true},
		"NoJob":     {reason: "The Job will be on the shared pool.", gone: true},
		"Suspended": {reason: "It is said that they are given back, and they are.", on: "tune", gone: true, change: func(p *pass) { p.ws.Spec.Suspend = true }},
		"Spent":     {reason: "Nor is there money for them.", on: "tune", gone: true, change: func(p *pass) { p.broke = true }},
		"Saves": {
			reason: "Its pod writes a checkpoint.", on: "tune",
			change: func(p *pass) {
				p.ws.Spec.Suspend, p.jobs[0].Spec.Suspend, p.jobs[0].Status.Active = true, ptr.To(true), 1
			},
		},
		"Ends":  {reason: "How it ended is written first: its pods, which tell it, are on them.", on: "tune", change: func(p *pass) { p.jobs[0].Status.Conditions = ended }},
		"Ended": {reason: "It is written.", on: "tune", gone: true, change: func(p *pass) { p.jobs[0].Status.Conditions, p.wasRecorded = ended, true }},
		"Exists": {
			reason: "Jobs on nodes that exist name no pool.", on: "shared",
			change: func(p *pass) { p.left.Spec.Provider = v1alpha1.ProviderExisting },
		},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "tune", UID: "w"}}}
			p.ws.Spec.Tuning, p.ws.Spec.Resource.NodePool = &v1alpha1.TuningSpec{}, "shared"
			p.ws.Status.Tuning = &v1alpha1.TuningStatus{Run: "tune-1"}
			own := []metav1.OwnerReference{{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Name: "tune", UID: "w", Controller: ptr.To(true)}}
			p.left = &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "tune", OwnerReferences: own}}
			p.pool = &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "shared"}}
			if tc.on != "" {
				p.jobs = []batchv1.Job{*jobOn(tc.on)}
			}
			if tc.change != nil {
				tc.change(p)
			}
			r, fake := withChildren(t)
			r.Clock = func() time.Time { return noon }
			for _, pool := range []*v1alpha1.GPUNodePool{p.left, p.pool} {
				if err := fake.Create(t.Context(), pool); err != nil {
					t.Fatal(err)
				}
			}
			if err := r.release(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			err := fake.Get(t.Context(), client.ObjectKeyFromObject(p.left), &v1alpha1.GPUNodePool{})
			if apierrors.IsNotFound(err) != tc.gone {
				t.Errorf("%s\nits own pool: %v", tc.reason, err)
			}
			if err := fake.Get(t.Context(), client.ObjectKeyFromObject(p.pool), &v1alpha1.GPUNodePool{}); err != nil {
				t.Errorf("%s\nthe shared pool: %v", tc.reason, err)
			}
		})
	}
}

// jobOn is a Job whose pods are to run on a pool, both of namespace a.
func jobOn(pool string) *batchv1.Job {
	const namespace = "a"
	job := &batchv1.Job{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: "tune-1"}}
	job.Spec.Template.Spec.NodeSelector = map[string]string{repolayout.LabelPool: repolayout.PoolLabelValue(namespace, pool)}
	return job
}

// TestMoves: a Job goes on on another pool when the nodes of that are ready, and does not wait
// for nodes that were given back.
func TestMoves(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		on     string
		change func(*pass)
		over   bool
	}{
		"Suspended": {"The nodes that it names go.", "tune", func(p *pass) { p.jobs[0].Spec.Suspend = ptr.To(true) }, true},
		"Same":      {"It goes on where it was.", "shared", func(p *pass) { p.jobs[0].Spec.Suspend = ptr.To(true) }, false},
		"Waits":     {"A Job stays where it is until it can go on elsewhere.", "tune", func(*pass) {}, false},
		"Gone":      {"Nobody brings the nodes back that it waits for.", "tune", func(p *pass) { p.left = nil }, true},
		"Others":    {"It runs on a pool that is not the Workspace's.", "before", func(*pass) {}, false},
		"Paused":    {"Nothing is to take its place yet.", "tune", func(p *pass) { p.jobs[0].Spec.Suspend, p.ws.Spec.Suspend = ptr.To(true), true }, false},
		"Ready":     {"The shared nodes are there: its own need be paid no longer.", "tune", ready, true},
		"ReadyOther": {
			"From one shared pool to another it is the same.", "before", ready, true,
		},
		"ReadySame": {"It is there already.", "shared", ready, false},
		"Exist":     {"It leaves nodes that exist, which Jobs do not name.", "", ready, true},
		"Queue":     {"Kueue decides when nodes are bought: it waits there and not where it is.", "before", func(p *pass) { p.ws.Spec.Queue = "q" }, true},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "tune"}}}
			p.ws.Spec.Tuning = &v1alpha1.TuningSpec{}
			p.left = &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "tune"}}
			p.jobs = []batchv1.Job{*jobOn(tc.on)}
			if tc.on == "" {
				p.jobs[0].Spec.Template.Spec.NodeSelector = nil
			}
			p.out.Workload = parsed(t, "{apiVersion: batch/v1, kind: Job, metadata: {name: tune-1}, spec: {template: {spec: {nodeSelector: {espalier.dev/pool: a.shared}}}}}")
			tc.change(p)
			if why := p.startsOver(p.job()); (why != "") != tc.over {
				t.Errorf("%s\ngot %q", tc.reason, why)
			}
		})
	}
}

// ready lets the nodes of a pass be there.
func ready(p *pass) {
	p.pool = &v1alpha1.GPUNodePool{}
	p.pool.Status.Candidate = &v1alpha1.CandidateStatus{InstanceType: "Standard_NC24ads_A100_v4"}
	condition.True(p.pool, v1alpha1.ConditionReady, v1alpha1.ReasonSucceeded, "")
}

// TestStays: who waits for other nodes says where the run is meanwhile.
func TestStays(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, on, want string
		change           func(*pass)
	}{
		"Moves":   {"It trains on, and is paid for there.", "before", ". The run stays on node pool before until these nodes are ready, and goes on from its last checkpoint on them", func(*pass) {}},
		"Deleted": {"Its pool cannot be named any more.", "before", ". The run stays on the nodes that it has until", func(p *pass) { p.staysOn = nil }},
		"There":   {"It is on them.", "shared", "", func(*pass) {}},
		"NoJob":   {"Nothing is anywhere.", "before", "", func(p *pass) { p.jobs = nil }},
		"Settled": {"Nothing was rendered that it could go to.", "before", "", func(p *pass) { p.out.Workload = nil }},
	} {
		t.Run(name, func(t *testing.T) {
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "tune"}}, jobs: []batchv1.Job{*jobOn(tc.on)}}
			p.ws.Spec.Tuning, p.ws.Status.Tuning = &v1alpha1.TuningSpec{}, &v1alpha1.TuningStatus{Run: "tune-1"}
			p.staysOn = &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Name: "before"}}
			p.pool = &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Name: "shared"}}
			p.out.Workload = parsed(t, "{apiVersion: batch/v1, kind: Job, metadata: {name: tune-1}, spec: {template: {spec: {nodeSelector: {espalier.dev/pool: a.shared}}}}}")
			tc.change(p)
			observePool(p)
			got := strings.TrimPrefix(condition.Get(p.ws, v1alpha1.ConditionResourceReady).Message, "Node pool shared is requested")
			if tc.want == "" && got != "" || !strings.HasPrefix(got, tc.want) {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

// TestPoolBefore: the pool that a run is on is known while it is to go on on another.
func TestPoolBefore(t *testing.T) {
	for name, tc := range map[string]struct{ reason, on, shares, want string }{
		"Own":     {"From a shared pool to nodes of its own.", "before", "", "before"},
		"Other":   {"From a shared pool to another.", "before", "shared", "before"},
		"There":   {"It is on the pool of now.", "shared", "shared", ""},
		"OnOwn":   {"Its own is known as the one that it has left.", "tune", "shared", ""},
		"Deleted": {"Of a pool that is gone nothing is known.", "gone", "shared", ""},
	} {
		t.Run(name, func(t *testing.T) {
			r, fake := withChildren(t)
			for _, pool := range []string{"before", "shared", "tune"} {
				if err := fake.Create(t.Context(), &v1alpha1.GPUNodePool{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: pool}}); err != nil {
					t.Fatal(err)
				}
			}
			p := &pass{ws: &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "a", Name: "tune"}}, jobs: []batchv1.Job{*jobOn(tc.on)}}
			p.ws.Spec.Resource.NodePool, p.ws.Status.Tuning = tc.shares, &v1alpha1.TuningStatus{Run: "tune-1"}
			if err := r.poolBefore(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			got := ""
			if p.staysOn != nil {
				got = p.staysOn.Name
			}
			if got != tc.want {
				t.Errorf("%s\ngot %q, want %q", tc.reason, got, tc.want)
			}
		})
	}
}

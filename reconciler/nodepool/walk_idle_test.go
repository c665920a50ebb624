// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// wanted is the number of nodes that a pool should have in the end.
func (w *walk) wanted(p *v1alpha1.GPUNodePool) int32 {
	if p.Spec.Idle != nil && len(w.users[p.Name]) == 0 {
		return 0
	}
	return p.DesiredReplicas()
}

// uses lets a Workspace come to a pool, or go.
func (w *walk) uses() { w.usesOf(w.one()) }

func (w *walk) usesOf(name string) {
	if gone := w.users[name]; gone != "" {
		if err := w.kube.Delete(w.ctx, &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: gone}}); err != nil {
			w.t.Fatal(err)
		}
		delete(w.users, name)
	} else {
		ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "team-a", Name: "w-" + name}}
		ws.Spec.Resource.NodePool = name
		w.users[name] = ws.Name
		w.create(ws)
	}
	w.due[name] = w.arm.Now()
}

// idles makes a pool let go of nodes that nobody uses, or keep them.
func (w *walk) idles() {
	w.change(w.one(), func(p *v1alpha1.GPUNodePool) {
		if p.Spec.Autoscale() != nil {
			return
		}
		p.Spec.Idle = []*v1alpha1.PoolIdle{
			nil, {After: metav1.Duration{Duration: time.Minute}, Action: v1alpha1.IdleScaleToZero}, {After: metav1.Duration{Duration: time.Minute}, Action: v1alpha1.IdleDelete},
		}[w.rand.IntN(3)]
	})
}

// fewer asks a pool that has several nodes for one less, or one that has one for
// several, so that machines are removed one by one too.
func (w *walk) fewer() {
	at := w.rand.IntN(len(w.names))
	for i := range w.names {
		name := w.names[(at+i)%len(w.names)]
		p := w.get(name)
		if p == nil || p.Status.Phase != v1alpha1.PhaseReady || p.Spec.Idle != nil || p.Spec.Autoscale() != nil || p.Status.ReadyNodes == 0 {
			continue
		}
		next := p.Status.ReadyNodes - 1
		if next == 0 {
			next = 3
		}
		w.change(name, scaledTo(next))
		return
	}
}

// approve says that every deletion is meant: when objects were deleted is by the
// real clock, to which all of the walk is one moment.
func (w *walk) approve() {
	for _, name := range w.names {
		p := w.get(name)
		if p == nil || p.DeletionTimestamp == nil {
			continue
		}
		metav1.SetMetaDataAnnotation(&p.ObjectMeta, repolayout.AnnotationApproveDeletion, p.DeletionTimestamp.UTC().Format(time.RFC3339))
		if err := w.kube.Update(w.ctx, p); err != nil {
			w.t.Fatal(err)
		}
	}
}

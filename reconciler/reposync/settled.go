// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"context"
	"maps"
	"slices"
	"time"

	"k8s.io/apimachinery/pkg/api/equality"
	"k8s.io/client-go/util/workqueue"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/event"
	"sigs.k8s.io/controller-runtime/pkg/handler"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/remote"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Most passes over a RepoSync are brought by the news of a Workspace: it was sized, its
// nodes have come, it answers. They tell, and apply nothing: to compare every object
// with Git for each of them took a time that grew with the square of the fleet
// (docs/design/0075).

// foldShare and foldMost are how long news wait for more of them: so many times as long
// as the last pass took, which bounds what passes cost, and no longer than that.
const (
	foldShare = 10
	foldMost  = 5 * time.Second
)

// settled is what a pass has found to be in the cluster, all of it. The zero value is
// nothing.
type settled struct {
	revision   string
	generation int64
	shard      string
	keys       string
	cluster    string
	as         account.Account
	inventory  []v1alpha1.InventoryEntry
}

func (p *pass) settles() settled {
	b := p.kept.built
	return settled{b.revision, b.generation, b.shard, b.keys, p.at.cluster, p.as, p.sync.Status.Inventory}
}

func (s settled) is(now settled) bool {
	return s.revision != "" && s.revision == now.revision && s.generation == now.generation && s.shard == now.shard && s.keys == now.keys &&
		s.cluster == now.cluster && s.as == now.as && slices.Equal(s.inventory, now.inventory)
}

// compared is what every object was compared with, and when. What an event spoke of since
// is compared again, and what was not found as it is to be.
type compared struct {
	settled
	at time.Time
}

// holds says that a pass need not compare everything: it is for the same cluster and by
// the same spec, nobody has changed the inventory, and it is not long ago.
func (c compared) holds(now settled, at time.Time, interval time.Duration) bool {
	now.revision = c.revision // another revision wants other objects, which are not there yet
	return c.is(now) && at.Before(c.at.Add(interval))
}

// settle decides whether this pass has anything to apply or to prune, and what it has to
// look at for that. It has nothing where the one before found all as this revision says
// and wrote nothing, nothing was stirred since, and the source was not looked at; where an
// interval or somebody asked, a look that met our own report alone is one too. After a
// push it is what the push has changed; when an interval ends, or somebody asks and there is
// nothing new, it is everything, whatever the events said.
func (r *Reconciler) settle(_ context.Context, p *pass) error {
	stirred := r.stirred.take(client.ObjectKeyFromObject(p.sync))
	k, now := p.kept, p.settles()
	p.looked = p.looked || p.whole
	if p.settled = len(stirred) == 0 && !p.looked && k.settled.is(now); p.settled {
		return nil
	}
	k.settled, p.writes = settled{}, k.writes.Load() // until this pass is through
	p.began = r.Clock()
	checks := p.whole && now.revision == k.compared.revision // it found nothing new
	if !checks && !stirred.all() && k.compared.holds(now, p.began, p.interval()) {
		p.partly, p.stirs, p.began = true, stirred, k.compared.at
	}
	k.compared = compared{} // likewise
	return nil
}

// uncertain are the objects that are wanted and not known to be in the cluster.
func (p *pass) uncertain() []*wanted {
	all := p.kept.built.wanted
	if !p.partly {
		return all
	}
	var some []*wanted
	for _, w := range all {
		if !w.there || p.stirs[w.entry.ID] || p.looked && p.uncached(w) {
			some = append(some, w)
		}
	}
	return some
}

// unlessSettled is a step that applies or prunes.
func unlessSettled(do func(context.Context, *pass) error) func(context.Context, *pass) error {
	return func(ctx context.Context, p *pass) error {
		if p.settled {
			return nil
		}
		return do(ctx, p)
	}
}

// concludeSettled notes that all is as Git says, where it was found so: nothing was
// written, pruned, kept back or refused in this pass. What it wrote is to be seen first.
// Strays that are kept back are in no inventory: each pass looks for them, and so compares all.
func (p *pass) concludeSettled(keeps, strays bool) {
	if !strays {
		p.kept.compared = compared{p.settles(), p.began}
	}
	if !keeps && p.writes == p.kept.writes.Load() && p.held == "" && len(p.pruned)+len(p.conflicts)+len(p.refusals) == 0 {
		p.kept.settled = p.settles()
	}
}

// stir maps an object that may have been changed by hand to its RepoSync, whose next
// pass applies.
func (r *Reconciler) stir(ctx context.Context, o client.Object) []reconcile.Request {
	requests := syncOf(ctx, o)
	for _, req := range requests {
		r.stirred.add(req.NamespacedName, idOf(o))
	}
	return requests
}

// followed brings a pass for every event of a kind with a status. A change of the status
// alone stirs nothing, and waits for more of them.
func (r *Reconciler) followed() handler.EventHandler {
	type queue = workqueue.TypedRateLimitingInterface[reconcile.Request]
	stir := func(ctx context.Context, o client.Object, q queue) {
		for _, req := range r.stir(ctx, o) {
			q.Add(req)
		}
	}
	return handler.Funcs{
		CreateFunc: func(ctx context.Context, e event.CreateEvent, q queue) { stir(ctx, e.Object, q) },
		DeleteFunc: func(ctx context.Context, e event.DeleteEvent, q queue) { stir(ctx, e.Object, q) },
		UpdateFunc: func(ctx context.Context, e event.UpdateEvent, q queue) {
			if !sameButStatus(e.ObjectOld, e.ObjectNew) {
				stir(ctx, e.ObjectOld, q)
				stir(ctx, e.ObjectNew, q)
				return
			}
			for _, req := range syncOf(ctx, e.ObjectNew) {
				q.AddAfter(req, r.fold(req))
			}
		},
	}
}

// heard brings a pass for what happened in other clusters, as followed does for this one;
// that a cluster is away or there again is for all that is in it.
func (r *Reconciler) heard() handler.TypedEventHandler[remote.News, reconcile.Request] {
	return handler.TypedFuncs[remote.News, reconcile.Request]{
		GenericFunc: func(_ context.Context, e event.TypedGenericEvent[remote.News], q workqueue.TypedRateLimitingInterface[reconcile.Request]) {
			req := reconcile.Request{NamespacedName: e.Object.Sync}
			if was, is := e.Object.Was, e.Object.Is; was != nil && is != nil && sameButStatus(was, is) {
				q.AddAfter(req, r.fold(req))
				return
			}
			r.stirred.add(req.NamespacedName, "")
			q.Add(req)
		},
	}
}

// sameButStatus says that nothing has changed of an object that a RepoSync applies or
// that says whose it is. The kind must have a status of its own: others count no
// generations.
func sameButStatus(was, is client.Object) bool {
	return was.GetUID() == is.GetUID() && was.GetGeneration() == is.GetGeneration() && was.GetDeletionTimestamp().Equal(is.GetDeletionTimestamp()) &&
		maps.Equal(was.GetLabels(), is.GetLabels()) && maps.Equal(was.GetAnnotations(), is.GetAnnotations()) &&
		equality.Semantic.DeepEqual(was.GetOwnerReferences(), is.GetOwnerReferences())
}

// fold is how long news of a RepoSync's Workspaces wait.
func (r *Reconciler) fold(req reconcile.Request) time.Duration {
	took, ok := r.took.Load(req.NamespacedName)
	if !ok {
		return 0
	}
	return min(foldShare*took.(time.Duration), foldMost)
}

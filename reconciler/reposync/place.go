// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"

	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/spoke"
	"github.com/espalier-dev/espalier/render/desired"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// place is where a RepoSync applies, prunes, and reads back what became of it: this
// cluster, or that of spec.kubeConfig. The RepoSync itself, what it names and its
// sources are always of this one.
type place struct {
	client   client.Client   // reads what is cached
	held     cache.Informers // have what is cached, to be read without a copy; nil: ask client
	reader   client.Reader   // reads past the cache
	accounts *account.Clients
	cluster  string // as in status.cluster; "": this one
	hub      string // marks what is applied elsewhere as ours; "": in this one
	within   string // the only namespace that may be listed; "": all
}

// own is this cluster.
func (r *Reconciler) own() place {
	return place{client: r.Client, held: r.held, reader: r.Reader, accounts: r.Accounts}
}

// remote says that it is another cluster.
func (at place) remote() bool { return at.hub != "" }

// placeOf is where a RepoSync applies, once it can be reached.
func (r *Reconciler) placeOf(ctx context.Context, s *v1alpha1.RepoSync) (place, error) {
	if s.Spec.KubeConfig == nil {
		r.Remotes.Release(s.UID)
		return r.own(), nil
	}
	cluster, err := r.Remotes.Of(ctx, s)
	if err != nil {
		return place{}, err
	}
	return place{
		client: cluster.Client, reader: cluster.Reader, accounts: cluster.Accounts,
		cluster: cluster.ID(), hub: r.Installation, within: desired.Target(s),
	}, nil
}

// hubOf is what marks the objects of a RepoSync, "" where they stay in this cluster.
func (r *Reconciler) hubOf(s *v1alpha1.RepoSync) string {
	if s.Spec.KubeConfig == nil {
		return ""
	}
	return r.Installation
}

// placed finds the place of a pass, and sees that it is the one of the inventory.
func (r *Reconciler) placed(ctx context.Context, p *pass) error {
	var err error
	if p.at, err = r.placeOf(ctx, p.sync); err != nil {
		return err
	}
	if err := p.moved(); err != nil {
		return err
	}
	if k := p.kept; k.cluster != p.at.cluster {
		k.cluster, k.applied, k.allowed, k.settled, k.compared, k.going, k.denied = p.at.cluster, map[string]apply.Mark{}, permission{}, settled{}, compared{}, nil, nil
	}
	p.sync.Status.Cluster = p.at.cluster
	return nil
}

// connect says why nothing is written to the place, when all that is asked of it before
// has been told.
func (r *Reconciler) connect(_ context.Context, p *pass) error { return p.unplaced }

// moved stops a RepoSync that leads to another cluster than its inventory: what is in
// the old one costs money, and nobody would look after it. A person may say that it
// stays there.
func (p *pass) moved() error {
	is := &p.sync.Status
	if is.Cluster == p.at.cluster || len(is.Inventory) == 0 {
		return nil
	}
	old := is.Cluster
	if old == "" {
		old = repolayout.LeaveThisCluster
	}
	if p.sync.Annotations[repolayout.AnnotationLeaveCluster] == old {
		is.Inventory = nil
		return nil
	}
	where := "the cluster whose kube-system has UID " + is.Cluster
	if is.Cluster == "" {
		where = "this cluster itself"
	}
	return fault.Stopf(v1alpha1.ReasonClusterChanged, "%d objects were applied to %s, and spec.kubeConfig leads elsewhere now: nothing is applied or pruned, here or there. "+
		"Put spec.kubeConfig back, and delete this RepoSync to take them down; or leave them there, running and paid, for good: kubectl annotate --overwrite reposync %s %s=%s",
		len(is.Inventory), where, p.sync.Name, repolayout.AnnotationLeaveCluster, old)
}

// ownerOf is the RepoSync that an object's labels name, of those that apply to the
// place from here; zero where they name none.
func (at place) ownerOf(o client.Object) types.NamespacedName {
	labels := o.GetLabels()
	key := types.NamespacedName{Namespace: labels[repolayout.LabelSyncNamespace], Name: labels[repolayout.LabelSyncName]}
	if key.Namespace == "" || key.Name == "" || labels[repolayout.LabelSyncHub] != at.hub {
		return types.NamespacedName{}
	}
	return key
}

// ownedBy says whether an object carries the labels of a RepoSync.
func (at place) ownedBy(o client.Object, s *v1alpha1.RepoSync) bool {
	return at.ownerOf(o) == client.ObjectKeyFromObject(s)
}

// elsewhere names the RepoSync of an object that no RepoSync of here has applied to the
// place: one of the other cluster itself, or of another hub. "": there is none.
func (at place) elsewhere(o client.Object) string {
	labels := o.GetLabels()
	name := labels[repolayout.LabelSyncNamespace] + "/" + labels[repolayout.LabelSyncName]
	hub := labels[repolayout.LabelSyncHub]
	switch {
	case strings.HasPrefix(name, "/") || strings.HasSuffix(name, "/") || hub == at.hub:
		return ""
	case hub == "":
		return name + " of that cluster itself"
	}
	return fmt.Sprintf("%s of the cluster whose kube-system has UID %s", name, hub)
}

// labelsOf select what a RepoSync has applied, where it may be listed.
func (at place) labelsOf(s *v1alpha1.RepoSync) []client.ListOption {
	labels := client.MatchingLabels{repolayout.LabelSyncName: s.Name, repolayout.LabelSyncNamespace: s.Namespace}
	if at.remote() {
		labels[repolayout.LabelSyncHub] = at.hub
	}
	return []client.ListOption{labels, client.InNamespace(at.within)}
}

// isAway says of an error that the other cluster is not to be had, now or in this pass:
// the next object has no other fate.
func isAway(err error) bool {
	reason := fault.Reason(err, "")
	return reason == v1alpha1.ReasonClusterUnreachable || reason == v1alpha1.ReasonAuthFailed
}

// goingElsewhere are the Workspaces and node pools of an inventory that are on their
// way out where the place may not list: spec.targetNamespace was another once.
func (at place) goingElsewhere(ctx context.Context, s *v1alpha1.RepoSync) ([]client.Object, error) {
	var going []client.Object
	for _, e := range s.Status.Inventory {
		stub, err := inventory.Stub(e)
		if err != nil || !at.remote() || !inventory.IsOurs(e) || stub.GetNamespace() == at.within {
			continue
		}
		live, err := at.owned(ctx, s, e)
		if err != nil {
			return nil, err
		}
		if live != nil && !live.DeletionTimestamp.IsZero() {
			going = append(going, live)
		}
	}
	return going, nil
}

// tellReview has the status say what pull requests are told of Workspaces in another
// cluster: what they are to be as Git says it, and how they are as that cluster does. What
// the cache has not heard of yet speaks of an older spec: a merge is not done for what
// answered before it. What carries our labels is told also where the inventory has let go
// of it: it is paid for until it is gone.
func (p *pass) tellReview() error {
	var all []spoke.Seen
	if p.sync.Spec.KubeConfig != nil && p.sync.Spec.Review != nil {
		all = p.seen()
	}
	told, err := p.kept.told.Told(p.sync, p.sync.Status.Spoke, all)
	if err != nil {
		return err
	}
	p.sync.Status.Spoke = told
	return nil
}

func (p *pass) seen() []spoke.Seen {
	git := map[string]*wanted{}
	for _, w := range p.kept.built.wanted {
		if w.told != nil {
			git[w.entry.ID] = w
		}
	}
	var all []spoke.Seen
	for _, list := range [][]*v1alpha1.Workspace{p.workspaces, p.dropped} {
		for _, live := range list {
			id := inventory.ID(v1alpha1.Group, v1alpha1.WorkspaceKind, live.Namespace, live.Name)
			m, applied := p.kept.mark(id)
			is := spoke.Seen{Live: live, Behind: applied && m.Before(live)}
			if w := git[id]; w != nil && applied && m.Of(w.digest) {
				is.Git = w.told
			}
			all = append(all, is)
		}
	}
	slices.SortFunc(all, func(a, b spoke.Seen) int {
		return cmp.Or(strings.Compare(a.Live.Namespace, b.Live.Namespace), strings.Compare(a.Live.Name, b.Live.Name))
	})
	return all
}

// pageSize is how many objects are listed in one request past the cache.
const pageSize = 500

// paged lists page by page: all at once may take longer than a request may.
type paged struct{ client.Reader }

// List implements client.Reader.
func (r paged) List(ctx context.Context, list client.ObjectList, opts ...client.ListOption) error {
	var all []runtime.Object
	for next := ""; ; {
		page := list.DeepCopyObject().(client.ObjectList)
		if err := r.Reader.List(ctx, page, append(slices.Clone(opts), client.Limit(pageSize), client.Continue(next))...); err != nil {
			return err
		}
		items, err := meta.ExtractList(page)
		if err != nil {
			return err
		}
		all = append(all, items...)
		if next = page.GetContinue(); next == "" {
			return meta.SetList(list, all)
		}
	}
}

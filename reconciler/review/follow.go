// SPDX-License-Identifier: Apache-2.0

package review

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"regexp"
	"strings"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/reconcile"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// How a merged pull request is followed.
const (
	// beginWithin is how old a merge may be when it is first seen: nobody wants to
	// hear of last month's when reports are switched on.
	beginWithin = 24 * time.Hour
	// giveUpAfter is how old one may be that was begun, and is followed no more.
	giveUpAfter = 30 * 24 * time.Hour
	// editEvery is the shortest time between two edits of a comment, and how long an
	// end must stand before it is believed.
	editEvery = 10 * time.Second
	// maxEdits bounds them; after that only the end is told.
	maxEdits = 40
)

// followed is a merged pull request whose Workspaces are not yet where they belong.
type followed struct {
	pr      forge.PullRequest
	comment int64     // its id
	body    body      // of the comment, as it is there
	came    reach     // of what the RepoSync has looked at
	applied reach     // of what it has applied whole
	wrote   time.Time // when the comment was last edited
	ends    time.Time // since when there is nothing more to say; zero: there is
}

// reach says whether a RepoSync has come as far as a merge.
type reach struct {
	asked string // the commit that was last asked whether it holds the merge
	holds bool   // it does, and is asked no more
}

// reportsMerges says whether merged pull requests are followed.
func reportsMerges(s *v1alpha1.RepoSync) bool {
	return s.Spec.Report != nil && s.Spec.Report.PullRequest
}

// discover finds the pull requests that were merged and are not told of to the end.
func (r *Reconciler) discover(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	if !reportsMerges(s) {
		k.following, k.told = nil, nil
		return nil
	}
	merged, err := k.forge.Merged(ctx, s.Spec.Source.Git.Ref.Branch)
	if err != nil {
		return fmt.Errorf("listing merged pull requests: %w", err)
	}
	if k.following == nil {
		k.following, k.told = map[int64]*followed{}, map[int64]bool{}
	}
	maps.DeleteFunc(k.following, func(_ int64, f *followed) bool { return !r.recent(f.pr) })
	told := map[int64]bool{}
	for _, pr := range merged {
		if _, begun := k.following[pr.Number]; begun {
			continue
		}
		if !k.told[pr.Number] && r.recent(pr) {
			f, err := r.begin(ctx, s, k, pr)
			if err != nil {
				return fmt.Errorf("pull request %d: %w", pr.Number, err)
			}
			if f != nil {
				k.following[pr.Number] = f
				continue
			}
		}
		told[pr.Number] = true
	}
	k.told = told // those that nothing happens to any more are forgotten
	return nil
}

// recent says whether a merge is not too old to be told of.
func (r *Reconciler) recent(pr forge.PullRequest) bool {
	return pr.MergedAt.After(r.Clock().Add(-giveUpAfter))
}

// begin looks whether a merged pull request is to be followed; nil when not.
func (r *Reconciler) begin(ctx context.Context, s *v1alpha1.RepoSync, k *kept, pr forge.PullRequest) (*followed, error) {
	own, err := k.forge.Own(ctx, pr.Number, time.Time{})
	if err != nil {
		return nil, err
	}
	comment, was, _ := ours(own, mark{owner: r.owner(s)})
	b, ok := readBody(comment.Body)
	begun := ok && b.after != nil
	switch {
	case !ok, len(b.touched) == 0, was.about.head != pr.Head: // the plan, if any, is not of what was merged
		return nil, nil
	case begun && b.after.ended, !begun && pr.MergedAt.Before(r.Clock().Add(-beginWithin)):
		return nil, nil
	}
	return &followed{pr: pr, comment: comment.ID, body: b}, nil
}

// follow tells how far each merged pull request is, where that has changed.
func (r *Reconciler) follow(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	k.followDue = 0
	if len(k.following) == 0 || !reportsMerges(s) {
		return nil
	}
	workspaces, all, err := r.workspaces(ctx, s, k)
	if err != nil {
		return err
	}
	var problems []error
	for number, f := range k.following {
		due, err := r.followOne(ctx, s, k, f, progress{cluster: r.Cluster, sync: s, workspaces: workspaces, unsure: !all})
		if err != nil {
			problems = append(problems, fmt.Errorf("pull request %d: %w", number, err))
		}
		if due > 0 && (k.followDue == 0 || due < k.followDue) {
			k.followDue = due
		}
		if f.body.after != nil && f.body.after.ended {
			delete(k.following, number)
			k.told[number] = true
		}
	}
	return errors.Join(problems...)
}

// followOne tells how far a merged pull request is. due is when there will be more
// to tell, 0 for when something happens.
func (r *Reconciler) followOne(ctx context.Context, s *v1alpha1.RepoSync, k *kept, f *followed, p progress) (due time.Duration, err error) {
	if err := r.come(ctx, s, k, f); err != nil {
		return 0, err
	}
	p.merged, p.applied, p.touched, p.more = f.pr.Merged, f.applied.holds, f.body.touched, f.body.more
	if f.came.holds {
		p.came = f.came.asked
	}
	return r.tell(ctx, k, f, p)
}

// come finds out whether the RepoSync has come to the merge, and whether it has
// applied it: the one is no promise of the other.
func (r *Reconciler) come(ctx context.Context, s *v1alpha1.RepoSync, k *kept, f *followed) error {
	if s.Status.ObservedGeneration != s.Generation {
		return nil
	}
	err := k.reach(ctx, f.pr.Merged, commitOf(s.Status.LastAttemptedRevision), &f.came)
	if err != nil || !f.came.holds {
		return err
	}
	return k.reach(ctx, f.pr.Merged, commitOf(s.Status.LastAppliedRevision), &f.applied)
}

// reach asks whether a commit holds a merge. The same commit is asked once.
func (k *kept) reach(ctx context.Context, merged, commit string, at *reach) error {
	if at.holds || commit == "" || commit == at.asked {
		return nil
	}
	holds := commit == merged
	if !holds {
		var err error
		if holds, err = k.forge.Contains(ctx, commit, merged); err != nil {
			return err
		}
	}
	at.asked, at.holds = commit, holds
	return nil
}

// tell edits the comment where there is something new to say and it is time to.
// due is when there will be, 0 for when something happens.
func (r *Reconciler) tell(ctx context.Context, k *kept, f *followed, p progress) (due time.Duration, err error) {
	now := r.Clock()
	words, ends := p.words()
	f.ending(ends, now)
	next := f.body
	next.after = &after{words: words, ended: ends && now.Sub(f.ends) >= editEvery, edits: 1}
	if was := f.body.after; was != nil {
		next.after.edits = was.edits + 1
		if !next.after.ended && (was.edits >= maxEdits || sameButLoss(was.words, words)) {
			return rest(ends, editEvery-now.Sub(f.ends)), nil
		}
		if wait := editEvery - now.Sub(f.wrote); wait > 0 {
			return wait, nil
		}
	}
	_, err = k.forge.Write(ctx, f.pr.Number, f.comment, next.text(k.forge.CommentLimit))
	if forge.Unknown(err) {
		next.after.ended = true // somebody deleted the comment, and wants to hear no more
	} else if err != nil {
		return 0, fmt.Errorf("writing the comment: %w", err)
	}
	f.body, f.wrote = next, now
	return rest(ends && !next.after.ended, editEvery), nil
}

// ending notes since when there is nothing more to say.
func (f *followed) ending(ends bool, now time.Time) {
	switch {
	case !ends:
		f.ends = time.Time{}
	case f.ends.IsZero():
		f.ends = now
	}
}

// rest is a time to wait, if any.
func rest(wait bool, d time.Duration) time.Duration {
	if !wait {
		return 0
	}
	return max(d, 100*time.Millisecond)
}

// same compares what is to be said with what a forge gave back.
func same(a, b string) bool { return strings.TrimSpace(a) == strings.TrimSpace(b) }

// aLoss is that of a run on its way. One that is no number is news.
var aLoss = regexp.MustCompile(`( % trained, loss )[0-9.]+`)

// sameButLoss says that there is nothing new to say: a loss, which is another one after
// each step, is told with the percent, and is no reason for an edit.
func sameButLoss(a, b string) bool {
	return same(aLoss.ReplaceAllString(a, "$1"), aLoss.ReplaceAllString(b, "$1"))
}

// workspaces of a RepoSync, by namespace/name: those that carry its labels, which
// anybody can write, and lie where it writes or are in its inventory. all says that they
// are all that there are.
func (r *Reconciler) workspaces(ctx context.Context, s *v1alpha1.RepoSync, k *kept) (byName map[string]*v1alpha1.Workspace, all bool, err error) {
	if s.Spec.KubeConfig != nil {
		return k.elsewhere(s)
	}
	list := &v1alpha1.WorkspaceList{}
	if err := r.Client.List(ctx, list, client.MatchingLabels{repolayout.LabelSyncName: s.Name, repolayout.LabelSyncNamespace: s.Namespace}); err != nil {
		return nil, false, fmt.Errorf("listing the Workspaces of RepoSync %s/%s: %w", s.Namespace, s.Name, err)
	}
	byName = map[string]*v1alpha1.Workspace{}
	listed := *s
	if err := r.inventories.Unpack(&listed); err != nil {
		return nil, false, err
	}
	target, held := cmp.Or(s.Spec.TargetNamespace, s.Namespace), map[string]bool{}
	for _, e := range listed.Status.Inventory {
		held[e.ID] = true
	}
	for i := range list.Items {
		w := &list.Items[i]
		w.SetGroupVersionKind(v1alpha1.GroupVersion.WithKind(v1alpha1.WorkspaceKind)) // a list leaves it out
		if w.Labels[repolayout.LabelSyncHub] != "" {
			continue // another cluster's RepoSync of this name has applied it
		}
		if w.Namespace == target || held[inventory.EntryOf(w).ID] {
			byName[w.Namespace+"/"+w.Name] = w
		}
	}
	return byName, true, nil
}

// syncOf maps a Workspace to its RepoSync, and notes that a run may have published
// what is to be promoted.
func (r *Reconciler) syncOf(_ context.Context, o client.Object) []reconcile.Request {
	labels := o.GetLabels()
	name := types.NamespacedName{Namespace: labels[repolayout.LabelSyncNamespace], Name: labels[repolayout.LabelSyncName]}
	if name.Name == "" || name.Namespace == "" || labels[repolayout.LabelSyncHub] != "" {
		return nil
	}
	if w, ok := o.(*v1alpha1.Workspace); ok && w.Spec.Tuning != nil && w.Spec.Tuning.Promote != nil && published(w) {
		r.tuned.Store(name, true)
	}
	return []reconcile.Request{{NamespacedName: name}}
}

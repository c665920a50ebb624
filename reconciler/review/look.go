// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/git"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// errMoved says that a pull request went on while it was being planned.
var errMoved = errors.New("the pull request has moved on")

// task is one pull request that is to be answered.
type task struct {
	sync     *v1alpha1.RepoSync
	forge    *forge.Forge
	pr       forge.PullRequest
	settings string // digest of what beside commits decides
	mark     mark
	said     forge.Comment // the comment that is there; ID 0: none
	was      mark          // of that comment
	asked    int64         // the remark that asks for the plan; 0: none
}

// look answers every open pull request whose head is new. One that cannot be
// answered does not keep the others from it.
func (r *Reconciler) look(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	open, err := k.forge.Open(ctx, s.Spec.Source.Git.Ref.Branch)
	if err != nil {
		return fmt.Errorf("listing pull requests: %w", err)
	}
	settings := settingsOf(s, r.Program)
	answered := map[int64]subject{}
	tries := &trials{now: r.Clock, interval: k.interval(s), before: k.failed, failed: map[trial]backoff{}}
	for _, pr := range open {
		if about, planned := r.lookAt(ctx, k, task{sync: s, forge: k.forge, pr: pr, settings: settings}, tries); planned {
			answered[pr.Number] = about
		}
	}
	k.answered, k.failed, k.problems = answered, tries.failed, errors.Join(tries.problems...) // those that are closed are forgotten
	maps.DeleteFunc(k.unsaid, func(number int64, _ *unsaid) bool { _, is := answered[number]; return !is })
	k.heard.forget(open)
	k.triedAt = r.Clock()
	if err := r.discover(ctx, s, k); err != nil {
		return err
	}
	k.lookedAt, k.generation, k.spread = r.Clock(), s.Generation, r.Jitter.Draw()
	return nil
}

// lookAt hears and answers one pull request. It returns what it was answered for, and
// false where nobody wants it planned.
func (r *Reconciler) lookAt(ctx context.Context, k *kept, t task, tries *trials) (about subject, planned bool) {
	number, last := t.pr.Number, k.answered[t.pr.Number]
	try := func(at trial, do func() error) {
		tries.try(at, func() error {
			if err := do(); err != nil {
				return fmt.Errorf("pull request %d: %w", number, err)
			}
			return nil
		})
	}
	try(trial{number: number, hearing: true}, func() (err error) {
		t.asked, err = r.hear(ctx, t.sync, k, t.pr)
		return err
	})
	switch {
	case t.pr.Fork && t.sync.Spec.Review.Forks != v1alpha1.PlanForks && t.asked == 0:
		return subject{}, false
	case t.pr.Head == last.head && t.settings == last.settings && t.asked == 0:
		return last, true // a head leaves the branch at one commit, whatever the branch does
	}
	about = last // where it is not tried
	try(trial{number: number, head: t.pr.Head, settings: t.settings, asked: t.asked}, func() (err error) {
		about, err = r.answer(ctx, k, t)
		return err
	})
	return about, true
}

// owner tells the comments of a RepoSync from another's, also of another cluster.
func (r *Reconciler) owner(s *v1alpha1.RepoSync) string {
	return r.Cluster + "/" + s.Namespace + "/" + s.Name
}

// answer answers one pull request unless that was done. It returns what it was
// answered for: nothing where it is to be tried again.
func (r *Reconciler) answer(ctx context.Context, k *kept, t task) (subject, error) {
	var err error
	if t.pr, err = t.forge.Get(ctx, t.pr.Number); err != nil {
		return subject{}, err
	}
	if !t.pr.Open || t.pr.MergeBase == "" { // the forge may still be looking for that
		return subject{}, nil
	}
	t.mark = mark{
		prefix: t.sync.Spec.Review.StatusPrefix, owner: r.owner(t.sync),
		about: subject{base: t.pr.MergeBase, head: t.pr.Head, settings: t.settings},
	}
	own, err := t.forge.Own(ctx, t.pr.Number, time.Time{})
	if err != nil {
		return subject{}, err
	}
	said, was, rival := ours(own, t.mark)
	switch {
	case rival != "":
		return subject{}, fault.Stopf(ReasonReviewConflict,
			"RepoSync %s sets the statuses %s/... there too, and one would hide the other's: give each its own review.statusPrefix", rival, t.mark.prefix)
	}
	t.said, t.was = said, was
	if said.ID != 0 && was.about == t.mark.about && t.asked == 0 {
		return r.again(ctx, k, t) // it is planned, maybe before this process was started
	}
	if b, ok := readBody(said.Body); ok {
		t.asked = max(t.asked, b.asked) // what was answered is not to be answered again
	}
	return r.answered(k, t, r.plan(ctx, k, t))
}

// answered is what a pull request was answered for: nothing where it is to be looked at
// again.
func (r *Reconciler) answered(k *kept, t task, err error) (subject, error) {
	if errors.Is(err, errMoved) {
		r.LookNow(t.sync)
		return subject{}, nil
	}
	if u := k.unsaid[t.pr.Number]; u != nil && u.tries < maxLineTries || u == nil && err != nil {
		return subject{}, err
	}
	return t.mark.about, err
}

// plan plans the head and says what came of it, unless it has been superseded.
func (r *Reconciler) plan(ctx context.Context, k *kept, t task) error {
	delete(k.unsaid, t.pr.Number) // it was of another plan
	if err := t.setAll(ctx, Said{forge.Pending, "Being planned"}); err != nil {
		return err
	}
	verdict, err := r.verdict(ctx, t)
	if err != nil {
		return err
	}
	if err := t.still(ctx); err != nil {
		return err
	}
	for _, said := range verdict.said() {
		if err := t.set(ctx, said); err != nil {
			return err
		}
	}
	u := &unsaid{about: t.mark.about, lines: t.lines(verdict), body: verdict.body(t.mark)}
	u.body.asked = t.asked
	note, left, lineErr := t.comment(ctx, u.lines)
	if errors.Is(lineErr, context.Canceled) || errors.Is(lineErr, errMoved) {
		return lineErr
	}
	// The comment is last: whoever finds it knows that all is said. It does not wait for
	// what could not be said on lines, which is tried again.
	if err := t.write(ctx, u.body, note); err != nil {
		return err
	}
	k.heard.planned[t.pr.Number] = max(k.heard.planned[t.pr.Number], t.asked)
	k.leave(t, u, note, left)
	ctrl.LoggerFrom(ctx).Info("planned a pull request", "number", t.pr.Number, "head", t.pr.Head, "base", t.pr.MergeBase, "plan", verdict.Plan.State)
	return lineErr
}

// verdict reads both commits and has them planned.
func (r *Reconciler) verdict(ctx context.Context, t task) (Verdict, error) {
	source := t.sync.Spec.Source.Git
	auth, err := r.secret(ctx, t.sync.Namespace, source.SecretRef)
	if err != nil {
		return Verdict{}, err
	}
	remote := git.Remote{URL: source.URL, Auth: auth, Timeout: t.sync.Spec.Timeout.Duration}
	commits, err := remote.Commits(ctx, t.pr.MergeBase, t.pr.Head)
	var failure *git.Error
	if errors.As(err, &failure) && failure.Reason == git.ReasonTooLarge {
		return Fail(err.Error()), nil
	}
	if err != nil {
		return Verdict{}, err
	}
	verdict, err := r.Planner.Plan(ctx, Question{
		Sync: &v1alpha1.RepoSync{TypeMeta: t.sync.TypeMeta, ObjectMeta: metav1.ObjectMeta{Namespace: t.sync.Namespace, Name: t.sync.Name}, Spec: t.sync.Spec},
		Base: t.pr.MergeBase, Head: t.pr.Head,
		BaseName: source.Ref.Branch, HeadName: fmt.Sprintf("pull request %d", t.pr.Number),
		Program: r.Program, Quota: r.quotas(ctx, t.sync), Limit: t.forge.CommentLimit - room,
	}, commits)
	var undone *Undone
	if errors.As(err, &undone) {
		return Fail(undone.Why), nil
	}
	return verdict, err
}

// setAll says the same under all names.
func (t task) setAll(ctx context.Context, said Said) error {
	for _, end := range []string{repolayout.StatusPlan, repolayout.StatusFit, repolayout.StatusCost} {
		if err := t.set(ctx, namedStatus{end, said}); err != nil {
			return err
		}
	}
	return nil
}

func (t task) set(ctx context.Context, said namedStatus) error {
	url := t.said.URL
	if url == "" {
		url = t.pr.URL
	}
	name := repolayout.CommitStatus(t.mark.prefix, said.end)
	err := t.forge.Set(ctx, t.pr.Head, forge.Status{Name: name, State: said.State, Text: said.Text, URL: url})
	if err != nil {
		return fmt.Errorf("setting the commit status %s: %w", name, err)
	}
	return nil
}

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"errors"
	"fmt"

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
	sync  *v1alpha1.RepoSync
	forge *forge.Forge
	pr    forge.PullRequest
	mark  mark
	said  forge.Comment // the comment that is there; ID 0: none
}

// look answers every open pull request whose head is new. One that cannot be
// answered does not keep the others from it.
func (r *Reconciler) look(ctx context.Context, s *v1alpha1.RepoSync, k *kept, f *forge.Forge) error {
	open, err := f.Open(ctx, s.Spec.Source.Git.Ref.Branch)
	if err != nil {
		return fmt.Errorf("listing pull requests: %w", err)
	}
	settings := settingsOf(s, r.Program)
	answered := map[int64]subject{}
	var problems []error
	for _, pr := range open {
		if pr.Fork && s.Spec.Review.Forks != v1alpha1.PlanForks {
			continue
		}
		about, err := r.answer(ctx, s, f, pr, k.answered[pr.Number], settings)
		if err != nil {
			problems = append(problems, fmt.Errorf("pull request %d: %w", pr.Number, err))
			about = k.answered[pr.Number]
		}
		answered[pr.Number] = about
	}
	k.answered = answered // those that are closed are forgotten
	return errors.Join(problems...)
}

// answer answers one pull request unless that was done. It returns what it was
// answered for.
func (r *Reconciler) answer(ctx context.Context, s *v1alpha1.RepoSync, f *forge.Forge, pr forge.PullRequest, last subject, settings string) (subject, error) {
	if pr.Head == last.head && settings == last.settings {
		return last, nil // a head leaves the branch at one commit, whatever the branch does
	}
	pr, err := f.Get(ctx, pr.Number)
	if err != nil || !pr.Open {
		return last, err
	}
	if pr.MergeBase == "" {
		return last, nil // the forge is still looking for it
	}
	t := task{sync: s, forge: f, pr: pr, mark: mark{
		prefix: s.Spec.Review.StatusPrefix, owner: r.Cluster + "/" + s.Namespace + "/" + s.Name,
		about: subject{base: pr.MergeBase, head: pr.Head, settings: settings},
	}}
	own, err := f.Own(ctx, pr.Number)
	if err != nil {
		return last, err
	}
	said, was, rival := ours(own, t.mark)
	switch {
	case rival != "":
		return last, fault.Stopf(ReasonReviewConflict,
			"RepoSync %s sets the statuses %s/... there too, and one would hide the other's: give each its own review.statusPrefix", rival, t.mark.prefix)
	case said.ID != 0 && was.about == t.mark.about:
		return t.mark.about, nil // before this process was started
	}
	t.said = said
	err = r.plan(ctx, t)
	if errors.Is(err, errMoved) {
		r.LookNow(s)
		return last, nil
	}
	return t.mark.about, err
}

// plan plans the head and says what came of it, unless it has been superseded.
func (r *Reconciler) plan(ctx context.Context, t task) error {
	if err := t.setAll(ctx, Said{forge.Pending, "Being planned"}); err != nil {
		return err
	}
	verdict, err := r.verdict(ctx, t)
	if err != nil {
		return err
	}
	now, err := t.forge.Get(ctx, t.pr.Number)
	if err != nil {
		return err
	}
	if now.Head != t.pr.Head || now.MergeBase != t.pr.MergeBase || !now.Open {
		return errMoved
	}
	for _, said := range verdict.said() {
		if err := t.set(ctx, said); err != nil {
			return err
		}
	}
	// The comment is last: whoever finds it knows that all is said.
	if _, err := t.forge.Write(ctx, t.pr.Number, t.said.ID, t.mark.String()+verdict.Markdown); err != nil {
		return fmt.Errorf("writing the comment: %w", err)
	}
	ctrl.LoggerFrom(ctx).Info("planned a pull request", "number", t.pr.Number, "head", t.pr.Head, "base", t.pr.MergeBase, "plan", verdict.Plan.State)
	return nil
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
		Program: r.Program, Limit: t.forge.CommentLimit - room,
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

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strconv"
	"strings"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/markdown"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// ReasonPromotionByHand is the reason of an event about an adapter that a person
// must write into the repository.
const ReasonPromotionByHand = "PromotionByHand"

// promotion is an adapter that a run has published and that the service it is for
// does not have yet.
type promotion struct {
	namespace, tuning, service string
	adapter                    string // its name
	from, image                string // what Git says, and what is to be said
	measured                   string // by the evaluation of the run; "" where nothing was
	file                       string // of the service's document
	line                       int
	by                         *v1alpha1.RepoSync // that applies both to another cluster; nil: to this one
}

// branch is the one that proposes it.
func (p promotion) branch(cluster string) string {
	return repolayout.PromotionBranch(cluster, p.within(), p.tuning, digestOf(p.image))
}

// within is the namespace as branches name it.
func (p promotion) within() string {
	if p.by != nil {
		return repolayout.PromotingElsewhere(p.by.Namespace, p.by.Name, p.namespace)
	}
	return p.namespace
}

// named is how the document must be named. In this cluster what was applied says which
// document it is from, and Kustomize may have named it otherwise.
func (p promotion) named() types.NamespacedName {
	if p.by == nil {
		return types.NamespacedName{}
	}
	return types.NamespacedName{Namespace: p.namespace, Name: p.service}
}

// run names the Workspace that has published the adapter.
func (p promotion) run(cluster string) string {
	run, hub := markdown.Code(p.namespace+"/"+p.tuning), markdown.Code(cluster)
	if p.by != nil {
		return fmt.Sprintf("%s in the cluster that RepoSync %s of cluster %s applies to", run, markdown.Code(p.by.Namespace+"/"+p.by.Name), hub)
	}
	return run + " in cluster " + hub
}

func digestOf(image string) string {
	_, digest, _ := strings.Cut(image, "@")
	return digest
}

// promotions lists what is to be proposed, in order.
func promotions(workspaces map[string]*v1alpha1.Workspace) []promotion {
	var list []promotion
	for _, w := range workspaces {
		t := w.Spec.Tuning
		if t == nil || t.Promote == nil || !published(w) {
			continue
		}
		to := workspaces[w.Namespace+"/"+t.Promote.To]
		if to == nil || !to.DeletionTimestamp.IsZero() {
			continue
		}
		at := repolayout.PromotedAdapters(w, to)
		if len(at) != 1 {
			continue // a finding on the file says so
		}
		a := to.Spec.Inference.Adapters[at[0]]
		if digestOf(a.Image) == digestOf(w.Status.Tuning.Adapter) {
			continue
		}
		file, line, _ := strings.Cut(to.Annotations[repolayout.AnnotationSource], ":")
		n, _ := strconv.Atoi(line)
		list = append(list, promotion{
			namespace: w.Namespace, tuning: w.Name, service: to.Name, adapter: a.Name, from: a.Image, image: w.Status.Tuning.Adapter,
			measured: strings.Join(repolayout.Measured(w.Status.Tuning.Evaluation), "; "), file: file, line: n,
		})
	}
	slices.SortFunc(list, func(a, b promotion) int { return strings.Compare(a.namespace+"/"+a.tuning, b.namespace+"/"+b.tuning) })
	return list
}

// published says that the run of what Git says now is done, and its adapter known
// by digest.
func published(w *v1alpha1.Workspace) bool {
	t := w.Status.Tuning
	return w.DeletionTimestamp.IsZero() && w.Status.ObservedGeneration == w.Generation && t != nil && repolayout.Pinned(t.Adapter) &&
		condition.Is(w, v1alpha1.ConditionTuningSucceeded)
}

// promote proposes what runs have published. Each adapter is proposed once: whoever
// closes the pull request has declined it.
func (r *Reconciler) promote(ctx context.Context, s *v1alpha1.RepoSync, k *kept) error {
	workspaces, _, err := r.workspaces(ctx, s, k)
	if err != nil {
		return err
	}
	proposed := map[string]bool{}
	var problems []error
	for _, p := range promotions(workspaces) {
		if s.Spec.KubeConfig != nil {
			p.by = s
		}
		branch := p.branch(r.Cluster)
		if !k.proposed[branch] {
			if !k.mayPropose(p, branch, r.Clock(), interval(s)) {
				continue
			}
			if err := r.propose(ctx, s, k, p); err != nil {
				problems = append(problems, fmt.Errorf("proposing the adapter of Workspace %s/%s: %w", p.namespace, p.tuning, err))
				continue
			}
		}
		proposed[branch] = true
	}
	k.proposed = proposed
	return errors.Join(problems...)
}

// propose makes the pull request of one adapter, unless there is or was one.
func (r *Reconciler) propose(ctx context.Context, s *v1alpha1.RepoSync, k *kept, p promotion) error {
	branch := p.branch(r.Cluster)
	before, err := k.forge.Proposed(ctx, branch)
	if err != nil {
		return err
	}
	base := s.Spec.Source.Git.Ref.Branch
	if len(before) > 0 {
		k.asks(p, branch, false, r.Clock())
		if slices.ContainsFunc(before, func(pr forge.PullRequest) bool { return pr.Open }) {
			return r.withdrawOlder(ctx, k, p, base) // which may have failed when it was made
		}
		return nil
	}
	pushed, why, err := r.pushPromotion(ctx, s, k, p)
	if err == nil {
		k.asks(p, branch, pushed, r.Clock())
	}
	switch {
	case err != nil:
		return err
	case why != "":
		r.Events.Eventf(s, nil, corev1.EventTypeWarning, ReasonPromotionByHand, "Promote",
			"Workspace %s/%s has published an adapter for %s, which cannot be written into %s by itself (%s): write image: %s where adapter %s of it is named",
			p.namespace, p.tuning, p.service, p.file, why, p.image, p.adapter)
		return nil
	case !pushed:
		return nil // Git says so already, and the cluster is about to
	}
	made, err := k.forge.Propose(ctx, forge.Proposal{Head: branch, Base: base, Title: p.title(), Body: p.body(r.Cluster)})
	if err != nil {
		return fmt.Errorf("making the pull request: %w", err)
	}
	k.made(p)
	ctrl.LoggerFrom(ctx).Info("proposed an adapter", "tuning", p.namespace+"/"+p.tuning, "service", p.service, "number", made.Number)
	return r.withdrawOlder(ctx, k, p, base)
}

// pushPromotion commits the new digest on top of the branch that is synced, and
// pushes it as a branch of its own. why says that only a person can make the change.
func (r *Reconciler) pushPromotion(ctx context.Context, s *v1alpha1.RepoSync, k *kept, p promotion) (pushed bool, why string, err error) {
	auth, err := k.forge.GitAuth(ctx)
	if err != nil {
		return false, "", err
	}
	remote := git.Remote{URL: k.forge.CloneURL, Auth: auth, Timeout: s.Spec.Timeout.Duration}
	there, err := remote.Branch(ctx, p.branch(r.Cluster), nil)
	if err != nil || there.Hash != "" {
		return there != nil && there.Hash != "", "", err // pushed before, and then the pull request failed
	}
	base, err := remote.Branch(ctx, s.Spec.Source.Git.Ref.Branch, nil)
	if err != nil {
		return false, "", err
	}
	content, why := p.edit(base)
	if why != "" || content == nil {
		return false, why, nil
	}
	head, err := base.As(p.branch(r.Cluster))
	if err != nil {
		return false, "", err
	}
	_, changed, err := head.Commit(git.Change{
		Files:   map[string]func() []byte{p.file: git.Text(content)},
		Message: p.title() + "\n\nWorkspace " + p.namespace + "/" + p.tuning + " has published it.\n", Name: "Espalier", Email: "espalier@localhost", When: r.Clock(),
	})
	if err != nil || !changed {
		return false, "", err
	}
	return true, "", head.Push(ctx)
}

// edit is the file with the new digest; nil where it has it. why says what is in
// the way.
func (p promotion) edit(base *git.Branch) (content []byte, why string) {
	if base.Tree == nil || p.file == "" {
		return nil, "it is not known which file it is from"
	}
	info, err := fs.Stat(base.Tree, p.file)
	if err != nil || !info.Mode().IsRegular() || info.Mode().Perm()&0o111 != 0 {
		return nil, "it is no ordinary file"
	}
	text, err := base.Tree.ReadFile(p.file)
	if err != nil {
		return nil, "it cannot be read"
	}
	content, err = repolayout.SetAdapterImage(p.file, text, p.line, p.named(), p.image)
	switch {
	case errors.Is(err, repolayout.ErrSameImage):
		return nil, ""
	case err != nil:
		return nil, err.Error()
	}
	return content, ""
}

// withdrawOlder closes the pull requests with earlier adapters of the same run.
func (r *Reconciler) withdrawOlder(ctx context.Context, k *kept, p promotion, base string) error {
	open, err := k.forge.Open(ctx, base)
	if err != nil {
		return err
	}
	for _, pr := range open {
		if pr.Fork || pr.Branch == p.branch(r.Cluster) || !strings.HasPrefix(pr.Branch, repolayout.PromotionBranches(r.Cluster, p.within(), p.tuning)) {
			continue
		}
		if err := k.forge.Withdraw(ctx, pr.Number); err != nil {
			return fmt.Errorf("closing pull request %d with an earlier adapter: %w", pr.Number, err)
		}
	}
	return nil
}

func (p promotion) title() string {
	return fmt.Sprintf("%s: serve adapter %s as %s trained it", p.service, p.adapter, p.tuning)
}

func (p promotion) body(cluster string) string {
	measured := ""
	if p.measured != "" {
		measured = "| measured before and after | " + markdown.Cell(p.measured) + " |\n"
	}
	return fmt.Sprintf("Workspace %s has published an adapter:\n\n| | adapter %s of %s |\n|---|---|\n| now | %s |\n| proposed | %s |\n%s\n"+
		"It changes one line of %s. What that does to the cluster, the plan says in a comment. Merge it to serve the adapter; "+
		"close it to decline: this adapter is not proposed again, and the next one closes this pull request by itself.\n",
		p.run(cluster), markdown.Cell(p.adapter), markdown.Cell(p.service),
		markdown.Cell(p.from), markdown.Cell(p.image), measured, markdown.Code(p.file))
}

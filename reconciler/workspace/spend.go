// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/gpu/price"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// budget sees whether the run has spent what it may. From then on it is as one that
// is suspended, until Git allows more: the record only grows.
func (r *Reconciler) budget(ctx context.Context, p *pass) error {
	p.broke = p.overspent(r.Clock())
	if p.broke && p.settled {
		return r.standStill(ctx, p) // nothing was rendered that the Job could be made as
	}
	return nil
}

// overspent says that the current run has spent its budget.
func (p *pass) overspent(now time.Time) bool {
	limit, s := p.ws.Spec.MaxUSD(), p.ws.Status.Spending
	if limit == "" || p.finished() {
		return false
	}
	if run := p.runName(); s != nil && run != "" && s.Run != run { // one that is not rendered is the last one
		return false
	}
	left, known := price.Left(s, limit, now)
	return known && left == 0
}

// paused says that no pod is to run, and no node is to be held, for now: Git says
// so, or the budget is spent.
func (p *pass) paused() bool { return p.ws.Spec.Suspend || p.broke }

// brokeMessage says what to do about a budget that is spent.
func (p *pass) brokeMessage() string {
	limit := fmt.Sprintf("$%s that spec.budget.maxUSD allows it", p.ws.Spec.MaxUSD())
	if repolayout.Defaulted(p.ws, repolayout.DefaultedMaxUSD) {
		limit = fmt.Sprintf("$%s that spec.defaults.budget.maxUSD of the RepoSync allows it", p.ws.Spec.MaxUSD())
	}
	what, then := "no pod of it runs", "lets it go on from there"
	if p.job() != nil {
		what = "it is stopped after a checkpoint"
	}
	if !p.ws.Spec.Resumes() {
		then = "lets it begin again from the base model: KAITO's trainer keeps no checkpoint"
		if p.job() != nil {
			what = "it is stopped"
		}
	}
	return "The run has spent the " + limit + ": " + what + " and " + p.nodesLeft() + ". A larger amount in Git " + then
}

// nodesLeft says what becomes of the nodes of a Workspace that is not to run.
func (p *pass) nodesLeft() string {
	switch {
	case p.left != nil, owns(p.ws, p.pool):
		return "its nodes are given back"
	case p.pool == nil:
		return "no node is held for it"
	}
	return "node pool " + p.pool.Name + " is left to others"
}

// account carries on what the run has spent. It is the last of a pass, whatever
// has stopped the others: nodes cost while nobody looks. Where there is a budget
// it asks for the pass in which that is spent.
func (p *pass) account(now time.Time) {
	status := &p.ws.Status
	if p.ws.Spec.Tuning == nil {
		status.Spending = nil
		return
	}
	if !p.seen {
		return // what is not read is not judged: the record goes on
	}
	seen := p.running()
	if seen.Run == "" { // not rendered in this pass
		if status.Spending == nil {
			return // nor before: from when its nodes are there is known later too
		}
		seen.Run = status.Spending.Run
	}
	status.Spending = price.Follow(status.Spending, seen, now)
	if status.Tuning != nil && status.Spending != nil && status.Tuning.Run == status.Spending.Run {
		status.Tuning.SpentUSD = status.Spending.SpentUSD
	}
	if left, known := price.Left(status.Spending, p.ws.Spec.MaxUSD(), now); known && !p.paused() && !p.finished() {
		p.lookAfter(max(left, time.Second))
	}
}

// running is what the run holds now: its own nodes until they are gone, whether or not a pod
// runs on them and whoever of its name has ordered them, and of a shared pool the GPUs of its
// pods that have a place there.
func (p *pass) running() price.Running {
	seen := price.Running{Run: p.runName()}
	for _, pool := range []*v1alpha1.GPUNodePool{p.pool, p.left} {
		if !owns(p.ws, pool) {
			continue
		}
		usd, _ := price.Amount(pool.Status.USDPerHour)
		seen.USDPerHour += usd
		if c := pool.Status.Candidate; c != nil {
			seen.Since = c.Since.Time
			if c.Accepted != nil {
				seen.Since = c.Accepted.Time
			}
		}
	}
	if created := p.ws.CreationTimestamp.Time; !seen.Since.IsZero() && created.After(seen.Since) {
		seen.Since = created // a Workspace of this name that is gone has paid till then
	}
	if share, since := p.share(); share > 0 {
		seen.USDPerHour += share
		seen.Since = since
	}
	return seen
}

// share is what the run's part of a shared pool costs an hour, while its pods have a
// place there: one that waits for a GPU holds none.
func (p *pass) share() (usdPerHour float64, since time.Time) {
	job, pool, gpus := p.job(), p.shared(), int64(0)
	if job == nil || pool == nil || pool.Status.GPUs == nil || pool.Status.GPUs.Expected <= 0 {
		return 0, time.Time{}
	}
	for _, pod := range p.bound {
		if pod.Labels[batchv1.JobNameLabel] != job.Name {
			continue
		}
		gpus += gpusOf(job)
		if at := boundAt(&pod); since.IsZero() || !at.IsZero() && at.Before(since) {
			since = at
		}
	}
	usd, _ := price.Amount(pool.Status.USDPerHour)
	return usd * float64(gpus) / float64(pool.Status.GPUs.Expected), since
}

// shared is the pool of others that the run is on, or is to run on; nil: it is on its own.
func (p *pass) shared() *v1alpha1.GPUNodePool {
	if p.staysOn == nil && p.shares() {
		return p.pool
	}
	return p.staysOn
}

// shares says that the Workspace runs on a pool that is not its own.
func (p *pass) shares() bool {
	return p.pool != nil && !owns(p.ws, p.pool) && p.ws.Spec.Resource.NodePool == p.pool.Name
}

// holdings reads which pods of a run have a place on a shared pool. Of nodes of its
// own nobody asks: they cost with and without a pod.
func (r *Reconciler) holdings(ctx context.Context, p *pass) error {
	if p.ws.Spec.Tuning == nil || p.shared() == nil || !slices.ContainsFunc(p.jobs, hasPods) {
		return nil
	}
	pods, err := r.allPods(ctx, p)
	p.bound = boundAmong(pods)
	return err
}

// hasPods says that a Job has pods that have not ended, placed or not.
func hasPods(job batchv1.Job) bool { return job.Status.Active+ptr.Deref(job.Status.Terminating, 0) > 0 }

// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"strconv"
	"time"

	batchv1 "k8s.io/api/batch/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
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
	if limit == "" || s != nil && s.Run != p.runName() || p.finished() {
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
	return "The run has spent the " + limit + ": it was stopped after a checkpoint and its nodes are given back. A larger amount in Git lets it go on from there"
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

// running is what the run holds now: its own nodes until they are gone, whether or
// not a pod runs on them, and of a shared pool the GPUs of its pod while it runs.
func (p *pass) running() price.Running {
	seen := price.Running{Run: p.runName()}
	for _, pool := range []*v1alpha1.GPUNodePool{p.pool, p.left} {
		if pool == nil || !metav1.IsControlledBy(pool, p.ws) {
			continue
		}
		seen.USDPerHour += hourly(pool)
		if c := pool.Status.Candidate; c != nil {
			seen.Since = c.Since.Time
			if c.Accepted != nil {
				seen.Since = c.Accepted.Time
			}
		}
	}
	if share, since := p.share(); share > 0 {
		seen.USDPerHour += share
		seen.Since = since
	}
	return seen
}

// share is what the run's part of a shared pool costs an hour, while its pods run.
func (p *pass) share() (usdPerHour float64, since time.Time) {
	job := p.job()
	if job == nil || p.pool == nil || metav1.IsControlledBy(p.pool, p.ws) || p.ws.Spec.Resource.NodePool != p.pool.Name {
		return 0, time.Time{}
	}
	gpus := p.pool.Status.GPUs
	if !active(job) || gpus == nil || gpus.Expected <= 0 {
		return 0, time.Time{}
	}
	return hourly(p.pool) * float64(gpusOf(job)*int64(trainersOf(job))) / float64(gpus.Expected), job.Status.StartTime.Time
}

// active says that a pod of the Job runs, or is about to.
func active(job *batchv1.Job) bool {
	return job.Status.StartTime != nil && job.Status.Active > 0 && !ptr.Deref(job.Spec.Suspend, false)
}

// hourly is the list price of the nodes of a pool, 0 where there are none, or none
// that are paid for here.
func hourly(pool *v1alpha1.GPUNodePool) float64 {
	usd, err := strconv.ParseFloat(pool.Status.USDPerHour, 64)
	if err != nil {
		return 0
	}
	return usd
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"

	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/report"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// blind says whether the pass cannot see what is the RepoSync's: its inventory cannot be
// read, or its cluster.
func (p *pass) blind() bool { return p.sync.Status.PackedInventory != nil || p.unplaced != nil }

// observeAndReport reads the Workspaces and writes their state to Git when it
// differs from what is there. It runs in every pass, with or without an error.
func (r *Reconciler) observeAndReport(ctx context.Context, p *pass) error {
	if p.sync.Status.LastAttemptedRevision == "" {
		return nil // nothing was ever read: there is nothing to tell
	}
	if p.blind() {
		return nil // how the Workspaces are is not known, and what was reported stays
	}
	workspaces, err := r.workspaces(ctx, p)
	if fault.IsTerminal(err) {
		p.sync.Status.Workspaces = "" // what was counted while it was allowed
	}
	if err != nil {
		return err
	}
	p.workspaces = workspaces
	p.sync.Status.Workspaces = fmt.Sprintf("%d/%d", countReady(workspaces), len(workspaces))
	if err := p.tellReview(); err != nil {
		return err
	}
	to := p.sync.Spec.Report
	if to == nil || to.Commit == nil {
		p.kept.book = report.Book{}
		return nil
	}
	if r.Cluster == "" {
		return fault.Stopf(v1alpha1.ReasonClusterNameMissing,
			"readiness cannot be reported: the controller was started without --cluster-name, which names the status branch")
	}
	snapshot := r.snapshot(p, workspaces)
	if snapshot.Pools, err = p.at.prices(ctx, workspaces); err != nil {
		return err
	}
	return r.write(ctx, p, p.kept.files.Draft(snapshot))
}

func (r *Reconciler) snapshot(p *pass, workspaces []*v1alpha1.Workspace) report.Snapshot {
	s := p.sync
	snapshot := report.Snapshot{
		Cluster: r.Cluster, Namespace: s.Namespace, Name: s.Name,
		Revision: s.Status.LastAttemptedRevision, Workspaces: workspaces, Findings: s.Status.Findings,
		Stopped: p.stopped,
	}
	if p.kept.built.revision == s.Status.LastAttemptedRevision {
		snapshot.Findings = p.kept.built.findings // all of them
	}
	if held := condition.Get(s, v1alpha1.ConditionPruneHeld); held != nil {
		snapshot.Held = held.Message
		_, snapshot.Approval, _ = strings.Cut(held.Message, repolayout.AnnotationApprovePrune+"=")
	}
	return snapshot
}

// write writes a report to the status branch, as often as its pace allows: what
// happens meanwhile is folded into the next commit.
func (r *Reconciler) write(ctx context.Context, p *pass, draft *report.Draft) error {
	commit := p.sync.Spec.Report.Commit
	// Where they go is part of it: what was written elsewhere is not written here.
	digest := strings.Join([]string{draft.Digest(), commit.URL, commit.Branch, commit.Path}, " ")
	if digest == p.kept.reported {
		if !condition.Is(p.sync, v1alpha1.ConditionReported) { // what was not written is so no more
			condition.True(p.sync, v1alpha1.ConditionReported, v1alpha1.ReasonSucceeded, "Written to "+p.kept.place)
		}
		return nil
	}
	p.kept.pace.pushed(r.Clock(), p.sync.Status.LastAttemptedRevision)
	if due := p.kept.pace.due(r.Clock(), commit.MinInterval.Duration); due > 0 {
		p.reportDue = due
		return nil
	}
	target, err := r.target(ctx, p.sync)
	if err != nil {
		return err
	}
	p.kept.lease = target.Lease()
	result, err := r.writeInTurn(ctx, target, &p.kept.book, draft.Report(), fmt.Sprintf("%s: %s ready at %s",
		p.sync.Name, p.sync.Status.Workspaces, shortRevision(p.sync.Status.LastAttemptedRevision)))
	if err != nil {
		return p.unwritten(err)
	}
	p.kept.reported, p.kept.place = digest, placeOf(target)
	if result.Changed {
		p.kept.pace.made(r.Clock())
	}
	if result.Changed || p.sync.Status.Report == nil {
		at := metav1.NewTime(r.Clock())
		p.sync.Status.Report = &v1alpha1.ReportStatus{Branch: target.Branch, Commit: result.Commit, WrittenAt: &at}
	}
	condition.True(p.sync, v1alpha1.ConditionReported, v1alpha1.ReasonSucceeded, "Written to "+p.kept.place)
	return nil
}

// unwritten notes that the report was not written, and says why; nil where it has to wait.
func (p *pass) unwritten(err error) error {
	busy, waits := fault.AsWaiting(err)
	if !waits {
		p.kept.reported = "" // the branch may have it all the same: look, whatever comes next
	}
	var failure *report.Error
	switch {
	case errors.As(err, &failure):
		return fault.Retry(failure.Reason, namingSecret(err, failure.Reason, p.sync.Namespace, reportSecret(p.sync)))
	case waits:
		p.reportDue = busy.After
		condition.Unknown(p.sync, v1alpha1.ConditionReported, busy.Reason, busy.Message)
		return nil
	}
	return fault.Retry(fault.Reason(err, v1alpha1.ReasonReportFailed), err)
}

// placeOf names where a report is.
func placeOf(t report.Target) string {
	if t.Folder != "" {
		return "folder " + t.Folder + " of branch " + t.Branch
	}
	return "branch " + t.Branch
}

// target resolves where to write: the report's own address and credential, else
// the source's.
func (r *Reconciler) target(ctx context.Context, s *v1alpha1.RepoSync) (report.Target, error) {
	to, from := s.Spec.Report.Commit, s.Spec.Source.Git
	if from == nil {
		from = &v1alpha1.GitSource{} // a Flux source: the report has an address of its own
	}
	url := to.URL
	if url == "" {
		url = from.URL
	}
	auth, err := r.secret(ctx, s.Namespace, reportSecret(s))
	if err != nil {
		return report.Target{}, err
	}
	branch := to.Branch
	if branch == "" {
		branch = repolayout.StatusBranch(r.Cluster, s.Namespace, s.Name)
	}
	if problem := repolayout.ReportPathProblem(s.Spec); problem != "" {
		return report.Target{}, fault.Stopf(v1alpha1.ReasonReportConflict, "report.commit.path %s %s", to.Path, problem)
	}
	if branch == from.Ref.Branch && url == from.URL && to.Path == "" {
		return report.Target{}, fault.Stopf(v1alpha1.ReasonReportConflict,
			"report.commit.branch %s is the branch that is synced: name another branch, or a folder of this one in report.commit.path", branch)
	}
	signer, err := r.signer(ctx, s)
	if err != nil {
		return report.Target{}, err
	}
	return report.Target{
		URL: url, Branch: branch, Folder: to.Path, Auth: auth, Author: to.Author, Signer: signer,
		Installation: r.Installation, Cluster: r.Cluster, Namespace: s.Namespace, Name: s.Name,
		Revision: s.Status.LastAttemptedRevision, Timeout: s.Spec.Timeout.Duration,
	}, nil
}

// reportSecret is the write credential: the report's own, else the source's.
func reportSecret(s *v1alpha1.RepoSync) *v1alpha1.LocalObjectReference {
	if ref := s.Spec.Report.Commit.SecretRef; ref != nil || s.Spec.Source.Git == nil {
		return ref
	}
	return s.Spec.Source.Git.SecretRef
}

// workspaces are those that a RepoSync tells of. They are read, and never written to.
func (r *Reconciler) workspaces(ctx context.Context, p *pass) ([]*v1alpha1.Workspace, error) {
	s := p.sync
	which := p.at.labelsOf(s)
	if s.ReportsOnly() {
		var err error
		if which, err = r.selected(s); err != nil {
			return nil, err
		}
	}
	found, err := p.at.workspaces(ctx, which...)
	if err != nil {
		return nil, fmt.Errorf("listing the Workspaces of RepoSync %s/%s: %w", s.Namespace, s.Name, err)
	}
	if !s.ReportsOnly() {
		found = r.applied(p, found)
	}
	slices.SortFunc(found, func(a, b *v1alpha1.Workspace) int {
		return cmp.Or(strings.Compare(a.Namespace, b.Namespace), strings.Compare(a.Name, b.Name))
	})
	return found, nil
}

// applied are those that the RepoSync has applied, and those it has deleted that are
// not gone yet. Labels alone are written by anybody: somebody else's Workspace would
// be counted, and its name told.
func (r *Reconciler) applied(p *pass, labelled []*v1alpha1.Workspace) []*v1alpha1.Workspace {
	var going []types.UID
	were := sets.New(p.kept.going...) // thousands, where Git dropped as many
	p.dropped = nil
	applied := slices.DeleteFunc(labelled, func(w *v1alpha1.Workspace) bool {
		if !p.at.ownedBy(w, p.sync) || !r.mayWrite(p.sync, w.Namespace) {
			return true
		}
		if were.Has(w.UID) { // whether or not the cache knows it yet
			going = append(going, w.UID)
			return false
		}
		held := account.Holds(p.sync, w)
		if !held && p.at.remote() {
			p.dropped = append(p.dropped, w)
		}
		return !held
	})
	p.kept.going = going
	return applied
}

func countReady(workspaces []*v1alpha1.Workspace) int {
	n := 0
	for _, w := range workspaces {
		if report.StateOf(w) == report.Ready { // of this generation, as the report says it
			n++
		}
	}
	return n
}

// shortRevision is main@1a2b3c4 of a whole revision, as the README says it.
func shortRevision(revision string) string {
	ref, hash, _ := strings.Cut(revision, "@sha1:")
	return ref + "@" + hash[:min(len(hash), 7)]
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/git"
	"github.com/espalier-dev/espalier/reconciler/lease"
	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/reconciler/source"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// A report that is a folder of the branch which is synced makes that branch move. It
// is told from what people push by its content, and not by its author or message,
// which anybody can write: all that lies in folders of reports is left out of the
// tree, and a commit that is otherwise the same is no new revision.

// withoutReports is a commit as the RepoSync sees it, and the hash of what it holds
// beside reports; "" where nobody asks for that. Only one that reports into its source
// sees none of them: what others sync is theirs to say.
func (r *Reconciler) withoutReports(ctx context.Context, s *v1alpha1.RepoSync, commit *source.Commit) (*source.Commit, string, error) {
	tree, isGit := commit.Tree.(*git.Tree)
	if !isGit || !s.ReportsIntoSource() && !r.isOrdered(ctx, s) {
		return commit, "", nil
	}
	// That of every RepoSync: two that report into one branch would wake each other.
	rest, err := tree.Without(repolayout.StatusOwnerFile)
	if err != nil {
		return nil, "", fault.Retry(v1alpha1.ReasonSourceUnreachable, fmt.Errorf("reading %s: %w", commit.Revision, err))
	}
	content, err := rest.Hash(".")
	if err != nil {
		return nil, "", fmt.Errorf("reading %s: %w", commit.Revision, err)
	}
	if !s.ReportsIntoSource() {
		return commit, content, nil
	}
	without := *commit // it is shared
	without.Tree = rest
	return &without, content, nil
}

// writeInTurn writes a report when nobody else writes to that branch: no other RepoSync of
// this controller, and no other controller, which is another shard or one that is being
// replaced. They would push in each other's way, and nothing worse: a push is never forced.
func (r *Reconciler) writeInTurn(ctx context.Context, t report.Target, book *report.Book, files report.Report, subject string) (result report.Result, err error) {
	name := t.Lease()
	done, err := r.turns.take(ctx, name, cmp.Or(t.Timeout, git.DefaultTimeout))
	if err != nil {
		return report.Result{}, fmt.Errorf("writing to %s: other reports are being written there, and take longer than spec.timeout; it is tried again", placeOf(t))
	}
	defer done()
	err = r.Branches.Hold(ctx, name, t.Namespace+"/"+t.Name, func(ctx context.Context) (err error) {
		result, err = report.Write(ctx, t, book, files, subject)
		return err
	})
	// Others are not kept waiting by one that cannot write, nor where several report into one branch.
	if err != nil || t.Folder != "" && r.Shard != nil {
		r.Branches.Release(ctx, name)
	}
	return result, untaken(err, placeOf(t))
}

// untaken says what it means that another process holds a Lease.
func untaken(err error, place string) error {
	var taken *lease.TakenError
	if !errors.As(err, &taken) {
		return err
	}
	return fault.Wait(v1alpha1.ReasonWaitingForBranch, taken.After,
		"Another controller holds Lease %s and may be writing to %s: the report is written when that is done", taken.Name, place)
}

// isOwn says whether a commit that is new brings nothing but reports. What was kept
// holds on then, and nothing is asked of the cluster for it. A commit that was read
// once more is not new, though it may be a copy.
func (p *pass) isOwn(raw *source.Commit, content string) bool {
	k := p.kept
	return p.sync.ReportsIntoSource() && content != "" && k.judged != nil && k.judged.content == content && k.raw.Hash != raw.Hash &&
		k.generation == p.sync.Generation
}

// sameAsBefore gives a commit the revision that it brings nothing new to: after a
// restart nothing is kept, and the newest commit may be a report.
func (p *pass) sameAsBefore(commit *source.Commit, judged *judgement) {
	last := &p.sync.Status
	branch, hash, found := strings.Cut(last.LastAttemptedRevision, "@sha1:")
	if !p.sync.ReportsIntoSource() || judged.content == "" || judged.content != last.Content || !found || branch != p.sync.Spec.Source.Git.Ref.Branch {
		return
	}
	commit.Revision, commit.Hash, judged.revision = last.LastAttemptedRevision, hash, last.LastAttemptedRevision
}

// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"cmp"
	"context"
	"fmt"
	"strings"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/git"
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

// writeInTurn writes a report when no other RepoSync of this controller writes to a
// branch that several report into: they would push in each other's way. A branch of a
// RepoSync's own has no other.
func (r *Reconciler) writeInTurn(ctx context.Context, t report.Target, files report.Report, subject string) (report.Result, error) {
	if t.Folder != "" {
		done, err := r.turns.take(ctx, t.URL+" "+t.Branch, cmp.Or(t.Timeout, git.DefaultTimeout))
		if err != nil {
			return report.Result{}, fmt.Errorf("writing to %s: other reports are being written there, and take longer than spec.timeout; it is tried again", placeOf(t))
		}
		defer done()
	}
	return report.Write(ctx, t, files, subject)
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

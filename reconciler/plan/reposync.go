// SPDX-License-Identifier: Apache-2.0

package plan

import (
	"fmt"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// syncDropped says whether a RepoSync goes where what applies it prunes.
func (c *comparer) syncDropped() bool {
	return c.base.Sync != nil && (c.head.SyncGone || len(c.head.SyncUnlisted) > 0)
}

// syncDeleted warns of what goes with a RepoSync that head no longer has or lists, or is
// left. Whoever applies its file decides whether it goes, and Git does not say.
func (c *comparer) syncDeleted() {
	s := c.base.Sync
	if !c.syncDropped() {
		return
	}
	n := len(byName(c.base.State))
	what := "its deletionPolicy Delete takes what it applied: " + counted(n, "Workspace", "Workspaces") + ", with their nodes and claims, and no guard asks before. Set deletionPolicy: Orphan first, and have it applied, to keep them"
	switch {
	case s.ReportsOnly():
		what = "what runs stays, since others apply it, and is reported on no more"
	case s.Spec.DeletionPolicy == v1alpha1.Orphan:
		what = "its deletionPolicy Orphan leaves what it applied: " + counted(n, "Workspace runs on and costs", "Workspaces run on and cost") + ", and follow Git no more"
	}
	why := fmt.Sprintf("Head no longer holds RepoSync %s. Where what applies that file prunes", syncName(s))
	if where := c.head.SyncUnlisted; !c.head.SyncGone {
		why = fmt.Sprintf("No kustomization of head lists the file of RepoSync %s, which stays: base lists it by %s. Where what applies that prunes", syncName(s), joined(where[:min(len(where), 3)]))
	}
	c.dangers = append(c.dangers, finding.Warningf(RepoSyncDeleted, "", "%s, as Flux does, the RepoSync goes after the merge, and %s", why, what).
		At(fixedPlace{}, v1alpha1.RepoSyncKind+"/"+syncName(s)))
}

// syncWords say in the summary what becomes of the RepoSync, without its name: the
// line is shown as it is, and a name may be anything.
func (c *comparer) syncWords() []string {
	switch {
	case c.syncDropped():
		return []string{"the RepoSync is removed"}
	case len(c.head.SyncElse) > 0:
		return []string{"the RepoSync changes"}
	}
	return nil
}

func (c *comparer) noteSync(note func(code, format string, args ...any)) {
	a, b := c.base.Sync, c.head.Sync
	if b != nil && b.ReportsOnly() {
		note(AppliedByOthers, "What applies the Workspaces: RepoSync %s only reports. What is deleted here goes where that prunes, and what it substitutes is not seen.", c.plan.RepoSync)
	}
	switch {
	case b == nil:
		note(RepoSyncMissing, "No RepoSync is known: no substitutions apply, and Workspaces without a namespace are shown in default.")
	case a != nil && syncDigest(a) != syncDigest(b):
		note(RepoSyncChanged, "RepoSync %s changes too: the plan is for when somebody has applied it.", c.plan.RepoSync)
	}
	if c.head.SyncGone && a != nil && b != nil && syncName(a) == syncName(b) {
		note(RepoSyncChanged, "RepoSync %s is no longer in head: both revisions are built with the one that there is.", syncName(a))
	}
	if others := c.head.SyncElse; len(others) > 0 {
		note(RepoSyncChanged, "RepoSync %s also changes in %s: what that does, once it is applied, is not in this plan.", c.plan.RepoSync, joined(others))
	}
}

// syncDigest is of what a RepoSync says on building and pruning.
func syncDigest(s *v1alpha1.RepoSync) string {
	prune := s.Spec.Prune == nil || *s.Spec.Prune
	return check.Sum(s.Spec.Mode, s.Namespace, s.Name, s.Spec.Path, s.Spec.TargetNamespace, s.Spec.Substitutions, s.Spec.Defaults, s.Spec.PostBuild, s.Spec.Decryption != nil, prune)
}

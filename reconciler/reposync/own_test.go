// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"fmt"
	"maps"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

// mode is where a report goes.
type mode struct {
	branch, folder string
}

var modes = map[string]mode{
	"Branch": {branch: stormBranch},
	"Folder": {branch: "main", folder: "status/prod"},
}

// newOwn is a storm whose source is a repository that people push to, and what they
// have pushed.
func newOwn(t *testing.T, m mode) (*storm, map[string]string) {
	t.Helper()
	s := newStorm(t, 2)
	s.Source, s.Builds = source.NewStore(source.Options{}), build.NewCache(build.CacheLimits{})
	s.pass.kept = &kept{applied: map[string]apply.Mark{}}
	spec := &s.pass.sync.Spec
	spec.Path = "clusters/prod"
	if m.folder != "" {
		spec.Report.Commit.Branch, spec.Report.Commit.Path = m.branch, m.folder
	}
	files := map[string]string{"clusters/prod/kustomization.yaml": "resources: []\n", "README.md": "theirs"}
	s.push(files, "first")
	return s, files
}

func (s *storm) push(files map[string]string, message string) string {
	s.t.Helper()
	all := maps.Clone(files)
	now, err := s.server.Files(stormRepo, "main")
	if err != nil && len(now) > 0 {
		s.t.Fatal(err)
	}
	for name, content := range now {
		if strings.HasPrefix(name, "status/") {
			all[name] = content
		}
	}
	hash, err := s.server.Push(stormRepo, "main", all, message)
	if err != nil {
		s.t.Fatal(err)
	}
	return hash
}

// woken makes the pass that a push webhook brings, as far as it goes by Git, and says
// whether anything would be built or applied for it.
func (s *storm) woken() (busy bool) {
	s.t.Helper()
	s.asked.Store(s.pass.sync.UID, true)
	was := s.pass.kept.built.revision
	s.pass.looked = false
	if err := s.source(s.t.Context(), s.pass); err != nil {
		s.t.Fatal(err)
	}
	if err := s.build(s.t.Context(), s.pass); err != nil {
		s.t.Fatal(err)
	}
	s.now = s.now.Add(time.Minute)
	s.mustReport()
	return s.pass.looked || s.pass.kept.built.revision != was
}

func (s *storm) heads(m mode) int {
	s.t.Helper()
	log, err := s.server.Log(stormRepo, m.branch)
	if err != nil {
		s.t.Fatal(err)
	}
	own := 0
	for _, c := range log {
		if c.Author == "Espalier" {
			own++
		}
	}
	return own
}

// TestOwnCommitsWakeNobody: a report brings no other revision, no build, no apply and
// no report, in either mode; what a person pushes on top of it does.
func TestOwnCommitsWakeNobody(t *testing.T) {
	for name, m := range modes {
		t.Run(name, func(t *testing.T) {
			s, files := newOwn(t, m)
			s.woken()
			first := s.pass.sync.Status.LastAttemptedRevision
			if n := s.heads(m); n != 1 {
				t.Fatalf("%d reports, want 1", n)
			}
			built := s.pass.kept.built
			s.pass.sync.Annotations = map[string]string{repolayout.AnnotationReconcileAt: "now"}
			if busy := s.woken(); m.folder != "" && busy { // by the push of its own commit
				t.Error("its own commit is built or applied")
			}
			if s.pass.sync.Status.LastHandledReconcileAt != "now" {
				t.Error("whoever asked for the look waits for its end")
			}
			s.pass.kept.settled = s.pass.settles()
			if err := s.settle(t.Context(), s.pass); err != nil || s.pass.settled || s.pass.partly {
				t.Errorf("whoever asked for the look gets everything compared: settled %v, partly %v, %v", s.pass.settled, s.pass.partly, err)
			}
			for range 5 {
				s.woken()
			}
			if s.pass.kept.built.revision != built.revision {
				t.Errorf("%s is built for a report", s.pass.kept.built.revision)
			}
			s.turn(0, true)
			for range 5 {
				s.woken()
			}
			if n := s.heads(m); n != 2 || s.pass.sync.Status.LastAttemptedRevision != first {
				t.Errorf("%d reports at %s; want one more for the Workspace that changed, still at %s", n, s.pass.sync.Status.LastAttemptedRevision, first)
			}

			// A restart keeps nothing; the newest commit may be a report.
			s.pass.kept = &kept{applied: map[string]apply.Mark{}}
			for range 3 {
				s.woken()
			}
			if n := s.heads(m); n != 2 || s.pass.sync.Status.LastAttemptedRevision != first || s.pass.kept.commit.Revision != first {
				t.Errorf("after a restart: %d reports at %s (%s), want 2 at %s", n, s.pass.sync.Status.LastAttemptedRevision, s.pass.kept.commit.Revision, first)
			}

			files["README.md"] = "more"
			human := s.push(files, "by a person, on top of a report")
			if !s.woken() || s.pass.sync.Status.LastAttemptedRevision != "main@sha1:"+human {
				t.Errorf("a person's commit is not seen: %s, want %s", s.pass.sync.Status.LastAttemptedRevision, human)
			}
			s.woken()
			if n := s.heads(m); n != 3 {
				t.Errorf("%d reports, want one more for the revision", n)
			}

			// And one that came while the controller was away.
			files["README.md"] = "and more"
			human = s.push(files, "while nobody looked")
			s.pass.kept = &kept{applied: map[string]apply.Mark{}}
			if s.woken(); s.pass.sync.Status.LastAttemptedRevision != "main@sha1:"+human {
				t.Errorf("%s, want %s", s.pass.sync.Status.LastAttemptedRevision, human)
			}
		})
	}
}

// TestContentInOrder: one that reports elsewhere, and is waited for, says its content
// too, and goes with the branch as before.
func TestContentInOrder(t *testing.T) {
	s, files := newOwn(t, modes["Branch"])
	s.woken()
	if c := s.pass.sync.Status.Content; c != "" {
		t.Errorf("all trees are read, and nobody asks for %q", c)
	}
	s.pass.sync.Spec.DependsOn = []v1alpha1.Dependency{{Name: "pools"}}
	s.woken()
	first := s.pass.sync.Status
	files["status/other/"+repolayout.StatusOwnerFile] = "format: 1\ninstallation: other\n"
	s.push(files, "another's report")
	s.woken()
	second := s.pass.sync.Status
	if first.Content == "" || second.Content != first.Content || second.LastAttemptedRevision == first.LastAttemptedRevision {
		t.Errorf("got %s of %q, then %s of %q", first.LastAttemptedRevision, first.Content, second.LastAttemptedRevision, second.Content)
	}
}

// TestOwnCommitAgain: a report that was read before is a look like any other when it is
// read again, also where the source has let go of it: else one look would follow
// another without end.
func TestOwnCommitAgain(t *testing.T) {
	s, files := newOwn(t, modes["Folder"])
	s.woken()
	files["status/other/"+repolayout.StatusOwnerFile] = "format: 1\ninstallation: other\n"
	s.push(files, "another's report")
	s.now = s.now.Add(interval(s.pass.sync))
	for range 2 {
		s.Source = source.NewStore(source.Options{})
		if err := s.source(t.Context(), s.pass); err != nil {
			t.Fatal(err)
		}
	}
	if s.pass.mustLook(s.now) {
		t.Error("it looks again at once, for as long as the commit is read anew")
	}
}

// TestOwnCommitsOfOthers: two RepoSyncs that report into one branch would otherwise
// wake each other without end.
func TestOwnCommitsOfOthers(t *testing.T) {
	s, files := newOwn(t, modes["Folder"])
	s.woken()
	first := s.pass.sync.Status.LastAttemptedRevision
	files["status/other/"+repolayout.StatusOwnerFile] = "format: 1\ninstallation: other\n"
	files["status/other/README.md"] = "another's"
	s.push(files, "another's report")
	if s.woken() || s.pass.sync.Status.LastAttemptedRevision != first || s.heads(modes["Folder"]) != 1 {
		t.Errorf("another's report is a new revision: %s", s.pass.sync.Status.LastAttemptedRevision)
	}
	delete(files, "status/other/"+repolayout.StatusOwnerFile)
	// Without its mark it is a folder of somebody.
	if _, err := s.server.Push(stormRepo, "main", files, "no report"); err != nil {
		t.Fatal(err)
	}
	if !s.woken() {
		t.Error("a folder that is no report is content like any other")
	}
}

// TestReportIsNotBuilt: what a unit lists of a report is not there for it.
func TestReportIsNotBuilt(t *testing.T) {
	s, files := newOwn(t, modes["Folder"])
	s.woken()
	files["clusters/prod/kustomization.yaml"] = "resources: [../../status/prod/workspaces/models/model-000.yaml]\n"
	s.push(files, "reads the report")
	s.woken()
	findings := s.pass.sync.Status.Findings
	if len(findings) != 1 || !strings.Contains(findings[0].Message, "status/prod/workspaces/models/model-000.yaml") {
		t.Errorf("findings: %+v", findings)
	}
	made := s.heads(modes["Folder"])
	for range 4 {
		s.woken()
	}
	if n := s.heads(modes["Folder"]); n != made {
		t.Errorf("%d reports, were %d: a unit that reads the report goes round", n, made)
	}
}

// TestReportFolderConflicts: what the API server may have let pass is refused, and
// nothing is written.
func TestReportFolderConflicts(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		change func(*v1alpha1.RepoSyncSpec)
		want   string
	}{
		"NoPath":     {"A report at the root would be what is synced.", func(s *v1alpha1.RepoSyncSpec) { s.Report.Commit.Path = "" }, "or a folder of this one in report.commit.path"},
		"WithinPath": {"However it is spelt.", func(s *v1alpha1.RepoSyncSpec) { s.Path = "./status/" }, "lies in spec.path"},
		"AroundPath": {"All that is synced would be left out.", func(s *v1alpha1.RepoSyncSpec) { s.Path = "status/prod/models" }, "spec.path in it"},
		"WholeRepo":  {"Everything lies in it.", func(s *v1alpha1.RepoSyncSpec) { s.Path = "" }, "lies in spec.path"},
		"Unsigned": {"The branch would no longer be signed.", func(s *v1alpha1.RepoSyncSpec) {
			s.Source.Git.Verify = &v1alpha1.GitVerification{SecretRef: v1alpha1.LocalObjectReference{Name: "keys"}}
		}, "needs report.commit.signing"},
		"OtherBranch": {"A branch of its own needs no folder.", func(s *v1alpha1.RepoSyncSpec) { s.Report.Commit.Branch = "status" }, "set report.commit.branch to source.git.ref.branch"},
	} {
		t.Run(name, func(t *testing.T) {
			s, _ := newOwn(t, modes["Folder"])
			c.change(&s.pass.sync.Spec)
			s.pass.sync.Status.LastAttemptedRevision = "main@sha1:" + testHash
			_, err := s.report()
			if err == nil || !fault.IsTerminal(err) || fault.Reason(err, "") != v1alpha1.ReasonReportConflict || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s\ngot %v, want %q", c.reason, err, c.want)
			}
			if n := s.heads(mode{branch: "main"}); n != 0 {
				t.Errorf("%d reports", n)
			}
		})
	}
}

// TestOwnCommitsVerified: reports that are signed are commits whose signature is
// looked at after a restart, when one is the newest.
func TestOwnCommitsVerified(t *testing.T) {
	key, trusts := signer(t)
	s, _ := newOwn(t, modes["Folder"])
	s.Reconciler = newReconciler(t, interceptor.Funcs{}, trusts)
	s.Source, s.Cluster, s.Installation, s.Clock = source.NewStore(source.Options{}), "prod", "installation", func() time.Time { return s.now }
	if _, err := s.server.SignHead(stormRepo, "main", key); err != nil {
		t.Fatal(err)
	}
	spec := &s.pass.sync.Spec
	spec.Source.Git.Verify = &v1alpha1.GitVerification{Mode: v1alpha1.VerifyHEAD, SecretRef: v1alpha1.LocalObjectReference{Name: "keys"}}
	s.woken2(t)
	first := s.pass.sync.Status.LastAttemptedRevision
	unsigned := map[string]string{"clusters/prod/kustomization.yaml": "resources: []\n", "README.md": "theirs", "status/prod/" + repolayout.StatusOwnerFile: "x"}
	if _, err := s.server.Push(stormRepo, "main", unsigned, "nobody's signature"); err != nil {
		t.Fatal(err)
	}
	s.woken2(t)
	if s.pass.sync.Status.LastAttemptedRevision != first || !condition.Is(s.pass.sync, v1alpha1.ConditionVerified) {
		t.Errorf("the same content is what was verified: %s", s.pass.sync.Status.LastAttemptedRevision)
	}
	s.pass.kept = &kept{applied: map[string]apply.Mark{}}
	s.asked.Store(s.pass.sync.UID, true)
	if err := s.source(t.Context(), s.pass); err == nil || fault.Reason(err, "") != v1alpha1.ReasonInvalidCommitSignature {
		t.Errorf("after a restart an unsigned newest commit is refused: %v", err)
	}
	if _, err := s.server.SignHead(stormRepo, "main", key); err != nil {
		t.Fatal(err)
	}
	s.woken2(t)
	if !condition.Is(s.pass.sync, v1alpha1.ConditionVerified) || s.pass.kept.commit == nil {
		t.Error("and a signed one is not")
	}
}

// woken2 is woken without a build and a report.
func (s *storm) woken2(t *testing.T) {
	t.Helper()
	s.asked.Store(s.pass.sync.UID, true)
	if err := s.source(t.Context(), s.pass); err != nil {
		t.Fatal(err)
	}
}

// TestInTurn: RepoSyncs that report into folders of one branch do not push in each
// other's way, and one that never ends keeps the others no longer than they wait.
func TestInTurn(t *testing.T) {
	s, _ := newOwn(t, modes["Folder"])
	s.woken()
	s.server.ResetRequests()
	const many = 8
	var writers sync.WaitGroup
	for i := range many {
		other := s.pass.sync.DeepCopy()
		other.Name, other.UID = fmt.Sprint("team-", i), types.UID(fmt.Sprint("uid-", i))
		other.Spec.Report.Commit.Path = fmt.Sprint("status/", i)
		p := &pass{sync: other, kept: &kept{applied: map[string]apply.Mark{}}}
		writers.Go(func() {
			if err := s.observeAndReport(t.Context(), p.in(s.Reconciler)); err != nil {
				t.Error(err)
			}
		})
	}
	writers.Wait()
	if got := s.server.Requests(); got[gitserver.Push] != many {
		t.Errorf("%d pushes of %d reports: some came in each other's way", got[gitserver.Push], many)
	}
	if n := s.heads(modes["Folder"]); n != many+1 {
		t.Errorf("%d reports, want %d", n, many+1)
	}

	if len(s.turns.all) > 0 {
		t.Errorf("%d branches are kept in mind though nobody writes to them", len(s.turns.all))
	}
}

// TestReportMoves: a report that is to go elsewhere goes there at once, though it says
// what it said before.
func TestReportMoves(t *testing.T) {
	s, _ := newOwn(t, modes["Folder"])
	s.woken()
	to := s.pass.sync.Spec.Report.Commit
	for _, place := range []struct{ branch, folder string }{{"main", "status/other"}, {"state", ""}, {"state-2", ""}, {"main", "status/prod"}} {
		to.Branch, to.Path = place.branch, place.folder
		s.pass.sync.Generation++
		s.woken()
		files, err := s.server.Files(stormRepo, place.branch)
		if err != nil || files[path.Join(place.folder, repolayout.StatusReadme)] == "" {
			t.Errorf("nothing is written to %q of branch %s: %v", place.folder, place.branch, err)
		}
	}
}

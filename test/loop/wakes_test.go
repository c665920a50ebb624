// SPDX-License-Identifier: Apache-2.0

package loop

import (
	"fmt"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// reported is a team whose report goes to a branch of its own, or to a folder of the
// branch that is synced.
type reported struct {
	*harness.Team
	t              *testing.T
	branch, folder string
	looks          int
}

// reports are the commits that Espalier has made on the branch.
func (r *reported) reports() int {
	r.t.Helper()
	log, err := r.Git.Log(r.Repo, r.branch)
	if err != nil {
		r.t.Fatal(err)
	}
	n := 0
	for _, c := range log {
		if c.Author == "Espalier" {
			n++
		}
	}
	return n
}

// look makes the controller look at the source, as a push webhook does, and waits for
// the pass that has.
func (r *reported) look() *v1alpha1.RepoSync {
	r.t.Helper()
	r.looks++
	at := fmt.Sprint("look ", r.looks)
	s := repoSync(r.Team)
	patch := client.RawPatch("application/merge-patch+json", fmt.Appendf(nil, `{"metadata":{"annotations":{%q:%q}}}`, repolayout.AnnotationReconcileAt, at))
	if err := r.Client.Patch(r.t.Context(), s, patch); err != nil {
		r.t.Fatal(err)
	}
	err := harness.Until(patient(r.t), r.Stand, s, "handled "+at, func(s *v1alpha1.RepoSync) bool { return s.Status.LastHandledReconcileAt == at })
	if err != nil {
		r.t.Fatal(err)
	}
	return s
}

// rests is for how long a report must not have grown to be at rest: several times
// what may lie between two commits of a push.
const rests = 5 * time.Second

// settled waits until the report tells of a commit and of a Workspace that is ready,
// and nothing more is written.
func (r *reported) settled(commit string) int {
	r.t.Helper()
	deadline := time.Now().Add(patience)
	for before, since := -1, time.Now(); ; {
		text, err := r.Git.ReadFile(r.Repo, r.branch, path.Join(r.folder, repolayout.StatusReadme))
		r.look()
		n := r.reports()
		if n != before {
			before, since = n, time.Now()
		}
		if err == nil && time.Since(since) > rests && strings.Contains(text, "✅ Ready") && strings.Contains(text, commit[:7]) {
			return n
		}
		if time.Now().After(deadline) {
			r.t.Fatalf("the report does not come to rest: %d commits, %v\n%s", n, err, text)
		}
	}
}

// versions are those of everything that a report must not touch.
func (r *reported) versions() string {
	r.t.Helper()
	w := workspace(r.Team, harness.InferenceName)
	d := &appsv1.Deployment{ObjectMeta: metav1.ObjectMeta{Namespace: r.Namespace, Name: harness.InferenceName}}
	for _, o := range []client.Object{w, d} {
		if err := r.Client.Get(r.t.Context(), client.ObjectKeyFromObject(o), o); err != nil {
			r.t.Fatal(err)
		}
	}
	return w.ResourceVersion + " " + d.ResourceVersion
}

// shorter changes the sample as a person does, on top of whatever is on the branch.
func (r *reported) shorter() string {
	r.t.Helper()
	dir := filepath.Join(r.t.TempDir(), "clone")
	url := strings.Replace(r.Git.URL(r.Repo), "://", "://"+harness.GitUser+":"+harness.GitPassword+"@", 1)
	git := func(args ...string) string {
		cmd := exec.CommandContext(r.t.Context(), "git", args...)
		cmd.Env = append(os.Environ(), "GIT_CONFIG_GLOBAL=/dev/null", "GIT_TERMINAL_PROMPT=0", "GIT_AUTHOR_NAME=Ada", "GIT_AUTHOR_EMAIL=ada@example.com", "GIT_COMMITTER_NAME=Ada", "GIT_COMMITTER_EMAIL=ada@example.com")
		out, err := cmd.CombinedOutput()
		if err != nil {
			r.t.Fatalf("git %v: %v\n%s", args, err, out)
		}
		return strings.TrimSpace(string(out))
	}
	git("clone", "--quiet", url, dir)
	file := filepath.Join(dir, inferenceFile)
	content, err := os.ReadFile(file)
	if err != nil {
		r.t.Fatal(err)
	}
	if err := os.WriteFile(file, []byte(strings.Replace(string(content), "contextLength: 32768", "contextLength: 16384", 1)), 0o600); err != nil {
		r.t.Fatal(err)
	}
	git("-C", dir, "commit", "--quiet", "--all", "--message", "models: a shorter context")
	git("-C", dir, "push", "--quiet", "origin", "main")
	return git("-C", dir, "rev-parse", "HEAD")
}

// TestReportWakesNobody: once all is told, looks at the source bring no commit, no
// apply and no other revision, however often the branch is looked at, and after a
// restart; a person's commit on top is seen.
func TestReportWakesNobody(t *testing.T) {
	for name, folder := range map[string]string{"branch": "", "folder": "status/staging"} {
		t.Run(name, func(t *testing.T) {
			r := &reported{Team: newTeam(t, "wakes-"+name), t: t, branch: "main", folder: folder}
			first := push(t, r.Team, onlyInference(t), "models: serve phi-4-mini")
			sync := r.RepoSync(moved)
			sync.Spec.Interval.Duration = time.Hour
			if folder == "" {
				r.branch = r.StatusBranch()
			} else {
				sync.Spec.Report.Commit.Branch, sync.Spec.Report.Commit.Path = r.branch, folder
			}
			apply(t, r.Team, sync)
			ready(t, r.Team, harness.InferenceName)
			reports, versions := r.settled(first), r.versions()

			quiet := func(when string) {
				t.Helper()
				for range 5 {
					if s := r.look(); s.Status.LastAttemptedRevision != "main@sha1:"+first || s.Status.LastAppliedRevision != "main@sha1:"+first {
						t.Errorf("%s: at %s, applied %s, want %s", when, s.Status.LastAttemptedRevision, s.Status.LastAppliedRevision, first)
					}
				}
				if n, now := r.reports(), r.versions(); n != reports || now != versions {
					t.Errorf("%s: %d reports and versions %s, were %d and %s", when, n, now, reports, versions)
				}
			}
			quiet("at rest")
			if err := r.KillController(); err != nil {
				t.Fatal(err)
			}
			if err := r.StartController(t.Context()); err != nil {
				t.Fatal(err)
			}
			quiet("after a restart")

			first = r.shorter()
			r.look()
			appliedCommit(t, r.Team, first)
			reports, versions = r.settled(first), r.versions()
			quiet("after a person's commit")
			log, err := r.Git.Log(r.Repo, r.branch)
			for i := 1; i < len(log) || err != nil; i++ {
				if err != nil || log[i-1].Tree == log[i].Tree {
					t.Fatalf("commit %d changes nothing, %v", i, err)
				}
			}
		})
	}
}

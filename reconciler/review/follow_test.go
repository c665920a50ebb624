// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"
	"testing"
	"time"

	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/spoke"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// merged is a stage whose pull request 7 was planned, and merged as a commit of
// another hash, as a squash does it. The RepoSync has not come to it.
func merged(t *testing.T) (*stage, *Reconciler) {
	t.Helper()
	s := newStage(t)
	s.sync.Spec.Report = &v1alpha1.Report{PullRequest: true}
	s.sync.Status.LastAttemptedRevision, s.sync.Status.ObservedGeneration = "main@sha1:"+s.base, 1
	condition.Ready(s.sync, v1alpha1.ReasonSucceeded, "Applied")
	s.connect()
	w := workspaceOf("phi", waiting(v1alpha1.ReasonWaitingForNodes))
	w.Labels = map[string]string{repolayout.LabelSyncName: "models", repolayout.LabelSyncNamespace: "team"}
	if err := s.kube.Create(t.Context(), w); err != nil {
		t.Fatal(err)
	}
	r := s.controller()
	s.mustPass(r)
	s.merge(7)
	return s, r
}

func (s *stage) merge(number int64) {
	p := s.pulls[number]
	p.Open, p.Merged, p.MergedAt = false, mergedAs, s.now
	s.pulls[number] = p
}

// comes says that the RepoSync has come to a commit, and applied it.
func (s *stage) comes(commit string) {
	s.t.Helper()
	s.syncs(func(live *v1alpha1.RepoSync) {
		live.Status.LastAttemptedRevision = "main@sha1:" + commit
		live.Status.LastAppliedRevision = live.Status.LastAttemptedRevision
		condition.Ready(live, v1alpha1.ReasonSucceeded, "Applied")
	})
}

// stumbles says that it has come to a commit that cannot be applied.
func (s *stage) stumbles(commit, why string) {
	s.t.Helper()
	s.syncs(func(live *v1alpha1.RepoSync) {
		live.Status.LastAttemptedRevision = "main@sha1:" + commit
		condition.Stalled(live, v1alpha1.ReasonInvalidCommitSignature, why)
	})
}

// syncs changes the RepoSync.
func (s *stage) syncs(change func(*v1alpha1.RepoSync)) {
	s.t.Helper()
	live := &v1alpha1.RepoSync{}
	if err := s.kube.Get(s.t.Context(), client.ObjectKeyFromObject(s.sync), live); err != nil {
		s.t.Fatal(err)
	}
	change(live)
	if err := s.kube.Update(s.t.Context(), live); err != nil {
		s.t.Fatal(err)
	}
}

// stands says how the Workspace is.
func (s *stage) stands(change func(*v1alpha1.Workspace)) {
	s.t.Helper()
	w := &v1alpha1.Workspace{}
	if err := s.kube.Get(s.t.Context(), client.ObjectKey{Namespace: "team", Name: "phi"}, w); err != nil {
		s.t.Fatal(err)
	}
	change(w)
	if err := s.kube.Update(s.t.Context(), w); err != nil {
		s.t.Fatal(err)
	}
}

// says asserts what the one comment says.
func (s *stage) says(parts ...string) {
	s.t.Helper()
	if len(s.said[7]) != 1 {
		s.t.Fatalf("%d comments, want the one", len(s.said[7]))
	}
	for _, part := range parts {
		if !strings.Contains(s.said[7][0].Body, part) {
			s.t.Errorf("the comment does not say %q:\n%s", part, s.said[7][0].Body)
		}
	}
}

// TestFollow: the comment of a merged pull request becomes its progress, also
// where another commit came on top of it at once and the controller starts anew.
func TestFollow(t *testing.T) {
	s, r := merged(t)
	s.mustPass(r)
	s.says("Merged as `1a2b3c4`", "has not come to it yet", "a plan of pull request 7")
	s.comes("another")
	s.mustPass(r)
	s.says("has not come to it yet")
	s.comes("later")
	s.holds["later "+mergedAs] = true
	s.mustPass(r)
	s.says("⏳ waiting for its nodes", "The plan, as it was before the merge", "a plan of pull request 7")
	r = s.controller()
	s.stands(waiting(v1alpha1.ReasonWaitingForPods))
	s.mustPass(r)
	s.says("⏳ starting")
	writes := s.writes
	s.mustPass(r)
	s.mustPass(s.controller())
	if s.writes != writes {
		t.Errorf("%d writes though nothing happened", s.writes-writes)
	}
	s.stands(answering)
	s.mustPass(r)
	s.mustPass(r)
	s.says("✅ Done in cluster `prod`: 1 of 1 workspaces", "`http://phi.team.svc/v1`", " true -->")
	writes = s.writes
	s.stands(refused) // later, by whatever: this story has ended
	s.mustPass(r)
	s.mustPass(s.controller())
	if s.writes != writes || strings.Contains(s.said[7][0].Body, "refused") {
		t.Errorf("an end was changed: %s", s.said[7][0].Body)
	}
}

// TestFollowUnapplied: a merge that is never applied is not done, however well what
// was there before it answers; one that is applied is, whatever comes after.
func TestFollowUnapplied(t *testing.T) {
	s, r := merged(t)
	s.stands(answering)
	s.stumbles(mergedAs, "The commit carries no signature")
	s.mustPass(r)
	s.mustPass(s.controller())
	s.mustPass(r)
	s.says("❌ Not done", "The commit carries no signature", "| `phi` | ⛔ not applied |", " true -->")

	s, r = merged(t)
	s.comes(mergedAs)
	s.mustPass(r)
	s.holds["later "+mergedAs] = true
	s.stumbles("later", "The commit carries no signature")
	s.stands(answering)
	r = s.controller()
	s.mustPass(r)
	s.mustPass(r)
	s.says("✅ Done", " true -->")
}

// TestFollowSettles: an end is believed once it stands, so that the moment before a
// changed input is noticed is none.
func TestFollowSettles(t *testing.T) {
	s, r := merged(t)
	s.comes(mergedAs)
	s.stands(answering)
	s.mustPass(r)
	s.says("✅ ready", " false -->")
	s.stands(waiting(v1alpha1.ReasonWaitingForPods))
	s.mustPass(r)
	s.says("⏳ starting", " false -->")
}

// TestFollowFlapping: a Workspace that goes to and fro edits the comment a bounded
// number of times, and its end is told all the same.
func TestFollowFlapping(t *testing.T) {
	s, r := merged(t)
	s.comes(mergedAs)
	edits := 0
	s.edit = func(string) { edits++ }
	for n := range 3 * maxEdits {
		reason := v1alpha1.ReasonWaitingForPods
		if n%2 == 0 {
			reason = v1alpha1.ReasonWaitingForNodes
		}
		s.stands(waiting(reason))
		s.mustPass(r)
	}
	if edits > maxEdits {
		t.Errorf("%d edits, want at most %d", edits, maxEdits)
	}
	s.stands(answering)
	s.mustPass(r)
	s.mustPass(r)
	if edits > maxEdits+1 {
		t.Errorf("%d edits, want one more at most", edits)
	}
	s.says("✅ Done", " true -->")
}

// TestFollowOnlyWhatItMay: nothing is said where nobody asked, of what was merged
// long ago, without its plan, or after somebody took the comment away.
func TestFollowOnlyWhatItMay(t *testing.T) {
	for name, tc := range map[string]struct {
		reason string
		change func(*stage)
	}{
		"NotAsked": {reason: "report.pullRequest is a choice.", change: func(s *stage) {
			s.sync.Spec.Report = nil
			s.connect()
		}},
		"LongAgo": {reason: "Who switches reports on does not want last month's.", change: func(s *stage) {
			p := s.pulls[7]
			p.MergedAt = p.MergedAt.Add(-25 * time.Hour)
			s.pulls[7] = p
		}},
		"OtherHead": {reason: "The plan is of another head: its Workspaces are not those that were merged.", change: func(s *stage) {
			p := s.pulls[7]
			p.Head = "another"
			s.pulls[7] = p
		}},
		"Deleted": {reason: "The comment is gone.", change: func(s *stage) { s.said[7] = nil }},
		"Nothing": {reason: "It changes no Workspace.", change: func(s *stage) {
			s.said[7][0].Body = strings.Replace(s.said[7][0].Body, "team/phi", "", 1)
		}},
		"Old": {reason: "A comment of an earlier version names no Workspaces.", change: func(s *stage) {
			s.said[7][0].Body = strings.Replace(s.said[7][0].Body, touchedBegin, "<!-- x", 1)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			s, r := merged(t)
			tc.change(s)
			writes := s.writes
			s.comes(mergedAs)
			r.Client, r.Reader = s.kube, s.kube
			s.mustPass(r)
			s.mustPass(s.controller())
			if s.writes != writes {
				t.Errorf("%s\nwritten: %+v", tc.reason, s.said[7])
			}
		})
	}
}

// TestFollowOnlyItsOwn: whoever edits the comment can make it show no Workspace of
// another RepoSync.
func TestFollowOnlyItsOwn(t *testing.T) {
	s, r := merged(t)
	other := workspaceOf("secret-project", answering)
	other.Namespace = "others"
	other.Labels = map[string]string{repolayout.LabelSyncName: "models", repolayout.LabelSyncNamespace: "others"}
	if err := s.kube.Create(t.Context(), other); err != nil {
		t.Fatal(err)
	}
	s.said[7][0].Body = strings.Replace(s.said[7][0].Body, "team/phi", "others/secret-project", 1)
	s.comes(mergedAs)
	s.mustPass(r)
	s.says("`others/secret-project` | ⏳ on its way | – | – | – |")
}

// TestFollowLabelled: two labels, which whoever may edit a Workspace can write, make
// it no RepoSync's: lying where that writes does, or being in its inventory.
func TestFollowLabelled(t *testing.T) {
	s, r := merged(t)
	for _, namespace := range []string{"elsewhere", "others"} {
		w := workspaceOf("phi", refused)
		w.Namespace, w.Labels = namespace, map[string]string{repolayout.LabelSyncName: "models", repolayout.LabelSyncNamespace: "team"}
		if err := s.kube.Create(t.Context(), w); err != nil {
			t.Fatal(err)
		}
	}
	s.said[7][0].Body = strings.Replace(s.said[7][0].Body, "team/phi", "team/phi others/phi -elsewhere/phi", 1)
	s.comes(mergedAs)
	s.syncs(func(live *v1alpha1.RepoSync) {
		live.Status.Inventory = []v1alpha1.InventoryEntry{{ID: "others_phi_espalier.dev_Workspace", Version: "v1alpha1"}}
	})
	s.mustPass(r)
	s.says("`elsewhere/phi` | 🗑️ removed", "`others/phi` | ⛔ refused")
}

// TestFollowForgets: one that comes to no end is let go of.
func TestFollowForgets(t *testing.T) {
	s, r := merged(t)
	s.comes(mergedAs)
	s.mustPass(r)
	s.says("⏳ waiting for its nodes")
	s.now = s.now.Add(giveUpAfter)
	s.mustPass(r)
	writes := s.writes
	s.stands(answering)
	s.mustPass(r)
	if s.writes != writes {
		t.Error("it is followed for ever")
	}
}

// TestFollowGone: an edit of a comment that was taken away is the last.
func TestFollowGone(t *testing.T) {
	s, r := merged(t)
	s.mustPass(r)
	s.gone = true
	s.comes(mergedAs)
	s.mustPass(r)
	writes := s.writes
	s.stands(answering)
	s.mustPass(r)
	if s.writes != writes {
		t.Error("it is edited though it is not there")
	}
}

// tells says how the Workspaces of another cluster are, and that Git says the same of them.
func (s *stage) tells(all ...*v1alpha1.Workspace) {
	s.t.Helper()
	s.syncs(func(live *v1alpha1.RepoSync) {
		var list []spoke.Seen
		for _, w := range all {
			list = append(list, spoke.Seen{Live: w, Git: spoke.GitOf(w, w.Annotations[repolayout.AnnotationSource])})
		}
		var err error
		live.Status.Spoke, err = new(spoke.Memory).Told(live, live.Status.Spoke, list)
		if err != nil {
			s.t.Fatal(err)
		}
	})
}

// elsewhere has the RepoSync apply to another cluster.
func (s *stage) elsewhere() {
	s.t.Helper()
	s.syncs(func(live *v1alpha1.RepoSync) {
		live.Spec.KubeConfig = &v1alpha1.KubeConfig{SecretRef: &v1alpha1.SecretKeyReference{Name: "spoke"}}
	})
}

// TestFollowElsewhere: Workspaces of another cluster are followed by what the status
// tells of them, and a namesake of this cluster is none of them.
func TestFollowElsewhere(t *testing.T) {
	s, r := merged(t)
	s.elsewhere()
	s.stands(answering) // here, which is another Workspace
	s.comes(mergedAs)
	s.mustPass(r)
	s.says("⏳ On its way", "| `phi` | ⏳ on its way |", "synced by RepoSync `team/models` to the cluster of its `spec.kubeConfig`")
	s.tells(workspaceOf("phi", waiting(v1alpha1.ReasonWaitingForNodes)))
	s.mustPass(r)
	s.says("⏳ waiting for its nodes")
	s.syncs(func(live *v1alpha1.RepoSync) {
		condition.False(live, v1alpha1.ConditionApplied, v1alpha1.ReasonClusterUnreachable, "it does not answer in time")
	})
	s.mustPass(r)
	s.says("**How they are now is not known:** it does not answer in time", "⏳ waiting for its nodes")
	s.syncs(func(live *v1alpha1.RepoSync) {
		condition.True(live, v1alpha1.ConditionApplied, v1alpha1.ReasonSucceeded, "Applied")
	})
	s.tells(workspaceOf("phi", answering))
	r = s.controller()
	s.mustPass(r)
	s.mustPass(r)
	s.says("✅ Done in cluster `prod`: 1 of 1 workspaces", "`http://phi.team.svc/v1`", " true -->")
}

// TestFollowTooMany: where what there is to tell does not fit, that is said, once.
func TestFollowTooMany(t *testing.T) {
	s, r := merged(t)
	s.elsewhere()
	s.syncs(func(live *v1alpha1.RepoSync) { live.Status.Spoke = &v1alpha1.SpokeStatus{Workspaces: 20_000} })
	s.comes(mergedAs)
	key := client.ObjectKeyFromObject(s.sync)
	for range 2 {
		if _, err := r.Reconcile(t.Context(), ctrl.Request{NamespacedName: key}); err != nil {
			t.Fatal(err)
		}
		s.now = s.now.Add(time.Minute)
	}
	if got := <-s.events.Events; !strings.Contains(got, ReasonTooManyWorkspaces) || !strings.Contains(got, "20000 Workspaces") || !strings.Contains(got, "divide it") {
		t.Errorf("the event says %s", got)
	}
	if len(s.events.Events) != 0 {
		t.Errorf("said again: %s", <-s.events.Events)
	}
}

// TestFollowGoneElsewhere: that one is missing in a list which is not there, or has not
// all, is no word of its end.
func TestFollowGoneElsewhere(t *testing.T) {
	for name, c := range map[string]struct {
		reason string
		told   *v1alpha1.SpokeStatus
		ends   bool
		state  string
	}{
		"Untold":     {"Nobody has looked there yet.", nil, false, "to be removed"},
		"Promotions": {"The list was made when only promotions were asked for.", &v1alpha1.SpokeStatus{}, false, "to be removed"},
		"All":        {"All are told, and it is not among them.", &v1alpha1.SpokeStatus{All: true}, true, "removed"},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.RepoSync{Spec: v1alpha1.RepoSyncSpec{KubeConfig: &v1alpha1.KubeConfig{}}, Status: v1alpha1.RepoSyncStatus{Spoke: c.told}}
			byName, all, err := new(kept).elsewhere(s)
			if err != nil {
				t.Fatal(err)
			}
			p := progress{sync: s, touched: []Touched{{Name: "phi", Gone: true}}, workspaces: byName, unsure: !all}
			if rows, _, ended := p.rows(); ended != c.ends || !strings.HasSuffix(rows[0].state, " "+c.state) {
				t.Errorf("%s\nit says %q, and ended is %v", c.reason, rows[0].state, ended)
			}
		})
	}
}

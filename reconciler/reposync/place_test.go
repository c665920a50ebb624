// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"
	"sigs.k8s.io/controller-runtime/pkg/event"

	"github.com/espalier-dev/espalier/reconciler/apply"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/remote"
	"github.com/espalier-dev/espalier/reconciler/report"
	"github.com/espalier-dev/espalier/reconciler/spoke"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestMoved: what is in one cluster is not forgotten because spec.kubeConfig leads to
// another, and not looked for there.
func TestMoved(t *testing.T) {
	for name, c := range map[string]struct {
		reason    string
		is, to    string // status.cluster, and where spec.kubeConfig leads; "": this cluster
		inventory []v1alpha1.InventoryEntry
		annotated string
		says      string // "": it goes on
		kept      int    // entries of the inventory
	}{
		"Same":         {"It is where it was, by whatever Secret.", "a", "a", listed("models/a"), "", "", 1},
		"First":        {"Nothing was applied yet.", "", "a", nil, "", "", 0},
		"Emptied":      {"Nothing is left in the old one.", "a", "b", nil, "", "", 0},
		"Elsewhere":    {"Nodes in the old one are paid.", "a", "b", listed("models/a", "models/b"), "", "2 objects were applied to the cluster whose kube-system has UID a", 2},
		"Away":         {"So are those of this cluster.", "", "b", listed("models/a"), "", "1 objects were applied to this cluster itself", 1},
		"Back":         {"A kubeConfig that is removed leads here.", "a", "", listed("models/a"), "", "leads elsewhere now", 1},
		"Left":         {"A person says that it stays there.", "a", "b", listed("models/a"), "a", "", 0},
		"LeftHere":     {"This cluster has a word of its own.", "", "b", listed("models/a"), repolayout.LeaveThisCluster, "", 0},
		"LeftAnother":  {"What was said of one cluster is not said of the next.", "b", "c", listed("models/a"), "a", "leads elsewhere now", 1},
		"LeftTheWrong": {"The new one is not the one to leave.", "a", "b", listed("models/a"), "b", "leads elsewhere now", 1},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			s.Status.Cluster, s.Status.Inventory = c.is, c.inventory
			s.Annotations = map[string]string{repolayout.AnnotationLeaveCluster: c.annotated}
			err := (&pass{sync: s, at: place{cluster: c.to}}).moved()
			switch {
			case c.says == "" && err != nil:
				t.Errorf("%s\nit says %v", c.reason, err)
			case c.says != "" && (!fault.IsTerminal(err) || fault.Reason(err, "") != v1alpha1.ReasonClusterChanged || !strings.Contains(err.Error(), c.says)):
				t.Errorf("%s\nit says %v, want %q", c.reason, err, c.says)
			}
			if got := len(s.Status.Inventory); got != c.kept {
				t.Errorf("%s\nthe inventory has %d entries, want %d", c.reason, got, c.kept)
			}
		})
	}
}

// TestOwnersOfClusters: RepoSyncs of one name on several hubs, and in the cluster itself,
// are told apart by more than their name.
func TestOwnersOfClusters(t *testing.T) {
	here, there := place{}, place{hub: "hub", cluster: "spoke"}
	for name, c := range map[string]struct {
		reason string
		at     place
		hub    string // the label of the object
		ours   bool
		other  string // who holds it instead, in words
	}{
		"Ours":          {"It was applied here, from here.", here, "", true, ""},
		"OfAHub":        {"A hub has applied it here: a RepoSync here of the same name must not prune it.", here, "hub", false, "team/models of the cluster whose kube-system has UID hub"},
		"OursThere":     {"It was applied there, from here.", there, "hub", true, ""},
		"Theirs":        {"A RepoSync of that cluster itself has applied it.", there, "", false, "team/models of that cluster itself"},
		"OfAnotherHub":  {"Two hubs would undo each other for ever.", there, "other", false, "team/models of the cluster whose kube-system has UID other"},
		"OfAnotherHere": {"So here.", here, "other", false, "team/models of the cluster whose kube-system has UID other"},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			s.Namespace, s.Name = "team", "models"
			o := appliedBy("team", "models", "a", nil)
			o.Labels[repolayout.LabelSyncNamespace], o.Labels[repolayout.LabelSyncName] = "team", "models"
			if c.hub != "" {
				o.Labels[repolayout.LabelSyncHub] = c.hub
			}
			r := newReconciler(t, interceptor.Funcs{}, s)
			if got := c.at.ownedBy(o, s); got != c.ours {
				t.Errorf("%s\nours: %v", c.reason, got)
			}
			if got, err := r.otherSync(t.Context(), c.at, s, o); err != nil || got != c.other {
				t.Errorf("%s\nheld by %q (%v), want %q", c.reason, got, err, c.other)
			}
			if asks := len(syncOf(t.Context(), o)) > 0; asks != (c.hub == "") {
				t.Errorf("%s\na change of it here is looked at: %v", c.reason, asks)
			}
		})
	}
	o := appliedBy("team", "models", "a", nil)
	o.Labels = nil
	for _, at := range []place{here, there} {
		if got := at.elsewhere(o); got != "" {
			t.Errorf("an object without labels is held by %q", got)
		}
	}
}

// TestHeard: news of another cluster are taken as those of this one, and that it is away
// or there again is for everything in it.
func TestHeard(t *testing.T) {
	key := types.NamespacedName{Namespace: "models", Name: "team"}
	was := appliedBy("team", "models", "a", nil)
	told, changed := was.DeepCopy(), was.DeepCopy()
	condition.Ready(told, v1alpha1.ReasonSucceeded, "It answers")
	changed.Generation++
	for name, c := range map[string]struct {
		reason string
		news   remote.News
		stirs  bool
	}{
		"Status":  {"The model answers.", remote.News{Sync: key, Was: was, Is: told}, false},
		"Spec":    {"Somebody may have changed what Git says.", remote.News{Sync: key, Was: was, Is: changed}, true},
		"Deleted": {"It is to come back.", remote.News{Sync: key, Was: was}, true},
		"Created": {"It is what we applied, or somebody wrote our labels.", remote.News{Sync: key, Is: was}, true},
		"Cluster": {"It is there again, and what happened meanwhile nobody saw.", remote.News{Sync: key}, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newQueued(t)
			r.took.Store(key, time.Hour)
			r.heard().Generic(t.Context(), event.TypedGenericEvent[remote.News]{Object: c.news}, r.queue)
			if stirred := r.stirred.take(key).all(); stirred != c.stirs || (r.queue.Len() == 1) != c.stirs {
				t.Errorf("%s\nstirred %v, %d passes are due at once", c.reason, stirred, r.queue.Len())
			}
		})
	}
}

// TestTellReview: what pull requests are told of a Workspace that the cache has as it was
// before it was applied is of an older spec.
func TestTellReview(t *testing.T) {
	at := func(version string, generation int64) *v1alpha1.Workspace {
		w := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "phi", UID: "u", ResourceVersion: version, Generation: generation}}
		condition.Ready(w, v1alpha1.ReasonSucceeded, "It answers")
		return w
	}
	for name, c := range map[string]struct {
		reason string
		cached *v1alpha1.Workspace
		want   report.State
	}{
		"Heard":  {"The cache has heard of the apply, and the controller there has said that it is well.", at("20", 3), report.Ready},
		"Behind": {"What answered before the apply is not what was merged.", at("17", 2), report.Progressing},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.RepoSync{Spec: v1alpha1.RepoSyncSpec{KubeConfig: &v1alpha1.KubeConfig{}, Review: &v1alpha1.Review{}, Report: &v1alpha1.Report{PullRequest: true}}}
			p := passOf(s, built{})
			p.workspaces = []*v1alpha1.Workspace{c.cached}
			p.kept.note("models_phi_espalier.dev_Workspace", apply.MarkOf("sha256:1", at("20", 3)))
			if err := p.tellReview(); err != nil {
				t.Fatal(err)
			}
			told, err := spoke.Workspaces(s.Status.Spoke)
			if err != nil || len(told) != 1 || report.StateOf(&told[0]) != c.want {
				t.Errorf("%s\ntold %+v, %v", c.reason, told, err)
			}
		})
	}
}

// TestTellReviewAfterRestart: what Git dropped is told until it is gone, though the
// inventory has let go of it, and nothing is remembered of its deletion.
func TestTellReviewAfterRestart(t *testing.T) {
	s := team()
	s.Spec.KubeConfig, s.Spec.Review, s.Spec.Report = &v1alpha1.KubeConfig{}, &v1alpha1.Review{}, &v1alpha1.Report{PullRequest: true}
	s.Status.LastAttemptedRevision, s.Status.Inventory = "main@sha1:"+testHash, listed("models/a")
	ours := func(w *v1alpha1.Workspace) { w.Labels[repolayout.LabelSyncHub] = "hub" }
	r := newReconciler(t, interceptor.Funcs{}, appliedBy("team", "models", "a", ours), appliedBy("team", "models", "b", ours),
		appliedBy("team", "models", "theirs", nil), appliedBy("team", "other", "c", ours))
	p := passOf(s, built{})
	p.at = r.own()
	p.at.hub, p.at.within = "hub", "models"
	if err := r.observeAndReport(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	told, err := spoke.Workspaces(s.Status.Spoke)
	if err != nil || len(told) != 2 || told[0].Name != "a" || told[1].Name != "b" || !s.Status.Spoke.All || s.Status.Workspaces != "0/1" {
		t.Errorf("told of %+v, counted %s: %v", told, s.Status.Workspaces, err)
	}
}

// TestTellReviewOfALiar: what is to be, and where it is written, is of the commit that was
// applied, and of nothing before that.
func TestTellReviewOfALiar(t *testing.T) {
	lies := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: "run", UID: "u", ResourceVersion: "20",
		Annotations: map[string]string{repolayout.AnnotationSource: "secret.yaml:7"}}}
	lies.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: "registry.example.com/evil:v1"}, Promote: &v1alpha1.Promote{To: "evil"}}
	says := &v1alpha1.Workspace{}
	says.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: "registry.example.com/dolly:v1"}, Promote: &v1alpha1.Promote{To: "phi"}}
	const id = "models_run_espalier.dev_Workspace"
	is := &wanted{digest: "sha256:1", entry: v1alpha1.InventoryEntry{ID: id}, told: spoke.GitOf(says, "a.yaml:1")}
	for name, c := range map[string]struct {
		reason  string
		wanted  []*wanted
		applied string
		want    string
	}{
		"Applied": {"Git says it, and it was applied.", []*wanted{is}, "sha256:1", "a.yaml:1"},
		"Older":   {"What runs there is of an older commit.", []*wanted{is}, "sha256:0", ""},
		"Unknown": {"After a restart nothing is known until it is applied once more.", []*wanted{is}, "", ""},
		"Dropped": {"Git says nothing of it.", nil, "sha256:1", ""},
	} {
		t.Run(name, func(t *testing.T) {
			s := &v1alpha1.RepoSync{Spec: v1alpha1.RepoSyncSpec{KubeConfig: &v1alpha1.KubeConfig{}, Review: &v1alpha1.Review{}, Report: &v1alpha1.Report{PullRequest: true}}}
			p := passOf(s, built{wanted: c.wanted})
			p.workspaces = []*v1alpha1.Workspace{lies}
			if c.applied != "" {
				p.kept.note(id, apply.MarkOf(c.applied, lies))
			}
			if err := p.tellReview(); err != nil {
				t.Fatal(err)
			}
			told, err := spoke.Workspaces(s.Status.Spoke)
			if err != nil || len(told) != 1 || told[0].Annotations[repolayout.AnnotationSource] != c.want {
				t.Fatalf("%s\ntold %+v, %v", c.reason, told, err)
			}
			if to := told[0].Spec.Tuning.Promote; (to != nil) != (c.want != "") || to != nil && to.To != "phi" {
				t.Errorf("%s\nit promotes %+v", c.reason, to)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/reconciler/plan"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestConclude(t *testing.T) {
	change := func(kind plan.EffectKind, fit *plan.Fit) plan.Change {
		return plan.Change{Kind: v1alpha1.WorkspaceKind, Namespace: "models", Name: "phi", Effect: plan.Effect{Kind: kind}, Fit: fit}
	}
	budget := plan.Finding{Finding: v1alpha1.Finding{Severity: "error", Code: "BudgetExceeded", Message: "$20/h is above the budget of $16/h @team"}}
	for name, tc := range map[string]struct {
		reason string
		plan   plan.Plan
		want   [3]Said // plan, fit, cost
	}{
		"Good": {
			reason: "A change that fits says what it costs more.",
			plan:   plan.Plan{Summary: plan.Summary{Line: "1 new", Verdict: v1alpha1.Fits, Monthly: plan.Monthly{Delta: 2644}}, Changes: []plan.Change{change(plan.Created, &plan.Fit{Verdict: v1alpha1.Fits})}},
			want:   [3]Said{{forge.Success, "1 new"}, {forge.Success, "Everything that is new or changed fits its GPUs"}, {forge.Success, "+$2,644/month list price"}},
		},
		"TooLarge": {
			reason: "What does not fit is named.",
			plan:   plan.Plan{Refused: true, Summary: plan.Summary{Line: "refused: 1 error", Verdict: v1alpha1.No}, Changes: []plan.Change{change(plan.Refused, &plan.Fit{Verdict: v1alpha1.No, InstanceType: "Standard_NC4as_T4_v3"})}},
			want:   [3]Said{{forge.Failure, "refused: 1 error"}, {forge.Failure, "models/phi does not fit Standard_NC4as_T4_v3"}, {forge.Success, "±$0/month list price"}},
		},
		"Broken": {
			reason: "What was not judged must not pass for what fits.",
			plan:   plan.Plan{Refused: true, Summary: plan.Summary{Line: "refused: 1 error"}},
			want:   [3]Said{{forge.Failure, "refused: 1 error"}, {forge.Failure, "The errors hide what is new, so whether it fits is not known"}, {forge.Success, "±$0/month list price"}},
		},
		"BrokenOne": {
			reason: "Nor one that has an error of its own.",
			plan:   plan.Plan{Refused: true, Summary: plan.Summary{Line: "refused: 1 error"}, Changes: []plan.Change{change(plan.Refused, nil)}},
			want:   [3]Said{{forge.Failure, "refused: 1 error"}, {forge.Failure, "models/phi has an error, so whether it fits is not known"}, {forge.Success, "±$0/month list price"}},
		},
		"Dear": {
			reason: "A budget is the cost's to fail, and mentions nobody.",
			plan:   plan.Plan{Refused: true, Summary: plan.Summary{Line: "refused: 1 error", Verdict: v1alpha1.Fits}, Findings: []plan.Finding{budget}, Changes: []plan.Change{change(plan.Refused, &plan.Fit{Verdict: v1alpha1.Fits})}},
			want:   [3]Said{{forge.Failure, "refused: 1 error"}, {forge.Success, "Everything that is new or changed fits its GPUs"}, {forge.Failure, "$20/h is above the budget of $16/h @\u200bteam"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			v := Conclude(tc.plan, plan.LimitGitea)
			if diff := cmp.Diff(tc.want, [3]Said{v.Plan, v.Fit, v.Cost}); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

func TestOurs(t *testing.T) {
	mine := mark{prefix: "espalier", owner: "prod/models/models", about: subject{"b", "h", "s"}}
	others := mark{prefix: "espalier", owner: "staging/models/models", about: subject{"b", "h", "s"}}
	apart := mark{prefix: "espalier/staging", owner: "staging/models/models", about: subject{"b", "h", "s"}}
	for name, tc := range map[string]struct {
		reason   string
		comments []forge.Comment
		id       int64
		rival    string
	}{
		"None":      {reason: "Nothing was said yet."},
		"Mine":      {reason: "The mark tells whose it is.", comments: []forge.Comment{{ID: 1, Body: "hello"}, {ID: 2, Body: mine.String() + "x"}}, id: 2},
		"CRLF":      {reason: "Forges may change the ends of lines.", comments: []forge.Comment{{ID: 2, Body: strings.ReplaceAll(mine.String(), "\n", "\r\n") + "x"}}, id: 2},
		"Quoted":    {reason: "A mark further down is a quotation.", comments: []forge.Comment{{ID: 2, Body: "> x\n" + mine.String()}}},
		"Rival":     {reason: "Two that set the same statuses would hide one another.", comments: []forge.Comment{{ID: 3, Body: others.String()}}, rival: others.owner},
		"OwnPrefix": {reason: "With names of its own another is no rival.", comments: []forge.Comment{{ID: 3, Body: apart.String()}}},
	} {
		t.Run(name, func(t *testing.T) {
			comment, was, rival := ours(tc.comments, mine)
			if comment.ID != tc.id || rival != tc.rival || tc.id != 0 && was != mine {
				t.Errorf("%s\ngot %d, %+v, rival %q", tc.reason, comment.ID, was, rival)
			}
		})
	}
}

func TestReadiness(t *testing.T) {
	sync := func(workspaces string, change func(*v1alpha1.RepoSync)) *v1alpha1.RepoSync {
		s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Name: "models"}}
		s.Spec.Report, s.Spec.Review = &v1alpha1.Report{Statuses: true}, &v1alpha1.Review{StatusPrefix: "espalier"}
		s.Status.LastAttemptedRevision, s.Status.Workspaces = "main@sha1:abc", workspaces
		change(s)
		return s
	}
	applied := func(s *v1alpha1.RepoSync) {
		condition.Ready(s, v1alpha1.ReasonSucceeded, "Applied revision main@sha1:abc")
	}
	for name, tc := range map[string]struct {
		reason string
		sync   *v1alpha1.RepoSync
		state  forge.State // "" when nothing is said
		text   string
	}{
		"Ready":    {reason: "All of them.", sync: sync("2/2", applied), state: forge.Success, text: "All workspaces are ready: 2/2"},
		"Nothing":  {reason: "A repository without a Workspace is ready.", sync: sync("0/0", applied), state: forge.Success, text: "All workspaces are ready: 0/0"},
		"OnTheWay": {reason: "Applied is not yet ready.", sync: sync("1/2", applied), state: forge.Pending, text: "Applied; workspaces that are ready: 1/2"},
		"Stalled": {reason: "Only a change can help.", sync: sync("1/2", func(s *v1alpha1.RepoSync) {
			condition.Stalled(s, v1alpha1.ReasonBuildFailed, "a.yaml:1: wrong, see @ops")
		}), state: forge.Failure, text: "a.yaml:1: wrong, see @\u200bops"},
		"Retried": {reason: "Waiting can help.", sync: sync("1/2", func(s *v1alpha1.RepoSync) {
			condition.Progressing(s, v1alpha1.ReasonApplyFailed, "The API server is away")
		}), state: forge.Pending, text: "The API server is away"},
		"NotAsked":   {reason: "Nobody asked for it.", sync: sync("1/1", func(s *v1alpha1.RepoSync) { applied(s); s.Spec.Report = nil })},
		"NothingYet": {reason: "No commit was read.", sync: sync("", func(s *v1alpha1.RepoSync) { applied(s); s.Status.LastAttemptedRevision = "" })},
		"Stale":      {reason: "The status speaks of another spec.", sync: sync("1/1", func(s *v1alpha1.RepoSync) { applied(s); s.Generation = 2 })},
	} {
		t.Run(name, func(t *testing.T) {
			r, says := readiness(tc.sync)
			if says != (tc.state != "") || r.status.State != tc.state || r.status.Text != tc.text {
				t.Errorf("%s\ngot %v %+v", tc.reason, says, r)
			}
			if says && (r.commit != "abc" || r.status.Name != "espalier/models/ready") {
				t.Errorf("%+v", r)
			}
		})
	}
}

// TestSettings: what a plan, or the names of its statuses, do not depend on makes
// no head be planned anew.
func TestSettings(t *testing.T) {
	digest := func(change func(*v1alpha1.RepoSync)) string {
		s := &v1alpha1.RepoSync{Spec: v1alpha1.RepoSyncSpec{Path: "clusters/production", Review: &v1alpha1.Review{StatusPrefix: "espalier"}}}
		change(s)
		return settingsOf(s, Program{Region: "westeurope"})
	}
	same := digest(func(*v1alpha1.RepoSync) {})
	for name, tc := range map[string]struct {
		reason string
		change func(*v1alpha1.RepoSync)
		same   bool
	}{
		"Forks":    {reason: "Whom to answer is not what to say.", change: func(s *v1alpha1.RepoSync) { s.Spec.Review.Forks = v1alpha1.PlanForks }, same: true},
		"Interval": {reason: "Nor is when.", change: func(s *v1alpha1.RepoSync) { s.Spec.Interval.Duration = 1 }, same: true},
		"Report":   {reason: "Nor where readiness goes.", change: func(s *v1alpha1.RepoSync) { s.Spec.Report = &v1alpha1.Report{Statuses: true} }, same: true},
		"Path":     {reason: "Another folder has another plan.", change: func(s *v1alpha1.RepoSync) { s.Spec.Path = "clusters/staging" }},
		"Prefix":   {reason: "Under another name nothing was said yet.", change: func(s *v1alpha1.RepoSync) { s.Spec.Review.StatusPrefix = "espalier/b" }},
		"NoLines":  {reason: "What was always so is not said anew.", change: func(s *v1alpha1.RepoSync) { s.Spec.Review.LineComments = v1alpha1.NoLineComments }, same: true},
		"Lines":    {reason: "Nothing was said on lines yet.", change: func(s *v1alpha1.RepoSync) { s.Spec.Review.LineComments = v1alpha1.FixLineComments }},
		"Sizes":    {reason: "Substitutions decide what is bought.", change: func(s *v1alpha1.RepoSync) { s.Spec.Substitutions = map[string]string{"A": "B"} }},
	} {
		if got := digest(tc.change) == same; got != tc.same {
			t.Errorf("%s: %s the digest is the same: %v", name, tc.reason, got)
		}
	}
}

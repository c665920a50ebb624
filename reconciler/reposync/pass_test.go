// SPDX-License-Identifier: Apache-2.0

package reposync

import (
	"errors"
	"fmt"
	"testing"
	"testing/fstest"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/jitter"
	"github.com/espalier-dev/espalier/repo-layout/finding"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func TestConclude(t *testing.T) {
	broken := built{findings: []v1alpha1.Finding{{Severity: finding.Error, Code: "UnknownField", File: "a.yaml", Line: 3, Message: "no such field"}}}
	for name, c := range map[string]struct {
		reason string
		built  built
		change func(*pass)
		err    error
		want   string // Built, Applied, Ready, FieldConflict
	}{
		"Good": {reason: "All went well.", want: "True True True -"},
		"Broken": {
			reason: "What could be built is applied; what could not is told.",
			built:  broken, want: "False True False -",
		},
		"BrokenAndConflict": {
			reason: "Both are told, each in its condition.",
			built:  broken, change: func(p *pass) { p.conflicts = []string{"Workspace models/a: …"} }, want: "False False False True",
		},
		"Refused": {
			reason: "The API server would not take an object.",
			change: func(p *pass) { p.refusals = []string{"a.yaml:1: …"} }, want: "True False False -",
		},
		"ApplyFails": {
			reason: "The commit is built all the same.",
			change: func(p *pass) { p.failed = v1alpha1.ConditionApplied }, err: errors.New("a webhook does not answer"), want: "True False False -",
		},
		"SourceFails": {
			reason: "Nothing new is known of the later steps.",
			change: func(p *pass) { p.failed = v1alpha1.ConditionSourceReady },
			err:    fault.Retry(v1alpha1.ReasonSourceUnreachable, errors.New("no answer")), want: "- - False -",
		},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			long := metav1.NewTime(time.Unix(1_000_000, 0))
			for range 2 { // the second pass learns nothing new
				p := passOf(s, c.built)
				if c.change != nil {
					c.change(p)
				}
				p.conclude(c.err, nil)
				got := fmt.Sprint(statusOf(s, v1alpha1.ConditionBuilt), " ", statusOf(s, v1alpha1.ConditionApplied), " ",
					statusOf(s, v1alpha1.ConditionReady), " ", statusOf(s, v1alpha1.ConditionFieldConflict))
				if got != c.want {
					t.Errorf("%s\nBuilt Applied Ready FieldConflict = %s, want %s", c.reason, got, c.want)
				}
				for i := range s.Status.Conditions {
					if at := &s.Status.Conditions[i]; s.Generation == 0 {
						at.LastTransitionTime = long
					} else if at.LastTransitionTime != long {
						t.Errorf("the transition of %s is told anew though nothing changed", at.Type)
					}
				}
				s.Generation = 1
			}
		})
	}
}

func statusOf(s *v1alpha1.RepoSync, kind string) string {
	if c := condition.Get(s, kind); c != nil {
		return string(c.Status)
	}
	return "-"
}

// TestErrorsComeFirst: warnings must not push the errors out of the status, nor
// out of what decides.
func TestErrorsComeFirst(t *testing.T) {
	tree := fstest.MapFS{"z.yaml": {Data: []byte("apiVersion: espalier.dev/v1alpha1\nkind: Workspace\nmetadata: {name: z}\nspec: {nonsense: 1}\n")}}
	b := assembleTree(t, team(), tree)
	errorsFound := len(errorsOf(b.findings))
	if errorsFound == 0 {
		t.Fatal("the broken document has no error")
	}
	var many []v1alpha1.Finding
	for i := range maxFindings {
		many = append(many, v1alpha1.Finding{Severity: finding.Warning, Code: "W", File: fmt.Sprintf("%02d.yaml", i)})
	}
	b.findings = append(many, b.findings...)
	errorsFirst(b.findings)
	r, s := newReconciler(t, interceptor.Funcs{}), team()
	p := passOf(s, b)
	if err := r.build(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if len(s.Status.Findings) != maxFindings || s.Status.Findings[0].Severity != finding.Error {
		t.Errorf("%d findings, the first %+v: want %d, errors first", len(s.Status.Findings), s.Status.Findings[0], maxFindings)
	}
	if s.Status.Findings[errorsFound].File != "00.yaml" || s.Status.Findings[errorsFound+1].File != "01.yaml" {
		t.Errorf("the order among warnings must stay: %+v", s.Status.Findings[errorsFound:errorsFound+2])
	}
	if got := r.snapshot(p, nil).Findings; len(got) != maxFindings+errorsFound {
		t.Errorf("the report has %d findings, want all %d", len(got), maxFindings+errorsFound)
	}
	restarted := &pass{sync: s, kept: &kept{}}
	if got := r.snapshot(restarted, nil).Findings; len(got) != maxFindings {
		t.Errorf("after a restart without a source the report has %d findings, want the %d of the status", len(got), maxFindings)
	}
}

func TestResult(t *testing.T) {
	now := time.Unix(2_000_000, 0)
	for name, c := range map[string]struct {
		reason   string
		interval time.Duration
		looked   time.Duration // ago
		failed   string
		err      error
		spread   jitter.Spread
		due      time.Duration // of a report
		want     time.Duration
	}{
		"Interval":   {reason: "The rest of the interval.", interval: time.Minute, looked: 20 * time.Second, want: 40 * time.Second},
		"TooShort":   {reason: "An interval of nothing would be a loop without rest.", interval: 0, want: time.Second},
		"Over":       {reason: "It ran out meanwhile: soon.", interval: time.Minute, looked: time.Hour, want: 100 * time.Millisecond},
		"NotCome":    {reason: "What stops a pass before the source stops the next as well.", interval: time.Minute, looked: time.Hour, failed: v1alpha1.ConditionApplied, err: fault.Stopf("X", "no"), want: time.Minute},
		"NotYet":     {reason: "So it is when the source is due later: then it is asked.", interval: time.Minute, looked: 20 * time.Second, failed: v1alpha1.ConditionApplied, err: fault.Stopf("X", "no"), want: 40 * time.Second},
		"SourceDown": {reason: "What cannot be read is not asked without rest.", interval: time.Minute, looked: time.Hour, failed: v1alpha1.ConditionSourceReady, err: fault.Stopf("X", "no"), want: time.Minute},
		"Longer":     {reason: "RepoSyncs of one interval must not ask all at once.", interval: time.Minute, looked: 20 * time.Second, spread: 0.05, want: 43 * time.Second},
		"Shorter":    {reason: "To both sides, as Flux does: the interval is right in the middle.", interval: time.Minute, looked: 20 * time.Second, spread: -0.05, want: 37 * time.Second},
		"DownLonger": {reason: "So it is with those that cannot read: they came to it together.", interval: time.Minute, looked: time.Hour, spread: 0.05, failed: v1alpha1.ConditionSourceReady, err: fault.Stopf("X", "no"), want: 63 * time.Second},
		"Least":      {reason: "No interval is shorter than the API allows.", interval: time.Second, spread: -0.5, want: time.Second},
		"ReportDue":  {reason: "A report that is due is no interval.", interval: time.Hour, spread: 0.5, due: time.Minute, want: time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			s := team()
			s.Spec.Interval.Duration = c.interval
			p := &pass{sync: s, failed: c.failed, reportDue: c.due, kept: &kept{lookedAt: now.Add(-c.looked), spread: c.spread}}
			got, err := p.result(c.err, nil, now)
			if err != nil || got.RequeueAfter != c.want {
				t.Errorf("%s\ngot %v (%v), want %v", c.reason, got.RequeueAfter, err, c.want)
			}
			p.kept.judged = &judgement{}
			if at := p.kept.lookedAt.Add(p.interval()); p.mustLook(at.Add(-1)) || !p.mustLook(at) {
				t.Errorf("%s\nthe source is not asked when the interval is over", c.reason)
			}
		})
	}
}

// TestSpread: each RepoSync, and each interval of it, is drawn for.
func TestSpread(t *testing.T) {
	r := New(Deps{Jitter: 5})
	different := map[jitter.Spread]bool{}
	for n := range 100 {
		s := team()
		s.UID = types.UID(fmt.Sprint(n))
		different[r.recall(s).spread] = true
	}
	if len(different) < 90 {
		t.Errorf("all ask at once: %v", different)
	}
	if got := New(Deps{}).recall(team()).spread; got != 0 {
		t.Errorf("without jitter %v was drawn", got)
	}
}

// SPDX-License-Identifier: Apache-2.0

package review

import (
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/reconciler/forge"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/forgefake"
)

// TestOnForges: on forges of which no server can be had, the whole of a pull request's
// life goes by what their makers publish: planned once, also by a controller that is
// started anew, edited in place with another head, planned again on command, and
// followed in the same comment after the merge.
func TestOnForges(t *testing.T) {
	for provider, f := range map[v1alpha1.ForgeProvider]struct {
		path string
		play func(*forgefake.Repo) http.Handler
	}{
		v1alpha1.AzureDevOps:     {"/" + forgefake.Owner + "/_git/" + forgefake.Name, (*forgefake.Repo).AzureDevOps},
		v1alpha1.Bitbucket:       {"/" + forgefake.Owner + "/" + forgefake.Name, (*forgefake.Repo).Bitbucket},
		v1alpha1.BitbucketServer: {"/projects/" + forgefake.Owner + "/repos/" + forgefake.Name, (*forgefake.Repo).BitbucketServer},
	} {
		t.Run(string(provider), func(t *testing.T) {
			s := newStage(t)
			fake := forgefake.New(forgefake.Pull{Number: 7, Base: "main", Branch: "feature", Head: s.head, MergeBase: s.base, State: forgefake.Open})
			fake.Writers = []string{"dev"}
			server := httptest.NewServer(f.play(fake))
			defer server.Close()
			s.now = time.Date(2026, 11, 23, 15, 30, 0, 0, time.UTC)
			s.sync.Spec.Review.Provider, s.sync.Spec.Review.Commands = provider, true
			s.sync.Spec.Report = &v1alpha1.Report{PullRequest: true}
			s.connect()
			plain := s.planned
			s.planned = func(q Question) (Verdict, error) {
				v, err := plain(q)
				v.Lines = &Lines{Standing: []string{"k"}, Findings: 1, Offered: []OnLine{{Key: "k", Line: forge.Line{File: "w.yaml", New: 2}, Text: "❌ wrong\n"}}}
				return v, err
			}
			start := func() *Reconciler {
				r := s.controller()
				r.Connect = func(settings forge.Settings) (*forge.Forge, error) {
					settings.URL, settings.Auth = server.URL+f.path, map[string][]byte{"token": []byte(forgefake.Token)}
					return forge.Connect(settings)
				}
				return r
			}
			// comment is the one that there is.
			comment := func(part string) {
				t.Helper()
				if texts := fake.Texts(7, "bot"); len(texts) != 1 || !strings.Contains(texts[0], part) {
					t.Fatalf("want one comment that holds %q, got %q", part, texts)
				}
			}
			r := start()
			s.mustPass(r)
			comment("a plan of")
			if n := len(fake.Statuses(s.head)); n < 3 {
				t.Errorf("%d statuses: %v", n, fake.Statuses(s.head))
			}
			writes := fake.Writes()
			s.mustPass(r)
			r = start()
			s.mustPass(r)
			if len(s.plans) != 1 || fake.Writes() != writes {
				t.Errorf("planned %v, %d writes after %d: the comment is not read back as it was written", s.plans, fake.Writes(), writes)
			}

			s.head = s.push("feature", "3")
			fake.Change(7, func(p *forgefake.Pull) { p.Head = s.head })
			s.mustPass(r)
			comment(s.head)
			fake.Say(forgefake.Comment{Pull: 7, Author: "stranger", Text: "/espalier plan"})
			s.mustPass(r)
			if len(s.plans) != 2 {
				t.Errorf("planned %v, also for a stranger", s.plans)
			}
			fake.Say(forgefake.Comment{Pull: 7, Author: "dev", Text: "/espalier plan"})
			for range 3 {
				s.mustPass(r)
			}
			if len(s.plans) != 3 {
				t.Errorf("planned %d times, want once more on command", len(s.plans))
			}

			if said := fake.OnLines(7, "bot"); len(said) != 1 || said[0].Place.File != "w.yaml" {
				t.Errorf("want one comment on a line after three plans, got %+v", said)
			}
			merged := s.push("main", "3")
			fake.Change(7, func(p *forgefake.Pull) { p.State, p.Result, p.At = forgefake.Merged, merged, s.now })
			s.mustPass(r)
			comment("Merged as")
			r = start()
			writes = fake.Writes()
			s.mustPass(r)
			if fake.Writes() != writes {
				t.Error("what was said after the merge is not read back as it was written")
			}
			for _, p := range fake.Problems() {
				t.Error(p)
			}
		})
	}
}

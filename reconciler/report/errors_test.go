// SPDX-License-Identifier: Apache-2.0

package report

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

var wrongSecret = map[string][]byte{"username": []byte("ada"), "password": []byte("horse-staple")}

// troubles are the ways for a write to fail.
var troubles = map[string]struct {
	reason string
	opts   gitserver.Options
	make   func(*testing.T, *gitserver.Server, *Target)
	want   string
	says   []string
}{
	"ForeignBranch": {
		reason: "A branch that a person made is no report.",
		make: func(t *testing.T, s *gitserver.Server, _ *Target) {
			if _, err := s.Push(repo, branch, map[string]string{"main.go": "package main"}, "work"); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonReportConflict, says: []string{"not made by Espalier", "spec.report.commit.branch"},
	},
	"OtherInstallation": {
		reason: "Two clusters of one name would overwrite each other for ever.",
		make: func(t *testing.T, s *gitserver.Server, to *Target) {
			write(t, *to, snapshot(served()))
			to.Installation = "22222222-bbbb"
		},
		want: v1alpha1.ReasonReportConflict, says: []string{"cluster prod-eu", "another installation"},
	},
	"OtherRepoSync": {
		reason: "Two RepoSyncs of one cluster likewise.",
		make: func(t *testing.T, s *gitserver.Server, to *Target) {
			write(t, *to, snapshot(served()))
			to.Name = "second"
		},
		want: v1alpha1.ReasonReportConflict, says: []string{"RepoSync models/fleet"},
	},
	"UnreadableOwner": {
		reason: "Who cannot be named must be assumed to be somebody.",
		make: func(t *testing.T, s *gitserver.Server, _ *Target) {
			if _, err := s.Push(repo, branch, map[string]string{".espalier.yaml": "{"}, "x"); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonReportConflict,
	},
	"NoInstallation": {
		reason: "Without an identity nothing can be owned.",
		make:   func(_ *testing.T, _ *gitserver.Server, to *Target) { to.Installation = "" },
		want:   v1alpha1.ReasonReportFailed,
	},
	"Protected": {
		reason: "A protected branch is not tried again and again, and says what to do.",
		make: func(t *testing.T, s *gitserver.Server, _ *Target) {
			if err := s.RejectPushes(repo, "espalier/*", "protected"); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonReportFailed, says: []string{"refuses the push to branch " + branch, "protected branches", "pre-receive hook declined"},
	},
	"WrongPassword": {
		reason: "Reading asks already.",
		opts:   gitserver.Options{User: "ada", Password: "right"},
		make:   func(_ *testing.T, _ *gitserver.Server, to *Target) { to.Auth = wrongSecret },
		want:   v1alpha1.ReasonAuthFailed, says: []string{"refuses the credentials"},
	},
	"ReadOnly": {
		reason: "A credential that may read and not write.",
		make: func(_ *testing.T, s *gitserver.Server, to *Target) {
			to.Auth = wrongSecret
			s.Break(gitserver.Fault{Service: gitserver.ListToPush, Status: http.StatusForbidden, Body: "no: horse-staple"})
		},
		want: v1alpha1.ReasonAuthFailed, says: []string{"forbids"},
	},
	"Down": {
		reason: "Nobody is there.",
		make: func(t *testing.T, s *gitserver.Server, _ *Target) {
			if err := s.Pause(); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonSourceUnreachable,
	},
	"PushFails": {
		reason: "A server that fails in the middle of a push is asked again later.",
		make: func(_ *testing.T, s *gitserver.Server, _ *Target) {
			s.Break(gitserver.Fault{Service: gitserver.Push, Status: http.StatusBadGateway})
		},
		want: v1alpha1.ReasonSourceUnreachable, says: []string{"502"},
	},
	"Hangs": {
		reason: "The time is bounded.",
		make: func(_ *testing.T, s *gitserver.Server, to *Target) {
			to.Timeout = 200 * time.Millisecond
			s.Break(gitserver.Fault{Service: gitserver.Push, Hang: true})
		},
		want: v1alpha1.ReasonSourceUnreachable, says: []string{"200ms"},
	},
	"BranchInTheWay": {
		reason: "Git keeps branches as files: espalier and espalier/x cannot both be.",
		make: func(t *testing.T, s *gitserver.Server, _ *Target) {
			if _, err := s.Push(repo, "espalier", map[string]string{"a": "1"}, "x"); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonReportFailed, says: []string{"is in its way"},
	},
	"BranchName": {
		reason: "A name that Git does not take.",
		make:   func(_ *testing.T, _ *gitserver.Server, to *Target) { to.Branch = "a..b" },
		want:   v1alpha1.ReasonReportFailed,
	},
}

func TestErrors(t *testing.T) {
	for name, tc := range troubles {
		t.Run(name, func(t *testing.T) {
			server := serve(t, tc.opts)
			to := target(server)
			tc.make(t, server, &to)
			before, _ := server.Log(repo, branch)
			server.ResetRequests()
			_, err := Write(context.Background(), to, nil, of(snapshot(progressing("phi-4-mini"))), "s")
			var failure *Error
			if !errors.As(err, &failure) {
				t.Fatalf("%s\ngot %T %v, want an *Error", tc.reason, err, err)
			}
			t.Log(err)
			if failure.Reason != tc.want {
				t.Errorf("%s\nreason: got %s (%v), want %s", tc.reason, failure.Reason, err, tc.want)
			}
			for _, part := range tc.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s\nmessage %q does not say %q", tc.reason, err, part)
				}
			}
			if strings.Contains(err.Error(), "horse-staple") {
				t.Errorf("%s\nmessage %q tells a password", tc.reason, err)
			}
			after, _ := server.Log(repo, branch)
			if d := cmp.Diff(before, after); d != "" {
				t.Errorf("%s\nsomething was written:\n%s", tc.reason, d)
			}
			if n := server.Requests()[gitserver.Push]; n > 1 {
				t.Errorf("%s\npushes: got %d, want at most 1", tc.reason, n)
			}
		})
	}
}

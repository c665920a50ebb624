// SPDX-License-Identifier: Apache-2.0

package source

import (
	"context"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/gitserver"
)

func secret(password string) map[string][]byte {
	return map[string][]byte{"username": []byte("ada"), "password": []byte(password)}
}

// trouble is one way for a look to fail.
type trouble struct {
	reason string
	req    func(*Request)
	make   func(*testing.T, *gitserver.Server)
	heal   func(*testing.T, *gitserver.Server)
	want   string   // Reason
	says   []string // parts of the message
}

var troubles = map[string]trouble{
	"WrongPassword": {
		reason: "What was typed wrong is told without repeating it.",
		req:    func(r *Request) { r.Auth = secret("wrong-horse") },
		want:   v1alpha1.ReasonAuthFailed, says: []string{"refuses the credentials"},
	},
	"NoPassword": {
		reason: "Without a Secret the message says to make one.",
		req:    func(r *Request) { r.Auth = nil },
		want:   v1alpha1.ReasonAuthFailed, says: []string{"secretRef"},
	},
	"UselessSecret": {
		reason: "A Secret with a misspelt key would be sent as nobody.",
		req:    func(r *Request) { r.Auth = map[string][]byte{"user": []byte("ada")} },
		want:   v1alpha1.ReasonAuthFailed, says: []string{"none of the keys"},
	},
	"Forbidden": {
		reason: "403 is not a wrong password.",
		make: func(_ *testing.T, s *gitserver.Server) {
			s.Break(gitserver.Fault{Status: http.StatusForbidden, Body: "right-horse is not allowed"})
		},
		want: v1alpha1.ReasonAuthFailed, says: []string{"forbids"},
	},
	"NoSuchBranch": {
		reason: "The branch is named.",
		req:    func(r *Request) { r.Ref = v1alpha1.GitRef{Branch: "release"} },
		heal: func(t *testing.T, s *gitserver.Server) {
			push(t, s, "release", map[string]string{"a": "1"})
		},
		want: v1alpha1.ReasonRefNotFound, says: []string{"branch release"},
	},
	"NoSuchTag": {
		reason: "So is the tag.",
		req:    func(r *Request) { r.Ref = v1alpha1.GitRef{Tag: "v9"} },
		want:   v1alpha1.ReasonRefNotFound, says: []string{"tag v9"},
	},
	"NoSuchRepository": {
		reason: "404 may also be a missing right.",
		req:    func(r *Request) { r.URL = strings.Replace(r.URL, repo, "fleet/none", 1) },
		want:   v1alpha1.ReasonSourceUnreachable, says: []string{"no repository at", "fleet/none"},
	},
	"Empty": {
		reason: "A new repository has no branch yet.",
		req:    func(r *Request) { r.URL = strings.Replace(r.URL, repo, "fleet/empty", 1) },
		make: func(t *testing.T, s *gitserver.Server) {
			if err := s.Create("fleet/empty"); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonRefNotFound, says: []string{"is empty"},
	},
	"EmptyTag": {
		reason: "Nor a tag.",
		req: func(r *Request) {
			r.URL, r.Ref = strings.Replace(r.URL, repo, "fleet/empty", 1), v1alpha1.GitRef{Tag: "v1"}
		},
		make: func(t *testing.T, s *gitserver.Server) {
			if err := s.Create("fleet/empty"); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonRefNotFound, says: []string{"is empty"},
	},
	"ClosedPort": {
		reason: "A server that is down is unreachable, and found again.",
		make: func(t *testing.T, s *gitserver.Server) {
			if err := s.Pause(); err != nil {
				t.Fatal(err)
			}
		},
		heal: func(t *testing.T, s *gitserver.Server) {
			if err := s.Resume(); err != nil {
				t.Fatal(err)
			}
		},
		want: v1alpha1.ReasonSourceUnreachable, says: []string{"Nothing listens"},
	},
	"Unavailable": {
		reason: "5xx is the server's trouble.",
		make: func(_ *testing.T, s *gitserver.Server) {
			s.Break(gitserver.Fault{Status: http.StatusServiceUnavailable})
		},
		want: v1alpha1.ReasonSourceUnreachable, says: []string{"503"},
	},
	"UnavailableInTheMiddle": {
		reason: "Also after the references were listed.",
		make: func(_ *testing.T, s *gitserver.Server) {
			s.Break(gitserver.Fault{Service: gitserver.Fetch, Status: http.StatusBadGateway})
		},
		want: v1alpha1.ReasonSourceUnreachable, says: []string{"502"},
	},
	"Dropped": {
		reason: "A connection that breaks off.",
		make:   func(_ *testing.T, s *gitserver.Server) { s.Break(gitserver.Fault{}) },
		want:   v1alpha1.ReasonSourceUnreachable, says: []string{"broke off"},
	},
	"Hangs": {
		reason: "A server that says nothing is given up on in time.",
		req:    func(r *Request) { r.Timeout = 200 * time.Millisecond },
		make:   func(_ *testing.T, s *gitserver.Server) { s.Break(gitserver.Fault{Hang: true}) },
		want:   v1alpha1.ReasonSourceUnreachable, says: []string{"No answer", "200ms"},
	},
	"NotGit": {
		reason: "A web page is no repository.",
		make: func(_ *testing.T, s *gitserver.Server) {
			s.Break(gitserver.Fault{Status: http.StatusOK, Body: "<html>hello ada:right-horse</html>"})
		},
		want: v1alpha1.ReasonSourceUnreachable, says: []string{"not a Git server"},
	},
	"Address": {
		reason: "A path of the machine is no address.",
		req:    func(r *Request) { r.URL = "file:///srv/repo.git" },
		want:   v1alpha1.ReasonSourceUnreachable, says: []string{"https, http or ssh"},
	},
}

func TestErrorsAndTheirCure(t *testing.T) {
	for name, tc := range troubles {
		t.Run(name, func(t *testing.T) {
			server, store := serve(t, gitserver.Options{User: "ada", Password: "right-horse"}), NewStore(Options{})
			push(t, server, "main", map[string]string{"a": "1"})
			healthy := Request{URL: server.URL(repo), Ref: v1alpha1.GitRef{Branch: "main"}, Auth: secret("right-horse"), Timeout: 30 * time.Second}
			req := healthy
			if tc.req != nil {
				tc.req(&req)
			}
			if tc.make != nil {
				tc.make(t, server)
			}
			_, err := store.Fetch(context.Background(), req)
			var failure *Error
			if !errors.As(err, &failure) {
				t.Fatalf("%s\ngot %T %v, want an *Error", tc.reason, err, err)
			}
			if failure.Reason != tc.want {
				t.Errorf("%s\nreason: got %s (%v), want %s", tc.reason, failure.Reason, err, tc.want)
			}
			t.Log(failure)
			for _, part := range tc.says {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("%s\nmessage %q does not say %q", tc.reason, err, part)
				}
			}
			for _, secret := range []string{"right-horse", "wrong-horse"} {
				if strings.Contains(err.Error(), secret) {
					t.Errorf("%s\nmessage %q tells a password", tc.reason, err)
				}
			}
			// Cured without a new store.
			server.Heal()
			if tc.heal != nil {
				tc.heal(t, server)
				healthy.Ref = req.Ref
			}
			fetch(t, store, healthy)
		})
	}
}

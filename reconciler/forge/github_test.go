// SPDX-License-Identifier: Apache-2.0

package forge

import (
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/pem"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/golang-jwt/jwt/v5"
	"github.com/google/go-cmp/cmp"
	"github.com/google/go-github/v87/github"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// described is a server that takes what the description knows, and answers with
// its examples.
func described(t *testing.T) (*httptest.Server, *[]string) {
	t.Helper()
	operations := operationsOf(t, "github")
	var seen []string
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		o, known := find(t, operations, r)
		if !known {
			w.WriteHeader(http.StatusNotFound)
			return
		}
		seen = append(seen, o.Method+" "+o.Path+" "+r.Header.Get("Authorization"))
		if o.Success[0] == "201" {
			w.WriteHeader(http.StatusCreated)
		}
		_, _ = w.Write(o.Example)
	}))
	t.Cleanup(s.Close)
	return s, &seen
}

const sample = "6dcb09b5b57875f334f61aebed695e2e4193db5e" // the commit of all of GitHub's examples

// everything asks a forge all that the review asks, and returns what it was told.
func everything(t *testing.T, f *Forge) (open []PullRequest, one PullRequest, own []Comment) {
	t.Helper()
	var err error
	check := func() {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	open, err = f.Open(t.Context(), "master")
	check()
	one, err = f.Get(t.Context(), 1347)
	check()
	_, err = f.Own(t.Context(), 1347, time.Unix(0, 0))
	check()
	own, err = f.Own(t.Context(), 1347, time.Time{})
	check()
	before, err := f.Proposed(t.Context(), "new-topic")
	if err != nil || len(before) != 1 {
		t.Errorf("proposed before: %+v, %v", before, err)
	}
	made, err := f.Propose(t.Context(), Proposal{Head: "new-topic", Base: "master", Title: "t", Body: "b"})
	if err != nil || made.Number != 1347 {
		t.Errorf("made %+v, %v", made, err)
	}
	err = f.Withdraw(t.Context(), 1347)
	check()
	_, err = f.Merged(t.Context(), "master")
	check()
	_, err = f.Others(t.Context(), 1347, time.Unix(0, 0))
	check()
	may, err := f.MayWrite(t.Context(), Remark{Author: "octocat"})
	if err != nil || !may {
		t.Errorf("an administrator may write: %v, %v", may, err)
	}
	var holds bool
	holds, err = f.Contains(t.Context(), sample, sample)
	check()
	if !holds {
		t.Error("what is behind the head is within it")
	}
	_, err = f.Write(t.Context(), 1347, 0, "new")
	check()
	_, err = f.Write(t.Context(), 1347, 1, "edited")
	check()
	_, err = f.Lines.OnLines(t.Context(), 1347)
	check()
	err = f.Lines.WriteOnLine(t.Context(), one, Line{File: "file1.txt", New: 2}, "new")
	check()
	err = f.Lines.SettleOnLine(t.Context(), 1347, LineComment{ID: "10"}, "settled")
	check()
	for _, state := range []State{Pending, Success, Failure, Errored} {
		err = f.Set(t.Context(), sample, Status{Name: "espalier/plan", State: state, Text: "x", URL: "https://example.com"})
		check()
	}
	return open, one, own
}

// TestGitHub: each request is one that GitHub describes, and its examples are
// understood.
func TestGitHub(t *testing.T) {
	s, seen := described(t)
	f, err := Connect(Settings{Provider: v1alpha1.GitHub, URL: s.URL + "/octocat/Hello-World.git", Auth: map[string][]byte{"password": []byte(token)}})
	if err != nil {
		t.Fatal(err)
	}
	open, one, own := everything(t, f)
	want := PullRequest{Number: 1347, Base: "master", Branch: "new-topic", Head: sample, URL: "https://github.com/octocat/Hello-World/pull/1347", Open: true, Updated: time.Date(2011, 1, 26, 19, 1, 12, 0, time.UTC)}
	if diff := cmp.Diff([]PullRequest{want}, open); diff != "" {
		t.Error(diff)
	}
	want.MergeBase = sample
	if diff := cmp.Diff(want, one); diff != "" {
		t.Error(diff)
	}
	if len(own) != 1 || own[0].Body != "Me too" {
		t.Errorf("own comments %+v", own)
	}
	for _, request := range *seen {
		if !strings.HasSuffix(request, " Bearer "+token) {
			t.Errorf("%s: not signed in", request)
		}
	}
}

// TestGitHubMerged: the commit of a pull request that is open is that of a trial.
func TestGitHubMerged(t *testing.T) {
	at := time.Date(2026, 11, 23, 14, 5, 6, 0, time.UTC)
	for _, state := range []string{"open", "closed"} {
		pr := githubPullRequest(&github.PullRequest{State: &state, MergeCommitSHA: new(sample), MergedAt: &github.Timestamp{Time: at}})
		if merged := state == "closed"; (pr.Merged == sample) != merged || pr.MergedAt.Equal(at) != merged {
			t.Errorf("%s: %+v", state, pr)
		}
	}
}

// TestGitHubApp: an App gets itself a token of its installation, and knows its
// comments by its own name.
func TestGitHubApp(t *testing.T) {
	key, err := rsa.GenerateKey(rand.Reader, 2048)
	if err != nil {
		t.Fatal(err)
	}
	s, seen := described(t)
	settings := Settings{Provider: v1alpha1.GitHub, URL: s.URL + "/octocat/Hello-World", Auth: map[string][]byte{
		"githubAppID": []byte("12345"), "githubAppInstallationID": []byte("678\n"),
		"githubAppPrivateKey": pem.EncodeToMemory(&pem.Block{Type: "RSA PRIVATE KEY", Bytes: x509.MarshalPKCS1PrivateKey(key)}),
	}}
	f, err := Connect(settings)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, own := everything(t, f); len(own) != 0 {
		t.Errorf("octocat is not octoapp[bot]: %+v", own)
	}
	for _, request := range *seen {
		_, bearer, _ := strings.Cut(request, " Bearer ")
		if !strings.Contains(request, " /app") {
			if !strings.HasPrefix(bearer, "ghs_") {
				t.Errorf("%s: not signed in as the installation", request)
			}
			continue
		}
		claims := &jwt.RegisteredClaims{}
		if _, err := jwt.ParseWithClaims(bearer, claims, func(*jwt.Token) (any, error) { return &key.PublicKey, nil }); err != nil || claims.Issuer != "12345" {
			t.Errorf("%s: %v, claims %+v", request, err, claims)
		}
	}
	for name, broken := range map[string]string{"githubAppPrivateKey": "nonsense", "githubAppInstallationID": "acme"} {
		auth := map[string][]byte{}
		for k, v := range settings.Auth {
			auth[k] = v
		}
		auth[name] = []byte(broken)
		if _, err := Connect(Settings{Provider: v1alpha1.GitHub, URL: settings.URL, Auth: auth}); err == nil || !strings.Contains(err.Error(), name) {
			t.Errorf("a wrong %s: %v", name, err)
		}
	}
}

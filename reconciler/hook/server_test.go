// SPDX-License-Identifier: Apache-2.0

package hook

import (
	"context"
	"crypto/hmac"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"
	"sigs.k8s.io/controller-runtime/pkg/client/interceptor"

	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// TestPublishedSignatures: what GitHub and Atlassian publish for whoever wants to test
// the code that verifies their webhooks.
func TestPublishedSignatures(t *testing.T) {
	const secret = "It's a Secret to Everybody"
	for name, c := range map[string]struct{ header, body, signature string }{
		"GitHub":    {"X-Hub-Signature-256", "Hello, World!", "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"},
		"Bitbucket": {"X-Hub-Signature", "Hello World!", "sha256=a4771c39fbe90f317c7824e83ddef3caae9cb3d976c214ace1f2937e133263c9"},
	} {
		header := http.Header{c.header: {c.signature}}
		if !verified(header, []byte(c.body), []byte(secret)) {
			t.Errorf("%s: the published signature is not verified", name)
		}
		if verified(header, []byte(c.body+" "), []byte(secret)) || verified(header, []byte(c.body), []byte(secret+" ")) {
			t.Errorf("%s: another body or secret is verified too", name)
		}
	}
}

const secret = "s3cret-of-the-webhook"

// listening is a hook server with two RepoSyncs, of which one has a hook, and a
// third whose Secret is another; woken are those that it woke. repository is the
// address that models follows; "": it follows an artifact.
func listening(t *testing.T, repository string) (url string, woken *[]string) {
	t.Helper()
	s, woken := newServer(t, repository)
	server := httptest.NewServer(s.handler())
	t.Cleanup(server.Close)
	return server.URL, woken
}

func newServer(t *testing.T, repository string) (s *Server, woken *[]string) {
	t.Helper()
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{corev1.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(scheme); err != nil {
			t.Fatal(err)
		}
	}
	sync := func(name, secret string) *v1alpha1.RepoSync {
		s := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}}
		if secret != "" {
			s.Spec.Hook = &v1alpha1.Hook{SecretRef: v1alpha1.LocalObjectReference{Name: secret}}
		}
		return s
	}
	models := sync("models", "hook")
	if repository != "" {
		models.Spec.Source.Git = &v1alpha1.GitSource{URL: repository}
	}
	token := func(name, value string) *corev1.Secret {
		return &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: "team", Name: name}, Data: map[string][]byte{"token": []byte(value)}}
	}
	kube := kubefake.NewClientBuilder().WithScheme(scheme).
		WithObjects(models, sync("others", "other"), sync("closed", ""), sync("lost", "gone"), token("hook", secret), token("other", "another")).Build()
	woken = &[]string{}
	return &Server{Path: "/hook", Client: kube, Reader: kube, Wake: func(s *v1alpha1.RepoSync) { *woken = append(*woken, s.Name) }}, woken
}

// TestWake: whoever leads has the queue, and another replica asks it, where it may write.
func TestWake(t *testing.T) {
	elected, waiting := make(chan struct{}), make(chan struct{})
	close(elected)
	refuses := interceptor.Funcs{Patch: func(context.Context, client.WithWatch, client.Object, client.Patch, ...client.PatchOption) error {
		return errors.New("no quorum")
	}}
	for name, c := range map[string]struct {
		reason         string
		elected        chan struct{}
		writes, broken bool
		status         int
		woken, asked   bool
	}{
		"LeaderAlone": {"Only the leader listens, without a right to write.", nil, false, false, http.StatusAccepted, true, false},
		"Leads":       {"It has the queue.", elected, true, false, http.StatusAccepted, true, false},
		"Waits":       {"A Service knows no leader: half of the calls come here.", waiting, true, false, http.StatusAccepted, false, true},
		"CannotWrite": {"The forge shows that the call has failed.", waiting, true, true, http.StatusServiceUnavailable, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			s, woken := newServer(t, "")
			if s.Elected = c.elected; c.writes {
				s.Writer = s.Client.(client.Writer)
			}
			if c.broken {
				s.Writer = interceptor.NewClient(s.Client.(client.WithWatch), refuses)
			}
			if s.NeedLeaderElection() == c.writes {
				t.Errorf("%s\nonly the leader listens: %v", c.reason, s.NeedLeaderElection())
			}
			req := httptest.NewRequest(http.MethodPost, "/hook/team/models", strings.NewReader("{}"))
			req.Header.Set("X-Gitlab-Token", secret)
			res := httptest.NewRecorder()
			s.handler().ServeHTTP(res, req)
			is := &v1alpha1.RepoSync{}
			if err := s.Client.Get(t.Context(), client.ObjectKey{Namespace: "team", Name: "models"}, is); err != nil {
				t.Fatal(err)
			}
			if asked := is.Annotations[repolayout.AnnotationReconcileAt] != ""; res.Code != c.status || len(*woken) > 0 != c.woken || asked != c.asked {
				t.Errorf("%s\nanswered %d, woken %v, asked %v", c.reason, res.Code, *woken, asked)
			}
		})
	}
}

// signed is the signature of a body, as GitHub sends it.
func signed(body string) string {
	mac := hmac.New(sha256.New, []byte(secret))
	mac.Write([]byte(body))
	return "sha256=" + hex.EncodeToString(mac.Sum(nil))
}

// TestCalls: whatever is not verified gets the same answer and wakes nobody, and what
// is verified wakes whom the address names, whatever the body says.
func TestCalls(t *testing.T) {
	const push = `{"ref":"refs/heads/main","repository":{"full_name":"fleet/models"}}`
	const elsewhere = `{"ref":"refs/heads/main","repository":{"full_name":"evil/other"}}`
	huge := strings.Repeat(" ", bodyLimit+1)
	for name, c := range map[string]struct {
		reason     string
		method, at string
		body       string
		signature  string
		times      int
		status     int
		woken      []string
	}{
		"Good":            {"A call of the forge.", http.MethodPost, "/hook/team/models", push, signed(push), 1, http.StatusAccepted, []string{"models"}},
		"Replayed":        {"It only makes the controller look once more, at what is there now.", http.MethodPost, "/hook/team/models", push, signed(push), 3, http.StatusAccepted, []string{"models", "models", "models"}},
		"OtherRepository": {"What the body says is not read: the address says whom to wake.", http.MethodPost, "/hook/team/models", elsewhere, signed(elsewhere), 1, http.StatusAccepted, []string{"models"}},
		"BadSignature":    {"Another body than the one that was signed.", http.MethodPost, "/hook/team/models", elsewhere, signed(push), 1, http.StatusNotFound, nil},
		"NoSignature":     {"Nobody's.", http.MethodPost, "/hook/team/models", push, "", 1, http.StatusNotFound, nil},
		"OtherSecret":     {"Each RepoSync has its own.", http.MethodPost, "/hook/team/others", push, signed(push), 1, http.StatusNotFound, nil},
		"NoHook":          {"One that wants none.", http.MethodPost, "/hook/team/closed", push, signed(push), 1, http.StatusNotFound, nil},
		"NoSecret":        {"Its Secret is gone.", http.MethodPost, "/hook/team/lost", push, signed(push), 1, http.StatusNotFound, nil},
		"Unknown":         {"Nobody learns which there are.", http.MethodPost, "/hook/team/nobody", push, signed(push), 1, http.StatusNotFound, nil},
		"Traversal":       {"A name is a name.", http.MethodPost, "/hook/team/..%2Fmodels", push, signed(push), 1, http.StatusNotFound, nil},
		"Huge":            {"More than a forge ever sends is not read to its end.", http.MethodPost, "/hook/team/models", huge, signed(huge), 1, http.StatusRequestEntityTooLarge, nil},
		"Get":             {"Somebody looks at the address.", http.MethodGet, "/hook/team/models", "", signed(""), 1, http.StatusMethodNotAllowed, nil},
	} {
		t.Run(name, func(t *testing.T) {
			url, woken := listening(t, "")
			for range c.times {
				req, err := http.NewRequestWithContext(t.Context(), c.method, url+c.at, strings.NewReader(c.body))
				if err != nil {
					t.Fatal(err)
				}
				if c.signature != "" {
					req.Header.Set("X-Hub-Signature-256", c.signature)
				}
				resp, err := http.DefaultClient.Do(req)
				if err != nil {
					t.Fatal(err)
				}
				said, _ := io.ReadAll(resp.Body)
				_ = resp.Body.Close()
				if resp.StatusCode != c.status || strings.Contains(string(said), "team") {
					t.Errorf("%s\ngot %d %q, want %d", c.reason, resp.StatusCode, said, c.status)
				}
			}
			if !slices.Equal(*woken, c.woken) {
				t.Errorf("%s\nwoken: %v, want %v", c.reason, *woken, c.woken)
			}
		})
	}
}

// published are calls as a forge publishes them for its event header.
type published struct {
	header string // names the event
	prove  func(body string) (header, value string)
	other  string // a repository of the same host that none of them is of
}

// TestPublishedPayloads: what GitHub and GitLab send for a push, a pull request and a
// comment, as it is published. Each wakes the RepoSync of its repository, not one of
// another, and not where the signature or the token is another.
func TestPublishedPayloads(t *testing.T) {
	for forge, p := range map[string]published{
		"github": {"X-Github-Event", func(body string) (string, string) { return "X-Hub-Signature-256", signed(body) }, "https://github.com/fleet/models"},
		"gitlab": {"X-Gitlab-Event", func(string) (string, string) { return "X-Gitlab-Token", secret }, "http://example.com/fleet/models"},
	} {
		text, err := os.ReadFile("testdata/" + forge + ".json")
		if err != nil {
			t.Fatal(err)
		}
		var file struct {
			Calls []struct {
				Event, Repository string
				Payload           json.RawMessage
			}
		}
		if err := json.Unmarshal(text, &file); err != nil || len(file.Calls) != 3 {
			t.Fatalf("%s: %d calls, %v", forge, len(file.Calls), err)
		}
		for _, call := range file.Calls {
			t.Run(forge+"/"+call.Event, func(t *testing.T) {
				body := string(call.Payload)
				its := strings.Replace(p.other, "fleet/models", call.Repository, 1) + ".git"
				header, proof := p.prove(body)
				for name, c := range map[string]struct {
					url, proof    string
					status, woken int
				}{
					"Its":    {its, proof, http.StatusAccepted, 1},
					"Other":  {p.other, proof, http.StatusUnprocessableEntity, 0},
					"Forged": {its, proof[:len(proof)-1], http.StatusNotFound, 0},
				} {
					url, woken := listening(t, c.url)
					status := deliver(t, url+"/hook/team/models", body, map[string]string{p.header: call.Event, header: c.proof, "Content-Type": "application/json"})
					if status != c.status || len(*woken) != c.woken {
						t.Errorf("%s: got %d, want %d, woken %v", name, status, c.status, *woken)
					}
				}
			})
		}
	}
}

// deliver makes a call, and returns what it is answered with.
func deliver(t *testing.T, url, body string, header map[string]string) int {
	t.Helper()
	req, err := http.NewRequestWithContext(t.Context(), http.MethodPost, url, strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	for name, value := range header {
		req.Header.Set(name, value)
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		t.Fatal(err)
	}
	_ = resp.Body.Close()
	return resp.StatusCode
}

// SPDX-License-Identifier: Apache-2.0

package notice

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/tools/events"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

const revision = "main@sha1:1111111111111111111111111111111111111111"

func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	if err := v1alpha1.AddToScheme(s); err != nil {
		t.Fatal(err)
	}
	return s
}

func ready(status metav1.ConditionStatus) []metav1.Condition {
	return []metav1.Condition{{Type: v1alpha1.ConditionReady, Status: status}}
}

func object(annotations map[string]string) metav1.ObjectMeta {
	return metav1.ObjectMeta{Namespace: "models", Name: "qwen", Annotations: annotations}
}

func TestMetadata(t *testing.T) {
	cases := map[string]struct {
		reason string
		o      runtime.Object
		want   map[string]string
	}{
		"ReadyIsACommitStatus": {
			reason: "What has arrived is a success of its revision.",
			o:      &v1alpha1.RepoSync{ObjectMeta: object(nil), Status: v1alpha1.RepoSyncStatus{LastAttemptedRevision: revision, Conditions: ready(metav1.ConditionTrue)}},
			want:   map[string]string{"espalier.dev/revision": revision, "espalier.dev/commit_status": "update"},
		},
		"OnItsWayIsNone": {
			reason: "Flux makes each event of no error a success: a Workspace that waits for nodes must not be one.",
			o: &v1alpha1.Workspace{
				ObjectMeta: object(map[string]string{"espalier.dev/revision": revision}),
				Status:     v1alpha1.WorkspaceStatus{Conditions: ready(metav1.ConditionFalse)},
			},
			want: map[string]string{"espalier.dev/revision": revision},
		},
		"AnnotationsOfFluxGoAlong": {
			reason: "They name the pull request that Flux comments on; others are nobody's affair.",
			o: &v1alpha1.Workspace{ObjectMeta: object(map[string]string{
				"event.toolkit.fluxcd.io/change_request": "7", "kubectl.kubernetes.io/last-applied-configuration": "{}",
			})},
			want: map[string]string{"event.toolkit.fluxcd.io/change_request": "7"},
		},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, metadata(tc.o)); diff != "" {
				t.Errorf("%s\n%s", tc.reason, diff)
			}
		})
	}
}

// TestRecorder: what is said reaches both, as Flux's API has it.
func TestRecorder(t *testing.T) {
	got := make(chan eventv1.Event, 1)
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		e := eventv1.Event{}
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil || r.Header.Get("Content-Type") != "application/json" {
			t.Errorf("not JSON: %v", err)
		}
		w.WriteHeader(http.StatusAccepted)
		got <- e
	}))
	defer server.Close()
	sender, err := New(server.URL, scheme(t))
	if err != nil {
		t.Fatal(err)
	}
	go func() { _ = sender.Start(t.Context()) }()

	inner := events.NewFakeRecorder(1)
	w := &v1alpha1.Workspace{ObjectMeta: object(nil)}
	sender.Recorder(inner, "espalier").Eventf(w, nil, corev1.EventTypeWarning, "JobFailed", "Reconcile", "%d of %d tries", 3, 3)
	if said := <-inner.Events; !strings.Contains(said, "3 of 3 tries") {
		t.Errorf("Kubernetes is told %q", said)
	}
	e := <-got
	want := eventv1.Event{
		InvolvedObject: corev1.ObjectReference{APIVersion: "espalier.dev/v1alpha1", Kind: "Workspace", Namespace: "models", Name: "qwen"},
		Severity:       "error", Reason: "JobFailed", Message: "3 of 3 tries", ReportingController: "espalier",
		Timestamp: e.Timestamp, ReportingInstance: e.ReportingInstance,
	}
	if diff := cmp.Diff(want, e); diff != "" || e.Timestamp.IsZero() || e.ReportingInstance == "" {
		t.Errorf("the receiver is told:\n%s", diff)
	}
}

// TestBounded: Kubernetes refuses an event whose note is longer than 1024 bytes.
func TestBounded(t *testing.T) {
	for name, c := range map[string]struct{ reason, said, want string }{
		"Short": {"It is told as it is, whatever is in it.", "100 % of models/a", "100 % of models/a"},
		"Most":  {"It is told whole.", strings.Repeat("a", maxNote), strings.Repeat("a", maxNote)},
		"Long":  {"Its beginning is told.", strings.Repeat("a", maxNote+1), strings.Repeat("a", maxNote-3) + "…"},
		"Wide":  {"No letter is cut in two.", strings.Repeat("ü", maxNote), strings.Repeat("ü", (maxNote-3)/2) + "…"},
	} {
		t.Run(name, func(t *testing.T) {
			inner := events.NewFakeRecorder(1)
			Bounded(inner).Eventf(&v1alpha1.Workspace{}, nil, corev1.EventTypeNormal, "Pruned", "Prune", "%s", c.said)
			if got, want := <-inner.Events, "Normal Pruned "+c.want; got != want {
				t.Errorf("%s\ngot  %q\nwant %q", c.reason, got, want)
			}
		})
	}
}

// TestDeliver: what may pass is tried again, what does not is not.
func TestDeliver(t *testing.T) {
	cases := map[string]struct {
		reason  string
		answers []int // the last stays
		posts   int32
		err     string
	}{
		"ABusyReceiver":  {reason: "It is about to start.", answers: []int{503, 503, 202}, posts: 3},
		"ADuplicate":     {reason: "429 is notification-controller's answer to what it has told already.", answers: []int{429}, posts: 1},
		"ARefusal":       {reason: "Nothing is gained by saying it again.", answers: []int{400}, posts: 1, err: "400 Bad Request"},
		"ADownReceiver":  {reason: "It is given up, not waited for.", answers: []int{500}, posts: 4, err: "500 Internal Server Error"},
		"AGoodOneAtOnce": {reason: "The ordinary case.", answers: []int{202}, posts: 1},
	}
	for name, tc := range cases {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			var posts atomic.Int32
			server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
				w.WriteHeader(tc.answers[min(int(posts.Add(1)), len(tc.answers))-1])
			}))
			defer server.Close()
			sender, err := New(server.URL, scheme(t))
			if err != nil {
				t.Fatal(err)
			}
			err = sender.deliver(t.Context(), eventv1.Event{})
			if (err == nil) != (tc.err == "") || (err != nil && !strings.Contains(err.Error(), tc.err)) || posts.Load() != tc.posts {
				t.Errorf("%s Got %v after %d posts, want %q after %d", tc.reason, err, posts.Load(), tc.err, tc.posts)
			}
		})
	}
}

// TestNobodyListens: an address that takes nothing holds up nobody.
func TestNobodyListens(t *testing.T) {
	sender, err := New("http://127.0.0.1:1/", scheme(t))
	if err != nil {
		t.Fatal(err)
	}
	inner := &events.FakeRecorder{}
	told := sender.Recorder(inner, "espalier")
	began := time.Now()
	for range queued * 2 { // nothing takes them out
		told.Eventf(&v1alpha1.Workspace{ObjectMeta: object(nil)}, nil, corev1.EventTypeNormal, "Ready", "Reconcile", "x")
	}
	if took := time.Since(began); took > postTimeout {
		t.Errorf("the controller waited %s", took)
	}
}

// TestErrorsHoldNoSecret: some receivers take a token in their address, and errors are
// logged.
func TestErrorsHoldNoSecret(t *testing.T) {
	sender, err := New("http://127.0.0.1:1/?token=s3cret", scheme(t))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := sender.post(t.Context(), nil); err == nil || strings.Contains(err.Error(), "s3cret") || !strings.Contains(err.Error(), "refused") {
		t.Errorf("got %v, want that the connection was refused, and not by what address", err)
	}
	if _, err := New("ftp://receiver.example.com/?token=s3cret", scheme(t)); err == nil || strings.Contains(err.Error(), "s3cret") {
		t.Errorf("got %v", err)
	}
}

func TestNew(t *testing.T) {
	for _, bad := range []string{"", "notification-controller", "ftp://example.com", "http://"} {
		if _, err := New(bad, scheme(t)); err == nil || !strings.Contains(err.Error(), "want one like http://") {
			t.Errorf("%q: got %v", bad, err)
		}
	}
}

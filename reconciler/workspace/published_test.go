// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"errors"
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	server "github.com/google/go-containerregistry/pkg/registry"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/empty"
	"github.com/google/go-containerregistry/pkg/v1/mutate"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/events"
	"sigs.k8s.io/controller-runtime/pkg/client"
	kubefake "sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/reconciler/registry"
	"github.com/espalier-dev/espalier/render"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lockedRegistry is a registry in memory that one credential may use; it counts
// what it is asked, and answers down while it is.
type lockedRegistry struct {
	host  string
	down  bool
	asked int
}

func newRegistry(t *testing.T) *lockedRegistry {
	t.Helper()
	l := &lockedRegistry{}
	under := server.New(server.Logger(log.New(io.Discard, "", 0)))
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.Method == http.MethodGet && strings.Contains(r.URL.Path, "/manifests/") {
			l.asked++
		}
		user, password, _ := r.BasicAuth()
		switch {
		case l.down:
			http.Error(w, "", http.StatusServiceUnavailable)
		case user != "robot" || password != "hunter2":
			w.Header().Set("WWW-Authenticate", `Basic realm="registry"`)
			http.Error(w, "", http.StatusUnauthorized)
		default:
			under.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(s.Close)
	l.host = strings.TrimPrefix(s.URL, "http://")
	return l
}

// publish puts an adapter of a run under a tag, as `espalier adapter push` does.
func (l *lockedRegistry) publish(t *testing.T, image, digest string, annotations ...string) string {
	t.Helper()
	ref, err := name.NewTag(image)
	if err != nil {
		t.Fatal(err)
	}
	keys, err := registry.Credentials(strings.NewReader(l.credential("hunter2")))
	if err != nil {
		t.Fatal(err)
	}
	said := map[string]string{repolayout.AnnotationInputDigest: digest}
	for i := 0; i+1 < len(annotations); i += 2 {
		said[annotations[i]] = annotations[i+1]
	}
	index := mutate.Annotations(empty.Index, said).(v1.ImageIndex)
	if err := remote.WriteIndex(ref, index, remote.WithAuthFromKeychain(keys)); err != nil {
		t.Fatal(err)
	}
	hash, err := index.Digest()
	if err != nil {
		t.Fatal(err)
	}
	return ref.Context().Digest(hash.String()).String()
}

func (l *lockedRegistry) credential(password string) string {
	return `{"auths":{"` + l.host + `":{"username":"robot","password":"` + password + `"}}}`
}

// beforeNodes is a pass over a Workspace for which nothing was requested yet.
func beforeNodes(t *testing.T, l *lockedRegistry, password string) (*Reconciler, *pass) {
	t.Helper()
	scheme := runtime.NewScheme()
	if err := errors.Join(clientgoscheme.AddToScheme(scheme), v1alpha1.AddToScheme(scheme)); err != nil {
		t.Fatal(err)
	}
	secret := &corev1.Secret{
		ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "push"},
		Data:       map[string][]byte{corev1.DockerConfigJsonKey: []byte(l.credential(password))},
	}
	c := kubefake.NewClientBuilder().WithScheme(scheme).WithObjects(secret).Build()
	ws := &v1alpha1.Workspace{ObjectMeta: metav1.ObjectMeta{Namespace: "n", Name: "w", UID: "u"}}
	ws.Spec.Tuning = &v1alpha1.TuningSpec{Output: v1alpha1.DataDestination{Image: l.host + "/models/tone:1", PushSecret: "push"}}
	job := &unstructured.Unstructured{}
	job.SetName("w-1234")
	r := New(Deps{Client: c, Reader: c, Registry: registry.Client{}, Events: events.NewFakeRecorder(8), Clock: func() time.Time { return time.Unix(1e9, 0) }})
	return r, &pass{ws: ws, out: render.Output{Workload: job, Digest: "sha256:inputs"}}
}

func TestPublished(t *testing.T) {
	for name, tc := range map[string]struct {
		reason           string
		tag              string // digest of the inputs that the tag carries; "": there is no tag
		password         string
		down, done, fail bool
	}{
		"NotThere":    {reason: "The first run of a repository that is made by its push."},
		"OfTheInputs": {reason: "It was paid for before.", tag: "sha256:inputs", done: true},
		"OfOthers":    {reason: "A tag that is used again is overwritten by the run.", tag: "sha256:others"},
		"PushOnly":    {reason: "A credential that may only push does not hold a run up.", tag: "sha256:inputs", password: "wrong"},
		"Down":        {reason: "Nothing is bought that may be there already.", tag: "sha256:inputs", down: true, fail: true},
	} {
		t.Run(name, func(t *testing.T) {
			l := newRegistry(t)
			want := ""
			if tc.tag != "" {
				want = l.publish(t, l.host+"/models/tone:1", tc.tag)
			}
			if tc.password == "" {
				tc.password = "hunter2"
			}
			r, p := beforeNodes(t, l, tc.password)
			l.down, l.asked = tc.down, 0
			err := r.published(t.Context(), p)
			if (err != nil) != tc.fail || fault.IsTerminal(err) {
				t.Fatalf("%s: got %v", tc.reason, err)
			}
			if p.finished() != tc.done {
				t.Errorf("%s: finished is %v", tc.reason, p.finished())
			}
			if tc.done && (p.ws.Status.Tuning.Adapter != want || condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded).Reason != v1alpha1.ReasonAlreadyPublished) {
				t.Errorf("%s: got %+v, want %s", tc.reason, p.ws.Status.Tuning, want)
			}
			if err != nil {
				return
			}
			before := l.asked
			if err := r.published(t.Context(), p); err != nil || l.asked != before {
				t.Errorf("a second pass asks again: %d questions, %v", l.asked-before, err)
			}
		})
	}
}

// TestPublishedAsItself: where a run pushes as an account, the controller asks as itself, and
// says what it lacks.
func TestPublishedAsItself(t *testing.T) {
	for name, tc := range map[string]struct {
		reason, password string // "": it has no identity there
		done             bool
		says             string
	}{
		"MayRead": {"it was paid for before", "hunter2", true, ""},
		"MayNot":  {"nobody gave it the right", "wrong", false, "the controller's own identity in the cloud may not read it"},
		"Nobody":  {"a registry of a cloud that it is not in", "", false, "the controller, which has no identity in that cloud, may not read it"},
	} {
		t.Run(name, func(t *testing.T) {
			l := newRegistry(t)
			l.publish(t, l.host+"/models/tone:1", "sha256:inputs")
			r, p := beforeNodes(t, l, "hunter2")
			p.ws.Spec.Tuning.Output.PushSecret, p.ws.Spec.ServiceAccountName = "", "pusher"
			r.Identity = func(string) authn.Keychain {
				if tc.password == "" {
					return nil
				}
				keys, err := registry.Credentials(strings.NewReader(l.credential(tc.password)))
				if err != nil {
					t.Fatal(err)
				}
				return keys
			}
			if err := r.published(t.Context(), p); err != nil || p.finished() != tc.done {
				t.Fatalf("%s: finished is %v, %v", tc.reason, p.finished(), err)
			}
			said := ""
			select {
			case said = <-r.Events.(*events.FakeRecorder).Events:
			default:
			}
			if !strings.Contains(said, tc.says) || tc.says == "" && said != "" {
				t.Errorf("%s: the event is %q, want %q", tc.reason, said, tc.says)
			}
		})
	}
}

// TestPublishedMeasured: an adapter that is there is held to what Git demands by the
// numbers that it carries, and nothing is run for that.
func TestPublishedMeasured(t *testing.T) {
	for maxLoss, want := range map[string]string{"1.25": v1alpha1.ReasonAlreadyPublished, "1.2": v1alpha1.ReasonEvaluationFailed} {
		l := newRegistry(t)
		l.publish(t, l.host+"/models/tone:1", "sha256:inputs", repolayout.AnnotationEvaluation, `{"lossBefore":"1.8300","lossAfter":"1.2100"}`)
		r, p := beforeNodes(t, l, "hunter2")
		p.ws.Spec.Tuning.Evaluation = &v1alpha1.Evaluation{Split: "5%", MaxLoss: maxLoss}
		if err := r.published(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		c := condition.Get(p.ws, v1alpha1.ConditionTuningSucceeded)
		if c.Reason != want || !strings.Contains(c.Message, "1.2100") || !p.finished() || p.ws.Status.Tuning.Evaluation == nil {
			t.Errorf("with %s: %s: %s, finished %v", maxLoss, c.Reason, c.Message, p.finished())
		}
	}
}

// TestPublishedMeanwhile: an adapter that was published elsewhere while the run waited is not
// paid for again.
func TestPublishedMeanwhile(t *testing.T) {
	queued := func(suspended bool) func(*pass) {
		return func(p *pass) {
			p.ws.Spec.Queue = "a"
			job := queuedJob("a", suspended)
			job.Namespace, job.Name = "n", "w-1234"
			p.jobs = []batchv1.Job{*job}
		}
	}
	bought := func(p *pass) { p.pool = &v1alpha1.GPUNodePool{} }
	for name, tc := range map[string]struct {
		reason            string
		after             time.Duration
		then              func(*pass)
		down, asked, done bool
	}{
		"Soon":     {reason: "A pass that waits does not ask again.", after: time.Minute},
		"Later":    {reason: "It has waited for nodes, or for money.", after: time.Hour, asked: true, done: true},
		"Nodes":    {reason: "They are given back.", after: time.Hour, then: bought, asked: true, done: true},
		"Down":     {reason: "No node is bought before it is known.", after: time.Hour, down: true},
		"Held":     {reason: "Kueue has not let it go.", after: time.Hour, then: queued(true)},
		"Admitted": {reason: "Its nodes are bought now.", after: time.Hour, then: queued(false), asked: true, done: true},
		"Runs":     {reason: "It is under way.", after: time.Hour, then: func(p *pass) { queued(false)(p); bought(p) }},
	} {
		t.Run(name, func(t *testing.T) {
			l, now := newRegistry(t), noon
			r, p := beforeNodes(t, l, "hunter2")
			r.Clock = func() time.Time { return now }
			if err := r.published(t.Context(), p); err != nil || p.finished() {
				t.Fatalf("before: finished is %v, %v", p.finished(), err)
			}
			l.publish(t, l.host+"/models/tone:1", "sha256:inputs")
			if tc.then != nil {
				tc.then(p)
			}
			for i := range p.jobs {
				if err := r.Client.Create(t.Context(), p.jobs[i].DeepCopy()); err != nil {
					t.Fatal(err)
				}
			}
			now, l.asked, l.down = now.Add(tc.after), 0, tc.down
			if err := r.published(t.Context(), p); (err != nil) != tc.down {
				t.Fatalf("%s: got %v", tc.reason, err)
			}
			if asked := l.asked > 0; asked != tc.asked || p.finished() != tc.done {
				t.Errorf("%s: asked %t, finished %t", tc.reason, asked, p.finished())
			}
			for i := range p.jobs {
				err := r.Client.Get(t.Context(), client.ObjectKeyFromObject(&p.jobs[i]), &batchv1.Job{})
				if apierrors.IsNotFound(err) != tc.done {
					t.Errorf("%s: the Job: %v", tc.reason, err)
				}
			}
		})
	}
	t.Run("DownWithNodes", func(t *testing.T) {
		l, now := newRegistry(t), noon
		r, p := beforeNodes(t, l, "hunter2")
		r.Clock = func() time.Time { return now }
		if err := r.published(t.Context(), p); err != nil {
			t.Fatal(err)
		}
		bought(p)
		now, l.down = now.Add(time.Hour), true
		if err := r.published(t.Context(), p); err != nil {
			t.Errorf("nodes that are there wait for a registry: %v", err)
		}
	})
}

// TestUntold: where the pods of a run were gone before they told its digest, the registry
// does, and what waits for it goes on.
func TestUntold(t *testing.T) {
	measured := []string{repolayout.AnnotationEvaluation, `{"lossBefore":"1.8300","lossAfter":"1.2100"}`}
	for name, tc := range map[string]struct {
		reason, tag, password string // digest of the inputs that the tag carries; "": there is no tag
		down, failed, told    bool
		found, again          bool
		asks                  bool
	}{
		"Pushed": {reason: "It is there.", tag: "sha256:inputs", found: true, asks: true},
		"Others": {reason: "Another run has pushed to the tag since.", tag: "sha256:others", asks: true},
		"Gone":   {reason: "Somebody has deleted it.", asks: true},
		"Down":   {reason: "The run is done whatever the registry says: it is asked later.", tag: "sha256:inputs", down: true, again: true},
		"Denied": {reason: "It is never going to say.", tag: "sha256:inputs", password: "wrong", asks: true},
		"Failed": {reason: "It has published nothing.", tag: "sha256:inputs", failed: true},
		"Told":   {reason: "Its pods have said it.", tag: "sha256:inputs", told: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, want := newRegistry(t), ""
			if tc.tag != "" {
				want = l.publish(t, l.host+"/models/tone:1", tc.tag, measured...)
			}
			if tc.password == "" {
				tc.password = "hunter2"
			}
			r, p := beforeNodes(t, l, tc.password)
			now := metav1.NewTime(noon)
			p.ws.Status.Tuning = &v1alpha1.TuningStatus{Run: "w-1234", Digest: "sha256:inputs", FinishedAt: &now}
			condition.True(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonSucceeded, "Job w-1234 is complete")
			if tc.failed {
				condition.False(p.ws, v1alpha1.ConditionTuningSucceeded, v1alpha1.ReasonJobFailed, "it gave up")
			}
			if tc.told {
				p.ws.Status.Tuning.Adapter = "told"
			}
			l.down, l.asked = tc.down, 0
			asked := func() bool { return l.asked > 0 }
			if err := r.observeTuning(t.Context(), p); err != nil {
				t.Fatal(err)
			}
			got := p.ws.Status.Tuning
			switch {
			case tc.found && (got.Adapter != want || got.Evaluation == nil):
				t.Errorf("%s\ngot %+v, want %s", tc.reason, got, want)
			case !tc.found && got.Adapter != "" && !tc.told:
				t.Errorf("%s\ngot %s", tc.reason, got.Adapter)
			}
			if asked() != tc.asks || (p.after > 0) != tc.again {
				t.Errorf("%s\nasked: %t; again after %s", tc.reason, asked(), p.after)
			}
			l.down, l.asked, got.Adapter = false, 0, ""
			if err := r.observeTuning(t.Context(), p); err != nil || asked() != (tc.again || tc.told || tc.found) { // what was found may not have been written
				t.Errorf("%s\nasked once more: %t, %v", tc.reason, asked(), err)
			}
		})
	}
}

// TestPublishedNotAsked: nobody is asked about a run that is under way, or of a
// controller that may not reach registries.
func TestPublishedNotAsked(t *testing.T) {
	l := newRegistry(t)
	for name, change := range map[string]func(*Reconciler, *pass){
		"Off":       func(r *Reconciler, _ *pass) { r.Registry = nil },
		"Suspended": func(_ *Reconciler, p *pass) { p.ws.Spec.Suspend = true },
		"ToAClaim": func(_ *Reconciler, p *pass) {
			p.ws.Spec.Tuning.Output = v1alpha1.DataDestination{Claim: "adapters"}
		},
	} {
		t.Run(name, func(t *testing.T) {
			r, p := beforeNodes(t, l, "hunter2")
			change(r, p)
			if err := r.published(context.Background(), p); err != nil || l.asked > 0 {
				t.Errorf("asked %d times, %v", l.asked, err)
			}
		})
	}
}

// SPDX-License-Identifier: Apache-2.0

package flux

import (
	"bytes"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"

	eventv1 "github.com/fluxcd/pkg/apis/event/v1beta1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/kustomize/api/krusty"
	"sigs.k8s.io/kustomize/kyaml/filesys"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/harness"
)

// listener takes what notification-controller sends: events as JSON at /events, and
// commit statuses as Gitea does.
type listener struct {
	*httptest.Server
	mu       sync.Mutex
	events   []eventv1.Event
	statuses map[string]map[string]string // commit → name → state
}

func newListener(t *testing.T) *listener {
	t.Helper()
	l := &listener{statuses: map[string]map[string]string{}}
	mux := http.NewServeMux()
	mux.HandleFunc("POST /events", func(_ http.ResponseWriter, r *http.Request) {
		e := eventv1.Event{}
		if err := json.NewDecoder(r.Body).Decode(&e); err != nil {
			t.Errorf("not an event: %v", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		l.events = append(l.events, e)
	})
	mux.HandleFunc("GET /api/v1/version", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `{"version":"1.26.0"}`) })
	mux.HandleFunc("GET /api/v1/repos/team/models/commits/{commit}/statuses", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, `[]`) })
	mux.HandleFunc("POST /api/v1/repos/team/models/statuses/{commit}", func(w http.ResponseWriter, r *http.Request) {
		said := struct{ State, Context string }{}
		if err := json.NewDecoder(r.Body).Decode(&said); err != nil {
			t.Errorf("not a commit status: %v", err)
		}
		l.mu.Lock()
		defer l.mu.Unlock()
		of := l.statuses[r.PathValue("commit")]
		if of == nil {
			of = map[string]string{}
			l.statuses[r.PathValue("commit")] = of
		}
		of[strings.Join(strings.Split(said.Context, "/")[:2], "/")] = said.State // without the Provider's UID
		w.WriteHeader(http.StatusCreated)
		fmt.Fprint(w, `{}`)
	})
	l.Server = httptest.NewServer(mux)
	t.Cleanup(l.Close)
	return l
}

// told says whether an event has come.
func (l *listener) told(holds func(eventv1.Event) bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, e := range l.events {
		if holds(e) {
			return true
		}
	}
	return false
}

// status is the state of a commit status, "" where there is none.
func (l *listener) status(commit, name string) string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.statuses[commit][name]
}

const alerts = `apiVersion: v1
kind: Secret
metadata: {name: forge}
stringData: {token: a-token-of-the-forge}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: listener}
spec: {type: generic, address: "LISTENER/events"}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Provider
metadata: {name: forge}
spec:
  type: gitea
  address: LISTENER/team/models
  secretRef: {name: forge}
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: listener}
spec:
  providerRef: {name: listener}
  eventSources: [{kind: RepoSync, name: "*"}, {kind: Workspace, name: "*"}, {kind: GPUNodePool, name: "*"}]
---
apiVersion: notification.toolkit.fluxcd.io/v1beta3
kind: Alert
metadata: {name: forge}
spec:
  providerRef: {name: forge}
  eventSources: [{kind: RepoSync, name: "*"}, {kind: Workspace, name: "*"}]
---
apiVersion: notification.toolkit.fluxcd.io/v1
kind: Receiver
metadata: {name: models}
spec:
  type: generic
  secretRef: {name: forge}
  resources: [{apiVersion: espalier.dev/v1alpha1, kind: RepoSync, name: models}]
`

// TestEvents: with the patch of deploy/flux, an Alert of Flux tells of our kinds, a
// commit has a status for each Workspace and for the RepoSync, and a Receiver wakes
// a RepoSync.
func TestEvents(t *testing.T) {
	p := newProject(t, "events")
	l := newListener(t)
	wanted := strings.ReplaceAll(alerts, "LISTENER", l.URL)
	if _, err := p.world.Cluster.KubectlInput(t.Context(), []byte(wanted), "apply", "--namespace", p.Namespace, "-f", "-"); err == nil || !strings.Contains(err.Error(), "Unsupported value") {
		t.Fatalf("Flux takes our kinds by now, and deploy/flux/kinds is not needed any more: %v", err)
	}
	p.addKinds()
	p.apply(wanted)
	p.alerted(l)

	files := p.sample()
	p.replace(files, listed, "- phi-4-mini\n", "- phi-4-mini\n- ../../../models/phi-3-dolly\n")
	files["clusters/staging/reposync.yaml"] = strings.Replace(files["clusters/staging/reposync.yaml"], "Standard_NC6s_v3: ", "Standard_NC6: ", 1)
	commit := p.push(files, "models: one serves, one has a retired size")
	p.apply(files["flux/staging.yaml"])
	p.heard("the Workspace that is Ready", func() bool {
		return l.told(func(e eventv1.Event) bool {
			return e.InvolvedObject.Kind == "Workspace" && e.InvolvedObject.Name == harness.InferenceName && e.Severity == eventv1.EventSeverityInfo &&
				strings.HasSuffix(e.Metadata["revision"], commit) && e.Metadata["commit_status"] == "update" && e.ReportingController == "espalier"
		})
	})
	p.heard("the Workspace that is refused", func() bool {
		return l.told(func(e eventv1.Event) bool {
			return e.InvolvedObject.Name == harness.TuningName && e.Severity == eventv1.EventSeverityError && strings.Contains(e.Message, "retired")
		})
	})
	p.heard("a node pool", func() bool {
		return l.told(func(e eventv1.Event) bool { return e.InvolvedObject.Kind == "GPUNodePool" })
	})
	for name, want := range map[string]string{
		"reposync/models": "success", "workspace/" + harness.InferenceName: "success", "workspace/" + harness.TuningName: "failure",
	} {
		p.heard("commit status "+name, func() bool { return l.status(commit, name) == want })
	}
	p.hooked()
}

// alerted waits until notification-controller knows the Alerts and Providers. It takes them
// from a cache, throws away what no Alert of that cache asks for, and nobody sends an event
// again; and addKinds has just ended its watch of Alerts, which it begins anew after a
// second. An Alert has no status that would say so: an event about nobody is sent until
// both Providers have passed it on.
func (p *project) alerted(l *listener) {
	p.t.Helper()
	const nobody, commit = "nobody", "0123456789abcdef0123456789abcdef01234567"
	group, sent := v1alpha1.GroupVersion.Group+"/", 0
	p.until("Receiver", models, "there, and the Alerts known", func(state) bool {
		sent++
		body, err := json.Marshal(eventv1.Event{
			InvolvedObject: corev1.ObjectReference{APIVersion: v1alpha1.GroupVersion.String(), Kind: v1alpha1.WorkspaceKind, Namespace: p.Namespace, Name: nobody},
			Severity:       eventv1.EventSeverityInfo, Timestamp: metav1.Now(), Reason: "Asked", Message: "Is anybody there?", ReportingController: "test",
			Metadata: map[string]string{
				group + eventv1.MetaRevisionKey: "main@sha1:" + commit, group + eventv1.MetaCommitStatusKey: eventv1.MetaCommitStatusUpdateValue,
				group + eventv1.MetaTokenKey: strconv.Itoa(sent), // what is the same is not passed on twice
			},
		})
		must(p.t, err)
		res, err := http.Post(p.flux.EventsAddr, "application/json", bytes.NewReader(body))
		must(p.t, err)
		must(p.t, res.Body.Close())
		return l.told(func(e eventv1.Event) bool { return e.InvolvedObject.Name == nobody }) && l.status(commit, "workspace/"+nobody) != ""
	})
	p.t.Logf("the Alerts are known after %d events", sent)
}

// heard waits for something to have been told.
func (p *project) heard(what string, holds func() bool) {
	p.t.Helper()
	p.until("GitRepository", "models", "told of "+what, func(state) bool { return holds() })
}

// hooked: a call of a Receiver makes the RepoSync look at its source.
func (p *project) hooked() {
	p.t.Helper()
	r := p.until("Receiver", "models", "Ready", func(s state) bool { return s.is("Ready", "True") })
	before := p.until("RepoSync", "models", "there", func(state) bool { return true }).at("status", "lastHandledReconcileAt")
	req, err := http.NewRequestWithContext(p.t.Context(), http.MethodPost, p.flux.HookURL+r.at("status", "webhookPath"), strings.NewReader("{}"))
	must(p.t, err)
	res, err := http.DefaultClient.Do(req)
	must(p.t, err)
	must(p.t, res.Body.Close())
	if res.StatusCode != http.StatusOK {
		p.t.Fatalf("the Receiver answers %s", res.Status)
	}
	p.until("RepoSync", "models", "looked at", func(s state) bool {
		now := s.at("status", "lastHandledReconcileAt")
		return now != "" && now != before
	})
}

// addKinds adds deploy/flux/kinds to the kinds of Flux, as its users do: in the
// kustomization that Flux is installed from.
func (p *project) addKinds() {
	p.t.Helper()
	folder := p.t.TempDir()
	crds, err := p.world.Cluster.Kubectl(p.t.Context(), "get", "crd", "alerts.notification.toolkit.fluxcd.io", "receivers.notification.toolkit.fluxcd.io", "--output", "yaml")
	must(p.t, err)
	component, err := filepath.Abs(filepath.Join("..", "..", "deploy", "flux", "kinds"))
	must(p.t, err)
	relative, err := filepath.Rel(folder, component)
	must(p.t, err)
	must(p.t, os.WriteFile(filepath.Join(folder, "crds.yaml"), []byte(crds), 0o600))
	must(p.t, os.WriteFile(filepath.Join(folder, "kustomization.yaml"), []byte("resources: [crds.yaml]\ncomponents: ["+relative+"]\n"), 0o600))
	built, err := krusty.MakeKustomizer(krusty.MakeDefaultOptions()).Run(filesys.MakeFsOnDisk(), folder)
	must(p.t, err)
	text, err := built.AsYaml()
	must(p.t, err)
	_, err = p.world.Cluster.KubectlInput(p.t.Context(), text, "replace", "-f", "-")
	must(p.t, err)
}

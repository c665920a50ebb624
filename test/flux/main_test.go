// SPDX-License-Identifier: Apache-2.0

// Package flux tests Espalier beside the real Flux: source-controller,
// kustomize-controller and notification-controller, built from their Go modules, on
// a real API server, with a Git server that real git pushes to. `make e2e-flux`
// builds them and runs it; where they are not built, these tests are skipped.
package flux

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/util/wait"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/gitserver"
	"github.com/espalier-dev/espalier/test/harness"
)

// patience bounds every wait: it is only used up when something is broken.
const patience = 2 * time.Minute

// world is everything running, once for the package.
type world struct {
	*harness.Stand
	flux       *cluster.Flux
	controller *harness.Controller
}

var theWorld struct {
	once sync.Once
	*world
	err error
}

// release of Flux to run beside: see make e2e-flux.
var release = flag.String("flux.release", string(cluster.FluxNewest), "release of Flux to run beside: "+string(cluster.FluxPrevious)+", or nothing for the newest")

func TestMain(m *testing.M) {
	flag.Parse()
	code := m.Run()
	if w := theWorld.world; w != nil {
		if log, err := os.ReadFile(w.ControllerLog()); err != nil || strings.Contains(string(log), "is forbidden") {
			fmt.Fprintln(os.Stderr, "deploy/rbac lacks a right that the controller uses:", err, string(log))
			code = max(code, 1)
		}
		if err := errors.Join(w.controller.Stop(), w.Stop()); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

func start(t *testing.T) *world {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.MissingFlux(bin, cluster.FluxRelease(*release)); err != nil {
		t.Skip(err)
	}
	theWorld.once.Do(func() { theWorld.world, theWorld.err = startWorld(context.Background()) })
	if theWorld.err != nil {
		t.Fatal(theWorld.err)
	}
	return theWorld.world
}

func startWorld(ctx context.Context) (*world, error) {
	s, err := harness.Start(ctx, harness.Options{
		CreateDelay: 3 * time.Second, GPUDelay: 300 * time.Millisecond, DeleteDelay: 300 * time.Millisecond,
		JobDuration: time.Second, PollInterval: 200 * time.Millisecond, Out: os.Stderr,
	})
	if err != nil {
		return nil, err
	}
	w := &world{Stand: s}
	if w.flux, err = s.Cluster.StartFlux(ctx, cluster.FluxRelease(*release)); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	// Flux sends no password over plain HTTP.
	plain := s.Git
	if s.Git, err = gitserver.Start(gitserver.Options{User: harness.GitUser, Password: harness.GitPassword, TLS: true}); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := plain.Close(); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	if err := s.Client.Create(ctx, node()); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	w.controller, err = s.StartReplica(ctx, "--leader-elect=false", "--events-addr", w.flux.EventsAddr)
	return w, err
}

// project is a team whose repository Flux reads.
type project struct {
	*world
	*harness.Team
	t *testing.T
}

func newProject(t *testing.T, name string) *project {
	t.Helper()
	w := start(t)
	team, err := w.NewTeam(t.Context(), name)
	must(t, err)
	secret := &corev1.Secret{ObjectMeta: metav1.ObjectMeta{Namespace: name, Name: harness.GitSecret}}
	patch := fmt.Sprintf(`{"stringData":{"ca.crt":%q}}`, w.Git.CA())
	must(t, w.Client.Patch(t.Context(), secret, client.RawPatch("application/merge-patch+json", []byte(patch))))
	p := &project{world: w, Team: team, t: t}
	t.Cleanup(func() {
		if t.Failed() {
			p.tell()
		}
	})
	return p
}

// tell shows what there is when a test has failed.
func (p *project) tell() {
	seen, err := p.Team.Cluster.Kubectl(context.Background(), "get", "gitrepositories,kustomizations,reposyncs,workspaces,gpunodepools", "--namespace", p.Namespace, "--output", "yaml")
	p.t.Logf("what is there (%v):\n%s", err, seen)
	logs := []string{p.world.ControllerLog()}
	for _, name := range []string{"source-controller", "kustomize-controller", "notification-controller"} {
		logs = append(logs, filepath.Join(p.world.Cluster.Dir, name+".log"))
	}
	for _, name := range logs {
		log, _ := os.ReadFile(name)
		p.t.Logf("%s:\n%s", filepath.Base(name), log[max(0, len(log)-5000):])
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// apply applies documents as kubectl does, in the team's namespace.
func (p *project) apply(documents string) { p.applyIn(p.Namespace, documents) }

func (p *project) applyIn(namespace, documents string) {
	p.t.Helper()
	_, err := p.world.Cluster.KubectlInput(p.t.Context(), []byte(documents), "apply", "--server-side", "--field-manager=a-person", "--namespace", namespace, "-f", "-")
	must(p.t, err)
}

// push pushes a tree as the whole of main, and makes Flux fetch it, as the webhook
// of a forge does.
func (p *project) push(files map[string]string, message string) string {
	p.t.Helper()
	commit, err := p.Push(files, message)
	must(p.t, err)
	p.ask("GitRepository", message)
	return commit
}

// models is the name of every source, Kustomization and RepoSync here.
const models = "models"

// ask annotates an object as `flux reconcile` does.
func (p *project) ask(kind, token string) {
	p.t.Helper()
	p.patch(p.object(kind, models), fmt.Sprintf(`{"metadata":{"annotations":{"reconcile.fluxcd.io/requestedAt":%q}}}`, token))
}

// suspend suspends an object or resumes it.
func (p *project) suspend(kind string, yes bool) {
	p.t.Helper()
	p.patch(p.object(kind, models), fmt.Sprintf(`{"spec":{"suspend":%v}}`, yes))
}

func (p *project) patch(o client.Object, patch string) {
	p.t.Helper()
	err := p.world.Client.Patch(p.t.Context(), o, client.RawPatch("application/merge-patch+json", []byte(patch)))
	must(p.t, client.IgnoreNotFound(err)) // the first push comes before what fetches it
}

var apiVersions = map[string]string{
	"GitRepository": "source.toolkit.fluxcd.io/v1", "Kustomization": "kustomize.toolkit.fluxcd.io/v1",
	"Receiver": "notification.toolkit.fluxcd.io/v1", "Deployment": "apps/v1", "OCIRepository": "source.toolkit.fluxcd.io/v1", "Bucket": "source.toolkit.fluxcd.io/v1",
	v1alpha1.RepoSyncKind: v1alpha1.GroupVersion.String(), v1alpha1.WorkspaceKind: v1alpha1.GroupVersion.String(),
}

// object is one of the team, to be read or patched.
func (p *project) object(kind, name string) *unstructured.Unstructured {
	o := &unstructured.Unstructured{}
	o.SetAPIVersion(apiVersions[kind])
	o.SetKind(kind)
	o.SetNamespace(p.Namespace)
	o.SetName(name)
	return o
}

// state is what is asked about an object of any kind.
type state struct {
	*unstructured.Unstructured
}

// at is the value of a field, "" where there is none.
func (s state) at(path ...string) string {
	v, _, _ := unstructured.NestedFieldNoCopy(s.Object, path...)
	if v == nil {
		return ""
	}
	return fmt.Sprint(v)
}

// condition is a condition as "status reason: message", "" where there is none.
func (s state) condition(kind string) string {
	list, _, _ := unstructured.NestedSlice(s.Object, "status", "conditions")
	for _, c := range list {
		if c, ok := c.(map[string]any); ok && c["type"] == kind {
			return fmt.Sprintf("%v %v: %v", c["status"], c["reason"], c["message"])
		}
	}
	return ""
}

func (s state) is(kind, prefix string) bool { return strings.HasPrefix(s.condition(kind), prefix) }

// readyAt says that the object is Ready, as it is, at a commit.
func (s state) readyAt(commit string) bool {
	return s.is("Ready", "True") && s.at("status", "observedGeneration") == s.at("metadata", "generation") &&
		strings.HasSuffix(s.at("status", "lastAppliedRevision"), commit)
}

// until waits for an object to be in a state, and returns it.
func (p *project) until(kind, name, what string, holds func(state) bool) state {
	p.t.Helper()
	s := state{p.object(kind, name)}
	err := wait.PollUntilContextTimeout(p.t.Context(), 50*time.Millisecond, patience, true, func(ctx context.Context) (bool, error) {
		err := p.world.Client.Get(ctx, client.ObjectKeyFromObject(s), s.Unstructured)
		return err == nil && holds(s), client.IgnoreNotFound(err)
	})
	if err != nil {
		p.t.Fatalf("waiting for %s %s to be %s: %v; last seen Ready: %s", kind, name, what, err, s.condition("Ready"))
	}
	return s
}

// gone waits for an object to be none.
func (p *project) gone(kind, name string) {
	p.t.Helper()
	ctx, cancel := context.WithTimeout(p.t.Context(), patience)
	defer cancel()
	must(p.t, harness.Gone(ctx, p.world.Stand, p.object(kind, name)))
}

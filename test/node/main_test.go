// SPDX-License-Identifier: Apache-2.0

// Package node tests Espalier where pods really run: a kubelet, containerd and runc
// on this machine, a real OCI registry, real Git, the helper image as `make image`
// makes it, and the objects as they are rendered for a user. What stands in for
// something is the GPU, which the node only claims to have, Axolotl, KAITO's trainer and vLLM: small
// programs that keep to what Espalier relies on of them.
package node

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"path"
	"strings"
	"sync"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// patience bounds every wait: it is only used up when something is broken. A Job
// waits 10 seconds, then 20, before it tries again.
const patience = 2 * time.Minute

// accelerator is the label that Workspaces select the node by.
const accelerator = "espalier.example.com/accelerator"

// world is everything that runs.
type world struct {
	*harness.Stand
	node       *cluster.Node
	registry   string // host and port
	controller *harness.Controller
	data       *dataServer
	axolotl    string // images by digest
	kaito      string
	vllm       string
}

var shared struct {
	once sync.Once
	*world
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	if shared.world != nil {
		if err := shared.stop(); err != nil {
			fmt.Fprintln(os.Stderr, err)
			code = max(code, 1)
		}
	}
	os.Exit(code)
}

// theWorld starts everything once for the package.
func theWorld(t *testing.T) *world {
	t.Helper()
	bin, err := cluster.DefaultBin()
	if err != nil {
		t.Fatal(err)
	}
	if err := cluster.MissingNode(bin); err != nil {
		t.Skip(err)
	}
	if os.Getuid() != 0 {
		t.Skip("needs root: a kubelet mounts file systems")
	}
	shared.once.Do(func() {
		shared.world = &world{}
		shared.err = shared.start(context.Background())
	})
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.world
}

func (w *world) start(ctx context.Context) error {
	var err error
	w.Stand, err = harness.Start(ctx, harness.Options{Provider: []string{"--provider", "existing"}, Out: os.Stderr})
	if err != nil {
		return err
	}
	w.node, err = w.Cluster.StartNode(ctx, cluster.NodeOptions{Name: "real", GPUs: 1, Labels: map[string]string{accelerator: "t4"}})
	if err != nil {
		return err
	}
	if w.registry, err = w.Cluster.StartRegistry(ctx, w.node.Address); err != nil {
		return err
	}
	if err := w.node.TrustPlain(w.registry); err != nil {
		return err
	}
	if w.data, err = serveData(w.node.Address); err != nil {
		return err
	}
	helper, err := pushHelper(ctx, w.registry)
	if err != nil {
		return err
	}
	if w.axolotl, err = pushStandIn(ctx, w.registry, "axolotl"); err != nil {
		return err
	}
	if w.vllm, err = pushStandIn(ctx, w.registry, "vllm"); err != nil {
		return err
	}
	if w.kaito, err = pushStandIn(ctx, w.registry, "kaito", kaitoImage...); err != nil {
		return err
	}
	progress, err := free(w.node.Address) // where trainers reach the controller
	if err != nil {
		return err
	}
	w.controller, err = w.StartReplica(ctx, "--leader-elect=false", "--ask-registries=true", "--helper-image", helper,
		"--progress-url", "https://"+progress, "--progress-addr", progress)
	return err
}

func (w *world) stop() error {
	err := w.controller.Stop()
	if w.data != nil {
		err = errors.Join(err, w.data.server.Close())
	}
	if w.node != nil {
		err = errors.Join(err, w.node.Stop())
	}
	if w.Stand != nil {
		err = errors.Join(err, w.Stop())
	}
	return err
}

// dataServer serves files over HTTP on the network of the pods.
type dataServer struct {
	server *http.Server
	host   string

	mu    sync.Mutex
	files map[string]http.Handler
}

func serveData(address string) (*dataServer, error) {
	listener, err := net.Listen("tcp", net.JoinHostPort(address, "0"))
	if err != nil {
		return nil, err
	}
	d := &dataServer{host: listener.Addr().String(), files: map[string]http.Handler{}}
	d.server = &http.Server{Handler: d, ReadHeaderTimeout: time.Minute}
	go func() { _ = d.server.Serve(listener) }() // ends with Close
	return d, nil
}

// ServeHTTP implements http.Handler.
func (d *dataServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	d.mu.Lock()
	file := d.files[path.Base(r.URL.Path)]
	d.mu.Unlock()
	if file == nil {
		http.NotFound(w, r)
		return
	}
	file.ServeHTTP(w, r)
}

// put serves a file under a name, and returns its address.
func (d *dataServer) put(name string, file http.Handler) string {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.files[name] = file
	_, port, _ := net.SplitHostPort(d.host)
	return "http://data.example.com:" + port + "/" + name // every name is this machine
}

// content serves a text.
func content(text string) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		http.ServeContent(w, r, "", time.Unix(0, 0), strings.NewReader(text))
	})
}

// newTeam makes a team with a namespace of its own, and tells what its pods said
// where a test fails.
func newTeam(t *testing.T, name string) *harness.Team {
	t.Helper()
	team, err := theWorld(t).NewTeam(t.Context(), name)
	if err != nil {
		t.Fatal(err)
	}
	pods := watchPods(t, team.Cluster.Config, team.Namespace)
	t.Cleanup(func() {
		if t.Failed() {
			tell(t, team)
			t.Logf("what was said of its pods:\n%s", pods)
		}
		// What it runs goes with it, and leaves the node to the next team.
		sync := &v1alpha1.RepoSync{ObjectMeta: metav1.ObjectMeta{Namespace: team.Namespace, Name: team.Sync}}
		if err := team.Client.Delete(context.Background(), sync); client.IgnoreNotFound(err) != nil {
			t.Error(err)
		}
	})
	return team
}

// tell logs the state of a team's namespace.
func tell(t *testing.T, team *harness.Team) {
	t.Helper()
	ctx := context.Background()
	for _, args := range [][]string{
		{"get", "workspaces,gpunodepools,jobs,pods,pvc", "--output=wide"},
		{"get", "events", "--sort-by=.lastTimestamp"},
		{"logs", "--selector=app.kubernetes.io/managed-by=espalier", "--all-containers", "--prefix", "--tail=40"},
		{"describe", "pods"},
	} {
		out, err := team.Cluster.Kubectl(ctx, append([]string{"--namespace=" + team.Namespace}, args...)...)
		t.Logf("%s: %v\n%s", strings.Join(args[:2], " "), err, out)
	}
}

// patient bounds a wait.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

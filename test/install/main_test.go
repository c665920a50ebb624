// SPDX-License-Identifier: Apache-2.0

// Package install tests the ways into a cluster and out of it, on a real API server
// with simulated nodes: the Helm chart, installed by the real Helm and run with the
// flags and the rights that it brings, Kustomize overlays by kubectl, and every command
// that a document shows.
//
// What the chart and the manifests hold is compared in test/deploy; what a
// controller does with a repository is the matter of test/loop.
package install

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/harness"
)

// namespace that everything of Espalier is in.
const namespace = "espalier-system"

// patience bounds every wait: it is only used up when something is broken.
const patience = 150 * time.Second

// root of the checkout, seen from here.
const root = "../.."

var stand struct {
	once sync.Once
	*harness.Stand
	err error
}

func TestMain(m *testing.M) {
	code := m.Run()
	os.Exit(harness.Ended(stand.Stand, code))
}

// theStandWithHelm is theStand, where Helm is built.
func theStandWithHelm(t *testing.T) *harness.Stand {
	t.Helper()
	if _, err := os.Stat(helmProgram(t)); err != nil {
		t.Skip("helm is not built: run `make bin/helm` in the root of the repository")
	}
	return theStand(t)
}

// theStand is a cluster with nothing of Espalier in it, and beside it a Git server
// and a cloud. It has one node without GPUs.
func theStand(t *testing.T) *harness.Stand {
	t.Helper()
	stand.once.Do(func() {
		stand.Stand, stand.err = harness.Start(context.Background(), harness.Options{
			CreateDelay: 500 * time.Millisecond, GPUDelay: 300 * time.Millisecond, DeleteDelay: 300 * time.Millisecond,
			JobDuration: time.Second, PollInterval: 200 * time.Millisecond, Bare: true, Out: os.Stderr,
		})
		if stand.err == nil {
			stand.err = stand.Client.Create(context.Background(), node())
		}
	})
	must(t, stand.err)
	return stand.Stand
}

// node is a simulated one without GPUs, for what is no model.
func node() *corev1.Node {
	all := corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("8"), corev1.ResourceMemory: resource.MustParse("32Gi"), corev1.ResourcePods: resource.MustParse("110"),
		corev1.ResourceEphemeralStorage: resource.MustParse("100Gi"),
	}
	return &corev1.Node{
		ObjectMeta: metav1.ObjectMeta{Name: "system", Annotations: map[string]string{cluster.AnnotationFakeNode: "fake"}},
		Status:     corev1.NodeStatus{Capacity: all, Allocatable: all},
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// patient bounds a wait.
func patient(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	t.Cleanup(cancel)
	return ctx
}

func helmProgram(t *testing.T) string {
	t.Helper()
	bin, err := cluster.DefaultBin()
	must(t, err)
	return filepath.Join(bin, "helm")
}

// helm runs the Helm that `make bin/helm` builds, on the cluster of the Stand.
func helm(t *testing.T, s *harness.Stand, args ...string) {
	t.Helper()
	cmd := exec.CommandContext(patient(t), helmProgram(t), args...)
	home := t.TempDir()
	cmd.Env = append(surroundings(), "HOME="+home, "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home, "KUBECONFIG="+s.Cluster.Kubeconfig)
	if out, err := cmd.CombinedOutput(); err != nil {
		t.Fatalf("helm %s: %v: %s", strings.Join(args, " "), err, out)
	}
}

// surroundings are what of the environment of the test its programs get: nothing by which
// they would act on a repository or a cluster of whoever runs it, or as that person.
func surroundings() []string {
	env := []string{"LC_ALL=C", "TZ=UTC", "GIT_CONFIG_NOSYSTEM=1", "GIT_CONFIG_GLOBAL=" + os.DevNull, "GIT_TERMINAL_PROMPT=0"}
	for _, name := range []string{"PATH", "TMPDIR", "GOPATH", "GOCACHE", "GOMODCACHE", "GOPROXY", "GOFLAGS", "GOTOOLCHAIN"} {
		if value, set := os.LookupEnv(name); set {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// kubectl runs the cluster's own, and returns what it printed.
func kubectl(t *testing.T, s *harness.Stand, args ...string) string {
	t.Helper()
	out, err := s.Cluster.Kubectl(patient(t), args...)
	must(t, err)
	return out
}

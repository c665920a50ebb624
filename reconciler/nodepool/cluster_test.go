// SPDX-License-Identifier: Apache-2.0

package nodepool

import (
	"context"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/spf13/pflag"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/fakearm"
)

var shared = cluster.Shared{}

func TestMain(m *testing.M) { os.Exit(shared.Run(m)) }

// TestCluster runs the controller against a real API server and simulated
// kubelets, with the wall clock and credentials from the environment: what the
// stored CRD refuses, and what only watches can bring, shows here.
func TestCluster(t *testing.T) {
	c := shared.Get(t)
	ns := c.Namespace(t)
	kubectl := kubectlIn(t, c, ns)
	nodes := kubernetes.NewForConfigOrDie(c.Config)
	arm, err := fakearm.Start(fakearm.Options{
		Sizes:       func(name string) (fakearm.Hardware, bool) { h, ok := hardware[name]; return h, ok },
		CreateDelay: 300 * time.Millisecond, GPUDelay: 200 * time.Millisecond, DeleteDelay: 300 * time.Millisecond,
		Nodes: fakearm.KubeSink{Client: nodes},
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(arm.Close)
	for _, e := range arm.Env() {
		k, v, _ := strings.Cut(e, "=")
		t.Setenv(k, v)
	}
	stop := manager(t, c, arm)

	for _, name := range []string{"spot", "plain"} {
		p := gpuPool(name, t4)
		if name == "spot" {
			arm.Refuse(h100, fakearm.SKUNotAvailable(h100))
			p = gpuPool(name, h100, t4+"/spot")
		}
		p.Namespace, p.UID, p.Spec.NodeLabels = ns, "", map[string]string{"app": name}
		if err := direct(t, c).Create(t.Context(), p); err != nil {
			t.Fatal(err)
		}
	}
	stop() // a restart in the midst of it
	stop = manager(t, c, arm)
	kubectl("wait", patience, "--for=condition=Ready", "gnp/spot", "gnp/plain")
	if got := kubectl("get", "gnp", "--no-headers", "-o", "custom-columns=:.metadata.name,:.status.phase,:.status.candidate.instanceType,:.status.candidate.priority,:.status.usdPerHour"); !strings.Contains(got, "plain") ||
		strings.Count(got, "Ready") != 2 || !strings.Contains(got, "Spot") {
		t.Errorf("kubectl get:\n%s", got)
	}
	value := "espalier.dev/pool=" + ns + ".plain"
	node := kubectl("get", "nodes", "-l", value, "-o", `jsonpath={.items[*].metadata.labels.app} {.items[*].status.allocatable.nvidia\.com/gpu} {.items[*].spec.taints[*].key}`)
	if !strings.HasPrefix(node, "plain 1 ") || !strings.Contains(node, "espalier.dev/pool") || !strings.Contains(node, "sku") {
		t.Errorf("node of plain: %s", node)
	}
	kubectl("patch", "gnp/plain", "--type=merge", "--patch", `{"spec":{"replicas":2}}`)
	kubectl("wait", patience, "--for=jsonpath={.status.readyNodes}=2", "gnp/plain")
	elastic(t, c, arm, ns)
	kubectl("delete", patience, "gnp/elastic") // by itself: three at once are held
	kubectl("delete", patience, "gnp", "--all")
	if left := arm.Pools(); len(left) != 0 {
		t.Errorf("left in the cloud: %+v", left)
	}
	if left := kubectl("get", "nodes", "-l", value, "--no-headers", "--ignore-not-found"); left != "" {
		t.Errorf("left in the cluster: %s", left)
	}
	if err := arm.Err(); err != nil {
		t.Errorf("the fake had trouble with the cluster: %v", err)
	}
	stop()
}

const patience = "--timeout=60s"

// kubectlIn runs kubectl in a namespace.
func kubectlIn(t *testing.T, c *cluster.Cluster, namespace string) func(args ...string) string {
	return func(args ...string) string {
		t.Helper()
		out, err := c.Kubectl(t.Context(), append([]string{"--namespace=" + namespace}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return strings.TrimSpace(out)
	}
}

// elastic has a pool whose nodes AKS counts, and changes its settings in place.
func elastic(t *testing.T, c *cluster.Cluster, arm *fakearm.Server, ns string) {
	t.Helper()
	kubectl := kubectlIn(t, c, ns)
	p := gpuPool("elastic", t4)
	autoscaled(0, 2)(p)
	p.Namespace, p.UID = ns, ""
	if err := direct(t, c).Create(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	kubectl("wait", patience, "--for=condition=Ready", "gnp/elastic")
	if err := arm.Autoscale(kubectl("get", "gnp/elastic", "-o", "jsonpath={.status.poolName}"), 1); err != nil {
		t.Error(err)
	}
	kubectl("wait", patience, "--for=jsonpath={.status.readyNodes}=1", "gnp/elastic")
	kubectl("patch", "gnp/elastic", "--type=merge", "--patch", `{"spec":{"aks":{"autoscale":{"max":3},"upgrade":{"maxSurge":"1"}}}}`)
	tuned := func() bool {
		for _, p := range arm.Pools() {
			if u, _ := p.Props["upgradeSettings"].(map[string]any); p.Props["maxCount"] == 3.0 && u["maxSurge"] == "1" {
				return true
			}
		}
		return false
	}
	if err := wait.PollUntilContextTimeout(t.Context(), 200*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) { return tuned(), nil }); err != nil {
		t.Errorf("%v: %+v", err, arm.Pools())
	}
	if fights := arm.Fights(); len(fights) > 0 {
		t.Error(fights)
	}
}

// scheme knows our kinds and the cluster's.
func scheme(t *testing.T) *runtime.Scheme {
	t.Helper()
	s := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme} {
		if err := add(s); err != nil {
			t.Fatal(err)
		}
	}
	return s
}

func direct(t *testing.T, c *cluster.Cluster) client.Client {
	t.Helper()
	k, err := client.New(c.Config, client.Options{Scheme: scheme(t)})
	if err != nil {
		t.Fatal(err)
	}
	return k
}

// manager runs the controller as cmd/espalier does, until stop is called.
func manager(t *testing.T, c *cluster.Cluster, arm *fakearm.Server) (stop func()) {
	t.Helper()
	flags, err := arm.Flags(t.TempDir())
	if err != nil {
		t.Fatal(err)
	}
	provider := aksFromFlags(t, flags)
	skip := true
	mgr, err := ctrl.NewManager(c.Config, ctrl.Options{
		Scheme: scheme(t), Metrics: server.Options{BindAddress: "0"}, Controller: config.Controller{SkipNameValidation: &skip},
	})
	if err != nil {
		t.Fatal(err)
	}
	deps := Deps{
		Providers: map[v1alpha1.Provider]pool.Provider{v1alpha1.ProviderAKS: provider}, Installation: installation,
		PollInterval: 200 * time.Millisecond, IdleInterval: time.Second,
	}
	if err := SetupWithManager(mgr, deps); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	done := make(chan error, 1)
	go func() { done <- mgr.Start(ctx) }()
	stopped := false
	stop = func() {
		if stopped {
			return
		}
		stopped = true
		cancel()
		if err := <-done; err != nil {
			t.Errorf("the manager ended: %v", err)
		}
	}
	t.Cleanup(stop)
	return stop
}

func aksFromFlags(t *testing.T, flags []string) *aks.Provider {
	t.Helper()
	var o aks.Options
	fs := pflag.NewFlagSet("controller", pflag.ContinueOnError)
	o.BindFlags(fs)
	if err := fs.Parse(flags); err != nil {
		t.Fatal(err)
	}
	cfg, err := o.Config()
	if err != nil {
		t.Fatal(err)
	}
	p, err := aks.New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// SPDX-License-Identifier: Apache-2.0

// Package cluster starts a real Kubernetes control plane on this machine for
// tests and the demo: etcd, kube-apiserver, kube-controller-manager and
// kube-scheduler, with kwok playing the kubelets of nodes that are annotated
// kwok.x-k8s.io/node=fake, and a small provisioner so that claims bind.
//
// The programs are built from their Go modules by Build; Start runs them in a
// folder of their own, and Stop leaves nothing behind. Simulated nodes run no
// container, and a ClusterIP answers nobody: no network plugin runs here.
// An existing cluster is used instead with Options.Existing; it is never
// changed beyond what the caller applies to it.
package cluster

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
)

// Parts says how much of a cluster a caller needs: less starts faster.
type Parts int

// Values of Parts.
const (
	// Everything is the control plane, kwok and the provisioner: Jobs complete,
	// Deployments become available, claims bind.
	Everything Parts = iota
	// ControlPlane has controllers and scheduler, but nothing runs pods.
	ControlPlane
	// APIServer is etcd and kube-apiserver: objects are stored and validated,
	// nothing acts on them. Owner references do not collect garbage.
	APIServer
)

// AnnotationFakeNode on a Node, with the value "fake", lets kwok play its kubelet.
const AnnotationFakeNode = "kwok.x-k8s.io/node"

// Options say what to start.
type Options struct {
	// Parts of the cluster; the zero value is Everything.
	Parts Parts
	// Bin is the folder Build put the programs into. Empty: bin/ of this checkout.
	Bin string
	// Dir holds data, logs and the kubeconfig. Empty: a temporary folder that
	// Stop removes.
	Dir string
	// CRDs is a folder of CustomResourceDefinitions to install. Empty: none.
	CRDs string
	// PodStart is how long a pod of a simulated node takes to become ready.
	PodStart time.Duration
	// JobDuration is how long a Job's pod runs on a simulated node before it
	// succeeds; 0 stands for 3 s. The annotation
	// pod-complete.stage.kwok.x-k8s.io/delay on a pod overrides it.
	JobDuration time.Duration
	// Existing is the kubeconfig of a cluster to use instead of starting one.
	// With Parts Everything, kwok runs beside it and plays only annotated nodes.
	Existing string
	// Audit makes the API server note every request, for Cluster.Audit.
	Audit bool
	// Issuer of the tokens of accounts; "" stands for that of a cluster by itself.
	Issuer string
	// Authentication is an AuthenticationConfiguration, of issuers that the API server
	// trusts beside its own; "": none.
	Authentication string
}

// Cluster is a control plane to work with.
type Cluster struct {
	// Kubeconfig is the path of a file with the rights of an administrator.
	Kubeconfig string
	// Config is the same for client-go.
	Config *rest.Config
	// Dir holds a log file for each component.
	Dir string

	options   Options
	processes []*process // in order of start
	nodes     []*Node    // real ones
	stopWork  context.CancelFunc
	removeDir bool
	died      chan error
}

// startAttempts bounds how often Start tries again when another process took a
// port between choosing it and listening on it, or a component was never ready.
const startAttempts = 3

// Start starts the parts asked for and returns once the API server is ready,
// the default service account exists and the CRDs are established. On error
// nothing keeps running, and the error ends with the last lines of the log of
// the component that died.
func Start(ctx context.Context, o Options) (*Cluster, error) {
	var err error
	if o.Bin == "" {
		if o.Bin, err = DefaultBin(); err != nil {
			return nil, err
		}
	}
	if err := Missing(o.Bin); err != nil {
		return nil, err
	}
	if o.Existing != "" {
		return start(ctx, o, (*Cluster).useExisting)
	}
	for attempt := 1; ; attempt++ {
		c, err := start(ctx, o, (*Cluster).startControlPlane)
		if err == nil || attempt == startAttempts || ctx.Err() != nil || !worthAnother(err) {
			return c, err
		}
	}
}

// worthAnother says whether a new start, on other ports, may go better: a port
// was taken in between, or a component was never ready.
func worthAnother(err error) bool {
	return strings.Contains(err.Error(), "address already in use") || errors.Is(err, context.DeadlineExceeded)
}

func start(ctx context.Context, o Options, connect func(*Cluster, context.Context) error) (*Cluster, error) {
	c := &Cluster{options: o, Dir: o.Dir, died: make(chan error, 8)}
	if c.Dir == "" {
		dir, err := os.MkdirTemp("", "espalier-cluster-")
		if err != nil {
			return nil, err
		}
		c.Dir, c.removeDir = dir, true
	}
	work, cancel := context.WithCancel(context.Background())
	c.stopWork = cancel
	for _, step := range []func(*Cluster, context.Context) error{
		connect,
		(*Cluster).installCRDs,
		func(c *Cluster, ctx context.Context) error { return c.startNodes(ctx, work) },
	} {
		if err := step(c, ctx); err != nil {
			c.Stop()
			return nil, err
		}
	}
	return c, nil
}

// useExisting connects to the cluster of Options.Existing.
func (c *Cluster) useExisting(ctx context.Context) error {
	var err error
	c.Kubeconfig = c.options.Existing
	c.Config, err = clientcmd.BuildConfigFromFlags("", c.Kubeconfig)
	if err != nil {
		return fmt.Errorf("reading kubeconfig %s: %w", c.Kubeconfig, err)
	}
	return c.waitReady(ctx)
}

func (c *Cluster) installCRDs(ctx context.Context) error {
	if c.options.CRDs == "" {
		return nil
	}
	return InstallCRDs(ctx, c.Config, c.options.CRDs)
}

// PID is the process of a component, by the name of its log file; 0 where there is
// none.
func (c *Cluster) PID(name string) int {
	for _, p := range c.processes {
		if p.name == name && !p.ending.Load() {
			return p.cmd.Process.Pid
		}
	}
	return 0
}

// Died delivers an error for each component that ended without being asked to.
func (c *Cluster) Died() <-chan error { return c.died }

// Stop ends every component, last started first, and removes a temporary
// folder. It may be called more than once.
func (c *Cluster) Stop() {
	c.stopWork()
	for _, n := range c.nodes {
		if err := n.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "Stopping node", n.Name+":", err)
		}
	}
	c.nodes = nil
	for i := len(c.processes) - 1; i >= 0; i-- {
		c.processes[i].stop()
	}
	c.processes = nil
	if c.removeDir {
		_ = os.RemoveAll(c.Dir) // left over files of a temporary folder harm nobody
	}
}

// end ends components, by the names of their log files.
func (c *Cluster) end(names ...string) {
	c.processes = slices.DeleteFunc(c.processes, func(p *process) bool {
		named := slices.Contains(names, p.name)
		if named {
			p.stop()
		}
		return named
	})
}

// Kubectl runs the cluster's own kubectl as administrator and returns what it
// printed; an error carries what it said.
func (c *Cluster) Kubectl(ctx context.Context, args ...string) (string, error) {
	return c.KubectlInput(ctx, nil, args...)
}

// KubectlInput is Kubectl with an input, for `apply -f -`.
func (c *Cluster) KubectlInput(ctx context.Context, input []byte, args ...string) (string, error) {
	cmd := exec.CommandContext(ctx, filepath.Join(c.options.Bin, kubernetes.name))
	cmd.Args = append([]string{"kubectl"}, args...)
	cmd.Env = append(os.Environ(), "KUBECONFIG="+c.Kubeconfig)
	cmd.Stdin = bytes.NewReader(input)
	var out, talk bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &talk
	err := cmd.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) {
		err = fmt.Errorf("kubectl %s: %w: %s", strings.Join(args, " "), err, strings.TrimSpace(talk.String()))
	}
	return out.String(), err
}

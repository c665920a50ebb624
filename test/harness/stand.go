// SPDX-License-Identifier: Apache-2.0

// Package harness puts the whole of Espalier on one machine, for the
// whole-system tests and the demo: a local control plane with simulated nodes, a
// Git server, a fake Azure Resource Manager, and the product's own binary as a
// child process, reached through its ordinary flags and doors.
//
// It asserts nothing and knows nothing of the product's insides.
package harness

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"strings"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/client-go/kubernetes"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/sku"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/fakearm"
	"github.com/espalier-dev/espalier/test/gitserver"
	"github.com/espalier-dev/espalier/test/port"
)

// ClusterName is the --cluster-name of a Stand.
const ClusterName = "local"

// Region prices are quoted for on a Stand.
const Region = "westeurope"

// Credentials of the Git server of a Stand.
const (
	GitUser     = "espalier"
	GitPassword = "correct-horse-battery-staple"
)

// Options say how fast the world of a Stand turns.
type Options struct {
	// Kubeconfig of a cluster to use instead of starting one.
	Kubeconfig string
	// CreateDelay, GPUDelay and DeleteDelay are the cloud's: creating a node
	// pool, from joining to GPUs, deleting.
	CreateDelay, GPUDelay, DeleteDelay time.Duration
	// PodStart and JobDuration are the simulated nodes'.
	PodStart, JobDuration time.Duration
	// PollInterval of the controller while the cloud works.
	PollInterval time.Duration
	// StartLimit of the controller; 0: its default.
	StartLimit time.Duration
	// NodeLostAfter of the controller; 0: its default.
	NodeLostAfter time.Duration
	// Provider are the controller's flags that choose where nodes come from; nil:
	// --provider aks.
	Provider []string
	// Inside is a command that becomes the controller, which is appended to it; nil: none.
	Inside []string
	// Roles are folders of deploy/ to install for the controller beside rbac.
	Roles []string
	// Bare installs nothing of Espalier, neither kinds nor roles: that is what the
	// caller does, and StartInstalled starts what was installed.
	Bare bool
	// Parts of the cluster to start, and whether it notes every request.
	Parts cluster.Parts
	Audit bool
	// Issuer and Authentication of the cluster.
	Issuer, Authentication string
	// Out gets the output of builds; nil: nowhere.
	Out io.Writer
}

// Stand is everything running.
type Stand struct {
	Cluster *cluster.Cluster
	Git     *gitserver.Server
	ARM     *fakearm.Server
	Client  client.Client

	dir        string
	binary     string
	armFlags   []string
	kubeconfig string // the controller's
	progress   string // address that trainers call; "": none
	poll       time.Duration
	limit      time.Duration
	lostAfter  time.Duration
	provider   []string
	inside     []string // what becomes controllers
	controller *Controller
	started    bool // a controller was, whichever
}

// Start starts everything but the controller.
func Start(ctx context.Context, o Options) (*Stand, error) {
	if o.Out == nil {
		o.Out = io.Discard
	}
	s := &Stand{poll: o.PollInterval, limit: o.StartLimit, lostAfter: o.NodeLostAfter, provider: o.Provider, inside: o.Inside}
	if len(s.provider) == 0 {
		s.provider = []string{"--provider", "aks"}
	}
	if err := s.start(ctx, o); err != nil {
		return nil, errors.Join(err, s.Stop())
	}
	return s, nil
}

func (s *Stand) start(ctx context.Context, o Options) error {
	var err error
	if s.binary, err = BuildEspalier(ctx, o.Out); err != nil {
		return err
	}
	if s.dir, err = os.MkdirTemp("", "espalier-"); err != nil {
		return fmt.Errorf("making a folder for logs: %w", err)
	}
	root, err := cluster.Root()
	if err != nil {
		return err
	}
	crds := filepath.Join(root, "deploy", "crd")
	if o.Bare {
		crds = ""
	}
	s.Cluster, err = cluster.Start(ctx, cluster.Options{
		CRDs: crds, Existing: o.Kubeconfig, PodStart: o.PodStart, JobDuration: o.JobDuration,
		Parts: o.Parts, Audit: o.Audit, Issuer: o.Issuer, Authentication: o.Authentication,
	})
	if err != nil {
		return fmt.Errorf("starting the local cluster: %w", err)
	}
	s.kubeconfig = s.Cluster.Kubeconfig
	if o.Kubeconfig == "" && !o.Bare { // somebody's cluster is not changed for this
		if err := s.install(ctx, o.Roles); err != nil {
			return err
		}
	}
	if s.Git, err = gitserver.Start(gitserver.Options{User: GitUser, Password: GitPassword}); err != nil {
		return fmt.Errorf("starting the Git server: %w", err)
	}
	if err := s.startARM(o); err != nil {
		return err
	}
	return s.connect()
}

// connect makes the client that tests and the demo look through.
func (s *Stand) connect() error {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			return fmt.Errorf("making the scheme: %w", err)
		}
	}
	config := rest.CopyConfig(s.Cluster.Config)
	config.QPS = -1 // tests and demo look often
	var err error
	if s.Client, err = client.NewWithWatch(config, client.Options{Scheme: scheme}); err != nil {
		return fmt.Errorf("connecting to the local cluster: %w", err)
	}
	return nil
}

// install gives the controller its account, and an address for what trainers say.
func (s *Stand) install(ctx context.Context, roles []string) error {
	if err := s.useAccount(ctx, roles); err != nil {
		return err
	}
	var err error
	s.progress, err = port.FreeAddress()
	return err
}

func (s *Stand) startARM(o Options) error {
	kube, err := kubernetes.NewForConfig(s.Cluster.Config)
	if err != nil {
		return fmt.Errorf("connecting to the local cluster: %w", err)
	}
	s.ARM, err = fakearm.Start(fakearm.Options{
		Sizes: hardware, Nodes: fakearm.KubeSink{Client: kube},
		CreateDelay: o.CreateDelay, GPUDelay: o.GPUDelay, DeleteDelay: o.DeleteDelay,
	})
	if err != nil {
		return fmt.Errorf("starting the fake Azure Resource Manager: %w", err)
	}
	if s.armFlags, err = s.ARM.Flags(s.dir); err != nil {
		return fmt.Errorf("preparing the Azure flags: %w", err)
	}
	return nil
}

// hardware offers what the catalogue knows and Azure still sells.
func hardware(vmSize string) (fakearm.Hardware, bool) {
	i, ok := sku.Lookup(vmSize)
	if !ok || i.Schedulable() != nil {
		return fakearm.Hardware{}, false
	}
	return fakearm.Hardware{GPUs: i.GPUs, VCPUs: i.VCPUs, MemoryGiB: i.RAMGiB, Family: i.QuotaFamily}, true
}

// Stop ends everything, the controller first.
func (s *Stand) Stop() error {
	err := s.StopController()
	if s.ARM != nil {
		s.ARM.Close()
	}
	if s.Git != nil {
		err = errors.Join(err, s.Git.Close())
	}
	if s.Cluster != nil {
		s.Cluster.Stop()
	}
	if s.dir != "" {
		err = errors.Join(err, os.RemoveAll(s.dir))
	}
	return err
}

// Ended is the exit code of a package whose tests ended with one: the controller's account
// has lacked no right, and what was started stops. A nil Stand was never started.
func Ended(s *Stand, code int) int {
	if s == nil {
		return code
	}
	log, err := os.ReadFile(s.ControllerLog())
	if !s.started && errors.Is(err, os.ErrNotExist) { // no test came as far as a controller
		err = nil
	}
	if err == nil && strings.Contains(string(log), "is forbidden") {
		err = fmt.Errorf("the controller's account lacks a right that it uses:\n%s", log)
	}
	if err = errors.Join(err, s.Stop()); err != nil {
		fmt.Fprintln(os.Stderr, err)
		return max(code, 1)
	}
	return code
}

// ControllerLog is the file the controller writes its log to, over all its lives.
func (s *Stand) ControllerLog() string { return filepath.Join(s.dir, "controller.log") }

func (s *Stand) controllerArgs() []string {
	args := []string{
		"--cluster-name", ClusterName, "--region", Region,
		"--ask-registries=false", // that of the sample does not exist
		"--helper-image", "registry.example.com/espalier@sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855",
	}
	if s.poll > 0 {
		args = append(args, "--pool-poll-interval", s.poll.String())
	}
	if s.limit > 0 {
		args = append(args, "--start-limit", s.limit.String())
	}
	if s.lostAfter > 0 {
		args = append(args, "--node-lost-after", s.lostAfter.String(), "--simulated-node-lost-least", "0s")
	}
	return append(append(args, s.provider...), s.armFlags...)
}

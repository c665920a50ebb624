// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"slices"
	"time"

	sourcev1 "github.com/fluxcd/source-controller/api/v1"
	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	"k8s.io/apimachinery/pkg/labels"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/selection"
	"k8s.io/apimachinery/pkg/types"
	clientgoscheme "k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/transport"
	"k8s.io/utils/ptr"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/cache"
	"sigs.k8s.io/controller-runtime/pkg/client"
	ctrlconfig "sigs.k8s.io/controller-runtime/pkg/config"
	"sigs.k8s.io/controller-runtime/pkg/healthz"
	"sigs.k8s.io/controller-runtime/pkg/log/zap"
	"sigs.k8s.io/controller-runtime/pkg/manager"
	"sigs.k8s.io/controller-runtime/pkg/metrics"
	"sigs.k8s.io/controller-runtime/pkg/metrics/server"

	"github.com/espalier-dev/espalier/cmd/espalier/data"
	"github.com/espalier-dev/espalier/cmd/espalier/signin"
	"github.com/espalier-dev/espalier/cmd/espalier/version"
	"github.com/espalier-dev/espalier/reconciler/account"
	"github.com/espalier-dev/espalier/reconciler/hook"
	"github.com/espalier-dev/espalier/reconciler/inventory"
	"github.com/espalier-dev/espalier/reconciler/nodepool"
	"github.com/espalier-dev/espalier/reconciler/registry"
	"github.com/espalier-dev/espalier/reconciler/remote"
	"github.com/espalier-dev/espalier/reconciler/reposync"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/reconciler/slim"
	"github.com/espalier-dev/espalier/reconciler/source"
	"github.com/espalier-dev/espalier/reconciler/trace"
	"github.com/espalier-dev/espalier/reconciler/workspace"
	"github.com/espalier-dev/espalier/render/build"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lastTraces is how long a collector has for what is left when the process ends.
const lastTraces = 2 * time.Second

func newControllerCommand() *cobra.Command {
	options := controllerOptions{}
	command := &cobra.Command{
		Use:   "controller",
		Short: "Run the controllers in a cluster",
		Args:  cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			if err := options.Validate(); err != nil {
				return err
			}
			ctrl.SetLogger(zap.New(zap.UseDevMode(false)))
			build := version.Current()
			ctrl.Log.Info("Starting espalier", "version", build.Version, "revision", build.Revision, "go", build.Go)
			limitMemory(c.Context(), options, ctrl.Log)
			return traced(c.Context(), func(requests transport.WrapperFunc) error {
				return runController(c.Context(), options, requests)
			})
		},
	}
	options.BindFlags(command.Flags())
	return command
}

// traced runs do with what it has to put around its requests, and sends the last
// traces when do has ended.
func traced(ctx context.Context, do func(transport.WrapperFunc) error) error {
	stop, on, err := trace.Start(ctx, version.Current().Short(), ctrl.Log)
	if err != nil { // what releases paid nodes is not kept from it by how it is watched
		ctrl.Log.Info("No traces are exported", "reason", err.Error())
	}
	var requests transport.WrapperFunc
	if on {
		requests = trace.Requests
	}
	err = do(requests)
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), lastTraces)
	defer cancel()
	if err := stop(last); err != nil {
		ctrl.Log.Info("The last traces are lost", "reason", err.Error())
	}
	return err
}

// runController runs the manager until ctx ends; it stops gracefully.
func runController(ctx context.Context, o controllerOptions, requests transport.WrapperFunc) error {
	config, err := ctrl.GetConfig()
	if err != nil {
		return fmt.Errorf("finding a cluster: %w", err)
	}
	config.QPS, config.Burst = o.KubeAPIQPS, o.KubeAPIBurst
	config.UserAgent = "espalier"
	config.Wrap(requests)
	if err := remote.HideHosts(config); err != nil {
		return err
	}
	options := ctrl.Options{
		Scheme:                  newScheme(),
		Metrics:                 server.Options{BindAddress: o.MetricsAddr},
		HealthProbeBindAddress:  o.HealthAddr,
		PprofBindAddress:        o.PprofAddr,
		GracefulShutdownTimeout: &o.GracefulStop,
		// The priority queue of controller-runtime 0.24.1 can deadlock when it is
		// shut down while an item is handed out: SIGTERM then takes all of
		// --graceful-stop and ends with an error (controller-runtime#3538, mended
		// by #3540). The plain queue does not.
		Controller: ctrlconfig.Controller{UsePriorityQueue: ptr.To(false)},
		Cache:      cached(),
		NewCache:   slim.NewCache,
	}
	part, err := shard.Parse(o.WatchLabelSelector)
	if err != nil {
		return err
	}
	o.Leader.apply(&options, o.Controllers, part)
	mgr, err := ctrl.NewManager(config, options)
	if err != nil {
		return fmt.Errorf("making the manager: %w", err)
	}
	mgr, stop, err := withEvents(mgr, o.EventsAddr)
	if err != nil {
		return err
	}
	defer stop()
	build := version.Current().Metric() // of each replica, whether or not it leads
	if err := metrics.Registry.Register(build); err != nil {
		return fmt.Errorf("registering metrics: %w", err)
	}
	defer metrics.Registry.Unregister(build)
	if err := addProbes(mgr); err != nil {
		return err
	}
	if o.Controllers == reviewController {
		err = addReview(mgr, o)
	} else {
		err = addControllers(ctx, mgr, o, part)
	}
	if err != nil {
		return err
	}
	if err := mgr.Start(ctx); err != nil {
		return fmt.Errorf("running the controllers: %w", err)
	}
	return nil
}

// cached is what the caches hold: of what a Workspace is made of, only what carries
// its label, and of nothing what nobody here reads.
func cached() cache.Options {
	ours, err := labels.NewRequirement(repolayout.LabelWorkspace, selection.Exists, nil)
	if err != nil {
		panic(err) // the label is a constant
	}
	only := cache.ByObject{Label: labels.NewSelector().Add(*ours)}
	return cache.Options{
		DefaultTransform: slim.Transform,
		ByObject: map[client.Object]cache.ByObject{
			&corev1.Service{}: only, &policyv1.PodDisruptionBudget{}: only, &networkingv1.NetworkPolicy{}: only,
			&appsv1.Deployment{}: only, &appsv1.StatefulSet{}: only, &batchv1.Job{}: only,
		},
	}
}

func newScheme() *runtime.Scheme {
	scheme := runtime.NewScheme()
	for _, add := range []func(*runtime.Scheme) error{clientgoscheme.AddToScheme, v1alpha1.AddToScheme, sourcev1.AddToScheme} {
		if err := add(scheme); err != nil {
			panic(err) // two kinds of one name: a mistake of the build, not of the user
		}
	}
	return scheme
}

func addProbes(mgr ctrl.Manager) error {
	if err := mgr.AddHealthzCheck("alive", healthz.Ping); err != nil {
		return fmt.Errorf("adding the liveness probe: %w", err)
	}
	if err := mgr.AddReadyzCheck("ready", healthz.Ping); err != nil {
		return fmt.Errorf("adding the readiness probe: %w", err)
	}
	return nil
}

// installationID is the UID of the namespace kube-system: what tells one cluster
// from another of the same name.
func installationID(ctx context.Context, reader client.Reader) (string, error) {
	ns := &corev1.Namespace{}
	if err := reader.Get(ctx, types.NamespacedName{Name: "kube-system"}, ns); err != nil {
		return "", fmt.Errorf("reading the identity of the cluster: %w", err)
	}
	return string(ns.UID), nil
}

// addControllers adds those that sync, size, render and provide nodes.
func addControllers(ctx context.Context, mgr ctrl.Manager, o controllerOptions, part *shard.Shard) error {
	installation, err := installationID(ctx, mgr.GetAPIReader())
	if err != nil {
		return err
	}
	accounts := account.New(account.Options{
		Config: mgr.GetConfig(), Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Default: o.DefaultAccount,
	})
	inventories := &inventory.Memory{}
	azure, err := o.Azure.Client()
	if err != nil {
		return err
	}
	branches, err := o.Leader.branches(mgr)
	if err != nil {
		return err
	}
	remotes := remote.New(ctx, remote.Options{
		Hub: installation, Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Scheme: mgr.GetScheme(), Default: o.DefaultAccount,
		Allowed: o.KubeConfigs, UserAgent: mgr.GetConfig().UserAgent, QPS: o.KubeAPIQPS, Burst: o.KubeAPIBurst,
		Azure: remote.Azure{Cloud: o.Azure.Cloud, Foreign: o.Azure.Endpoint != "", HTTP: azure, Env: os.Getenv},
	})
	syncs := reposync.New(reposync.Deps{
		Client: mgr.GetClient(), Reader: mgr.GetAPIReader(), Events: mgr.GetEventRecorder("reposync"),
		Source: source.NewStore(source.Options{}), Builds: build.NewCache(build.CacheLimits{}), Cluster: o.ClusterName, TargetNamespaces: o.TargetNamespaces,
		NoCrossNamespaceRefs: o.NoCrossNamespaceRefs, Shard: part, Jitter: o.IntervalJitter, Accounts: accounts, Inventories: inventories, Installation: installation, Clock: time.Now,
		Vaults: o.vaults(mgr, azure), Branches: branches, Remotes: remotes,
	})
	if err := syncs.SetupWithManager(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the RepoSync controller: %w", err)
	}
	if err := addHook(mgr, hook.Server{Addr: o.HookAddr, Path: "/hook", Wake: syncs.LookNow, Writer: mgr.GetClient(), Elected: mgr.Elected()}); err != nil {
		return err
	}
	if err := addWorkspaces(ctx, mgr, o, workspace.Deps{Accounts: accounts, Inventories: inventories, Shard: part}); err != nil {
		return err
	}
	if part != nil {
		if mgr, err = newLone(mgr, o.Leader); err != nil {
			return err
		}
	}
	return addPools(mgr, o, installation)
}

// addWorkspaces adds the Workspace controller, with what is shared and its part.
func addWorkspaces(ctx context.Context, mgr ctrl.Manager, o controllerOptions, deps workspace.Deps) error {
	deps.Client, deps.Reader, deps.Events = mgr.GetClient(), mgr.GetAPIReader(), mgr.GetEventRecorder("workspace")
	deps.Render, deps.Region, deps.StartLimit, deps.Clock = o.render(), o.Region, o.StartLimit, time.Now
	deps.NamesWithin = o.NoCrossNamespaceRefs
	var err error
	if deps.Progress, err = o.Progress.serve(ctx, mgr, &deps.Render); err != nil {
		return err
	}
	if o.AskRegistries {
		deps.Registry = registry.Client{Transport: data.Transport()}
		deps.Identity = controllerIdentity
	}
	if err := workspace.New(deps).SetupWithManager(ctx, mgr); err != nil {
		return fmt.Errorf("setting up the Workspace controller: %w", err)
	}
	told := workspace.NewMetrics(mgr.GetClient(), time.Now)
	told.Of = deps.Shard
	return addMetrics(mgr, told)
}

// controllerIdentity signs in to the registry of an image as the workload identity of this
// process; nil where it has none there.
func controllerIdentity(image string) authn.Keychain {
	if signin.Check(image) != nil {
		return nil
	}
	return unlessRefused{signin.Identity{}}
}

// unlessRefused makes the refusal of a cloud one of the registry: waiting does not cure it,
// and a run is not held up for it.
type unlessRefused struct{ signin.Identity }

// Resolve implements authn.Keychain.
func (u unlessRefused) Resolve(target authn.Resource) (authn.Authenticator, error) {
	return u.ResolveContext(context.Background(), target)
}

// ResolveContext implements authn.ContextKeychain.
func (u unlessRefused) ResolveContext(ctx context.Context, target authn.Resource) (authn.Authenticator, error) {
	signed, err := u.Identity.ResolveContext(ctx, target)
	var no *signin.RefusedError
	if errors.As(err, &no) {
		return nil, fmt.Errorf("%w: %w", registry.ErrDenied, err)
	}
	return signed, err
}

// addMetrics tells what a collector knows for as long as this process is the leader:
// what two replicas both told would be counted twice.
func addMetrics(mgr ctrl.Manager, collector prometheus.Collector) error {
	err := mgr.Add(manager.RunnableFunc(func(ctx context.Context) error {
		if err := metrics.Registry.Register(collector); err != nil {
			return fmt.Errorf("registering metrics: %w", err)
		}
		defer metrics.Registry.Unregister(collector)
		<-ctx.Done()
		return nil
	}))
	if err != nil {
		return fmt.Errorf("adding metrics: %w", err)
	}
	return nil
}

// addPools adds what works on node pools.
func addPools(mgr ctrl.Manager, o controllerOptions, installation string) error {
	providers, err := o.providers(mgr.GetClient(), mgr.GetAPIReader())
	if err != nil {
		return err
	}
	if err := addPublisher(mgr, o, providers[v1alpha1.ProviderAKS]); err != nil {
		return err
	}
	pools := nodepool.NewMetrics(mgr.GetClient())
	if err := addMetrics(mgr, pools); err != nil {
		return err
	}
	poolDeps := nodepool.Deps{
		Metrics: pools, Events: mgr.GetEventRecorder("gpunodepool"),
		Providers: providers, Installation: installation, Region: o.Region, PollInterval: o.PoolPollInterval, Clock: time.Now,
		NamesWithin: o.NoCrossNamespaceRefs, LostAfter: o.NodeLostAfter,
	}
	if err := nodepool.SetupWithManager(mgr, poolDeps); err != nil {
		return fmt.Errorf("setting up the GPUNodePool controller: %w", err)
	}
	return watchOrphans(mgr, poolDeps)
}

// watchOrphans looks for node pools that nothing answers for, where a provider can
// list what carries our marks.
func watchOrphans(mgr ctrl.Manager, deps nodepool.Deps) error {
	var clouds nodepool.Markers
	for _, name := range slices.Sorted(maps.Keys(deps.Providers)) {
		if cloud, ok := deps.Providers[name].(nodepool.Marker); ok {
			clouds = append(clouds, cloud)
		}
	}
	if len(clouds) == 0 {
		return nil
	}
	if err := mgr.Add(nodepool.NewOrphanWatch(clouds, mgr.GetClient(), deps)); err != nil {
		return fmt.Errorf("adding the watch for orphans: %w", err)
	}
	return nil
}

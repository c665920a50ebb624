// SPDX-License-Identifier: Apache-2.0

package main

import (
	"errors"
	"fmt"
	"time"

	"github.com/spf13/pflag"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/aks"
	"github.com/espalier-dev/espalier/gpu/existing"
	"github.com/espalier-dev/espalier/gpu/karpenter"
	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/jitter"
	"github.com/espalier-dev/espalier/reconciler/nodepool"
	"github.com/espalier-dev/espalier/reconciler/remote"
	"github.com/espalier-dev/espalier/reconciler/shard"
	"github.com/espalier-dev/espalier/render"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// controllerOptions are the settings of `espalier controller`.
type controllerOptions struct {
	Controllers string
	ClusterName string
	Provider    string
	Region      string

	MetricsAddr, HealthAddr, HookAddr, EventsAddr, PprofAddr string
	Leader                                                   leaderOptions
	GracefulStop                                             time.Duration
	KubeAPIQPS                                               float32
	KubeAPIBurst                                             int

	TargetNamespaces     []string
	DefaultAccount       string
	NoCrossNamespaceRefs bool
	KubeConfigs          remote.Allowed
	WatchLabelSelector   string
	IntervalJitter       jitter.Percent

	HelperImage      string
	StorageClass     string
	Weights          weightsOptions
	Monitors         monitorOptions
	PoolPollInterval time.Duration
	StartLimit       time.Duration
	NodeLostAfter    time.Duration
	nodeLostLeast    time.Duration // of NodeLostAfter; less than the flag's default only where nodes are simulated
	Review           reviewOptions
	AskRegistries    bool
	QuotaConfigMap   string
	Progress         progressOptions

	Azure     aks.Options
	Karpenter karpenter.Options
}

// BindFlags binds the options to flags.
func (o *controllerOptions) BindFlags(fs *pflag.FlagSet) {
	fs.StringVar(&o.Controllers, "controllers", mainControllers, "Which controllers to run: main, which sync, size, render and provide nodes, or review, which answers pull requests")
	fs.StringVar(&o.ClusterName, "cluster-name", "", "Name of this cluster in status branches and comments; required to report readiness to Git and to answer pull requests")
	fs.StringVar(&o.Provider, "provider", string(v1alpha1.ProviderAKS), "Where the nodes of Workspaces come from: "+v1alpha1.Providers)
	fs.StringVar(&o.Region, "region", "", "Cloud region that prices are quoted for; empty: the cheapest known")

	fs.StringVar(&o.MetricsAddr, "metrics-addr", ":8080", "Address of the metrics endpoint; 0 turns it off")
	fs.StringVar(&o.HealthAddr, "health-addr", ":9440", "Address of the probes /healthz and /readyz")
	fs.StringVar(&o.HookAddr, "hook-addr", "", "Address of webhooks, /hook/<namespace>/<reposync> for pushes, with --controllers=review /review/<namespace>/<reposync>; empty turns it off")
	fs.StringVar(&o.EventsAddr, "events-addr", "", "Address that events are posted to, of Flux's notification-controller or another that takes its event API; empty: events go to Kubernetes alone")
	fs.StringVar(&o.PprofAddr, "pprof-addr", "", "Address of Go's profiles, /debug/pprof, which show what is in memory to whoever reaches it, so best 127.0.0.1:6060 and kubectl port-forward; empty turns it off")
	o.Leader.BindFlags(fs)
	fs.DurationVar(&o.GracefulStop, "graceful-stop", 20*time.Second, "How long running passes may take to end after SIGTERM")
	fs.Float32Var(&o.KubeAPIQPS, "kube-api-qps", 50, "Requests per second to the API server")
	fs.IntVar(&o.KubeAPIBurst, "kube-api-burst", 100, "Burst of requests to the API server")

	fs.StringSliceVar(&o.TargetNamespaces, "allow-target-namespace", nil, "Namespace that RepoSyncs of other namespaces may write to by spec.targetNamespace; repeatable")
	fs.StringVar(&o.DefaultAccount, "default-service-account", "", "ServiceAccount of the same namespace that RepoSyncs without spec.serviceAccountName act as, and Workspaces that no RepoSync applied; empty: the controller itself")

	fs.StringVar(&o.WatchLabelSelector, "watch-label-selector", "", "Act on the RepoSyncs and Workspaces alone that this label selector selects, such as "+shard.Label+"=shard1; one among all shards works on node pools")
	fs.IntVar((*int)(&o.IntervalJitter), "interval-jitter-percentage", 5, "By how many per cent the interval of a RepoSync is made longer or shorter at most, at random, so that not all ask at once; 0 to 99")
	fs.BoolVar(&o.NoCrossNamespaceRefs, "no-cross-namespace-refs", false, "Refuse RepoSyncs that name a RepoSync of another namespace in spec.dependsOn, and name no pods of other namespaces in messages; --allow-target-namespace is a matter of its own")

	fs.BoolVar(&o.KubeConfigs.Exec, "insecure-kubeconfig-exec", false, "Allow kubeconfigs of spec.kubeConfig whose user is a program to run, which then runs in the controller's pod with what it may")
	fs.BoolVar(&o.KubeConfigs.TLS, "insecure-kubeconfig-tls", false, "Allow kubeconfigs of spec.kubeConfig whose server is not verified, by insecure-skip-tls-verify or http")

	fs.StringVar(&o.HelperImage, "helper-image", "", "Image of Espalier itself, by digest, for data and adapter helpers in tuning pods")
	fs.StringVar(&o.StorageClass, "storage-class", "", "StorageClass of the claims for checkpoints; empty: the cluster's default")
	o.Weights.BindFlags(fs)
	o.Monitors.BindFlags(fs)
	fs.DurationVar(&o.PoolPollInterval, "pool-poll-interval", 15*time.Second, "How often to ask the cloud while a node pool is being created or deleted; less than 5s also shortens the look back at cordoned nodes before they are deleted, less than 15s the pause before nodes that went are ordered again")
	fs.DurationVar(&o.StartLimit, "start-limit", 30*time.Minute, "How long nodes bought for a Workspace may wait for work that does not start before it is stopped and they are given back; 0 waits for ever")
	fs.DurationVar(&o.NodeLostAfter, "node-lost-after", 20*time.Minute, "How long a node that was bought may be not Ready before its machine is deleted and another one ordered, 10m at least; 0 waits for ever, for the cloud or a person to see to it")
	fs.DurationVar(&o.nodeLostLeast, "simulated-node-lost-least", 10*time.Minute, "Least of --node-lost-after, where nodes are simulated")
	fs.Lookup("simulated-node-lost-least").Hidden = true // deletes machines that are coming back, where nodes are real

	o.Review.BindFlags(fs)
	fs.BoolVar(&o.AskRegistries, "ask-registries", true, "Ask the registry of a tuning run's output, before a node is requested, whether the adapter of the same inputs is published already")

	o.Progress.BindFlags(fs)
	fs.StringVar(&o.QuotaConfigMap, "quota-config-map", "", "ConfigMap NAMESPACE/NAME that the main controller publishes Azure's quotas in, and that plans of pull requests read; empty: neither")
	o.Azure.BindFlags(fs)
	o.Karpenter.BindFlags(fs)
}

// Validate says what is missing, all at once.
func (o *controllerOptions) Validate() error {
	var problems []error
	switch o.Controllers {
	case mainControllers:
		problems = append(problems, o.validateMain())
	case reviewController:
		problems = append(problems, o.validateReview())
	default:
		problems = append(problems, fmt.Errorf("--controllers %q: %s or %s", o.Controllers, mainControllers, reviewController))
	}
	_, err := objectName(quotaFlag, o.QuotaConfigMap)
	problems = append(problems, checkProvider(o.Provider), err)
	if _, err := shard.Parse(o.WatchLabelSelector); err != nil {
		problems = append(problems, fmt.Errorf("--watch-label-selector %w", err))
	} else if o.WatchLabelSelector != "" && o.Controllers == reviewController {
		problems = append(problems, errors.New("--watch-label-selector is for the main controllers: reviews are not divided"))
	}
	if o.IntervalJitter < 0 || o.IntervalJitter > 99 {
		problems = append(problems, fmt.Errorf("--interval-jitter-percentage %d: 0 to 99", o.IntervalJitter))
	}
	problems = append(problems, o.Leader.Validate())
	return errors.Join(problems...)
}

// checkProvider refuses a --provider that there is not.
func checkProvider(name string) error {
	switch v1alpha1.Provider(name) {
	case v1alpha1.ProviderAKS, v1alpha1.ProviderKarpenter, v1alpha1.ProviderExisting:
		return nil
	}
	return fmt.Errorf("--provider %q: %s", name, v1alpha1.Providers)
}

// validateMain is about what buys nodes and runs pods.
func (o *controllerOptions) validateMain() error {
	var problems []error
	if v1alpha1.Provider(o.Provider) == v1alpha1.ProviderAKS && !o.Azure.Enabled() {
		problems = append(problems, errors.New("--provider aks needs the AKS cluster: --azure-subscription-id, --azure-resource-group and --azure-cluster-name"))
	}
	if o.Azure.Enabled() {
		problems = append(problems, o.Azure.Validate())
	}
	if _, err := o.Karpenter.Classes(); err != nil {
		problems = append(problems, err)
	}
	if o.HelperImage == "" {
		problems = append(problems, errors.New("--helper-image is required: tuning pods fetch data and push adapters with it"))
	}
	if o.StartLimit < 0 {
		problems = append(problems, fmt.Errorf("--start-limit %s: at least 0, which waits for ever", o.StartLimit))
	}
	if o.NodeLostAfter != 0 && o.NodeLostAfter < o.nodeLostLeast {
		problems = append(problems, fmt.Errorf("--node-lost-after %s: at least %s, or 0, which waits for ever: before, Kubernetes has not told the pods of such a node to go, nor the cloud had the time to mend it", o.NodeLostAfter, o.nodeLostLeast))
	}
	problems = append(problems, o.Progress.Validate(), o.Weights.Validate())
	return errors.Join(problems...)
}

func (o *controllerOptions) render() render.Options {
	r := render.Options{Provider: v1alpha1.Provider(o.Provider), HelperImage: o.HelperImage, StorageClass: o.StorageClass}
	o.Weights.set(&r)
	o.Monitors.set(&r)
	return r
}

// monitorOptions are about the Prometheus operator, which a cluster has or not.
type monitorOptions struct {
	ServiceMonitors bool
	Labels          map[string]string
}

// BindFlags binds the options to flags.
func (o *monitorOptions) BindFlags(fs *pflag.FlagSet) {
	fs.BoolVar(&o.ServiceMonitors, "service-monitors", false, "Give each service a ServiceMonitor; the cluster must have the kind of the Prometheus operator")
	fs.StringToStringVar(&o.Labels, "service-monitor-label", nil, "Label KEY=VALUE by which Prometheus selects ServiceMonitors; repeatable")
	// What they were called while services had PodMonitors: an installation that says so
	// still starts, and is told.
	fs.BoolVar(&o.ServiceMonitors, "pod-monitors", false, "")
	fs.StringToStringVar(&o.Labels, "pod-monitor-label", nil, "")
	for old, now := range map[string]string{"pod-monitors": "service-monitors", "pod-monitor-label": "service-monitor-label"} {
		f := fs.Lookup(old)
		f.Deprecated, f.Hidden = "it is --"+now+" now", true
	}
}

func (o *monitorOptions) set(r *render.Options) {
	r.ServiceMonitors, r.MonitorLabels = o.ServiceMonitors, o.Labels
}

// providers makes the node pool providers that this installation can use.
func (o *controllerOptions) providers(cached client.Client, live client.Reader) (map[v1alpha1.Provider]pool.Provider, error) {
	providers := map[v1alpha1.Provider]pool.Provider{v1alpha1.ProviderExisting: &existing.Provider{}}
	if o.Azure.Enabled() {
		config, err := o.Azure.Config()
		if err != nil {
			return nil, fmt.Errorf("reading the Azure settings: %w", err)
		}
		if providers[v1alpha1.ProviderAKS], err = aks.New(config); err != nil {
			return nil, fmt.Errorf("connecting to AKS: %w", err)
		}
	}
	if o.Karpenter.Enabled() || v1alpha1.Provider(o.Provider) == v1alpha1.ProviderKarpenter {
		classes, err := o.Karpenter.Classes()
		if err != nil {
			return nil, err
		}
		config := karpenter.Config{Client: cached, Live: live, Classes: classes, Sizes: nodepool.Sizes, Region: o.Region}
		if providers[v1alpha1.ProviderKarpenter], err = karpenter.New(config); err != nil {
			return nil, fmt.Errorf("offering Karpenter: %w", err)
		}
	}
	return providers, nil
}

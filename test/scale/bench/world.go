// SPDX-License-Identifier: Apache-2.0

package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/rest"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/test/cluster"
	"github.com/espalier-dev/espalier/test/gitserver"
	"github.com/espalier-dev/espalier/test/harness"
)

// atRest is how long a controller asks for nothing before it is taken to be done.
const atRest = 2 * time.Second

// world is the machine of a bench: an API server with etcd and nothing that acts,
// machines that are said to be there, and a Git server that asks for no password,
// because Flux sends none without TLS. Nothing but these and what is measured runs.
type world struct {
	*harness.Stand
	container *container // of the controller; nil: none
	client    client.WithWatch
	git       *gitserver.Server
	audit     *cluster.Audit
	o         options
}

func newWorld(ctx context.Context, o options) (*world, error) {
	w := &world{o: o}
	var inside []string
	if o.memory != "" {
		var err error
		if w.container, err = newContainer(o.memory); err != nil {
			return nil, err
		}
		inside = w.container.command()
	}
	stand, err := harness.Start(ctx, harness.Options{
		Parts: cluster.APIServer, Audit: true, Provider: []string{"--provider", "existing"}, Inside: inside, Out: os.Stderr,
	})
	if err != nil {
		return nil, errors.Join(fmt.Errorf("starting the stand: %w", err), w.container.remove())
	}
	w.Stand, w.audit = stand, stand.Cluster.Audit()
	if err := w.furnish(ctx); err != nil {
		return nil, errors.Join(err, w.stop())
	}
	return w, nil
}

func (w *world) furnish(ctx context.Context) error {
	var err error
	if w.git, err = gitserver.Start(gitserver.Options{}); err != nil {
		return fmt.Errorf("starting the Git server: %w", err)
	}
	config := rest.CopyConfig(w.Cluster.Config)
	config.QPS = -1
	if w.client, err = client.NewWithWatch(config, client.Options{Scheme: w.Client.Scheme()}); err != nil {
		return fmt.Errorf("connecting to the local cluster: %w", err)
	}
	for i := 0; i < w.o.n; i += gpusOfRack {
		if err := w.addRack(ctx, rack(i)); err != nil {
			return err
		}
	}
	return nil
}

// addRack adds a machine with GPUs that is Ready, as its kubelet would say.
func (w *world) addRack(ctx context.Context, label string) error {
	n := &corev1.Node{ObjectMeta: metav1.ObjectMeta{Name: label, Labels: map[string]string{
		"rack": label, corev1.LabelOSStable: "linux", corev1.LabelArchStable: "amd64",
		"nvidia.com/gpu.count": fmt.Sprint(gpusOfRack), "nvidia.com/gpu.memory": "81920", "nvidia.com/gpu.product": "NVIDIA-A100-SXM4-80GB",
	}}}
	n.Status.Capacity = corev1.ResourceList{
		corev1.ResourceCPU: resource.MustParse("256"), corev1.ResourceMemory: resource.MustParse("2Ti"), corev1.ResourcePods: resource.MustParse("110"),
		corev1.ResourceEphemeralStorage: resource.MustParse("8Ti"), "nvidia.com/gpu": resource.MustParse(fmt.Sprint(gpusOfRack)),
	}
	n.Status.Allocatable = n.Status.Capacity.DeepCopy()
	n.Status.Conditions = []corev1.NodeCondition{{Type: corev1.NodeReady, Status: corev1.ConditionTrue, Reason: "KubeletReady"}}
	if err := w.client.Create(ctx, n); err != nil {
		return fmt.Errorf("adding a machine: %w", err)
	}
	n.Spec.Taints = nil // that it is not ready, says admission
	if err := w.client.Update(ctx, n); err != nil {
		return fmt.Errorf("opening a machine: %w", err)
	}
	return nil
}

func (w *world) stop() error {
	err := w.Stop()
	if w.git != nil {
		err = errors.Join(err, w.git.Close())
	}
	return errors.Join(err, w.container.remove())
}

// namespace makes one.
func (w *world) namespace(ctx context.Context, name string) error {
	if err := w.client.Create(ctx, &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}); err != nil {
		return fmt.Errorf("making a namespace: %w", err)
	}
	return nil
}

// push pushes the fleet as the whole of a repository.
func (w *world) push(repo string, f *fleet, message string) (commit string, err error) {
	commit, err = w.git.Push(repo, "main", f.files(), message)
	if err != nil {
		return "", fmt.Errorf("pushing: %w", err)
	}
	return commit, nil
}

// playKubelets says of each Deployment, as soon as it is another, that its pods
// answer: what the scheduler, the controllers of Kubernetes and the kubelets would
// say after minutes, without their share of the processor.
func (w *world) playKubelets(ctx context.Context, namespace string) (*follower, error) {
	stirred := make(chan string, 100_000)
	for range 4 {
		go func() {
			for {
				select {
				case name := <-stirred:
					w.answer(ctx, namespace, name)
				case <-ctx.Done():
					return
				}
			}
		}()
	}
	return follow(ctx, w.client, deployments, namespace, func(name string, _ seen) { stirred <- name })
}

func (w *world) answer(ctx context.Context, namespace, name string) {
	d := &metav1.PartialObjectMetadata{}
	d.SetGroupVersionKind(deployments)
	key := client.ObjectKey{Namespace: namespace, Name: name}
	if err := w.client.Get(ctx, key, d); err != nil {
		return // it is gone, or the bench is over
	}
	status := fmt.Appendf(nil, `{"status":{"observedGeneration":%d,"replicas":1,"updatedReplicas":1,"readyReplicas":1,"availableReplicas":1}}`, d.Generation)
	if err := w.client.Status().Patch(ctx, d, client.RawPatch("application/merge-patch+json", status)); client.IgnoreNotFound(err) != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, "A Deployment's status was not written:", err)
	}
}

// calls are the requests of one client of the API server.
type calls []cluster.Request

// espalierCalls picks those of our account, fluxCalls those of Flux's controllers.
func espalierCalls(r cluster.Request) bool {
	return r.User == "system:serviceaccount:espalier-system:espalier"
}

func fluxCalls(r cluster.Request) bool {
	return strings.HasPrefix(r.Agent, "kustomize-controller/") || strings.HasPrefix(r.Agent, "source-controller/")
}

// begun waits until somebody whom whose picks has asked for an object of the fleet, and
// returns what was asked until then. One that starts fills its caches first, by watches
// alone and for longer than one at rest is silent.
func (w *world) begun(ctx context.Context, whose func(cluster.Request) bool) (calls, error) {
	ofTheFleet := func(r cluster.Request) bool { return r.Verb == "get" && r.Namespace == place }
	for all := (calls)(nil); ; {
		asked, err := w.asked(whose)
		if err != nil {
			return nil, err
		}
		if all = append(all, asked...); slices.ContainsFunc(all, ofTheFleet) {
			return all, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return nil, fmt.Errorf("the controller does not begin: %w; it asked for %s", ctx.Err(), all.mostly())
		}
	}
}

// asked are the requests since the last call, watches left out.
func (w *world) asked(whose func(cluster.Request) bool) (calls, error) {
	requests, err := w.audit.Next()
	if err != nil {
		return nil, fmt.Errorf("counting requests: %w", err)
	}
	return slices.DeleteFunc(requests, func(r cluster.Request) bool { return !whose(r) || r.Verb == "watch" }), nil
}

// rest waits until nobody whom whose picks has asked for anything for a while, and
// returns what was asked since the last call, and when last.
func (w *world) rest(ctx context.Context, whose func(cluster.Request) bool) (calls, time.Time, error) {
	var all calls
	for last := time.Now(); ; {
		requests, err := w.asked(whose)
		if err != nil {
			return nil, last, err
		}
		for _, r := range requests {
			if r.At.After(last) {
				last = r.At
			}
		}
		all = append(all, requests...)
		if time.Since(last) > atRest {
			return all, last, nil
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-ctx.Done():
			return all, last, fmt.Errorf("the controller does not come to rest: %w; it asked last for %s", ctx.Err(), all.mostly())
		}
	}
}

// count counts the requests of some verbs.
func (c calls) count(verbs ...string) int {
	n := 0
	for _, r := range c {
		if slices.Contains(verbs, r.Verb) {
			n++
		}
	}
	return n
}

// by counts requests by verb and resource, the most frequent first.
func (c calls) by(which func(cluster.Request) bool) []string {
	counts := map[string]int{}
	for _, r := range c {
		if which(r) {
			counts[r.Verb+" "+r.Resource]++
		}
	}
	var lines []string
	for what := range counts {
		lines = append(lines, what)
	}
	slices.SortFunc(lines, func(a, b string) int {
		if counts[a] != counts[b] {
			return counts[b] - counts[a]
		}
		return strings.Compare(a, b)
	})
	for i, what := range lines {
		lines[i] = fmt.Sprintf("%d %s", counts[what], what)
	}
	return lines
}

// mostly names what was asked for most.
func (c calls) mostly() string {
	lines := c.by(func(cluster.Request) bool { return true })
	return strings.Join(lines[:min(len(lines), 12)], ", ")
}

// SPDX-License-Identifier: Apache-2.0

// Package render turns one Workspace, judged by render/check, into the objects
// that run it: GPUNodePool; Deployment and Service, or Job, ConfigMap and claim.
// It is the second of the two stages of rendering: Kustomize over the runtime's
// base (presets/runtimes), then patches generated here, then the user's own
// within the limits of a tenant.
//
// Equal input gives equal bytes: no clock, no map order, no random name, and
// nothing that an upgrade of Espalier changes by itself (estimates of the
// memory fit reach no argument). It never asks a cluster and adds no owner
// references: the controller does.
package render

import (
	"context"
	"errors"
	"fmt"
	"math"
	"time"

	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/espalier-dev/espalier/render/check"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// Options are settings of the installation.
type Options struct {
	// Provider of node pools that Workspaces do not share.
	Provider v1alpha1.Provider
	// HelperImage is Espalier's own image by digest: it fetches data and pushes
	// adapters.
	HelperImage string
	// StorageClass of claims; "" is the cluster's default.
	StorageClass string
	// ServiceMonitors says that the cluster has the Prometheus operator's kind, and
	// that services get one; MonitorLabels are labels that it selects them by.
	ServiceMonitors bool
	MonitorLabels   map[string]string
	// LocalWeights is the directory of the nodes that holds weights, which whoever runs
	// the controller vouches for; "": there is none.
	LocalWeights string
	// WeightsAccounts are the ServiceAccounts that pods may have to read weights of an
	// object store; AnyAccount is all.
	WeightsAccounts []string
	// RegistryAccounts are the ServiceAccounts that pods may sign in to registries of
	// clouds as; AnyAccount is all.
	RegistryAccounts []string
	// Progress is where trainers say how far they are; nil: nowhere.
	Progress *Progress
}

// Progress is a server of Kubeflow's status protocol.
type Progress struct {
	// URL is called with a token for Audience; the server shows a certificate of
	// Authority, in PEM.
	URL, Audience, Authority string
}

// Input is what a Workspace is rendered from.
type Input struct {
	Workspace  *v1alpha1.Workspace
	Assessment check.Assessment
	// Candidate is the one that was obtained; before that, the first usable.
	Candidate check.Candidate
	// Copies is the number that the autoscaler of a service asks for now; nil: it
	// has not begun, and the fewest are rendered.
	Copies *int32
	// Versions maps "Secret/name" to its resourceVersion: a rotated credential
	// reaches the pods of a service. Content never gets here.
	Versions map[string]string
	// Provider of the Workspace's own node pool that is there, which it keeps; "":
	// there is none.
	Provider v1alpha1.Provider
	Options  Options
}

// Output are the children of a Workspace.
type Output struct {
	// Pool is nil when the Workspace shares one.
	Pool *unstructured.Unstructured
	// Support is what the pods need: ConfigMap, claims, Service.
	Support []*unstructured.Unstructured
	// Workload is the Deployment, the Job, or the StatefulSet of the first copy
	// that is spread over several nodes; Copies are those of the others.
	Workload *unstructured.Unstructured
	Copies   []*unstructured.Unstructured
	// Autoscaler scales the Deployment; nil where the number of copies is fixed, or
	// suspended. Then spec.replicas of the Deployment is where it begins, and the
	// autoscaler's from there on.
	Autoscaler *unstructured.Unstructured
	// Route publishes a service through a Gateway; nil where the spec names none.
	Route *unstructured.Unstructured
	// InferencePool is what the route names in the place of the Service; nil where
	// the spec asks for none.
	InferencePool *unstructured.Unstructured
	// Digest of every input, which is also on the pod template; of a tuning run
	// what identifies it.
	Digest string
	// Pods identifies all that the pods of a service were rendered from, but the
	// release of Espalier. PodsUntold is what a release identified them by that did not
	// tell what a shared pool says of them; "": the same.
	Pods, PodsUntold string
	// Resolved is for status.resolved.
	Resolved v1alpha1.Resolved
	// Idle are the patches of the spec whose target selects none of the children, by
	// index: Kustomize passes over them in silence.
	Idle []int
}

// Objects lists every child in the order to apply them.
func (o Output) Objects() []*unstructured.Unstructured {
	var all []*unstructured.Unstructured
	if o.Pool != nil {
		all = append(all, o.Pool)
	}
	all = append(all, o.Support...)
	if o.Workload != nil {
		all = append(all, o.Workload)
	}
	all = append(all, o.Copies...)
	for _, o := range []*unstructured.Unstructured{o.Autoscaler, o.InferencePool, o.Route} {
		if o != nil {
			all = append(all, o)
		}
	}
	return all
}

// patience bounds the build: it takes milliseconds, and patches are the user's.
const patience = 30 * time.Second

// Render renders the children of a Workspace that was not refused. An error is
// the user's to mend, and names the patch where it is about one.
func Render(in Input) (Output, error) {
	if !in.Candidate.Usable() {
		return Output{}, errors.New("rendering a Workspace without a candidate that it fits")
	}
	if err := in.installed(); err != nil {
		return Output{}, err
	}
	j := in.job()
	l, err := j.layer()
	if err != nil {
		return Output{}, err
	}
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	objects, err := l.build(ctx, nil)
	if err != nil {
		return Output{}, fmt.Errorf("rendering %s: %w", j.name, err)
	}
	if len(j.spec.Patches) > 0 {
		if objects, err = l.patched(ctx, objects, j.spec.Patches); err != nil {
			return Output{}, err
		}
	}
	out, err := j.output(objects)
	out.Idle = idle(objects, j.spec.Patches)
	return out, err
}

// job is one Workspace being rendered.
type job struct {
	Input
	spec            *v1alpha1.WorkspaceSpec
	name, namespace string
	digest          string
}

func (in Input) job() job {
	j := job{Input: in, spec: &in.Workspace.Spec, name: in.Workspace.Name, namespace: in.Workspace.Namespace}
	j.keepHelper()
	j.digest = j.inputDigest()
	return j
}

// layer is what is built: the base of the runtime and what is generated for it.
func (j job) layer() (layer, error) {
	r := j.Assessment.Runtime
	base, err := r.Base()
	if err != nil {
		return layer{}, err
	}
	l := layer{base: base, id: r.Name + " " + r.Version, name: j.name, namespace: j.namespace, labels: j.labels()}
	if err := j.fill(&l); err != nil {
		if j.Assessment.Pod != nil {
			return layer{}, err // it names the field
		}
		return layer{}, fmt.Errorf("rendering %s: %w", j.name, err)
	}
	return l, nil
}

// inputDigest of a tuning run is what identifies it, and so without its image
// and without credentials; of a service it is everything that its pods see.
func (j job) inputDigest() string {
	r := j.Assessment.Resolved
	if j.spec.Tuning != nil {
		return check.Sum("tuning", r.Digest, r.ModelRevision)
	}
	if j.spread() {
		return check.Sum("inference", r.Digest, r.ModelRevision, r.Image, j.Versions, r.HelperImage, j.Candidate.CopyNodes)
	}
	return check.Sum("inference", r.Digest, r.ModelRevision, r.Image, j.Versions)
}

// podsFrom identifies what the pods are rendered from. How many there are, for
// how much and whether just now is no part of it. untold is what it was before it told
// what a shared pool says of the pods; "": it says nothing.
func (j job) podsFrom() (pods, untold string) {
	spec := j.spec.DeepCopy()
	spec.Budget, spec.Suspend, spec.Resource.Count, spec.Resource.Provider = nil, false, 0, ""
	spec.Resource.Driver = "" // the image, which it decides on, is in the digest of a service
	if spec.Inference != nil {
		spec.Inference.Replicas, spec.Inference.Autoscale, spec.Inference.Route = nil, nil, nil
	}
	c := j.Candidate
	values := []any{j.digest, spec, c.Candidate, c.PodGPUs, c.CopyNodes, j.provider()}
	pool := j.Assessment.Pool
	if pool == nil {
		return check.Sum(values...), ""
	}
	values = append(values, pool.NodeLabels)
	var said []any // nothing of most pools, so that the digests of their services stay
	if slice := j.gpuResource(); slice != v1alpha1.ResourceGPU {
		said = append(said, slice)
	}
	if types := j.unusable(); len(types) > 0 {
		said = append(said, types)
	}
	if len(said) == 0 {
		return check.Sum(values...), ""
	}
	return check.Sum(append(values, said...)...), check.Sum(values...)
}

// resolved is what the Workspace resolved to, with how its pods lie on nodes.
func (j job) resolved() v1alpha1.Resolved {
	r := j.Assessment.Resolved
	r.InstanceType, r.Resource = j.Candidate.InstanceType, check.ResourceDigest(j.spec.Resource)
	r.GPUsPerPod, r.NodesPerCopy = small(j.Candidate.PodGPUs), small(j.Candidate.CopyNodes)
	return r
}

// small numbers are bounded by the catalogue and the fit, far below the type.
func small(n int) int32 { return int32(min(n, math.MaxInt32)) } //nolint:gosec // bounded by min

func (j job) fill(l *layer) error {
	if j.spec.Resource.NodePool == "" {
		l.objects = append(l.objects, j.pool())
	}
	if j.spec.Tuning != nil {
		return j.tuning(l)
	}
	if err := j.published(l); err != nil {
		return err
	}
	if j.Assessment.Pod != nil {
		return j.ownPod(l)
	}
	if j.monitored() {
		l.objects = append(l.objects, j.monitor())
	}
	if j.autoscaled() {
		l.objects = append(l.objects, j.autoscaler())
	}
	return j.serving(l)
}

// output sorts the children into their places.
func (j job) output(objects []*unstructured.Unstructured) (Output, error) {
	out := Output{Digest: j.digest, Resolved: j.resolved()}
	out.Pods, out.PodsUntold = j.podsFrom()
	for _, o := range objects {
		switch o.GetKind() {
		case v1alpha1.GPUNodePoolKind:
			out.Pool = o
		case "StatefulSet":
			if out.Workload != nil {
				out.Copies = append(out.Copies, o)
				continue
			}
			out.Workload = o
		case "Deployment", "Job":
			out.Workload = o
		case KindHPA, KindScaledObject:
			out.Autoscaler = o
		case KindRoute:
			out.Route = o
		case KindInferencePool:
			out.InferencePool = o
		default:
			out.Support = append(out.Support, o)
		}
	}
	if out.Workload == nil {
		return Output{}, fmt.Errorf("the base of %s %s has no workload", j.Assessment.Runtime.Name, j.Assessment.Runtime.Version)
	}
	return out, nil
}

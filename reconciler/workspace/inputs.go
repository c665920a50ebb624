// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"slices"
	"strconv"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	batchv1 "k8s.io/api/batch/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// lookAgain is how often to look for what no watch tells: the pods of a workload that
// does not become ready, among others.
const lookAgain = 30 * time.Second

// children reads what is there of the Workspace's pools and workload.
func (r *Reconciler) children(ctx context.Context, p *pass) error {
	p.wasRecorded = p.ws.Status.Tuning != nil && p.ws.Status.Tuning.FinishedAt != nil
	if err := r.pools(ctx, p); err != nil {
		return err
	}
	if err := r.workloads(ctx, p); err != nil {
		return err
	}
	if err := r.poolBefore(ctx, p); err != nil {
		return err
	}
	if err := r.holdings(ctx, p); err != nil {
		return err
	}
	p.seen = true
	return nil
}

// pools reads the pool that the pods run on, and the Workspace's own where it
// has moved to a shared one.
func (r *Reconciler) pools(ctx context.Context, p *pass) error {
	key := client.ObjectKeyFromObject(p.ws)
	own, err := r.findPool(ctx, key)
	if err != nil {
		return err
	}
	p.pool = own
	shared := p.ws.Spec.Resource.NodePool
	if shared == "" || shared == key.Name {
		return nil
	}
	if owns(p.ws, own) {
		p.left = own
	}
	p.pool, err = r.findPool(ctx, types.NamespacedName{Namespace: key.Namespace, Name: shared})
	return err
}

// poolBefore reads the shared pool that a run is on which is to go on on another.
func (r *Reconciler) poolBefore(ctx context.Context, p *pass) error {
	ws, job := p.ws, p.job()
	if job == nil {
		return nil
	}
	on, own := poolOf(job), repolayout.PoolLabelValue(ws.Namespace, ws.Name)
	if on == "" || on == own || on == repolayout.PoolLabelValue(ws.Namespace, ws.Spec.Resource.NodePool) {
		return nil
	}
	pools := &v1alpha1.GPUNodePoolList{}
	if err := r.Client.List(ctx, pools, client.InNamespace(ws.Namespace)); err != nil {
		return fmt.Errorf("looking for the node pool of Job %s/%s: %w", job.Namespace, job.Name, err)
	}
	for i := range pools.Items {
		if repolayout.PoolLabelValue(ws.Namespace, pools.Items[i].Name) == on {
			p.staysOn = &pools.Items[i]
		}
	}
	return nil
}

func (r *Reconciler) workloads(ctx context.Context, p *pass) error {
	key := client.ObjectKeyFromObject(p.ws)
	deployment := &appsv1.Deployment{}
	found, err := r.find(ctx, key, deployment)
	if err != nil {
		return err
	}
	if found && metav1.IsControlledBy(deployment, p.ws) {
		p.deployment = deployment
	}
	if err := r.statefulSets(ctx, p); err != nil {
		return err
	}
	jobs := &batchv1.JobList{}
	if err := r.Client.List(ctx, jobs, client.InNamespace(key.Namespace), client.MatchingLabels{repolayout.LabelWorkspace: key.Name}); err != nil {
		return fmt.Errorf("listing the Jobs of Workspace %s: %w", key, err)
	}
	for _, j := range jobs.Items {
		if metav1.IsControlledBy(&j, p.ws) {
			p.jobs = append(p.jobs, j)
		}
	}
	return nil
}

func (r *Reconciler) findPool(ctx context.Context, key types.NamespacedName) (*v1alpha1.GPUNodePool, error) {
	pool := &v1alpha1.GPUNodePool{}
	found, err := r.find(ctx, key, pool)
	if err != nil || !found {
		return nil, err
	}
	return pool, nil
}

func (r *Reconciler) find(ctx context.Context, key types.NamespacedName, o client.Object) (bool, error) {
	err := r.Client.Get(ctx, key, o)
	if err != nil && !apierrors.IsNotFound(err) {
		return false, fmt.Errorf("reading %T %s: %w", o, key, err)
	}
	return err == nil, nil
}

// inputs reads the ConfigMaps that the spec names and sees that its Secrets are
// there: no node is paid for while something the pods need is missing.
func (r *Reconciler) inputs(ctx context.Context, p *pass) error {
	if shared := p.ws.Spec.Resource.NodePool; shared != "" && p.pool == nil {
		return fault.Wait(v1alpha1.ReasonInputMissing, 0,
			"GPUNodePool %s/%s, which spec.resource.nodePool names, does not exist: declare it beside the Workspace", p.ws.Namespace, shared)
	}
	p.believes = r.mayBelieve(p)
	p.configMaps = map[string]map[string]string{}
	for _, name := range p.ws.Spec.ConfigMaps() {
		data, binary, err := r.configMap(ctx, p, name)
		if err != nil {
			return err
		}
		p.configMaps[name] = data
		if p.ws.Spec.TrainsOn(name) {
			p.configMaps[name] = check.WithBinary(data, binary)
		}
		if p.configMaps[name] == nil {
			p.configMaps[name] = map[string]string{}
		}
	}
	p.versions = map[string]string{}
	for _, name := range p.ws.Spec.Secrets() {
		version, err := r.version(ctx, p, "Secret", name)
		if err != nil {
			return err
		}
		p.versions["Secret/"+name] = version
	}
	if err := r.identities(ctx, p.ws); err != nil {
		return err
	}
	if err := r.claims(ctx, p); err != nil {
		return err
	}
	if !p.believes {
		r.knownOf(p.ws).read = p.ws.Generation
	}
	return nil
}

// configMap is the content of a ConfigMap that the spec names.
func (r *Reconciler) configMap(ctx context.Context, p *pass, name string) (data map[string]string, binary map[string][]byte, err error) {
	const kind = "ConfigMap"
	if in, ok := r.believed(ctx, p, kind, name); ok {
		data, binary = unpack(in.content)
		return data, binary, nil
	}
	cm := &corev1.ConfigMap{}
	if err := r.input(ctx, p.ws, kind, name, cm); err != nil {
		return nil, nil, err
	}
	in := inputOf(cm, r.Clock())
	in.content = pack(cm.Data, cm.BinaryData)
	r.read.put(inputKey{kind, p.ws.Namespace, name}, in)
	return cm.Data, cm.BinaryData, nil
}

// version is the resourceVersion of an input that the spec names and that must be there,
// whatever is in it.
func (r *Reconciler) version(ctx context.Context, p *pass, kind, name string) (string, error) {
	if in, ok := r.believed(ctx, p, kind, name); ok {
		return strconv.FormatUint(in.version, 10), nil
	}
	o := metadataOf(kind)
	if err := r.input(ctx, p.ws, kind, name, o); err != nil {
		return "", err
	}
	r.read.put(inputKey{kind, p.ws.Namespace, name}, inputOf(o, r.Clock()))
	return o.ResourceVersion, nil
}

// claims sees that the claims that the pods mount are there.
func (r *Reconciler) claims(ctx context.Context, p *pass) error {
	p.claimModes, p.volumeZones = map[string][]string{}, map[string][]string{}
	for _, name := range p.ws.Spec.SharedClaims() {
		if err := r.sharedClaim(ctx, p, name); err != nil {
			return err
		}
	}
	if p.ws.Spec.Tuning != nil {
		return r.checkpoints(ctx, p)
	}
	if p.ws.Spec.Inference == nil {
		return nil
	}
	for _, name := range p.ws.Spec.Inference.Claims() {
		if name == "" {
			continue
		}
		if _, err := r.version(ctx, p, "PersistentVolumeClaim", name); err != nil {
			return err
		}
	}
	return nil
}

// sharedClaim reads how many pods may mount a claim, and of weights and adapters the
// zones whose nodes can.
func (r *Reconciler) sharedClaim(ctx context.Context, p *pass, name string) error {
	claim := &corev1.PersistentVolumeClaim{}
	if err := r.input(ctx, p.ws, "PersistentVolumeClaim", name, claim); err != nil {
		return err
	}
	p.claimModes[name] = []string{}
	for _, mode := range claim.Spec.AccessModes {
		p.claimModes[name] = append(p.claimModes[name], string(mode))
	}
	weights, adapter := name == p.ws.Spec.WeightsClaim(), slices.Contains(p.ws.Spec.AdapterClaims(), name)
	if !weights && !adapter {
		return nil
	}
	zones, err := r.zonesOfClaim(ctx, claim)
	if err != nil {
		return err
	}
	if weights {
		p.claimZones = zones
	}
	if adapter && zones != nil {
		p.volumeZones[name] = zones
	}
	return nil
}

// lookFor is when to look for a missing object again; 0: its watch tells. Queues are
// Kueue's, whose kinds a cluster may lack, and have no watch; nor have accounts.
func lookFor(kind string) time.Duration {
	if kind == kindQueue || kind == kindAccount {
		return lookAgain
	}
	return 0
}

func (r *Reconciler) input(ctx context.Context, ws *v1alpha1.Workspace, kind, name string, into client.Object) error {
	err := r.Reader.Get(ctx, types.NamespacedName{Namespace: ws.Namespace, Name: name}, into)
	if apierrors.IsNotFound(err) {
		return fault.Wait(v1alpha1.ReasonInputMissing, lookFor(kind),
			"%s %s/%s, which the Workspace names, does not exist: no node is requested before it does", kind, ws.Namespace, name)
	}
	if err != nil {
		return fmt.Errorf("reading %s %s/%s: %w", kind, ws.Namespace, name, err)
	}
	return nil
}

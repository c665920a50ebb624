// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"context"
	"fmt"
	"maps"
	"slices"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/espalier-dev/espalier/gpu/pool"
	"github.com/espalier-dev/espalier/reconciler/condition"
	"github.com/espalier-dev/espalier/reconciler/fault"
	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// zoneKeys are the labels by which volumes name the zones whose nodes can mount
// them: those of the disks of Azure, AWS and Google Cloud, and the common one.
var zoneKeys = []string{"topology.disk.csi.azure.com/zone", "topology.ebs.csi.aws.com/zone", "topology.gke.io/zone", corev1.LabelTopologyZone}

// checkpoints reads the volume of earlier pods: its class, and which nodes can
// mount it.
func (r *Reconciler) checkpoints(ctx context.Context, p *pass) error {
	claim := &corev1.PersistentVolumeClaim{}
	key := client.ObjectKey{Namespace: p.ws.Namespace, Name: repolayout.WorkClaimName(p.ws.Name)}
	found, err := r.findLive(ctx, key, claim)
	p.claimGone = err == nil && (!found || !claim.DeletionTimestamp.IsZero())
	if err != nil || !found || !claim.DeletionTimestamp.IsZero() {
		return err
	}
	p.claim = claim
	p.claimZones, err = r.zonesOfClaim(ctx, claim)
	return err
}

// zonesOfClaim are the zones whose nodes can mount a claim; nil: all, or it has no
// volume yet.
func (r *Reconciler) zonesOfClaim(ctx context.Context, claim *corev1.PersistentVolumeClaim) ([]string, error) {
	if claim.Spec.VolumeName == "" {
		return nil, nil
	}
	volume := &corev1.PersistentVolume{}
	found, err := r.findLive(ctx, client.ObjectKey{Name: claim.Spec.VolumeName}, volume)
	if err != nil || !found {
		return nil, err
	}
	return zonesOfVolume(volume), nil
}

// mountZones are the zones whose nodes can mount all that the pods mount, nil where
// all can.
func (p *pass) mountZones() []string {
	zones := p.claimZones
	for _, name := range slices.Sorted(maps.Keys(p.volumeZones)) {
		if here := p.volumeZones[name]; zones == nil {
			zones = slices.Clone(here)
		} else {
			zones = slices.DeleteFunc(slices.Clone(zones), func(z string) bool { return !slices.Contains(here, z) })
		}
	}
	return zones
}

// zonesOfVolume are the zones whose nodes can mount a volume, as candidates name
// them: Azure writes eastus-1 where a pool has 1, and nothing for nodes without a
// zone; others write what nodes are labelled with. Nil: all can.
func zonesOfVolume(volume *corev1.PersistentVolume) []string {
	if volume.Spec.NodeAffinity == nil || volume.Spec.NodeAffinity.Required == nil {
		return nil
	}
	var zones []string
	for _, term := range volume.Spec.NodeAffinity.Required.NodeSelectorTerms {
		here, limited := zonesOfTerm(term)
		if !limited {
			return nil // terms are alternatives, and this one names no zone
		}
		zones = append(zones, here...)
	}
	slices.Sort(zones)
	return slices.Compact(zones)
}

func zonesOfTerm(term corev1.NodeSelectorTerm) (zones []string, limited bool) {
	for _, e := range term.MatchExpressions {
		if e.Operator != corev1.NodeSelectorOpIn || !slices.Contains(zoneKeys, e.Key) {
			continue
		}
		for _, value := range e.Values {
			zones = append(zones, check.ZoneName(value))
		}
		return zones, true
	}
	return nil, false
}

// mayUse refuses to buy nodes for a run whose volume cannot get the class that
// the spec asks for: a claim keeps its own. A run under way goes on.
func (p *pass) mayUse() error {
	if err := p.allMayMount(); err != nil {
		return err
	}
	wanted := p.ws.Spec.Tuning.Kept().StorageClass
	if wanted == "" || p.claim == nil || p.job() != nil || repolayout.Defaulted(p.ws, repolayout.DefaultedClass) {
		return nil // a default is for claims that are not there yet
	}
	class := ptr.Deref(p.claim.Spec.StorageClassName, "")
	if wanted == class {
		return nil
	}
	name := p.claim.Name
	return fault.Stopf(v1alpha1.ReasonClaimClassDiffers,
		"Claim %s/%s of an earlier run has class %s, and spec.tuning.checkpoints.storageClass asks for %s: a claim keeps its class. Once nothing on it is wanted: kubectl delete pvc -n %s %s",
		p.ws.Namespace, name, class, wanted, p.ws.Namespace, name)
}

// allMayMount refuses to buy nodes for pods of which only one could mount the
// volume of an earlier run.
func (p *pass) allMayMount() error {
	if p.claim == nil || p.podsWanted() == 1 || slices.Contains(p.claim.Spec.AccessModes, corev1.ReadWriteMany) {
		return nil
	}
	if job := p.job(); job != nil && trainersOf(job) > 1 {
		return nil // it runs: the claim is somebody else's doing
	}
	return fault.Stopf(v1alpha1.ReasonClaimNotShared,
		"Claim %s/%s of an earlier run can be mounted on one node, and spec.resource.count spreads the run over %d: leave count out to go on from its checkpoint, or, once nothing on it is wanted: kubectl delete pvc -n %s %s",
		p.ws.Namespace, p.claim.Name, p.podsWanted(), p.ws.Namespace, p.claim.Name)
}

// keepInZones narrows what is asked for to zones where all that the pods mount is. The
// candidate that has nodes is left as it is: they would be given back for a change of
// zones, and may be in the right one.
func (p *pass) keepInZones(pool *unstructured.Unstructured) error {
	zones := p.mountZones()
	if zones == nil {
		return nil
	}
	wanted := &v1alpha1.GPUNodePool{}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(pool.Object, wanted); err != nil {
		return fmt.Errorf("reading the candidates of pool %s: %w", pool.GetName(), err)
	}
	narrowed := narrow(wanted.Spec, zones, p.pool)
	list := make([]any, 0, len(narrowed))
	for _, c := range narrowed {
		o, err := runtime.DefaultUnstructuredConverter.ToUnstructured(&c)
		if err != nil {
			return fmt.Errorf("writing the candidates of pool %s: %w", pool.GetName(), err)
		}
		list = append(list, o)
	}
	return unstructured.SetNestedSlice(pool.Object, list, "spec", "candidates")
}

func narrow(wanted v1alpha1.GPUNodePoolSpec, zones []string, live *v1alpha1.GPUNodePool) []v1alpha1.Candidate {
	out := slices.Clone(wanted.Candidates)
	for i, c := range out {
		if live != nil && hasNodes(live, c) {
			continue
		}
		both := check.InZones(c, zones)
		switch {
		case len(c.Zones) > 0 && len(both) > 0:
			out[i].Zones = both
		case len(c.Zones) == 0 && wanted.Provider == v1alpha1.ProviderKarpenter && !slices.Contains(zones, ""):
			out[i].Zones = slices.Clone(zones) // Karpenter would make them in any
		}
	}
	return out
}

// hasNodes says that nodes of a candidate are there or under way, or may be.
func hasNodes(live *v1alpha1.GPUNodePool, c v1alpha1.Candidate) bool {
	if !slices.ContainsFunc(live.Spec.Candidates, func(l v1alpha1.Candidate) bool { return pool.Same(l, c) }) {
		return false
	}
	switch live.Status.Phase {
	case v1alpha1.PhaseIdle, v1alpha1.PhaseCleaning, v1alpha1.PhaseExhausted:
		return false
	}
	in := live.Status.Candidate // nil: nothing is known of it yet, or any more
	return in == nil || pool.Same(pool.Candidate(in), c)
}

// dropCheckpoints deletes the volume of a run whose adapter is where it belongs,
// where the spec says that nothing else is wanted of it. A claim of that name that Espalier
// has not made, as where the adapter was published before, is left alone.
func (r *Reconciler) dropCheckpoints(ctx context.Context, p *pass) error {
	if p.claim == nil || p.claim.Labels[repolayout.LabelWorkspace] != p.ws.Name {
		return nil
	}
	if p.ws.Spec.Tuning.Kept().Retain != v1alpha1.RetainUntilPublished || !condition.Is(p.ws, v1alpha1.ConditionTuningSucceeded) {
		return nil
	}
	err := r.remove(ctx, p.claim, client.Preconditions{UID: &p.claim.UID})
	if err != nil && !apierrors.IsNotFound(err) {
		return fmt.Errorf("deleting claim %s/%s: %w", p.claim.Namespace, p.claim.Name, err)
	}
	return nil
}

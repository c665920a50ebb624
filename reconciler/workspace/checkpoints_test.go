// SPDX-License-Identifier: Apache-2.0

package workspace

import (
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/utils/ptr"

	"github.com/espalier-dev/espalier/reconciler/fault"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

// in is a term of a volume's affinity.
func in(key string, zones ...string) corev1.NodeSelectorTerm {
	return corev1.NodeSelectorTerm{MatchExpressions: []corev1.NodeSelectorRequirement{{Key: key, Operator: corev1.NodeSelectorOpIn, Values: zones}}}
}

func TestZonesOfVolume(t *testing.T) {
	const azure = "topology.disk.csi.azure.com/zone"
	for name, tc := range map[string]struct {
		reason string
		terms  []corev1.NodeSelectorTerm
		want   []string
	}{
		"Share":     {"A share is mounted from everywhere.", nil, nil},
		"OneZone":   {"A locally redundant disk, as Azure names its zone.", []corev1.NodeSelectorTerm{in(azure, "eastus-1")}, []string{"1"}},
		"NoZone":    {"A disk of a region without zones, for nodes without one.", []corev1.NodeSelectorTerm{in(azure, "")}, []string{""}},
		"Redundant": {"A zone-redundant disk lists every zone, each as an alternative.", []corev1.NodeSelectorTerm{in(azure, "eastus-1"), in(azure, "eastus-2"), in(azure, "eastus-3"), in(azure, "")}, []string{"", "1", "2", "3"}},
		"Common":    {"Other drivers use the common label.", []corev1.NodeSelectorTerm{in(corev1.LabelTopologyZone, "eastus-2")}, []string{"2"}},
		"AWS":       {"Zones of AWS are called as nodes are labelled.", []corev1.NodeSelectorTerm{in("topology.ebs.csi.aws.com/zone", "us-east-1a")}, []string{"us-east-1a"}},
		"Google":    {"Likewise.", []corev1.NodeSelectorTerm{in("topology.gke.io/zone", "us-central1-a")}, []string{"us-central1-a"}},
		"Elsewhere": {"An alternative that names no zone leaves them all.", []corev1.NodeSelectorTerm{in(azure, "eastus-1"), in("kubernetes.io/hostname", "a")}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			volume := &corev1.PersistentVolume{}
			if tc.terms != nil {
				volume.Spec.NodeAffinity = &corev1.VolumeNodeAffinity{Required: &corev1.NodeSelector{NodeSelectorTerms: tc.terms}}
			}
			if d := cmp.Diff(tc.want, zonesOfVolume(volume)); d != "" {
				t.Errorf("%s\n%s", tc.reason, d)
			}
		})
	}
}

func TestNarrow(t *testing.T) {
	of := func(zones ...string) v1alpha1.Candidate {
		return v1alpha1.Candidate{InstanceType: "a", Priority: v1alpha1.Spot, Zones: zones}
	}
	for name, tc := range map[string]struct {
		reason string
		live   []v1alpha1.Candidate
		in     v1alpha1.PoolPhase
		zones  []string // of the candidate in use; nil: none is
		wanted v1alpha1.Candidate
		want   v1alpha1.Candidate
	}{
		"NewPool":     {"Nodes come where the checkpoints can be mounted.", nil, "", nil, of("1", "2"), of("1")},
		"LivePool":    {"A pool gives its nodes back for a change of zones.", []v1alpha1.Candidate{of("1", "2")}, v1alpha1.PhaseReady, []string{"1", "2"}, of("1", "2"), of("1", "2")},
		"UnknownPool": {"It may have nodes.", []v1alpha1.Candidate{of("1", "2")}, "", nil, of("1", "2"), of("1", "2")},
		"NotInUse":    {"The next candidate comes where the checkpoints are.", []v1alpha1.Candidate{of("1", "2"), of("3")}, v1alpha1.PhaseReady, []string{"3"}, of("1", "2"), of("1")},
		"Lost":        {"So does the same one, once its nodes are gone.", []v1alpha1.Candidate{of("1", "2")}, v1alpha1.PhaseCleaning, []string{"1", "2"}, of("1", "2"), of("1")},
		"Exhausted":   {"And when it is tried again.", []v1alpha1.Candidate{of("1", "2")}, v1alpha1.PhaseExhausted, []string{"1", "2"}, of("1", "2"), of("1")},
		"Narrowed":    {"It stays as it was narrowed.", []v1alpha1.Candidate{of("1")}, v1alpha1.PhaseReady, []string{"1"}, of("1", "2"), of("1")},
		"NoZones":     {"There is nothing to narrow.", nil, "", nil, of(), of()},
		"Elsewhere":   {"A candidate without such a zone is ruled out before, or kept as it is.", nil, "", nil, of("3"), of("3")},
	} {
		t.Run(name, func(t *testing.T) {
			var live *v1alpha1.GPUNodePool
			if tc.live != nil {
				live = &v1alpha1.GPUNodePool{Spec: v1alpha1.GPUNodePoolSpec{Candidates: tc.live}}
				live.Status.Phase = tc.in
			}
			if tc.zones != nil {
				live.Status.Candidate = &v1alpha1.CandidateStatus{InstanceType: "a", Priority: v1alpha1.Spot, Zones: tc.zones}
			}
			got := narrow(v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{tc.wanted}}, []string{"1"}, live)
			if d := cmp.Diff([]v1alpha1.Candidate{tc.want}, got); d != "" {
				t.Errorf("%s\n%s", tc.reason, d)
			}
		})
	}
}

// TestHasNodes: what the spec leaves open, the status says.
func TestHasNodes(t *testing.T) {
	open := v1alpha1.Candidate{InstanceType: "a", Zones: []string{"1"}}
	live := &v1alpha1.GPUNodePool{Spec: v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{open}}}
	live.Status = v1alpha1.GPUNodePoolStatus{Phase: v1alpha1.PhaseReady, Candidate: &v1alpha1.CandidateStatus{InstanceType: "a", Priority: v1alpha1.OnDemand, Zones: []string{"1"}}}
	if !hasNodes(live, open) {
		t.Error("the candidate in use counts as one without nodes, which would be given back")
	}
}

// TestKeepInZones: the pool that is applied has the zones of what the pods mount, and
// what it has beside them.
func TestKeepInZones(t *testing.T) {
	for name, tc := range map[string]struct {
		reason   string
		provider v1alpha1.Provider
		claim    []string
		volumes  map[string][]string
		zones    []string
		want     []string
	}{
		"Nothing":    {"Nothing is mounted that is in a zone.", v1alpha1.ProviderAKS, nil, nil, []string{"1", "2"}, []string{"1", "2"}},
		"Checkpoint": {"The checkpoints are in one of two.", v1alpha1.ProviderAKS, []string{"2"}, nil, []string{"1", "2"}, []string{"2"}},
		"Both":       {"A claim of an adapter leaves fewer.", v1alpha1.ProviderAKS, []string{"1", "2"}, map[string][]string{"adapter": {"2", "3"}}, []string{"1", "2", "3"}, []string{"2"}},
		"AKSAny":     {"Agent pools without zones have nodes without one: that is refused before.", v1alpha1.ProviderAKS, []string{"2"}, nil, nil, nil},
		"Label":      {"Zones may be written as nodes are labelled.", v1alpha1.ProviderKarpenter, []string{"2"}, nil, []string{"eastus-1", "eastus-2"}, []string{"eastus-2"}},
		"AWS":        {"As those of AWS always are.", v1alpha1.ProviderKarpenter, []string{"us-east-1a"}, nil, []string{"us-east-1a", "us-east-1b"}, []string{"us-east-1a"}},
		"AWSAny":     {"Karpenter makes a node in any zone unless it is told.", v1alpha1.ProviderKarpenter, []string{"us-east-1a"}, nil, nil, []string{"us-east-1a"}},
	} {
		t.Run(name, func(t *testing.T) {
			pool := &v1alpha1.GPUNodePool{Spec: v1alpha1.GPUNodePoolSpec{
				Provider: tc.provider, Candidates: []v1alpha1.Candidate{{InstanceType: "a", Priority: v1alpha1.Spot, Zones: tc.zones}}, OSDiskSizeGiB: 128,
			}}
			rendered, err := asUnstructured(pool, v1alpha1.GroupVersion.WithKind(v1alpha1.GPUNodePoolKind))
			if err != nil {
				t.Fatal(err)
			}
			p := &pass{claimZones: tc.claim, volumeZones: tc.volumes}
			if err := p.keepInZones(rendered); err != nil {
				t.Fatal(err)
			}
			got := &v1alpha1.GPUNodePool{}
			if err := runtime.DefaultUnstructuredConverter.FromUnstructured(rendered.Object, got); err != nil {
				t.Fatal(err)
			}
			pool.Spec.Candidates[0].Zones = tc.want
			if d := cmp.Diff(pool.Spec, got.Spec); d != "" {
				t.Errorf("%s\n%s", tc.reason, d)
			}
		})
	}
}

func TestMayUse(t *testing.T) {
	for name, tc := range map[string]struct {
		reason  string
		wanted  string
		has     *string
		filled  bool // by the RepoSync
		refused bool
	}{
		"NothingSaid": {"Whatever class the claim has.", "", ptr.To("slow"), false, false},
		"Same":        {"The class is the one that is asked for.", "fast", ptr.To("fast"), false, false},
		"Other":       {"A claim keeps its class, and the nodes would be paid for a run that is not what Git says.", "fast", ptr.To("slow"), false, true},
		"Default":     {"A default of the RepoSync is for claims that are not there yet.", "fast", ptr.To("slow"), true, false},
	} {
		t.Run(name, func(t *testing.T) {
			ws := &v1alpha1.Workspace{}
			ws.Spec.Tuning = &v1alpha1.TuningSpec{Checkpoints: &v1alpha1.Checkpoints{StorageClass: tc.wanted}}
			claim := &corev1.PersistentVolumeClaim{}
			claim.Spec.StorageClassName = tc.has
			p := &pass{ws: ws, claim: claim}
			if tc.filled {
				ws.Annotations = map[string]string{repolayout.AnnotationDefaulted: "budget," + repolayout.DefaultedClass}
			}
			if err := p.mayUse(); fault.IsTerminal(err) != tc.refused {
				t.Errorf("%s: got %v", tc.reason, err)
			}
		})
	}
}

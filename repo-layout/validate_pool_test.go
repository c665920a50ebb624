// SPDX-License-Identifier: Apache-2.0

package repolayout_test

import (
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestValidatePool(t *testing.T) {
	const pool = "apiVersion: espalier.dev/v1alpha1\nkind: GPUNodePool\nmetadata: {name: a}\nspec:\n"
	for name, c := range map[string]struct {
		reason string
		text   string
		want   []string
	}{
		"AKS":      {reason: "The least that provisions.", text: pool + "  provider: aks\n  candidates: [{instanceType: A}]\n"},
		"Existing": {reason: "Nodes that are there.", text: pool + "  provider: existing\n  candidates: [{instanceType: A}]\n  nodeLabels: {gpu: a}\n"},
		"Empty": {
			reason: "Everything that is required, at once.",
			text:   pool + "  replicas: -1\n",
			want: []string{
				"4: error: spec.candidates: name at least one instance type (ResourceMissing)",
				"4: error: spec.provider: want aks, karpenter or existing (NotOneOf)",
				"5: error: spec.replicas: want 0 to 1000; 0 keeps no node (OutOfRange)",
			},
		},
		"Karpenter": {
			reason: "A class of one's own, whose kind is known.",
			text:   pool + "  provider: karpenter\n  candidates: [{instanceType: A, priority: Spot, zones: [a]}]\n  karpenter: {nodeClassRef: {group: karpenter.k8s.aws, kind: EC2NodeClass, name: gpu}}\n",
		},
		"KarpenterWithoutKarpenter": {
			reason: "What nobody reads is an error.",
			text:   pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  karpenter: {}\n",
			want:   []string{"7: error: spec.karpenter: only provider karpenter reads it: remove it, or change the provider (ProviderMismatch)"},
		},
		"NodeClass": {
			reason: "A reference that names nothing, or a kind that the group does not have, would wait for ever.",
			text:   pool + "  provider: karpenter\n  candidates: [{instanceType: A}]\n  osDiskSizeGiB: 128\n  karpenter: {nodeClassRef: {group: karpenter.azure.com, kind: EC2NodeClass, name: \"\"}}\n",
			want: []string{
				"7: warning: spec.osDiskSizeGiB: the node class has the size of the disk: this one is not read (ProviderMismatch)",
				"8: error: spec.karpenter.nodeClassRef.kind: the node class of karpenter.azure.com is AKSNodeClass (NotOneOf)",
				"8: error: spec.karpenter.nodeClassRef.name: a node class has a group, a kind and a name (MissingField)",
			},
		},
		"GPUProvisioner": {
			reason: "It ignores both without a word; its disk it reads.",
			text:   pool + "  provider: karpenter\n  candidates:\n  - {instanceType: A, priority: Spot, zones: [\"1\"]}\n  osDiskSizeGiB: 128\n  karpenter: {nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}}\n",
			want: []string{
				"7: error: spec.candidates[0].priority: gpu-provisioner, whose node class this is, makes no spot nodes: want OnDemand (ProviderMismatch)",
				"7: error: spec.candidates[0].zones: gpu-provisioner, whose node class this is, puts no nodes into named zones: remove them (ProviderMismatch)",
			},
		},
		"Idle": {reason: "A shared pool may let unused nodes go.", text: pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  idle: {after: 30m, action: Delete}\n"},
		"AgentPool": {
			reason: "What only agent pools have.",
			text: pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  aks:\n    osDiskType: Ephemeral\n    mig: MIG3g\n    upgrade: {maxSurge: 33%}\n" +
				"    capacityReservationGroup: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/r\n",
		},
		"OwnDriver": {
			reason: "Without the GPU operator such nodes never become usable, and nobody can see from here whether it is there.",
			text:   pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  aks: {gpuDriver: None}\n",
			want:   []string{"7: warning: spec.aks.gpuDriver: AKS installs no driver: the NVIDIA GPU operator must, or the nodes offer no GPU and are given up after timeouts.gpuReady (ProviderMismatch)"},
		},
		"AgentPoolWrong": {
			reason: "Each with what is wanted.",
			text: pool + "  provider: karpenter\n  candidates: [{instanceType: A, priority: Spot}]\n  aks:\n    osDiskType: Fast\n    gpuDriver: Mine\n    mig: MIG5g\n" +
				"    capacityReservationGroup: mine\n    upgrade: {maxSurge: some, maxUnavailable: \"0\"}\n",
			want: []string{
				"6: error: spec.candidates[0].priority: a capacity reservation holds no spot machines: want OnDemand, or remove aks.capacityReservationGroup (ProviderMismatch)",
				"7: error: spec.aks: only provider aks reads it: remove it, or change the provider (ProviderMismatch)",
				"8: error: spec.aks.osDiskType: want Ephemeral or Managed (NotOneOf)",
				"9: error: spec.aks.gpuDriver: want Install or None (NotOneOf)",
				"10: error: spec.aks.mig: want one of [MIG1g MIG2g MIG3g MIG4g MIG7g] (NotOneOf)",
				"11: error: spec.aks.capacityReservationGroup: want a resource id, /subscriptions/…/resourceGroups/…/providers/Microsoft.Compute/capacityReservationGroups/NAME (ReferenceInvalid)",
				"12: error: spec.aks.upgrade.maxSurge: want a number of nodes such as 1, or a share such as 33% (OutOfRange)",
			},
		},
		"UpgradeBoth": {
			reason: "AKS refuses a pool that has both.",
			text:   pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  aks: {upgrade: {maxSurge: 33%, maxUnavailable: \"1\"}}\n",
			want:   []string{"7: error: spec.aks.upgrade: AKS takes only one of maxSurge and maxUnavailable: leave the other out (OutOfRange)"},
		},
		"Autoscale": {reason: "The autoscaler counts the nodes.", text: pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  aks: {autoscale: {max: 4}}\n"},
		"Filled": {
			reason: "Karpenter counts the nodes; nobody's pods may bring any to a pool that nobody uses.",
			text:   pool + "  provider: karpenter\n  candidates: [{instanceType: A}]\n  karpenter: {mode: NodePools, maxNodes: 4, consolidateAfter: 10m}\n  idle: {after: 1h, action: Delete}\n",
		},
		"FilledWrong": {
			reason: "What is paid for at most is said once, and gpu-provisioner has no NodePools.",
			text:   pool + "  provider: karpenter\n  candidates: [{instanceType: A}]\n  replicas: 2\n  karpenter:\n    mode: NodePools\n    consolidateAfter: 100ms\n    nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}\n",
			want: []string{
				"7: error: spec.replicas: Karpenter decides the number of nodes: remove replicas, karpenter.maxNodes bounds it (ProviderMismatch)",
				"8: error: spec.karpenter.maxNodes: want 1 to 1000; it is the most nodes that are paid for (OutOfRange)",
				"9: error: spec.karpenter.mode: gpu-provisioner, whose node class this is, knows no NodePools: remove the mode, or name a node class of Karpenter (ProviderMismatch)",
				"10: error: spec.karpenter.consolidateAfter: want a duration of whole seconds such as 10m (DurationInvalid)",
			},
		},
		"FilledByClaims": {
			reason: "What nothing reads is refused, and a misspelt mode is not the default.",
			text:   pool + "  provider: karpenter\n  candidates: [{instanceType: A}]\n  karpenter:\n    maxNodes: 4\n    consolidateAfter: 10m\n",
			want: []string{
				"8: error: spec.karpenter.maxNodes: only mode NodePools reads it: remove it and set spec.replicas, or set the mode (ProviderMismatch)",
				"9: error: spec.karpenter.consolidateAfter: only mode NodePools reads it: remove it, or set the mode (ProviderMismatch)",
			},
		},
		"FilledHow": {
			reason: "Likewise.",
			text:   pool + "  provider: karpenter\n  candidates: [{instanceType: A}]\n  karpenter: {mode: Nodepools}\n",
			want:   []string{"7: error: spec.karpenter.mode: want NodeClaims or NodePools (NotOneOf)"},
		},
		"AutoscaleWrong": {
			reason: "Two that decide one number would undo each other's work, and a range must have an inside.",
			text:   pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  replicas: 2\n  idle: {after: 30m}\n  aks:\n    autoscale:\n      min: 5\n      max: 4\n",
			want: []string{
				"7: error: spec.replicas: aks.autoscale decides the number of nodes: remove replicas, or aks.autoscale (ProviderMismatch)",
				"8: error: spec.idle: the autoscaler takes nodes away that no pod needs: remove idle, or aks.autoscale (ProviderMismatch)",
				"10: error: spec.aks.autoscale: min is more than max (OutOfRange)",
			},
		},
		"AutoscaleBounds": {
			reason: "Bounds as in the CRD; without a max nobody knows what it may cost.",
			text:   pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  aks:\n    autoscale:\n      min: -1\n",
			want: []string{
				"8: error: spec.aks.autoscale.max: want 1 to 1000; it is the most nodes that are paid for (OutOfRange)",
				"9: error: spec.aks.autoscale.min: want 0 to 1000; 0 keeps no node that no pod needs (OutOfRange)",
			},
		},
		"IdleWrong": {
			reason: "Nodes that exist are nobody's to give back, and a pool that comes and goes every few seconds has none.",
			text:   pool + "  provider: existing\n  candidates: [{instanceType: A}]\n  nodeLabels: {gpu: a}\n  idle: {after: 30s, action: Stop}\n",
			want: []string{
				"8: error: spec.idle.action: want ScaleToZero or Delete (NotOneOf)",
				"8: error: spec.idle.after: want a duration of at least 1m, such as 30m (DurationInvalid)",
				"8: error: spec.idle: does not belong to provider existing: nodes that exist are never given back; remove it (ProviderMismatch)",
			},
		},
		"ExistingWithoutLabels": {
			reason: "Without labels it would take every node of the cluster.",
			text:   pool + "  provider: existing\n  candidates: [{instanceType: A}]\n",
			want:   []string{"4: error: spec.nodeLabels: provider existing selects nodes by nodeLabels: name at least one (MissingField)"},
		},
		"Bounds": {
			reason: "Bounds as in the CRD.",
			text: pool + "  provider: aks\n  candidates: [{instanceType: A}]\n  osDiskSizeGiB: 32\n  deletionPolicy: Keep\n" +
				"  timeouts: {gpuReady: -1m}\n",
			want: []string{
				"7: error: spec.osDiskSizeGiB: want 64 to 2048; leave it out for 256 (OutOfRange)",
				"8: error: spec.deletionPolicy: want Delete or Orphan (NotOneOf)",
				"9: error: spec.timeouts.gpuReady: want a duration such as 20m, and not less than nothing (DurationInvalid)",
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, lines(judge(c.text))); diff != "" {
				t.Errorf("%s\n-want +got:\n%s", c.reason, diff)
			}
		})
	}
}

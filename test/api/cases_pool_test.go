// SPDX-License-Identifier: Apache-2.0

package api

// poolCases are of node pools.
var poolCases = map[string]written{
	"Pool": {reason: "The shortest GPUNodePool is valid.", base: pool},
	"PoolChangesProvider": {
		reason: "Nodes do not move between clouds.",
		base:   pool, update: `spec: {provider: existing, nodeLabels: {a: b}}`,
		want: "provider is immutable: delete the pool and declare another",
	},
	"ExistingSelectsNothing": {
		reason: "Without labels every node of the cluster would be the pool.",
		base:   pool, set: `spec: {provider: existing}`,
		want: "provider existing selects nodes by nodeLabels: name at least one",
	},
	"KarpenterElsewhere": {
		reason: "A node class is Karpenter's: with agent pools it would be ignored.",
		base:   pool, set: `spec: {karpenter: {nodeClassRef: {group: karpenter.azure.com, kind: AKSNodeClass, name: gpu}}}`,
		want: "karpenter belongs to provider karpenter",
	},
	"KarpenterFills": {
		reason: "Karpenter decides the number of nodes, within a bound.",
		base:   pool, set: `spec: {provider: karpenter, karpenter: {mode: NodePools, maxNodes: 4, consolidateAfter: 10m}, idle: {after: 30m}}`,
	},
	"KarpenterFillsWithoutBound": {
		reason: "What is paid for at most is said in Git.",
		base:   pool, set: `spec: {provider: karpenter, karpenter: {mode: NodePools}}`,
		want: "maxNodes and mode NodePools belong together",
	},
	"KarpenterBoundOfClaims": {
		reason: "What nothing reads is refused.",
		base:   pool, set: `spec: {provider: karpenter, karpenter: {maxNodes: 4}}`,
		want: "maxNodes and mode NodePools belong together",
	},
	"KarpenterFillsReplicas": {
		reason: "Two that decide one number would undo each other's work.",
		base:   pool, set: `spec: {provider: karpenter, replicas: 2, karpenter: {mode: NodePools, maxNodes: 4}}`,
		want: "with karpenter.mode NodePools Karpenter decides the number of nodes",
	},
	"KarpenterConsolidatesClaims": {
		reason: "What nothing reads is refused.",
		base:   pool, set: `spec: {provider: karpenter, karpenter: {consolidateAfter: 5m}}`,
		want: "consolidateAfter belongs to mode NodePools",
	},
	"KAITOFills": {
		reason: "gpu-provisioner has no NodePools.",
		base:   pool, set: `spec: {provider: karpenter, karpenter: {mode: NodePools, maxNodes: 4, nodeClassRef: {group: kaito.sh, kind: KaitoNodeClass, name: default}}}`,
		want: "gpu-provisioner knows no NodePools",
	},
	"KarpenterChangesMode": {
		reason: "Nodes do not move from one who orders them to another.",
		base:   pool, set: `spec: {provider: karpenter}`, update: `spec: {karpenter: {mode: NodePools, maxNodes: 4}}`,
		want: "karpenter.mode is immutable",
	},
	"IdlePool": {reason: "A shared pool may let unused nodes go.", base: pool, set: `spec: {idle: {after: 30m}}`},
	"IdleOfExisting": {
		reason: "Nodes that exist are never given back.",
		base:   pool, set: `spec: {provider: existing, nodeLabels: {a: b}, idle: {after: 30m}}`,
		want: "idle does not belong to provider existing",
	},
	"IdleTooSoon": {
		reason: "Nodes that go within seconds are bought again within seconds.",
		base:   pool, set: `spec: {idle: {after: 30s}}`,
		want: "after is at least 1m",
	},
	"AgentPool": {
		reason: "What only agent pools have.", base: pool,
		set: `spec: {aks: {osDiskType: Ephemeral, gpuDriver: None, mig: MIG3g, upgrade: {maxSurge: 33%}, capacityReservationGroup: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/r}}`,
	},
	"AgentPoolElsewhere": {
		reason: "Only agent pools have it.",
		base:   pool, set: `spec: {provider: karpenter, aks: {osDiskType: Managed}}`,
		want: "aks belongs to provider aks",
	},
	"ReservedSpot": {
		reason: "A capacity reservation holds no spot machines.",
		base:   pool, set: `spec: {candidates: [{instanceType: A, priority: Spot}], aks: {capacityReservationGroup: /subscriptions/s/resourceGroups/g/providers/Microsoft.Compute/capacityReservationGroups/r}}`,
		want: "a capacity reservation holds no spot machines",
	},
	"NoUpgrade": {
		reason: "A pool of which no node may be added or missing is never upgraded.",
		base:   pool, set: `spec: {aks: {upgrade: {maxSurge: "0", maxUnavailable: "0"}}}`,
		want: "with neither maxSurge nor maxUnavailable",
	},
	"UpgradeBoth": {
		reason: "AKS refuses a pool that has both.",
		base:   pool, set: `spec: {aks: {upgrade: {maxSurge: 33%, maxUnavailable: "1"}}}`,
		want: "AKS takes only one of maxSurge and maxUnavailable",
	},
	"Autoscale": {reason: "The autoscaler of AKS counts the nodes.", base: pool, set: `spec: {aks: {autoscale: {max: 4}}}`},
	"AutoscaleReplicas": {
		reason: "Two that decide one number would undo each other's work.",
		base:   pool, set: `spec: {replicas: 2, aks: {autoscale: {min: 0, max: 4}}}`,
		want: "aks.autoscale decides the number of nodes",
	},
	"AutoscaleIdle": {
		reason: "The autoscaler lets unused nodes go by itself.",
		base:   pool, set: `spec: {idle: {after: 30m}, aks: {autoscale: {max: 4}}}`,
		want: "the autoscaler takes nodes away that no pod needs",
	},
	"AutoscaleRange": {
		reason: "A range must have an inside.",
		base:   pool, set: `spec: {aks: {autoscale: {min: 5, max: 4}}}`,
		want: "min is more than max",
	},
	"UpgradeUnavailable": {
		reason: "Several nodes may be missing at once.", base: pool,
		set: `spec: {aks: {upgrade: {maxSurge: "0", maxUnavailable: 50%}}}`,
	},
	"NoneUnavailable": {
		reason: "maxSurge is 0 where it is left out.",
		base:   pool, set: `spec: {aks: {upgrade: {maxUnavailable: "0"}}}`,
		want: "with neither maxSurge nor maxUnavailable",
	},
	"ExistingSelects": {
		reason: "Nodes that exist are found by their labels.",
		base:   pool, set: `spec: {provider: existing, nodeLabels: {a: b}}`,
	},
}

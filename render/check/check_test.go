// SPDX-License-Identifier: Apache-2.0

package check_test

import (
	"fmt"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/espalier-dev/espalier/render/check"
	repolayout "github.com/espalier-dev/espalier/repo-layout"
	"github.com/espalier-dev/espalier/repo-layout/v1alpha1"
)

func tuning(instance string, change ...func(*v1alpha1.Workspace)) *v1alpha1.Workspace {
	w := &v1alpha1.Workspace{}
	w.Name, w.Namespace = "w", "n"
	w.Spec.Resource.InstanceType = instance
	w.Spec.Tuning = &v1alpha1.TuningSpec{
		ModelRef: v1alpha1.ModelRef{Preset: "phi-3-mini-128k-instruct", Revision: strings.Repeat("ab", 20)},
		Method:   v1alpha1.QLoRA,
		Input:    v1alpha1.DataSource{URLs: []string{"https://example.com/d/train.parquet?download=true"}},
		Output:   v1alpha1.DataDestination{Image: "registry.example.com/aa:1", PushSecret: "s"},
	}
	for _, c := range change {
		c(w)
	}
	return w
}

func serving(instance string, change ...func(*v1alpha1.Workspace)) *v1alpha1.Workspace {
	w := &v1alpha1.Workspace{}
	w.Name, w.Namespace = "w", "n"
	w.Spec.Resource.InstanceType = instance
	w.Spec.Inference = &v1alpha1.InferenceSpec{
		ModelRef: v1alpha1.ModelRef{Preset: "phi-4-mini-instruct", Revision: strings.Repeat("ab", 20)},
	}
	for _, c := range change {
		c(w)
	}
	return w
}

func candidates(list ...v1alpha1.Candidate) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		w.Spec.Resource = v1alpha1.ResourceSpec{Candidates: list}
	}
}

// zoned gives a run nodes in certain zones, and its volume a class.
func zoned(class string, zones ...string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		w.Spec.Resource = v1alpha1.ResourceSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC4as_T4_v3", Zones: zones}}}
		w.Spec.Tuning.Checkpoints = &v1alpha1.Checkpoints{StorageClass: class}
	}
}

func budget(usd string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Budget = &v1alpha1.Budget{MaxUSDPerHour: usd} }
}

// inAll bounds a run.
func inAll(usd string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Budget = &v1alpha1.Budget{MaxUSD: usd} }
}

func timeout(d time.Duration) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Tuning.Timeout = &metav1.Duration{Duration: d} }
}

func sharing(pool string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Resource = v1alpha1.ResourceSpec{NodePool: pool} }
}

func preset(name string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Model().Preset = name }
}

// ofRack selects nodes that exist.
func ofRack(w *v1alpha1.Workspace) {
	w.Spec.Resource.LabelSelector = &metav1.LabelSelector{MatchLabels: map[string]string{"rack": "7"}}
}

func replicas(n int32) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Inference.Replicas = &n }
}

func TestWorkspace(t *testing.T) {
	for name, tc := range map[string]struct {
		reason    string
		workspace *v1alpha1.Workspace
		facts     check.Facts
		refused   bool
		findings  []string // "severity code", in order
		says      []string // parts of the messages
	}{
		"RetiredSize": {
			reason:    "the message says that it was retired and when, what else is wrong, and the cheapest size that works with its price",
			workspace: tuning("Standard_NC6s_v3"), facts: check.Facts{Region: "eastus"}, refused: true,
			findings: []string{"error InstanceTypeRetired"},
			says: []string{
				"retired by Azure on 2025-09-30", "compute capability 7.0", "needs 7.5",
				"the cheapest size that works is Standard_NC4as_T4_v3, $0.526/h list price, 2026-06-18, eastus", "float16", "of 15.0 GiB",
			},
		},
		"T4":   {reason: "QLoRA of a small model fits a T4", workspace: tuning("Standard_NC4as_T4_v3")},
		"Case": {reason: "clouds write names in one way and people in many", workspace: tuning("standard_nc4AS_t4_V3")},
		"OldDriver": {
			reason: "the image does not start on the driver that AKS installs", workspace: tuning("Standard_NV36ads_A10_v5"), refused: true,
			findings: []string{"error DoesNotFit"}, says: []string{"driver 570", "branch 580", "cheapest size that works"},
		},
		"TooLarge": {
			reason: "weights that no cache fits beside", workspace: serving("Standard_NC4as_T4_v3", preset("phi-4")), refused: true,
			findings: []string{"error DoesNotFit"}, says: []string{"cheapest size that works"},
		},
		"UnknownSize": {
			reason: "a size that no cloud has", workspace: serving("Standard_NC24ads_A100"), refused: true,
			findings: []string{"error UnknownInstanceType"}, says: []string{"not in the catalogue", "cheapest size that works"},
		},
		"UnknownModel": {
			reason: "a misspelt model gets suggestions", workspace: serving("Standard_NC24ads_A100_v4", preset("phi-4-mini-instuct")), refused: true,
			findings: []string{"error UnknownModel"}, says: []string{"did you mean phi-4-mini-instruct"},
		},
		"UnknownModelOfKaito": {
			reason: "KAITO asks huggingface.co about any id; here a lock file describes it, which its document cannot name",
			workspace: serving("Standard_NC24ads_A100_v4", preset("someone/Model-8B"), func(w *v1alpha1.Workspace) {
				w.Annotations = map[string]string{"espalier.dev/converted-from": "kaito.sh/v1beta1 Workspace"}
			}), refused: true,
			findings: []string{"error UnknownModel"}, says: []string{"`espalier presets lock someone/Model-8B --from config.json`", "`espalier convert`"},
		},
		"NotTunable": {
			reason: "how much memory it takes is not known", workspace: tuning("Standard_NC24ads_A100_v4", preset("deepseek-ai/DeepSeek-V3.2")), refused: true,
			findings: []string{"error FitUnknown", "error NotTunable"}, says: []string{"mixture of experts", "phi-3-mini-128k-instruct"},
		},
		"Unpinned": {
			reason: "no revision anywhere is a warning", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.Revision = "" }),
			findings: []string{"warning ModelRevisionUnpinned"},
		},
		"RemoteCode": {
			reason: "code of a model repository is shown with its commit", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.TrustRemoteCode = true }),
			findings: []string{"warning RemoteCode"}, says: []string{"commit " + strings.Repeat("ab", 20)},
		},
		"RemoteCodeUnpinned": {
			reason: "and refused where nobody says which code", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) {
				w.Spec.Inference.TrustRemoteCode, w.Spec.Inference.Revision = true, ""
			}), refused: true, findings: []string{"error RemoteCode", "warning ModelRevisionUnpinned"},
		},
		"Gated": {
			reason: "a gated model needs a token", workspace: serving("Standard_NC24ads_A100_v4", preset("llama-3.1-8b-instruct")), refused: true,
			findings: []string{"error ModelGated"}, says: []string{"HF_TOKEN"},
		},
		"SecondCandidate": {
			reason:    "a candidate that cannot be used is a warning beside one that can",
			workspace: tuning("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC6s_v3"}, v1alpha1.Candidate{InstanceType: "Standard_NC4as_T4_v3"})),
			findings:  []string{"warning InstanceTypeRetired"},
		},
		"OverBudget": {
			reason: "the list price of all nodes counts", workspace: serving("Standard_NC24ads_A100_v4", budget("7"), replicas(2)), facts: check.Facts{Region: "eastus"}, refused: true,
			findings: []string{"error BudgetExceeded"}, says: []string{"2 nodes of Standard_NC24ads_A100_v4 cost $7.346/h", "budget of $7/h"},
		},
		"DefaultBudget": {
			reason: "a budget that the RepoSync sets is said to be its", workspace: serving("Standard_NC24ads_A100_v4", budget("1"), func(w *v1alpha1.Workspace) {
				w.Annotations = map[string]string{repolayout.AnnotationDefaulted: "budget,runtime.mirror"}
			}), facts: check.Facts{Region: "eastus"}, refused: true,
			findings: []string{"error BudgetExceeded"}, says: []string{"budget of $1/h that spec.defaults of the RepoSync sets"},
		},
		"DefaultExisting": {
			reason: "a default that a Workspace cannot take says whose it is", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) {
				w.Spec.Resource.Provider = v1alpha1.ProviderExisting
				w.Annotations = map[string]string{repolayout.AnnotationDefaulted: "resource.provider"}
			}), refused: true,
			findings: []string{"error MissingField"}, says: []string{"spec.defaults of the RepoSync", "name at least one label"},
		},
		"TimeoutOverBudget": {
			reason:    "where the timeout would let it cost more, the reader hears which of the two ends it",
			workspace: tuning("Standard_NC24ads_A100_v4", inAll("40"), timeout(12*time.Hour)), facts: check.Facts{Region: "eastus"},
			findings: []string{"warning BudgetTooSmall"}, says: []string{"12h0m0s on Standard_NC24ads_A100_v4, which is $44.076 at $3.673/h", "$40 that budget.maxUSD allows it", "after 10h53m0s"},
		},
		"TimeoutInBudget": {
			reason: "it ends before", workspace: tuning("Standard_NC24ads_A100_v4", inAll("37"), timeout(10*time.Hour)), facts: check.Facts{Region: "eastus"},
		},
		"ShareInBudget": {
			reason:    "of a shared pool the run pays for the GPUs that it holds",
			workspace: tuning("", sharing("pool"), inAll("40"), timeout(10*time.Hour)),
			facts:     check.Facts{Region: "eastus", Pool: &v1alpha1.GPUNodePoolSpec{Provider: v1alpha1.ProviderAKS, Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4"}}}},
		},
		"BudgetOfNodesThatExist": {
			reason:    "what has no price is never spent, and a limit that nothing honours is refused",
			workspace: tuning("Standard_NC24ads_A100_v4", inAll("40"), ofRack), facts: check.Facts{Region: "eastus", Provider: v1alpha1.ProviderExisting}, refused: true,
			findings: []string{"error PriceUnknown"}, says: []string{"nodes that exist have no price here", "spec.tuning.timeout"},
		},
		"HourOfNodesThatExist": {
			reason: "machines of one's own cost nothing more, whatever such a size costs in a cloud", workspace: serving("Standard_NC24ads_A100_v4", budget("1"), ofRack),
			facts: check.Facts{Region: "eastus", Provider: v1alpha1.ProviderExisting},
		},
		"ExistingUnselected": {
			reason: "the API server would refuse the pool, in the name of a field that a Workspace does not have", workspace: serving("Standard_NC24ads_A100_v4"), refused: true,
			facts:    check.Facts{Region: "eastus", Provider: v1alpha1.ProviderExisting},
			findings: []string{"error MissingField"}, says: []string{"--provider", "matchLabels"},
		},
		"BudgetWithoutPrice": {
			reason: "nor can anybody count without a price", workspace: tuning("Standard_NC24ads_A100_v4", inAll("40")), facts: check.Facts{Region: "atlantis"}, refused: true,
			findings: []string{"error PriceUnknown"}, says: []string{"nobody can say when the $40"},
		},
		"InBudget": {reason: "within it", workspace: serving("Standard_NC24ads_A100_v4", budget("7.35"), replicas(2)), facts: check.Facts{Region: "eastus"}},
		"NoPrice": {
			reason: "what has no price cannot be within a budget", workspace: serving("Standard_NC24ads_A100_v4", budget("100")), facts: check.Facts{Region: "atlantis"}, refused: true,
			findings: []string{"error PriceUnknown"}, says: []string{"atlantis"},
		},
		"SpotIsBounded": {
			reason:    "without a spot price the list price is the bound",
			workspace: serving("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC24ads_A100_v4", Priority: v1alpha1.Spot}), budget("3")), facts: check.Facts{Region: "eastus"}, refused: true,
			findings: []string{"error BudgetExceeded"},
		},
		"ConfigMissing": {
			reason: "a ConfigMap that is not there", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.Config = "c" }), refused: true,
			findings: []string{"error InputMissing"}, says: []string{`ConfigMap "c"`},
		},
		"ConfigOfAnotherKind": {
			reason: "a flag that has a field of its own", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.Config = "c" }),
			facts: check.Facts{ConfigMaps: map[string]map[string]string{"c": {"inference_config.yaml": "vllm: {model: x/y, trust_remote_code: true}"}}}, refused: true,
			findings: []string{"error ConfigInvalid", "error ConfigInvalid"}, says: []string{"spec.inference.preset", "trustRemoteCode"},
		},
		"TwoContexts": {
			reason: "one of them would be ignored", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.Config, w.Spec.Inference.ContextLength = "c", 4096 }),
			facts: check.Facts{ConfigMaps: map[string]map[string]string{"c": {"inference_config.yaml": "vllm: {max-model-len: 8192}"}}}, refused: true,
			findings: []string{"error ConfigInvalid"}, says: []string{"8192", "4096"},
		},
		"ContextOverModel": {
			reason: "longer than the model was made for", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Inference.ContextLength = 1 << 20 }), refused: true,
			findings: []string{"error OutOfRange"}, says: []string{"131,072"},
		},
		"AdapterTakesName": {
			reason: "requests could not tell them apart", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) {
				w.Spec.Inference.Adapters = []v1alpha1.Adapter{{Name: "phi-4-mini-instruct", Image: "x"}}
			}), refused: true, findings: []string{"error NameTaken"},
		},
		"RuntimeOfAnotherTask": {
			reason: "vLLM does not tune", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) { w.Spec.Runtime = &v1alpha1.RuntimeSpec{Name: "vllm"} }), refused: true,
			findings: []string{"error UnknownRuntime"}, says: []string{"axolotl"},
		},
		"RuntimeVersion": {
			reason: "a version without a digest here", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "v0.1"} }), refused: true,
			findings: []string{"error UnknownRuntime"}, says: []string{"0.26.0"},
		},
		"RuntimeVersionKnown": {
			reason: "with or without a v", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Runtime = &v1alpha1.RuntimeSpec{Version: "v0.26.0"} }),
		},
		"TwoFilesOneName": {
			reason: "one would overwrite the other", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) {
				w.Spec.Tuning.Input.URLs = []string{"https://a.example.com/x.parquet", "https://b.example.com/x.parquet", "https://c.example.com/y", "https://d.example.com/"}
			}), refused: true, findings: []string{"error InputInvalid", "error InputInvalid", "error InputInvalid"},
		},
		"Checksums": {
			reason: "the fetcher would refuse a wrong one on a paid node", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) {
				sum := strings.Repeat("0a", 32)
				w.Spec.Tuning.Input.URLs = []string{"https://a.example.com/a.jsonl#sha256=" + sum, "https://a.example.com/b.jsonl#" + sum, "https://a.example.com/c.jsonl#sha256=0a"}
			}), refused: true, findings: []string{"error InputInvalid", "error InputInvalid"}, says: []string{"64 hexadecimal digits"},
		},
		"LinesAsChats": {
			reason: "a line of a file of text is no conversation", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) {
				w.Spec.Tuning.Input.URLs = []string{"https://a.example.com/a.txt"}
			}), refused: true, findings: []string{"error InputInvalid"}, says: []string{"spec.tuning.input.format.type: Text"},
		},
		"LinesAsText": {
			reason: "and is a row of text", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) {
				w.Spec.Tuning.Input = v1alpha1.DataSource{URLs: []string{"https://a.example.com/a.txt"}, Format: &v1alpha1.DataFormat{Type: v1alpha1.RowsText}}
			}),
		},
		"ColumnsTwice": {
			reason: "which of two would win is nothing to guess", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) {
				w.Spec.Tuning.Config = "c"
				w.Spec.Tuning.Input.Format = &v1alpha1.DataFormat{Type: v1alpha1.RowsText}
			}), facts: check.Facts{ConfigMaps: map[string]map[string]string{"c": {"training_config.yaml": "training_config: {DatasetConfig: {messages_column: m}}"}}},
			refused: true, findings: []string{"error ConfigInvalid"}, says: []string{"keep one of them"},
		},
		"NodesInTwoZones": {
			reason: "nodes of the other zone cannot mount a disk", workspace: tuning("", zoned("managed-csi", "1", "2")),
			findings: []string{"warning ZoneLocked"}, says: []string{"zones 1, 2", "Kubernetes 1.29"},
		},
		"NodesInOneZone":   {reason: "nothing can be elsewhere", workspace: tuning("", zoned("managed-csi", "1"))},
		"ZoneRedundant":    {reason: "every zone will do", workspace: tuning("", zoned("managed-csi-premium-zrs", "1", "2"))},
		"Share":            {reason: "every zone will do", workspace: tuning("", zoned("azurefile-csi-premium", "1", "2"))},
		"ClassByItsName":   {reason: "the name says what it is", workspace: tuning("", zoned("fast-lrs", "1", "2")), findings: []string{"warning ZoneLocked"}, says: []string{"by its name"}},
		"ClassUnknown":     {reason: "nothing is pretended of a class that nobody here knows", workspace: tuning("", zoned("fast", "1", "2")), findings: []string{"warning ZoneUnknown"}, says: []string{"not known here"}},
		"ClassOfCluster":   {reason: "nor of the default", workspace: tuning("", zoned("", "1", "2")), findings: []string{"warning ZoneUnknown"}, says: []string{"default"}},
		"ClassOfOperator":  {reason: "the controller's own class counts", workspace: tuning("", zoned("", "1", "2")), facts: check.Facts{StorageClass: "azurefile-csi"}},
		"VolumeElsewhere":  {reason: "the nodes would be paid and the pod never placed", workspace: tuning("", zoned("", "1")), facts: check.Facts{ClaimZones: []string{"2"}}, refused: true, findings: []string{"error ZoneLocked"}, says: []string{"kubectl delete pvc -n n w-work"}},
		"VolumeInOneOfTwo": {reason: "the controller buys them there", workspace: tuning("", zoned("managed-csi", "1", "2")), facts: check.Facts{ClaimZones: []string{"2"}}},
		"VolumeByLabel":    {reason: "a candidate may be named as nodes are labelled", workspace: tuning("", zoned("managed-csi", "eastus-1", "eastus-2")), facts: check.Facts{ClaimZones: []string{"2"}}},
		"VolumeOfAWS":      {reason: "zones of AWS are called so everywhere", workspace: tuning("", zoned("gp3", "us-east-1a")), facts: check.Facts{ClaimZones: []string{"us-east-1a"}}},
		"VolumeAtHand":     {reason: "nodes that exist are where they are", workspace: tuning("", zoned(""), ofRack), facts: check.Facts{ClaimZones: []string{"2"}, Provider: v1alpha1.ProviderExisting}},
		"VolumeOrdered":    {reason: "Karpenter is told the zone", workspace: tuning("", zoned("")), facts: check.Facts{ClaimZones: []string{"2"}, Provider: v1alpha1.ProviderKarpenter}},
		"VolumeOfZone":     {reason: "agent pools without zones have nodes without one", workspace: tuning("", zoned("")), facts: check.Facts{ClaimZones: []string{"2"}}, refused: true, findings: []string{"error ZoneLocked"}},
		"VolumeTooSmall": {
			reason: "the model alone is larger", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) { w.Spec.Tuning.Checkpoints = &v1alpha1.Checkpoints{Size: "16Gi"} }), refused: true,
			findings: []string{"error CheckpointsTooSmall"}, says: []string{"want 32Gi or more"},
		},
		"SavesTwice": {
			reason: "which of two would win is nothing to guess", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) {
				w.Spec.Tuning.Config, w.Spec.Tuning.Checkpoints = "c", &v1alpha1.Checkpoints{SaveSteps: 5, Keep: 3}
			}), facts: check.Facts{ConfigMaps: map[string]map[string]string{"c": {"training_config.yaml": "axolotl: {saves_per_epoch: 1, save_total_limit: 2}"}}},
			refused: true, findings: []string{"error ConfigInvalid", "error ConfigInvalid"}, says: []string{"saves_per_epoch too", "save_total_limit too"},
		},
		"QueuedForOneNumber": {
			reason: "Kueue has admitted one number of GPUs", workspace: tuning("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC4as_T4_v3"}, v1alpha1.Candidate{InstanceType: "Standard_NC64as_T4_v3"}),
				func(w *v1alpha1.Workspace) { w.Spec.Queue = "q" }), findings: []string{"warning QueueGPUs"}, says: []string{"waits in queue q for the GPUs of Standard_NC4as_T4_v3 (1)", "takes 4"},
		},
		"IdleNodes": {
			reason: "nodes that nothing uses are paid for", workspace: serving("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Resource.Count = 2 }),
			findings: []string{"warning NodesIdle"}, says: []string{"room for 2 copies"},
		},
		"CountTooSmall": {
			reason: "copies that have no node", workspace: serving("Standard_NC24ads_A100_v4", replicas(3), func(w *v1alpha1.Workspace) { w.Spec.Resource.Count = 2 }), refused: true,
			findings: []string{"error NodesUnsupported"}, says: []string{"3 nodes"},
		},
		"PoolMissing": {
			reason: "a pool that nobody declares", workspace: serving("", func(w *v1alpha1.Workspace) { w.Spec.Resource.NodePool = "p" }), refused: true,
			findings: []string{"error InputMissing"}, says: []string{`GPUNodePool "p"`},
		},
		"PoolThere": {
			reason: "its candidates are judged, and its price is its own, which no limit of a Workspace bounds", workspace: serving("", budget("0.01"), func(w *v1alpha1.Workspace) { w.Spec.Resource.NodePool = "p" }),
			facts:    check.Facts{Pool: &v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4"}}}},
			findings: []string{"warning BudgetIdle"},
		},
		"PoolOfSlices": {
			reason: "a slice is the GPU that a copy gets", workspace: serving("", replicas(2), func(w *v1alpha1.Workspace) { w.Spec.Resource.NodePool = "p" }),
			facts: check.Facts{Pool: &v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4"}}, AKS: &v1alpha1.AKSSpec{MIG: "MIG3g"}}},
		},
		"PoolOfThinSlices": {
			reason: "slices cannot work on one model together", workspace: serving("", func(w *v1alpha1.Workspace) { w.Spec.Resource.NodePool, w.Spec.Inference.Preset = "p", "phi-4" }), refused: true,
			facts:    check.Facts{Pool: &v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC24ads_A100_v4"}}, AKS: &v1alpha1.AKSSpec{MIG: "MIG1g"}}},
			findings: []string{"error DoesNotFit"},
		},
		"SliceOfExisting": {
			reason: "a slice of nodes that exist is sized by its memory", workspace: serving("Standard_NC40ads_H100_v5", sliced("2g.24gb")),
			findings: nil,
		},
		"SliceTooSmall": {
			reason: "a model that needs more than the slice is refused before a pod waits", workspace: serving("Standard_NC40ads_H100_v5", sliced("1g.12gb"), func(w *v1alpha1.Workspace) { w.Spec.Inference.Preset = "phi-4" }), refused: true,
			findings: []string{"error DoesNotFit"},
		},
		"SliceUnknown": {
			reason: "a slice of twice the memory is another one", workspace: serving("Standard_NC24ads_A100_v4", sliced("1g.20gb")), refused: true,
			findings: []string{"error NotOneOf"}, says: []string{`A100 has no MIG profile "1g.20gb"`},
		},
		"SomeGPUs": {
			reason: "a copy takes as many GPUs as it is told", workspace: serving("Standard_NC96ads_A100_v4", gpus(2), replicas(2)),
		},
		"TooManyGPUs": {
			reason: "a pod that asks for four waits for ever", workspace: serving("Standard_NC48ads_A100_v4", gpus(4)), refused: true,
			findings: []string{"error DoesNotFit"}, says: []string{"a copy asks for 4 GPUs, and Standard_NC48ads_A100_v4 has 2"},
		},
		"TwoNumbersOfGPUs": {
			reason: "one of them would be ignored", workspace: serving("Standard_NC96ads_A100_v4", gpus(2), func(w *v1alpha1.Workspace) { w.Spec.Inference.Config = "c" }), refused: true,
			facts:    check.Facts{ConfigMaps: map[string]map[string]string{"c": {"inference_config.yaml": "vllm: {tensor-parallel-size: 4}\n"}}},
			findings: []string{"error ConfigInvalid"},
		},
		"ExistingLikeNothing": {
			reason: "nobody knows what would be judged", workspace: serving("", func(w *v1alpha1.Workspace) {
				w.Spec.Resource = v1alpha1.ResourceSpec{Provider: v1alpha1.ProviderExisting, LabelSelector: &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}}
			}), refused: true,
			findings: []string{"error ResourceMissing"}, says: []string{"spec.defaults.instanceType"},
		},
		"PoolWithoutSlices": {
			reason: "what is not known of a GPU is not made up", workspace: serving("", func(w *v1alpha1.Workspace) { w.Spec.Resource.NodePool = "p" }), refused: true,
			facts:    check.Facts{Pool: &v1alpha1.GPUNodePoolSpec{Candidates: []v1alpha1.Candidate{{InstanceType: "Standard_NC4as_T4_v3"}}, AKS: &v1alpha1.AKSSpec{MIG: "MIG3g"}}},
			findings: []string{"error NotOneOf"}, says: []string{"the pool's slices: T4 has no MIG profile"},
		},
		"FusedTargets": {
			reason: "KAITO's own example names matrices that Phi-3 does not have", workspace: tuning("Standard_NC4as_T4_v3", func(w *v1alpha1.Workspace) { w.Spec.Tuning.Config = "c" }),
			facts:    check.Facts{ConfigMaps: map[string]map[string]string{"c": {"training_config.yaml": "training_config: {LoraConfig: {target_modules: [q_proj, o_proj]}}"}}},
			findings: []string{"warning ConfigIgnored"}, says: []string{"q_proj is part of qkv_proj"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := check.Workspace(tc.workspace, tc.facts, nil)
			var got []string
			var messages strings.Builder
			for _, f := range a.Findings {
				got = append(got, f.Severity+" "+f.Code)
				messages.WriteString(f.Message + "\n")
			}
			if diff := cmp.Diff(tc.findings, got); diff != "" {
				t.Errorf("%s: findings (-want +got):\n%s%s", tc.reason, diff, messages.String())
			}
			if a.Refused() != tc.refused {
				t.Errorf("%s: refused is %v", tc.reason, a.Refused())
			}
			for _, s := range tc.says {
				if !strings.Contains(messages.String(), s) {
					t.Errorf("%s: no message says %q:\n%s", tc.reason, s, messages.String())
				}
			}
		})
	}
}

// TestNodesThatExist: neither the price nor the driver of the size that they are like is theirs.
func TestNodesThatExist(t *testing.T) {
	for name, provider := range map[string]v1alpha1.Provider{"Workspace": v1alpha1.ProviderExisting, "Installation": ""} {
		w := serving("Standard_NC24ads_A100_v4", ofRack, func(w *v1alpha1.Workspace) { w.Spec.Resource.Provider = provider })
		a := check.Workspace(w, check.Facts{Region: "eastus", Provider: v1alpha1.ProviderExisting}, nil)
		if s := a.Status(0); s.USDPerHour != "0" || s.PriceDate != "" || a.Candidates[0].Price.Known {
			t.Errorf("%s: the price is %q of %q", name, s.USDPerHour, s.PriceDate)
		}
		if a.Runtime.CUDA != "12.9" || a.Candidates[0].Instance.Driver != "" {
			t.Errorf("%s: CUDA %s for driver %q, want what runs on the oldest", name, a.Runtime.CUDA, a.Candidates[0].Instance.Driver)
		}
	}
}

func TestStatus(t *testing.T) {
	a := check.Workspace(tuning("Standard_NC4as_T4_v3"), check.Facts{Region: "eastus"}, nil)
	s := a.Status(0)
	if s.Verdict != v1alpha1.Fits || s.InstanceType != "Standard_NC4as_T4_v3" || s.Nodes != 1 || s.USDPerHour != "0.526" || s.PriceDate != "2026-06-18" || !strings.HasSuffix(s.Message, "of 15.0 GiB") {
		t.Errorf("status of a fit: %+v", s)
	}
	a = check.Workspace(tuning("Standard_NC6s_v3"), check.Facts{}, nil)
	if s := a.Status(-1); s.Verdict != v1alpha1.No || !strings.Contains(s.Message, "retired") {
		t.Errorf("status of a refusal: %+v", s)
	}
	a = check.Workspace(serving("x", preset("no-such-model")), check.Facts{}, nil)
	if s := a.Status(0); s.Verdict != v1alpha1.Unknown || !strings.Contains(s.Message, "catalogue") {
		t.Errorf("status without candidates: %+v", s)
	}
}

// TestRecast: what a trainer puts back to 16 bit is counted, but with DoRA, which takes that room.
func TestRecast(t *testing.T) {
	total := func(config string) int64 {
		w := tuning("Standard_NC24ads_A100_v4", func(w *v1alpha1.Workspace) { w.Spec.Tuning.Config = "c" })
		a := check.Workspace(w, check.Facts{ConfigMaps: map[string]map[string]string{"c": {"training_config.yaml": config}}}, nil)
		if a.Refused() || len(a.Candidates) != 1 {
			t.Fatalf("%s: %+v", config, a.Findings)
		}
		return a.Candidates[0].Fit.PerGPU.Total
	}
	plain, dora := total("axolotl: {lora_r: 16}"), total("axolotl: {lora_r: 16, peft_use_dora: true}")
	// Words and head in 32 bit, 0.37 GiB, and with them the residual stream.
	if more := dora - plain; more < 300<<20 || more > 2<<30 {
		t.Errorf("a run with DoRA takes %d MiB, one without %d", dora>>20, plain>>20)
	}
}

func TestNodes(t *testing.T) {
	for _, tc := range []struct {
		reason         string
		workspace      *v1alpha1.Workspace
		nodes, podGPUs int
	}{
		{"one copy, one node", serving("Standard_NC24ads_A100_v4"), 1, 1},
		{"copies share a node that has GPUs for them", serving("Standard_NC96ads_A100_v4", replicas(4)), 1, 1},
		{"and take another when it is full", serving("Standard_NC96ads_A100_v4", replicas(5)), 2, 1},
		{"a run takes the GPUs of its node", tuning("Standard_NC96ads_A100_v4"), 1, 4},
	} {
		c := check.Workspace(tc.workspace, check.Facts{}, nil).Candidates[0]
		if c.Nodes != tc.nodes || c.PodGPUs != tc.podGPUs {
			t.Errorf("%s: %d nodes, %d GPUs a pod; want %d, %d", tc.reason, c.Nodes, c.PodGPUs, tc.nodes, tc.podGPUs)
		}
	}
}

type lines map[string]int

func (l lines) At(field string) (string, int) { return "w.yaml", l[field] }

func TestPosition(t *testing.T) {
	w := tuning("", candidates(v1alpha1.Candidate{InstanceType: "Standard_NC4as_T4_v3"}, v1alpha1.Candidate{InstanceType: "nope"}))
	a := check.Workspace(w, check.Facts{}, lines{"spec.resource.candidates[1].instanceType": 12})
	if len(a.Findings) != 1 || a.Findings[0].File != "w.yaml" || a.Findings[0].Line != 12 || a.Findings[0].Object != "Workspace/n/w" {
		t.Errorf("findings %+v", a.Findings)
	}
}

func TestPure(t *testing.T) {
	w := serving("Standard_NC6s_v3", preset("phi-4"))
	first := fmt.Sprintf("%+v", check.Workspace(w, check.Facts{}, nil))
	for range 10 {
		if again := fmt.Sprintf("%+v", check.Workspace(w, check.Facts{}, nil)); again != first {
			t.Fatalf("two checks differ:\n%s", cmp.Diff(first, again))
		}
	}
}

func FuzzFileName(f *testing.F) {
	for _, s := range []string{"https://a/b.parquet?x=y", "https://a/..", "https://a/%2e%2e%2fetc", "", "://", "https://a/.hidden"} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, address string) {
		name := check.FileName(address)
		if strings.ContainsAny(name, "/\\\x00 ") || strings.HasPrefix(name, ".") {
			t.Errorf("FileName(%q) = %q: no plain name", address, name)
		}
	})
}

// sliced puts a service on a slice of nodes that exist.
func sliced(profile string) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) {
		r := &w.Spec.Resource
		r.Provider, r.MIG, r.LabelSelector = v1alpha1.ProviderExisting, profile, &metav1.LabelSelector{MatchLabels: map[string]string{"a": "b"}}
	}
}

func gpus(n int32) func(*v1alpha1.Workspace) {
	return func(w *v1alpha1.Workspace) { w.Spec.Resource.GPUs = n }
}
